//! A gateway speaks for the devices that name it, and for itself.

use sandbox::{device::CoapRequest, northbound::Behaviour};

use crate::scene::{SOON, application, device, stand, told};

/// Path, code, text, and whose message arrives (spec: coap-adapter §2).
const ROWS: [(&str, &str, &str, &str); 6] = [
    ("t//behind", "2.04", "", "behind"),
    ("t/T/behind", "2.04", "", "behind"),
    ("e//behind", "2.04", "", "behind"),
    ("e/T/behind", "2.04", "", "behind"),
    ("t//gw", "2.04", "", "gw"),
    ("t//d", "4.03", "gateway is disabled or not registered", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_carries_the_id_of_the_device_it_is_of() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut gateway = device(&stand, "gw").await;
    for (path, code, text, whose) in ROWS {
        let response = gateway
            .request(&CoapRequest::put(path).body(0, path), SOON)
            .await
            .unwrap();
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{path}"
        );
        if code == "2.04" {
            let sections = application.receive(SOON).await.expect(path).sections;
            assert_eq!(
                sections["message-annotations"]["device_id"]["string"], whose,
                "{path}"
            );
            assert_eq!(
                sections["application-properties"]["device_id"]["string"], whose,
                "{path}"
            );
            assert_eq!(
                sections["application-properties"]["orig_address"]["string"],
                format!("/{path}")
            );
            assert!(
                sections["application-properties"]["gateway_id"].is_null(),
                "{path}"
            );
        }
    }
    let response = gateway
        .request(&CoapRequest::post("t").body(0, "x"), SOON)
        .await
        .unwrap();
    assert_eq!(response.code(), "2.04");
    let sections = application.receive(SOON).await.unwrap().sections;
    assert_eq!(sections["message-annotations"]["device_id"]["string"], "gw");
    stand.stop().await;
}
