//! What is tried with each client.

use std::fmt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dtls_proto::crypto::KeyExchange;
use dtls_proto::{CipherSuite, Config, ConnectionIds, Group, Identity, TicketKeys};

use crate::nat::Nat;
use crate::peer::Peer;
use crate::server::RunningServer;

/// A column of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// A full handshake, and lines both ways.
    Data,
    /// No other curve is to be had.
    X25519,
    P256,
    P384,
    /// Certificates of both sides on this curve.
    CertificateP384,
    /// No datagram of ours is longer than 100 bytes, none of the client's much longer if it can be told so.
    SmallDatagrams,
    /// The session is resumed by its id.
    SessionId,
    /// The session is resumed by a ticket.
    Ticket,
    /// Ids both ways, and a NAT that forgets the client, twice.
    ConnectionId,
    /// Our id only, and the same NAT.
    EmptyConnectionId,
}

impl Feature {
    pub(crate) const ALL: [Self; 10] = [
        Self::Data,
        Self::X25519,
        Self::P256,
        Self::P384,
        Self::CertificateP384,
        Self::SmallDatagrams,
        Self::SessionId,
        Self::Ticket,
        Self::ConnectionId,
        Self::EmptyConnectionId,
    ];

    /// As the head of a column.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::X25519 => "x25519",
            Self::P256 => "p-256",
            Self::P384 => "p-384",
            Self::CertificateP384 => "cert-384",
            Self::SmallDatagrams => "mtu-100",
            Self::SessionId => "by-id",
            Self::Ticket => "by-ticket",
            Self::ConnectionId => "cid-nat",
            Self::EmptyConnectionId => "cid-0-nat",
        }
    }

    pub(crate) const fn comes_back(self) -> bool {
        matches!(self, Self::SessionId | Self::Ticket)
    }

    /// The length of the id that the client wants to be known by.
    pub(crate) const fn id_length(self) -> Option<usize> {
        match self {
            Self::ConnectionId => Some(5),
            Self::EmptyConnectionId => Some(0),
            _ => None,
        }
    }

    const fn group(self) -> Option<Group> {
        match self {
            Self::X25519 => Some(Group::X25519),
            Self::P256 => Some(Group::Secp256r1),
            Self::P384 => Some(Group::Secp384r1),
            _ => None,
        }
    }
}

/// A place in every client's part of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scenario {
    /// The only one that the server has.
    pub(crate) suite: Suite,
    pub(crate) feature: Feature,
}

/// A row of the matrix: an index into [`CipherSuite::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suite(usize);

impl Suite {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..CipherSuite::ALL.len()).map(Self)
    }

    pub(crate) fn get(self) -> CipherSuite {
        CipherSuite::ALL[self.0]
    }

    pub(crate) fn key_exchange(self) -> KeyExchange {
        self.get().key_exchange()
    }

    /// The part of the name that tells the cipher, such as `AES_128_CCM_8`.
    pub(crate) fn cipher(self) -> &'static str {
        let name = self.get().name().split("WITH_").last().unwrap();
        let name = name.strip_suffix("_SHA256").unwrap_or(name);
        name.strip_suffix("_SHA384").unwrap_or(name)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.get().name()["TLS_".len()..])
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.suite, self.feature.name())
    }
}

/// Another stack's client.
pub(crate) trait Stack: Sync {
    fn name(&self) -> &'static str;

    /// What it says it is; `None` if it cannot be started.
    fn version(&self) -> Option<String>;

    /// What a person would install.
    fn needs(&self) -> &'static str;

    /// Why it cannot be asked for this.
    fn lacks(&self, scenario: Scenario) -> Option<&'static str>;

    /// What the server answers.
    fn answer(&self) -> fn(&[u8]) -> Vec<u8> {
        <[u8]>::to_vec
    }

    /// Does what the feature is about.
    fn talk(&self, scenario: Scenario, place: &Place);
}

/// Where the client finds the server.
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) server: RunningServer,
    pub(crate) nat: Option<Nat>,
}

