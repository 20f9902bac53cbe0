//! A client and a scripted peer on one clock.

mod peer;

mod opening;

mod sending;

mod receiving;

mod hostile;

mod sharing;

use std::time::{Duration, Instant};

use fe2o3_amqp_types::performatives::Performative;

use self::peer::Peer;
use crate::{Config, Connection, Event, LinkId, Sasl, Settlement, frame};

/// Both ends, and the time.
pub(super) struct Pair {
    pub(super) client: Connection,
    pub(super) peer: Peer,
    pub(super) now: Instant,
}

impl Pair {
    /// Nothing was said yet.
    pub(super) fn new(config: Config) -> Self {
        let now = start();
        Self {
            client: Connection::new(now, config),
            peer: Peer::default(),
            now,
        }
    }

    /// Open, with a session.
    pub(super) fn open() -> Self {
        Self::opened(plain(), u32::MAX, 1000)
    }

    /// Open, with a peer of these bounds.
    pub(super) fn opened(config: Config, max_frame_size: u32, incoming_window: u32) -> Self {
        let mut pair = Self::new(config);
        pair.deliver_to_peer();
        pair.peer.say(&frame::AMQP_HEADER);
        pair.peer.open(max_frame_size, None);
        pair.peer.begin(incoming_window);
        pair.deliver_to_client();
        assert_eq!(pair.events(), [Event::Opened]);
        pair.deliver_to_peer();
        pair.peer.heard.clear();
        pair
    }

    /// With a sender that the peer gave so much credit.
    pub(super) fn sender(&mut self, credit: u32) -> LinkId {
        let link = self.client.attach_sender("telemetry/T").unwrap();
        self.deliver_to_peer();
        self.peer.answer_attach(0);
        if credit > 0 {
            self.peer.give_credit(0, credit);
        }
        self.deliver_to_client();
        assert!(self.client.is_attached(link));
        self.events();
        self.peer.heard.clear();
        link
    }

    /// With one more sender, to which the peer gives so much credit by this handle.
    pub(super) fn another_sender(&mut self, handle: u32, credit: u32) -> LinkId {
        let link = self
            .client
            .attach_sender(&format!("telemetry/{handle}"))
            .unwrap();
        self.deliver_to_peer();
        self.peer.answer_attach(handle);
        self.peer.give_credit(handle, credit);
        self.deliver_to_client();
        assert!(self.client.is_attached(link));
        self.events();
        self.peer.heard.clear();
        link
    }

    /// With a receiver that granted so much credit.
    pub(super) fn receiver(&mut self, credit: u32) -> LinkId {
        let link = self.client.attach_receiver("command/T").unwrap();
        self.client.grant(link, credit);
        self.deliver_to_peer();
        self.peer.answer_attach(0);
        self.deliver_to_client();
        assert!(self.client.is_attached(link));
        self.events();
        self.deliver_to_peer();
        self.peer.heard.clear();
        link
    }

    /// Lets the peer hear what the client said.
    pub(super) fn deliver_to_peer(&mut self) {
        let mut bytes = Vec::new();
        self.client.poll_transmit(self.now, &mut bytes);
        self.peer.hear(&bytes);
    }

    /// Lets the client hear what the peer said.
    pub(super) fn deliver_to_client(&mut self) {
        let said = std::mem::take(&mut self.peer.said);
        self.client.handle_bytes(self.now, &said);
    }

    /// Time passes.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.client.handle_timeout(self.now);
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// How the deliveries of ours ended since the last time.
    pub(super) fn settlements(&mut self) -> Vec<Settlement> {
        let settled = |event| match event {
            Event::Settled { settlement, .. } => Some(settlement),
            _ => None,
        };
        self.events().into_iter().filter_map(settled).collect()
    }

    /// What the peer heard since the last time.
    pub(super) fn heard(&mut self) -> Vec<Performative> {
        self.deliver_to_peer();
        let heard = std::mem::take(&mut self.peer.heard);
        heard
            .into_iter()
            .filter_map(|frame| frame.performative)
            .collect()
    }
}

/// Without SASL.
pub(super) fn plain() -> Config {
    Config {
        container_id: "client".to_owned(),
        sasl: Sasl::None,
        ..Config::default()
    }
}

/// Any point in time; from there on, time is virtual.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has to start at some point in time"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}
