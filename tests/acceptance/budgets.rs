//! A device that says too much is told when to come back; the others are served as ever.

use acceptance::stand::{Stand, page};
use sandbox::{
    device::{CoapRequest, Device, Error},
    northbound::Behaviour,
};

use crate::scene::{A_WHILE, MAX_AGE, SOON, application, device, is_served, told, values, world};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_messages_a_device_gets_4_29_with_the_time_to_come_back() {
    let settings = [("HONO_BUDGET_DEVICE_MESSAGES", "2")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut sensor = device(&stand, "sensor").await;
    for body in ["first", "second"] {
        is_served(&mut sensor, &mut application, body).await;
    }
    let request = CoapRequest::post("t").body(0, "third");
    let response = sensor.request(&request, SOON).await.unwrap();
    let text = "the device has used up its messages of this minute";
    assert_eq!(told(&response), ("4.29".to_owned(), text.to_owned()));
    let max_age = values(&response, MAX_AGE)[0];
    assert!(
        (1..=30).contains(&max_age[0]) && max_age.len() == 1,
        "{max_age:?}"
    );
    let mut gateway = device(&stand, "gw").await;
    is_served(&mut gateway, &mut application, "from another device").await;
    let (_, page) = page(stand.app().health_address(), "/prometheus")
        .await
        .unwrap();
    let counted = r#"of="device",what="messages"} 1"#;
    assert!(page.contains(counted), "{page}");
    stand.stop().await;
}

/// What is over the budget is as silent as a wrong key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_handshakes_a_device_is_not_answered_and_its_session_stays() {
    let settings = [("HONO_BUDGET_DEVICE_HANDSHAKES", "1")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let wrong = Device::connect(stand.coaps(), "sensor@T", b"wrong", A_WHILE).await;
    assert!(
        matches!(wrong, Err(Error::Timeout(_))),
        "a stranger spends nothing"
    );
    let mut sensor = device(&stand, "sensor").await;
    let again = Device::connect(stand.coaps(), "sensor@T", b"k", A_WHILE).await;
    assert!(matches!(again, Err(Error::Timeout(_))));
    is_served(&mut sensor, &mut application, "as ever").await;
    device(&stand, "gw").await;
    stand.stop().await;
}
