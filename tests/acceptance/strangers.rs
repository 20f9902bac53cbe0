//! Who cannot prove an identity learns nothing: not whether it exists, not that the key is wrong.

use std::time::Duration;

use sandbox::{
    device::{CoapRequest, Device, Error},
    northbound::Behaviour,
    services::{Asked, Operation},
};
use tokio::sync::broadcast::Receiver;

use crate::scene::{A_WHILE, SOON, application, asked_for, device, is_served, stand, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_and_an_unknown_identity_are_met_with_the_same_silence() {
    let strangers: [(&str, &[u8]); 7] = [
        ("sensor@T", b"wrong"),
        ("sensor@OTHER", b"k"),
        ("nobody@T", b"k"),
        ("sensor@NONE", b"k"),
        ("sensor", b"k"),
        ("", b"k"),
        ("disabled@T", b"k"),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;
    let patience = Duration::from_secs(2);
    let mut handshakes = tokio::task::JoinSet::new();
    for (identity, key) in strangers {
        let server = stand.coaps();
        handshakes.spawn(async move {
            (
                identity,
                Device::connect(server, identity, key, patience).await,
            )
        });
    }
    while let Some(ended) = handshakes.join_next().await {
        let (identity, ended) = ended.unwrap();
        assert!(
            matches!(ended, Err(Error::Timeout(_))),
            "{identity}: {ended:?}"
        );
        is_served(&mut known, &mut application, identity).await;
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// The same auth-id in two tenants is two devices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_counts_in_its_own_tenant() {
    let stand = stand().await;
    let mut application = application(&stand, "OTHER", Behaviour::Accept).await;
    let mut device = Device::connect(stand.coaps(), "sensor@OTHER", b"other", SOON)
        .await
        .unwrap();
    let response = device
        .request(&CoapRequest::post("t").body(0, "x"), SOON)
        .await
        .unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    let received = application.receive(SOON).await.unwrap();
    assert_eq!(
        received.sections["message-annotations"]["tenant_id"]["string"],
        "OTHER"
    );
    stand.stop().await;
}

/// A key is asked for by its type and auth-id, and by nothing else; what stands behind the first `@` is the tenant. Without one nobody
/// is asked, and nobody asks for the tenant or the device before there is a message (spec: coap-adapter §9).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_asks_for_the_key_and_for_nothing_else() {
    let stand = stand().await;
    let mut asked = stand.sandbox().services().asked();
    device(&stand, "sensor").await.close().await;
    let question = asked_for(&mut asked, Operation::Credentials).await;
    assert_eq!(
        (question.address.as_str(), question.status),
        ("credentials/T", 200)
    );
    let body: serde_json::Value = serde_json::from_slice(&question.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"type": "psk", "auth-id": "sensor"})
    );
    let tenant = (Operation::Tenant, "tenant");
    let credentials = (Operation::Credentials, "credentials/T");
    for (identity, expected) in [
        ("a@T", Some(credentials)),
        // There is no such tenant, so nobody is asked for credentials in it.
        ("a@T@T", Some(tenant)),
        ("a@T/x", None),
        ("a@", None),
        ("a", None),
    ] {
        let patience = Duration::from_millis(1200);
        let ended = Device::connect(stand.coaps(), identity, b"k", patience).await;
        assert!(
            matches!(ended, Err(Error::Timeout(_))),
            "{identity}: {ended:?}"
        );
        let questions = all_asked(&mut asked);
        // Once, however often the device sends again.
        let asked: Vec<_> = questions
            .iter()
            .map(|it| (it.operation, it.address.as_str(), it.status))
            .collect();
        let expected = expected.map(|(operation, address)| (operation, address, 404));
        assert_eq!(asked, Vec::from_iter(expected), "{identity}");
    }
    stand.stop().await;
}

fn all_asked(asked: &mut Receiver<Asked>) -> Vec<Asked> {
    std::iter::from_fn(|| asked.try_recv().ok()).collect()
}
