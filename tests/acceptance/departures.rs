//! A device that waits for a command and goes away gets none, and the application learns that it may send the command again; so it
//! is when the adapter goes away.

use std::time::Duration;

use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour, Outcome},
    services::Operation,
};

use crate::scene::{SOON, application, asked_for, device, give, is_served, plain, stand, told};

/// Longer than any test lasts.
fn waiting(request: CoapRequest) -> CoapRequest {
    request.query("hono-ttd=60").query("empty")
}

/// Lets the device wait; when this returns, the application has its event.
async fn begin(device: &mut Device, application: &mut Application) {
    let request = waiting(CoapRequest::post("e")).encode(1, b"wait");
    device.send_raw(&request).await.unwrap();
    assert!(application.receive(SOON).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_says_goodbye_waits_no_longer() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let mut device = device(&stand, "sensor").await;
    begin(&mut device, &mut application).await;
    device.close().await;
    let farewell = asked_for(&mut asked, Operation::UnregisterConsumer).await;
    assert_eq!(
        (farewell.text("device_id"), farewell.status),
        (Some("d"), 204)
    );
    assert_eq!(give(&application, "d", "x").await, Some(Outcome::Released));
    stand.stop().await;
}

/// A device that lost its session's keys shakes hands again from the same port: nobody waits in the session that was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_shakes_hands_anew_waits_no_longer() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let mut device = device(&stand, "sensor").await;
    begin(&mut device, &mut application).await;
    device.restart("sensor@T", b"k", SOON).await.unwrap();
    is_served(&mut device, &mut application, "anew").await;
    let farewell = asked_for(&mut asked, Operation::UnregisterConsumer).await;
    assert_eq!(
        (farewell.text("device_id"), farewell.status),
        (Some("d"), 204)
    );
    assert_eq!(give(&application, "d", "x").await, Some(Outcome::Released));
    stand.stop().await;
}

/// Symptom: a command that came while the device's own message was still with the application was accepted, though the device had
/// said goodbye meanwhile and never got it. Cause: it was accepted when the answer was put together; now by the port, if somebody
/// still waits for that answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_came_before_the_goodbye_is_released() {
    let stand = stand().await;
    let slow = Behaviour::Delay(Duration::from_millis(800));
    let mut application = application(&stand, "T", slow).await;
    let mut device = device(&stand, "sensor").await;
    begin(&mut device, &mut application).await;
    let (outcome, ()) = tokio::join!(give(&application, "d", "x"), async {
        // By then the command is with the adapter.
        tokio::time::sleep(Duration::from_millis(200)).await;
        device.close().await;
    });
    assert_eq!(outcome, Some(Outcome::Released));
    stand.stop().await;
}

/// Who waits is told that there is no command, and what the application sends afterwards goes back to it.
///
/// Symptom: now and then such an answer was not sent. Cause: a port that was halted left the answers that it had not taken yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_stops_lets_all_go_who_wait() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    let mut asked = services.asked();
    let mut known = device(&stand, "sensor").await;
    let mut unknown = plain(&stand).await;
    let own = waiting(CoapRequest::post("e"));
    let behind = waiting(CoapRequest::put("e/T/behind"));
    let (own, behind, sandbox) = tokio::join!(
        known.request(&own, SOON),
        unknown.request(&behind, SOON),
        async {
            for _ in 0..2 {
                assert!(application.receive(SOON).await.is_some());
            }
            stand.stop_adapter().await.unwrap()
        },
    );
    for (name, response) in [("known", own), ("unknown", behind)] {
        let response = response.unwrap();
        assert_eq!(
            told(&response),
            ("2.04".to_owned(), String::new()),
            "{name}"
        );
        assert_eq!(response.options, [], "{name}");
    }
    for _ in 0..2 {
        let farewell = asked_for(&mut asked, Operation::UnregisterConsumer).await;
        assert_eq!(farewell.status, 204);
    }
    for id in ["d", "behind"] {
        assert_eq!(
            give(&application, id, "x").await,
            Some(Outcome::Released),
            "{id}"
        );
    }
    sandbox.stop().await;
}
