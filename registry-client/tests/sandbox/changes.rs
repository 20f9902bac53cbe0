//! Notifications: entries that the registry changed are looked up again.

use std::sync::Arc;

use amqp_client::{Connection, Message, Outcome};
use registry_client::{
    CacheConfig, CredentialsClient, Notifications, RegistrationClient, TenantClient,
    notifications::{Caches, Change, Event, Events, Notification, Subject},
};
use sandbox::Sandbox;
use tokio::time::timeout;

use crate::network::{PATIENCE, connect, eventually, sandbox, sandbox_at};

/// Clients that have seen all there is, and a registry that can tell of changes.
struct Stage {
    caches: Caches,
    notifications: Notifications,
    registry: Connection,
}

impl Stage {
    fn build(sandbox: &Sandbox) -> Self {
        let connection = connect(sandbox.amqp_address());
        let config = CacheConfig::default();
        let caches = Caches {
            tenants: Arc::new(TenantClient::new(connection.clone(), config)),
            registrations: Arc::new(RegistrationClient::new(connection.clone(), config)),
            credentials: Arc::new(CredentialsClient::new(connection.clone(), config)),
        };
        Self {
            notifications: Notifications::start(&connection, &caches),
            caches,
            registry: connect(sandbox.amqp_address()),
        }
    }

    async fn tenant_is_known(&self) -> bool {
        self.caches.tenants.by_id("T").await.is_ok()
    }

    async fn device_is_known(&self) -> bool {
        self.caches
            .registrations
            .assert("T", "d", None)
            .await
            .is_ok()
    }

    /// Sends to the receivers of an address, as soon as there is one.
    async fn tell(&self, address: &str, text: &str) {
        let message = Message::data(text);
        eventually(async || {
            let sender = self.registry.sender(address).await.ok()?;
            let delivery = sender.send(&message).await.ok()?;
            let outcome = delivery.outcome(Some(PATIENCE)).await.ok()?;
            (outcome == Outcome::Accepted).then_some(())
        })
        .await;
    }
}

fn notification(members: &str) -> String {
    format!(r#"{{"source":"device-registry","creation-time":"2025-06-01T10:00:00Z",{members}}}"#)
}

const TENANTS: &str = "notification/registry-tenant";
const DEVICES: &str = "notification/registry-device";

#[tokio::test]
async fn what_changed_is_forgotten_before_the_event_is_told() {
    let sandbox = sandbox().await;
    let stage = Stage::build(&sandbox);
    let mut events = stage.notifications.subscribe();
    // With the first links everything is forgotten, too.
    let other = r#""type":"tenant-change-v1","change":"CREATE","tenant-id":"U","enabled":true,"invalidate-cache-on-update":false"#;
    stage.tell(TENANTS, &notification(other)).await;
    let all = r#""type":"all-devices-of-tenant-deleted-v1","tenant-id":"U""#;
    stage.tell(DEVICES, &notification(all)).await;
    for _ in 0..2 {
        next_change(&mut events).await;
    }
    assert!(stage.tenant_is_known().await && stage.device_is_known().await);
    sandbox.world().remove_device("T", "d");
    assert!(stage.device_is_known().await);

    let device = r#""type":"device-change-v1","change":"DELETE","tenant-id":"T","device-id":"d","enabled":false"#;
    stage.tell(DEVICES, &notification(device)).await;
    let event = next_change(&mut events).await;
    let expected = Subject::Device {
        change: Change::Delete,
        tenant_id: "T".to_owned(),
        device_id: "d".to_owned(),
        enabled: false,
    };
    assert_eq!(event.subject, expected);
    assert!(!stage.device_is_known().await);

    sandbox.world().remove_tenant("T");
    assert!(stage.tenant_is_known().await);
    let tenant = r#""type":"tenant-change-v1","change":"DELETE","tenant-id":"T","enabled":false,"invalidate-cache-on-update":true"#;
    stage.tell(TENANTS, &notification(tenant)).await;
    next_change(&mut events).await;
    assert!(!stage.tenant_is_known().await);
}

#[tokio::test]
async fn what_is_no_notification_is_ignored() {
    let sandbox = sandbox().await;
    let stage = Stage::build(&sandbox);
    let mut events = stage.notifications.subscribe();
    for text in ["", "{", "[]", "{}", r#"{"type":"device-change-v1"}"#] {
        stage.tell(DEVICES, text).await;
    }
    let all = r#""type":"all-devices-of-tenant-deleted-v1","tenant-id":"T""#;
    stage.tell(DEVICES, &notification(all)).await;
    let event = next_change(&mut events).await;
    let tenant_id = "T".to_owned();
    assert_eq!(
        event.subject,
        Subject::AllDevicesOfTenantDeleted { tenant_id }
    );
}

#[tokio::test]
async fn notifications_come_again_after_an_outage() {
    let sandbox = sandbox().await;
    let address = sandbox.amqp_address();
    let stage = Stage::build(&sandbox);
    let mut events = stage.notifications.subscribe();
    let credentials = r#""type":"credentials-change-v1","tenant-id":"T","device-id":"d""#;
    stage.tell(DEVICES, &notification(credentials)).await;
    next_change(&mut events).await;
    sandbox.stop().await;
    let _sandbox = sandbox_at(address).await;
    stage.tell(DEVICES, &notification(credentials)).await;
    next_change(&mut events).await;
}

/// Symptom: a device that was deleted while the link for notifications was lost was served for up to
/// ten minutes. Cause: answers from before the loss were kept.
#[tokio::test]
async fn all_answers_are_forgotten_when_the_lost_link_is_back() {
    let sandbox = sandbox().await;
    let address = sandbox.amqp_address();
    let stage = Stage::build(&sandbox);
    let mut events = stage.notifications.subscribe();
    let credentials = r#""type":"credentials-change-v1","tenant-id":"T","device-id":"d""#;
    stage.tell(DEVICES, &notification(credentials)).await;
    next_change(&mut events).await;
    assert!(stage.tenant_is_known().await && stage.device_is_known().await);
    sandbox.stop().await;
    let sandbox = sandbox_at(address).await;
    sandbox.world().remove_device("T", "d");
    for _ in [TENANTS, DEVICES] {
        let missed = timeout(PATIENCE, events.next()).await.unwrap();
        assert_eq!(missed, Some(Event::Missed));
    }
    assert!(!stage.device_is_known().await);
}

/// The next notification, whatever was missed before.
async fn next_change(events: &mut Events) -> Notification {
    loop {
        let event = timeout(PATIENCE, events.next()).await;
        match event.expect("an event in time").expect("events go on") {
            Event::Changed(notification) => return notification,
            Event::Missed => {}
        }
    }
}
