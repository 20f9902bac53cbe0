//! A service that does as a test tells it, over AMQP on the loopback interface.
//!
//! The sandbox passes messages between senders and receivers of `event/...`, so such an address can be anybody's service.

use std::time::Duration;

use amqp_client::{
    Connection, ConnectionConfig, Incoming, Message, MessageId, Outcome, Properties, Receiver,
    Value,
};
use sandbox::Sandbox;
use tokio::time::timeout;

/// Long enough for a busy machine; what is tested never takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn config(sandbox: &Sandbox) -> ConnectionConfig {
    let address = sandbox.amqp_address();
    let mut config = ConnectionConfig::new(address.ip().to_string(), address.port());
    config.connect_timeout = PATIENCE;
    config.flow_latency = PATIENCE;
    config.link_establishment_timeout = PATIENCE;
    config.send_message_timeout = None;
    config.request_timeout = PATIENCE;
    config
}

pub(crate) fn connect(config: ConnectionConfig) -> Connection {
    Connection::start("Test", config).unwrap()
}

/// A service for one tenant, S.
pub(crate) struct Service {
    pub(crate) connection: Connection,
    requests: Receiver,
}

impl Service {
    pub(crate) async fn start(sandbox: &Sandbox) -> Self {
        let connection = connect(config(sandbox));
        let requests = connection.receiver("event/S", 100).await.unwrap();
        Self {
            connection,
            requests,
        }
    }

    pub(crate) async fn next(&mut self) -> Incoming {
        timeout(PATIENCE, self.requests.next())
            .await
            .unwrap()
            .unwrap()
    }

    /// Takes the next request for good.
    pub(crate) async fn take(&mut self) -> Message {
        let request = self.next().await;
        let message = request.message.as_ref().unwrap().clone();
        assert!(request.settle(Outcome::Accepted));
        message
    }

    pub(crate) async fn send(&self, request: &Message, response: &Message) -> Outcome {
        let reply_to = request.properties.reply_to.as_deref().unwrap();
        let sender = self.connection.sender(reply_to).await.unwrap();
        let delivery = sender.send(response).await.unwrap();
        delivery.outcome(Some(PATIENCE)).await.unwrap()
    }
}

pub(crate) fn response(correlation_id: Option<MessageId>, status: Option<i32>) -> Message {
    let status = status.map(|status| ("status".to_owned(), Value::Int(status)));
    Message {
        properties: Properties {
            correlation_id,
            ..Properties::default()
        },
        application_properties: status.into_iter().collect(),
        ..Message::default()
    }
}
