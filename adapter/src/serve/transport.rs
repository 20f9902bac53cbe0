//! Where CoAP messages come from: DTLS sessions, or bare datagrams.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dtls_server::{
    AssociationId, Batch, CipherSuite, CloseReason, Event, HandshakeFailure, Identity, Listener,
    Path, SendError, SocketStatistics, TicketKeys, UdpSocket,
};

use crate::authn::{Claim, DeviceStore, Principal, Refusal, Revoked};
use observability::metrics::{Metrics, Transport as Kind};

/// A source of CoAP messages that also takes the answers.
pub trait Transport: Send + 'static {
    /// What tells peers apart.
    type Peer: Clone + Eq + Hash + Debug + Send + Sync + 'static;

    /// The next thing that comes. Cancel safe.
    fn next(&mut self) -> impl Future<Output = io::Result<Arrival<Self::Peer>>> + Send;

    /// What else is there already, without a look at the network: the rest of a batch.
    fn take_waiting(&mut self) -> Option<Arrival<Self::Peer>>;

    /// Tells what was counted below CoAP.
    fn observe(&self, metrics: &Metrics);

    /// What it is below CoAP.
    const KIND: Kind;

    /// Lets no new peer in from now on, where peers are let in at all.
    fn close_admission(&mut self) {}

    /// How many peers are about to be let in.
    fn handshakes(&self) -> usize {
        0
    }

    /// Ends the sessions of devices that may not speak any more.
    fn expel(&mut self, revoked: &Revoked);

    /// Asks the registry about the device of each session with its next message: changes may have been
    /// missed.
    fn reconfirm(&mut self) {}

    /// Takes something new in use for handshakes to come.
    fn renew(&mut self, renewal: Renewal);

    /// Takes one message, which goes out with the next [`Transport::flush`]; to a device that is gone it is a lost datagram.
    fn send(&mut self, peer: &Self::Peer, message: Arc<[u8]>);

    /// Whether messages can still be sent to this peer: its session is not over.
    fn can_send(&self, peer: &Self::Peer) -> bool;

    /// Sends all that was taken, as much as possible at once; what the kernel has no room for is lost.
    fn flush(&mut self);
}

/// What comes from peers.
#[derive(Debug)]
pub enum Arrival<P> {
    /// The bytes of a message.
    Message {
        /// Whom an answer goes to.
        peer: P,
        /// Who that is, if it has proved so.
        principal: Option<Principal>,
        /// Whence it came.
        address: SocketAddr,
        /// Largest message that can be sent in answer.
        max_message: usize,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A peer has proved who it is.
    Established {
        /// Who it is.
        principal: Principal,
        /// Whence it came.
        address: SocketAddr,
        /// What protects the session.
        suite: CipherSuite,
    },
    /// A handshake came to nothing.
    HandshakeFailed {
        /// Whence it came.
        address: SocketAddr,
        /// Who tried, and why it failed.
        refusal: Box<Refusal>,
    },
    /// The peer's session is over.
    Gone {
        /// Whose.
        peer: P,
        /// Who that was.
        principal: Principal,
        /// Why it is over.
        reason: CloseReason,
    },
}

/// What a port takes in use while it runs; sessions that live go on as they are.
#[derive(Debug, Clone)]
pub enum Renewal {
    /// The server's certificate and key.
    Identity(Arc<Identity>),
    /// The keys that session tickets are sealed with.
    TicketKeys(TicketKeys),
}

/// CoAP over DTLS (RFC 7252 §9): a peer is a session, whatever its address.
impl Transport for Listener<DeviceStore> {
    type Peer = AssociationId;

    async fn next(&mut self) -> io::Result<Arrival<AssociationId>> {
        loop {
            if let Some(arrival) = arrival(Self::next(self).await?, self.keys()) {
                return Ok(arrival);
            }
        }
    }

    fn take_waiting(&mut self) -> Option<Arrival<AssociationId>> {
        while let Some(event) = Self::take_waiting(self) {
            if let Some(arrival) = arrival(event, self.keys()) {
                return Some(arrival);
            }
        }
        None
    }

    const KIND: Kind = Kind::Dtls;

    fn observe(&self, metrics: &Metrics) {
        let gauges = self.gauges();
        metrics.observe_dtls(self.statistics(), gauges, self.passed_on());
        metrics.observe_socket(Kind::Dtls, self.socket_statistics());
        let bytes = Some(gauges.session_bytes);
        metrics.observe_table("dtls_sessions", gauges.sessions, bytes);
        metrics.observe_table("dtls_handshakes", gauges.handshakes, None);
        metrics.observe_table("dtls_connection_ids", gauges.connection_ids, None);
        metrics.observe_table("dtls_resumable", gauges.resumable, None);
    }

    fn close_admission(&mut self) {
        Self::close_admission(self);
    }

    fn handshakes(&self) -> usize {
        self.gauges().handshakes
    }

    fn expel(&mut self, revoked: &Revoked) {
        let closed = self.close_where(|principal| revoked.concerns(principal));
        if closed > 0 {
            tracing::info!(%revoked, closed, "closed sessions of a revoked device or tenant");
        }
    }

