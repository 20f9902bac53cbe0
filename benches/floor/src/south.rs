//! The devices' side: DTLS, and as much of CoAP as tells a request from another.

use std::{collections::VecDeque, io, net::SocketAddr, time::Instant};

use dtls_proto::{AssociationId, Config, Event, Psk, Server};

use crate::udp::UdpSocket;

/// A request's payload, and what its answer needs.
pub(crate) struct Upload {
    pub(crate) payload: Vec<u8>,
    pub(crate) answer: Answer,
}

/// An acknowledgement with 2.04, ready but for the seal.
pub(crate) struct Answer {
    association: AssociationId,
    message: Vec<u8>,
}

pub(crate) struct South {
    pub(crate) socket: UdpSocket,
    server: Server,
    pub(crate) uploads: VecDeque<Upload>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
}

impl South {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut config = Config::default();
        config.max_associations = ASSOCIATIONS;
        Ok(Self {
            socket: UdpSocket::bind(address)?,
            // Cookies of a yardstick need no secret.
            server: Server::new(config, [0; 32]),
            uploads: VecDeque::new(),
            outgoing: Vec::new(),
        })
    }

    pub(crate) fn receive(&mut self, now: Instant) -> io::Result<()> {
        let server = &mut self.server;
        self.socket
            .receive(|peer, datagram| server.handle_datagram(now, peer, datagram))?;
        self.take_events(now);
        Ok(())
    }

    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::PskRequested {
                    association,
                    identity,
                    ..
                } => {
                    let key = key(&identity);
                    self.server.provide_psk(now, association, key);
                }
                Event::ApplicationData {
                    association, data, ..
                } => self.uploads.extend(upload(association, &data)),
                _ => {}
            }
        }
    }

    pub(crate) fn answer(&mut self, now: Instant, answer: &Answer) {
        // A session that is gone needs no answer.
        self.server
            .send(now, answer.association, &answer.message)
            .unwrap_or(());
    }

    pub(crate) fn flush(&mut self) {
        while let Some(transmit) = self.server.poll_transmit() {
            self.outgoing.push((transmit.peer, transmit.payload));
        }
        self.socket.send_all(&self.outgoing);
        self.outgoing.clear();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.server.poll_timeout().is_some_and(|when| when <= now) {
            self.server.handle_timeout(now);
        }
    }
}

/// The key that `load world` gives a device: `d-00007@LOAD` has `load-key-00007`.
fn key(identity: &[u8]) -> Option<Psk> {
    let text = std::str::from_utf8(identity).ok()?;
    let number = text.strip_prefix("d-")?.split('@').next()?;
    Some(Psk::from(format!("load-key-{number}").as_bytes()))
}

/// Takes a confirmable request apart where it must.
fn upload(association: AssociationId, message: &[u8]) -> Option<Upload> {
    let [first, _code, high, low, rest @ ..] = message else {
        return None;
    };
    let token = rest.get(..usize::from(first & 15))?;
    let marker = rest.iter().position(|byte| *byte == 0xFF)?;
    let mut answer = vec![0x60 | first & 15, 0x44, *high, *low];
    answer.extend(token);
    Some(Upload {
        payload: rest.get(marker + 1..)?.to_vec(),
        answer: Answer {
            association,
            message: answer,
        },
    })
}

const ASSOCIATIONS: usize = 2_000_000;