impl Scenario {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Feature::ALL
            .into_iter()
            .flat_map(|feature| Suite::all().map(move |suite| Self { suite, feature }))
    }

    /// Why nobody could be asked for this.
    pub(crate) fn pointless(self) -> Option<&'static str> {
        let exchange = self.suite.key_exchange();
        if self.feature.group().is_some() && exchange == KeyExchange::Psk {
            return Some("there is no curve in this key exchange");
        }
        let has_certificates = exchange == KeyExchange::EcdheEcdsa;
        if self.feature == Feature::CertificateP384 && !has_certificates {
            return Some("there is no certificate in this key exchange");
        }
        None
    }

    /// The file with key and certificate, the same for both sides, as nobody here asks who vouches for it; none for a key.
    pub(crate) fn pem(self) -> Option<&'static str> {
        let has_certificates = self.suite.key_exchange() == KeyExchange::EcdheEcdsa;
        has_certificates.then(|| self.identity())
    }

    fn identity(self) -> &'static str {
        match self.feature {
            Feature::CertificateP384 => "tests/identities/p384.pem",
            _ => "tests/identities/p256.pem",
        }
    }

    /// What the client's datagrams are bounded to, if it can be told so.
    pub(crate) fn mtu(self) -> Option<&'static str> {
        (self.feature == Feature::SmallDatagrams).then_some("256")
    }

    fn config(self) -> Config {
        let pem = std::fs::read(self.identity()).unwrap();
        let mut config = Config::default();
        config.suites = vec![self.suite.get()];
        config.identity = Some(Arc::new(Identity::from_pem(&pem, &pem).unwrap()));
        if let Some(group) = self.feature.group() {
            config.groups = vec![group];
        }
        match self.feature {
            Feature::SmallDatagrams => config.mtu = 100,
            Feature::SessionId => config.resumption.cached_sessions = 10,
            Feature::Ticket => {
                config.resumption.tickets = Some(TicketKeys::new([7; 32], None));
            }
            Feature::ConnectionId | Feature::EmptyConnectionId => {
                config.connection_ids = ConnectionIds::new(8, 1, 2).ok();
            }
            _ => {}
        }
        config
    }

    /// Lets the client and a server of its own talk, and looks at what the server saw.
    pub(crate) fn run(self, stack: &dyn Stack) {
        let server = RunningServer::answering(self.config(), stack.answer());
        let moves = self.feature.id_length().is_some();
        let nat = moves.then(|| Nat::new(server.address));
        let port = nat.as_ref().map_or(server.address.port(), |nat| nat.port);
        let place = Place { port, server, nat };
        stack.talk(self, &place);
        let statistics = place.server.stop();
        let back = u64::from(self.feature.comes_back());
        assert_eq!(
            (
                statistics.handshakes_established,
                statistics.resumptions_established,
                statistics.address_changes,
                statistics.bad_records,
            ),
            (1 + back, back, if moves { MOVES } else { 0 }, 0),
            "{statistics:?}"
        );
    }
}

impl Scenario {
    /// Talks with a client that sends what it is told, prints what it gets behind "< ", and resumes its session when told so.
    pub(crate) fn talk_by_lines(self, client: &mut Peer, place: &Place) {
        let mut echo = |line: &str| {
            client.say(line);
            client.wait_for(&format!("< {line}"));
        };
        echo("first line");
        if let Some(nat) = &place.nat {
            for number in 0..MOVES {
                nat.rebind();
                echo(&format!("moved {number}"));
            }
        }
        echo("last line");
        if self.feature.comes_back() {
            client.say("RESUME");
            client.say("line of a resumed session");
            client.wait_for("< line of a resumed session");
        }
    }
}

/// The first line that a program writes; `None` if it cannot be started.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let written = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&written);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Some(lines.next().unwrap_or_default().to_owned())
}

/// How often the NAT forgets its client.
pub(crate) const MOVES: u64 = 2;
