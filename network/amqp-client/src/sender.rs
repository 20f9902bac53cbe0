//! Sending links and what becomes of what was sent on them (spec: amqp-messages §4).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use amqp_proto::{CannotSend, DeliveryId, Message, Outcome, Settlement};
use fair_share::Holder;
use tokio::{
    sync::oneshot,
    time::{timeout, timeout_at},
};

use crate::{
    Connection, LinkError, SendError,
    connection::{AttachedLink, Link, Shared},
};

/// A sending link. It is detached when its last clone is dropped.
#[derive(Clone)]
pub struct Sender {
    link: Arc<AttachedLink>,
}

impl Connection {
    /// Attaches a new sender to an address, as the rewrite rule makes it, and waits a moment for its first credit.
    ///
    /// # Errors
    /// [`LinkError`] if there is no connection and none under way, or if the peer refuses or does not answer.
    pub async fn sender(&self, address: &str) -> Result<Sender, LinkError> {
        self.sender_since(address, Instant::now()).await
    }

    /// As [`Connection::sender`], for a message that has been waiting since `asked`: where the connection is lost, it is waited
    /// for if no attempt to connect has begun since then, so that many messages do not wait one after the other.
    ///
    /// # Errors
    /// As [`Connection::sender`].
    pub async fn sender_since(&self, address: &str, asked: Instant) -> Result<Sender, LinkError> {
        let config = self.config();
        let rewritten = config.address_rewrite_rule.as_ref();
        let target = rewritten.map_or(address.into(), |rule| rule.apply(address));
        let (link, max_message_size) = self
            .attach(asked, |core| core.attach_sender(&target))
            .await?;
        if let Some(limit) = max_message_size.filter(|limit| *limit < config.min_max_message_size) {
            return Err(LinkError::MaxMessageSize { limit });
        }
        let sender = Sender {
            link: Arc::new(link),
        };
        if sender.credit() == 0 {
            // Without credit in time, the first message will fail at once.
            drop(timeout(config.flow_latency, sender.link.wake.notified()).await);
        }
        Ok(sender)
    }
}

impl Sender {
    /// Sends a message if the peer granted credit; never waits for credit. It waits only when the peer takes bytes too slowly.
    ///
    /// # Errors
    /// [`SendError`] if nothing was sent.
    pub async fn send(&self, message: &Message) -> Result<Delivery, SendError> {
        self.send_of(message, None).await
    }

    /// As [`Sender::send`], for a holder that may not use up the last of the link's credit alone.
    ///
    /// # Errors
    /// As [`Sender::send`]; [`SendError::NoCredit`] also if others have a better claim to what is left.
    pub async fn send_of(
        &self,
        message: &Message,
        holder: Option<Holder>,
    ) -> Result<Delivery, SendError> {
        let refused = match self.try_send(message, holder) {
            Err(CannotSend::Full) => self.send_when_there_is_room(message, holder).await,
            other => other,
        };
        refused.map_err(|refused| match refused {
            CannotSend::NoCredit => SendError::NoCredit,
            CannotSend::TooLarge { limit } => SendError::TooLarge { limit },
            CannotSend::Full => SendError::Congested,
            _ => LinkError::NotConnected.into(),
        })
    }

    /// Whether the link can be used. It never can again once it could not.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.link.is_attached()
    }

    /// How many messages can be sent now.
    #[must_use]
    pub fn credit(&self) -> u32 {
        let Link { id, .. } = self.link.link;
        self.shared()
            .with_link(self.link.link, |_, core| core.credit(id))
            .unwrap_or(0)
    }

    /// Number of messages that have no outcome yet.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let Link { id, .. } = self.link.link;
        self.shared()
            .with_link(self.link.link, |_, core| core.in_flight(id))
            .unwrap_or(0)
    }

    /// Ends the link, for its other clones too. What is under way on it is lost.
    #[expect(
        clippy::unused_async,
        reason = "ending a link may have to wait one day"
    )]
    pub async fn detach(self) {
        let Link { id, .. } = self.link.link;
        self.shared()
            .with_link(self.link.link, |_, core| core.detach(id));
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.link.connection.shared
    }

    fn try_send(&self, message: &Message, holder: Option<Holder>) -> Result<Delivery, CannotSend> {
        let link = self.link.link;
        let sent = self.shared().with_link(link, |books, core| {
            if let Some(holder) = holder
                && !books.may_use_credit(link.id, core.credit(link.id), holder)
            {
                return Err(CannotSend::NoCredit);
            }
            let delivery = core.send(Instant::now(), link.id, message)?;
            Ok((delivery, books.wait_for(delivery)))
        });
        let (delivery, settlement) = sent.unwrap_or(Err(CannotSend::NotAttached))?;
        Ok(Delivery {
            shared: Arc::clone(self.shared()),
            link,
            delivery: Some(delivery),
            settlement,
        })
    }

    async fn send_when_there_is_room(
        &self,
        message: &Message,
        holder: Option<Holder>,
    ) -> Result<Delivery, CannotSend> {
        let patience = self.shared().config.send_message_timeout;
        let give_up = tokio::time::Instant::now() + patience.unwrap_or(MAX_CONGESTION);
        loop {
            let mut room = std::pin::pin!(self.shared().room.notified());
            room.as_mut().enable();
            match self.try_send(message, holder) {
                Err(CannotSend::Full) if timeout_at(give_up, room).await.is_ok() => {}
                other => return other,
            }
        }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sender")
            .field("link", &self.link.link)
            .finish_non_exhaustive()
    }
}

/// A message that was sent. Dropped, it is settled as released, and its outcome is ignored.
#[must_use = "what is dropped is settled as released"]
pub struct Delivery {
    shared: Arc<Shared>,
    link: Link,
    delivery: Option<DeliveryId>,
    settlement: oneshot::Receiver<Settlement>,
}

impl Delivery {
    /// Waits for what becomes of the message, for `within` and never longer than `sendMessageTimeout`.
    ///
    /// # Errors
    /// [`SendError`] if the peer does not tell.
    pub async fn outcome(mut self, within: Option<Duration>) -> Result<Outcome, SendError> {
        let settlement = match within {
            Some(within) => match timeout(within, &mut self.settlement).await {
                Ok(settlement) => settlement,
                Err(_) => return Err(SendError::TimedOut),
            },
            None => (&mut self.settlement).await,
        };
        self.delivery = None;
        match settlement {
            Ok(Settlement::Outcome(outcome)) => Ok(outcome),
            Ok(Settlement::Unsettled) => Err(SendError::Unsettled),
            Ok(Settlement::TimedOut) => Err(SendError::TimedOut),
            Ok(Settlement::Lost) | Err(_) => Err(SendError::LinkLost),
        }
    }

    /// Lets the message go its way: whatever becomes of it, nobody waits.
    pub fn let_go(mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.shared
                .with_link(self.link, |books, _| books.forget(delivery));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.shared.with_link(self.link, |books, core| {
                books.forget(delivery);
                core.abandon(delivery);
            });
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("link", &self.link)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// Sends one message on a link of its own, which is detached whatever comes of it (spec: amqp-messages §5).
///
/// # Errors
/// [`SendError`] if nothing was sent, or if the peer does not tell what became of it.
pub async fn send_once(
    connection: &Connection,
    address: &str,
    message: &Message,
) -> Result<Outcome, SendError> {
    let sender = connection.sender(address).await?;
    sender.send(message).await?.outcome(None).await
}

/// How long to wait for a congested connection if outcomes are waited for without end.
const MAX_CONGESTION: Duration = Duration::from_secs(10);
