//! A device is told what became of its message: 2.04 only after the application accepted it, and otherwise why not.

use acceptance::{
    outcome::{NOBODY, OUTCOMES},
    stand::Stand,
};
use sandbox::{device::CoapRequest, northbound::Behaviour};
use tokio::task::JoinSet;

use crate::scene::{
    A_WHILE, CONTENT_FORMAT, MAX_AGE, SOON, application, device, stand, told, values, world,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_application_does_is_told_to_the_device() {
    let mut rows = JoinSet::new();
    for (word, code, text) in OUTCOMES {
        rows.spawn(is_told(word, code, text));
    }
    rows.join_all().await;
}

async fn is_told(word: &str, code: &str, text: &str) {
    let behaviour: Behaviour = word.parse().unwrap();
    let stand = Stand::start(world(), patience(&behaviour)).await.unwrap();
    let mut application = application(&stand, "T", behaviour.clone()).await;
    let mut device = device(&stand, "sensor").await;
    for resource in ["t", "e"] {
        let response = device
            .request(&CoapRequest::post(resource).body(0, word), SOON)
            .await
            .unwrap();
        let row = format!("{word} to {resource}");
        assert_eq!(told(&response), (code.to_owned(), text.to_owned()), "{row}");
        let max_age: &[&[u8]] = if code == "5.03" { &[&[2]] } else { &[] };
        assert_eq!(values(&response, MAX_AGE), max_age, "{row}");
        let format: &[&[u8]] = if code == "2.04" { &[] } else { &[&[]] };
        assert_eq!(values(&response, CONTENT_FORMAT), format, "{row}");
        if behaviour != Behaviour::NoCredit {
            let received = application
                .receive(SOON)
                .await
                .unwrap_or_else(|| panic!("{row}: nothing arrived"));
            assert_eq!(received.payload, word.as_bytes(), "{row}");
        }
    }
    stand.stop().await;
}

/// Settings that let a slow application be in time on a busy machine, too; for others the time is the reference's.
pub(crate) fn patience(behaviour: &Behaviour) -> &'static [(&'static str, &'static str)] {
    match behaviour {
        Behaviour::Delay(_) => &[("HONO_MESSAGING_SENDMESSAGETIMEOUT", "10000")],
        _ => &[],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_application_a_device_is_told_to_try_again_in_two_seconds() {
    let stand = stand().await;
    let mut device = device(&stand, "sensor").await;
    for resource in ["t", "e"] {
        let response = device
            .request(&CoapRequest::post(resource).body(0, "x"), SOON)
            .await
            .unwrap();
        assert_eq!(told(&response), (NOBODY.0.to_owned(), NOBODY.1.to_owned()));
        assert_eq!(values(&response, MAX_AGE), [[2]]);
    }
    stand.stop().await;
}

/// At most once: the device learns nothing about the application, and no message is sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unconfirmable_telemetry_is_answered_whatever_the_application_does() {
    for behaviour in [
        Behaviour::Accept,
        Behaviour::Reject(None),
        Behaviour::Release,
        Behaviour::Silent,
    ] {
        let stand = stand().await;
        let mut application = application(&stand, "T", behaviour.clone()).await;
        let mut device = device(&stand, "sensor").await;
        let request = CoapRequest::post("t").non_confirmable().body(0, "x");
        let response = device.request(&request, SOON).await.unwrap();
        assert_eq!(
            told(&response),
            ("2.04".to_owned(), String::new()),
            "{behaviour:?}"
        );
        assert_eq!(
            application.receive(SOON).await.unwrap().payload,
            b"x",
            "{behaviour:?}"
        );
        assert_eq!(application.receive(A_WHILE).await, None, "{behaviour:?}");
        stand.stop().await;
    }
}

/// At most once does not mean that nothing is needed: without anybody to take it, the message is not even sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unconfirmable_telemetry_needs_an_application_too() {
    let stand = stand().await;
    let mut device = device(&stand, "sensor").await;
    let request = CoapRequest::post("t").non_confirmable().body(0, "x");
    let response = device.request(&request, SOON).await.unwrap();
    assert_eq!(told(&response), (NOBODY.0.to_owned(), NOBODY.1.to_owned()));
    assert_eq!(values(&response, MAX_AGE), [[2]]);
    stand.stop().await;
}
