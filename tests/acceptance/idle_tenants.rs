//! A tenant that is idle for long costs nothing any more, and is served as ever when it comes back
//! (spec: metrics-health §2).

use std::time::Duration;

use acceptance::stand::{Stand, page};
use sandbox::northbound::Behaviour;
use tokio::time::{sleep, timeout};

use crate::scene::{SOON, application, device, is_served, world};

#[tokio::test]
async fn its_metrics_go_and_come_back_with_its_next_message() {
    let settings = [("HONO_COAP_TENANTIDLETIMEOUT", "PT1S")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut device = device(&stand, "sensor").await;
    for body in ["before", "after"] {
        is_served(&mut device, &mut application, body).await;
        until_tenant_is(&stand, true).await;
        until_tenant_is(&stand, false).await;
    }
    stand.stop().await;
}

/// Waits until the page of metrics has the tenant, or has it no more.
async fn until_tenant_is(stand: &Stand, there: bool) {
    let server = stand.app().health_address();
    let waiting = async {
        loop {
            let (_, page) = page(server, "/prometheus").await.unwrap();
            if page.contains("hono_telemetry_") == there {
                assert_eq!(page.contains(r#"tenant="T""#), there, "{page}");
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waiting).await.unwrap();
}
