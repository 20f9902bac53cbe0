//! Receiving links (spec: amqp-messages §6).

use std::{sync::Arc, time::Instant};

use amqp_proto::{DecodeError, IncomingId, Message, Outcome};

use crate::{
    Connection, LinkError,
    connection::{AttachedLink, Link, Shared},
};

/// A receiving link. It is detached when it is dropped; what it has not handed out stays with the peer.
pub struct Receiver {
    link: AttachedLink,
}

impl Connection {
    /// Attaches a receiver to an address and grants it that much credit; each message taken is replaced by one more credit.
    ///
    /// # Errors
    /// [`LinkError`] if there is no connection and none under way, or if the peer refuses or does not answer.
    pub async fn receiver(&self, address: &str, credit: u32) -> Result<Receiver, LinkError> {
        let (link, _) = self
            .attach(Instant::now(), |core| {
                let id = core.attach_receiver(address)?;
                core.grant(id, credit);
                Ok(id)
            })
            .await?;
        Ok(Receiver { link })
    }
}

impl Receiver {
    /// The next message. `None` once the link is gone, for whatever reason.
    pub async fn next(&mut self) -> Option<Incoming> {
        let link = self.link.link;
        let shared = &self.link.connection.shared;
        loop {
            let taken = shared.with_link(link, |books, core| {
                let taken = books.next_message(link.id)?;
                if taken.is_some() {
                    core.grant(link.id, 1);
                }
                Some(taken)
            });
            shared.resume_reading();
            if let Some((delivery, settled, message)) = taken.flatten()? {
                return Some(Incoming {
                    message: Message::decode(&message),
                    settled_by_peer: settled,
                    pending: Unsettled {
                        shared: Arc::clone(shared),
                        link,
                        delivery: (!settled).then_some(delivery),
                    },
                });
            }
            self.link.wake.notified().await;
        }
    }

    /// Whether messages can still come.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.link.is_attached()
    }

    /// Ends the link.
    #[expect(
        clippy::unused_async,
        reason = "ending a link may have to wait one day"
    )]
    pub async fn detach(self) {}
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Receiver")
            .field("link", &self.link.link)
            .finish_non_exhaustive()
    }
}

/// A message received. Dropped without being settled, it is released.
#[derive(Debug)]
pub struct Incoming {
    /// What came, if it can be understood.
    pub message: Result<Message, DecodeError>,
    /// Whether the peer settled it before we could.
    pub settled_by_peer: bool,
    pending: Unsettled,
}

impl Incoming {
    /// Tells the peer what became of the message. False if it does not matter any more.
    pub fn settle(mut self, outcome: Outcome) -> bool {
        self.pending.settle(outcome)
    }
}

struct Unsettled {
    shared: Arc<Shared>,
    link: Link,
    delivery: Option<IncomingId>,
}

impl Unsettled {
    fn settle(&mut self, outcome: Outcome) -> bool {
        let Some(delivery) = self.delivery.take() else {
            return false;
        };
        self.shared
            .with_link(self.link, |_, core| {
                core.settle(self.link.id, delivery, outcome)
            })
            .unwrap_or(false)
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.settle(Outcome::Released);
    }
}

impl std::fmt::Debug for Unsettled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} {:?}", self.link, self.delivery)
    }
}
