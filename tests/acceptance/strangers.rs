//! Who cannot prove an identity learns nothing: not whether it exists, not that the key is wrong.

use std::time::Duration;

use sandbox::{
    Error,
    device::{CoapRequest, Device},
    northbound::Behaviour,
};

use crate::scene::{A_WHILE, SOON, application, device, is_served, stand, told};

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
