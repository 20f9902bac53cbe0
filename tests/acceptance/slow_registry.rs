//! A registry that takes seconds for one device keeps no other device waiting.

use std::time::{Duration, Instant};

use acceptance::stand::Stand;
use sandbox::{device::Device, northbound::Behaviour};
use tokio::time::{sleep, timeout};

use crate::scene::{SOON, application, device, is_served, world};

/// How long the registry takes.
const SLOW: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_shake_hands_and_are_served_while_one_look_up_takes_five_seconds() {
    let patient = [("HONO_CREDENTIALS_REQUESTTIMEOUT", "60000")];
    let stand = Stand::start(world(), &patient).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;

    let hold = stand.sandbox().hold_credentials("gw");
    let server = stand.coaps();
    let slow = tokio::spawn(async move { Device::connect(server, "gw@T", b"k", SOON).await });
    let asked = async {
        while hold.waiting() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, asked).await.unwrap();

    let since = Instant::now();
    while since.elapsed() < SLOW {
        is_served(&mut known, &mut application, "has a session").await;
        let mut newcomer = device(&stand, "sensor").await;
        is_served(&mut newcomer, &mut application, "has just come").await;
        newcomer.close().await;
        assert_eq!(hold.waiting(), 1, "the first question still waits");
        assert!(!slow.is_finished());
    }
    drop(hold);
    let mut slow = slow.await.unwrap().unwrap();
    is_served(&mut slow, &mut application, "at last").await;
    stand.stop().await;
}