    fn reconfirm(&mut self) {
        self.reconfirm_all();
    }

    fn renew(&mut self, renewal: Renewal) {
        match renewal {
            Renewal::Identity(identity) => self.set_identity(Some(identity)),
            Renewal::TicketKeys(keys) => self.set_ticket_keys(Some(keys)),
        }
    }

    fn send(&mut self, peer: &AssociationId, message: Arc<[u8]>) {
        match Self::send(self, *peer, &message) {
            Ok(()) => {}
            Err(error @ SendError::TooLarge { .. }) => {
                let bytes = message.len();
                tracing::warn!(session = %peer, bytes, %error, "message not sent");
            }
            Err(error) => tracing::debug!(session = %peer, %error, "message not sent"),
        }
    }

    fn can_send(&self, peer: &AssociationId) -> bool {
        self.max_payload(*peer).is_some()
    }

    fn flush(&mut self) {
        Self::flush(self);
    }
}

/// None for what CoAP need not know.
fn arrival(event: Event<Principal, Refusal>, keys: &DeviceStore) -> Option<Arrival<AssociationId>> {
    match event {
        Event::ApplicationData {
            association,
            principal,
            peer,
            max_payload,
            data,
        } => Some(Arrival::Message {
            peer: association,
            principal: Some(principal),
            address: peer,
            max_message: max_payload,
            bytes: data,
        }),
        Event::Established {
            principal,
            peer,
            suite,
            ..
        } => Some(Arrival::Established {
            principal,
            address: peer,
            suite,
        }),
        Event::HandshakeFailed {
            peer,
            identity,
            principal,
            failure,
            refusal,
        } => {
            let claim = match (&principal, &identity) {
                (Some(principal), _) => principal.into(),
                (None, Some(identity)) => keys.claimed(identity),
                (None, None) => Claim::default(),
            };
            let refusal = refusal.unwrap_or_else(|| failed(claim, failure));
            Some(Arrival::HandshakeFailed {
                address: peer,
                refusal: Box::new(refusal),
            })
        }
        Event::Closed {
            association,
            principal,
            reason,
        } => Some(Arrival::Gone {
            peer: association,
            principal,
            reason,
        }),
        _ => None,
    }
}

/// What the engine tells of a handshake that the registry had no part in the end of.
fn failed(claim: Claim, failure: HandshakeFailure) -> Refusal {
    match failure {
        HandshakeFailure::NothingToChoose(alert) | HandshakeFailure::ClientAlert(alert) => {
            claim.refused_as(failure.into(), format_args!("{alert}"))
        }
        _ => claim.refused(failure.into()),
    }
}

/// CoAP over UDP: a peer is an address and the local address that it talks to, and nobody is authenticated. Everything that a peer
/// gets, retransmissions and separate responses too, leaves from that local address (RFC 7252 §5.3.2).
#[derive(Debug)]
pub struct Plain {
    socket: UdpSocket,
    batch: Batch,
    /// Of the last batch, what was not handed on yet.
    waiting: VecDeque<(Path, Vec<u8>)>,
    /// What is to be sent.
    outgoing: Vec<(Path, Arc<[u8]>)>,
    /// Datagrams that the kernel did not take.
    unsent: u64,
}

impl Plain {
    /// Serves this socket.
    #[must_use]
    pub fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            batch: Batch::new(),
            waiting: VecDeque::new(),
            outgoing: Vec::new(),
            unsent: 0,
        }
    }
}

impl Transport for Plain {
    type Peer = Path;

    async fn next(&mut self) -> io::Result<Arrival<Path>> {
        loop {
            if let Some(arrival) = self.take_waiting() {
                return Ok(arrival);
            }
            self.socket.receive(&mut self.batch).await?;
            let waiting = &mut self.waiting;
            self.batch
                .for_each(|path, datagram| waiting.push_back((path, datagram.to_vec())));
        }
    }

    fn take_waiting(&mut self) -> Option<Arrival<Path>> {
        let (path, bytes) = self.waiting.pop_front()?;
        Some(Arrival::Message {
            peer: path,
            principal: None,
            address: path.remote,
            max_message: usize::MAX,
            bytes,
        })
    }

    const KIND: Kind = Kind::Udp;

    fn observe(&self, metrics: &Metrics) {
        let statistics = SocketStatistics {
            unsent: self.unsent,
            receive_errors: self.socket.receive_errors(),
        };
        metrics.observe_socket(Kind::Udp, statistics);
    }

    fn expel(&mut self, _revoked: &Revoked) {}

    fn renew(&mut self, _renewal: Renewal) {}

    fn send(&mut self, peer: &Path, message: Arc<[u8]>) {
        self.outgoing.push((*peer, message));
    }

    fn can_send(&self, _peer: &Path) -> bool {
        true
    }

    fn flush(&mut self) {
        let unsent = self.socket.send_all(&self.outgoing).unsent();
        self.outgoing.clear();
        self.unsent = self
            .unsent
            .saturating_add(u64::try_from(unsent).unwrap_or(u64::MAX));
    }
}
