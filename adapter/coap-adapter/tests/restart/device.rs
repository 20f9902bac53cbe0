//! A device that is stubborn: it sends a confirmable request again and again, and takes no notice of nobody being there.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use dtls_client::{Client, Config, Event, Tickets};
use sandbox::device::CoapRequest;
use tokio::{net::UdpSocket, time::timeout_at};

use crate::{SOON, adapter::Place};

pub(crate) struct Device {
    socket: UdpSocket,
    server: SocketAddr,
    client: Client,
    next_message_id: u16,
}

/// Whether the device has a connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    None,
    Wanted,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 2.04.
    Changed,
    /// 5.03.
    Unavailable,
    /// Any other code.
    Other(u8),
    /// Nothing, in the time there was.
    None,
    /// `close_notify`.
    SessionClosed,
}

/// An encoded request.
pub(crate) struct Request {
    message_id: u16,
    bytes: Vec<u8>,
}

impl Device {
    /// Shakes hands as device of that number.
    pub(crate) async fn connect(place: &Place, number: usize, ids: Ids) -> Self {
        Self::connect_with(place, Self::config(number, ids)).await
    }

    /// Comes back as the same device, with what it kept of an earlier session.
    pub(crate) async fn resume(&self, place: &Place, number: usize) -> Self {
        let mut config = Self::config(number, Ids::Wanted);
        config.resume = self.client.resumption();
        assert!(config.resume.is_some());
        Self::connect_with(place, config).await
    }

    fn config(number: usize, ids: Ids) -> Config {
        let mut config = Config::new(format!("a{number}@T"), b"k");
        config.connection_id = (ids == Ids::Wanted).then(|| b"us".to_vec());
        config.tickets = Tickets::Wanted;
        config
    }

    async fn connect_with(place: &Place, config: Config) -> Self {
        let has_id = config.connection_id.is_some();
        let mut device = Self {
            socket: bound().await,
            server: place.coaps,
            client: Client::new(Instant::now(), config).unwrap(),
            next_message_id: 1,
        };
        let deadline = Instant::now() + SOON;
        while !device.client.is_established() {
            assert!(Instant::now() < deadline, "no session");
            device.flush().await;
            device.wait(deadline).await;
        }
        device.flush().await;
        assert_eq!(device.client.uses_connection_ids(), has_id);
        device
    }

    /// From now on it has another address.
    pub(crate) async fn move_elsewhere(&mut self) {
        self.socket = bound().await;
    }

    /// A confirmable event.
    pub(crate) fn event(&mut self, payload: &[u8]) -> Request {
        let message_id = self.next_message_id;
        self.next_message_id = message_id.wrapping_add(1);
        let request = CoapRequest::post("event").body(0, payload);
        let token = message_id.to_be_bytes();
        Request {
            message_id,
            bytes: request.encode(message_id, &token),
        }
    }

    /// Sends a request until it is answered, at growing intervals (RFC 7252 §4.2, but sooner).
    pub(crate) async fn ask(&mut self, request: &Request, within: Duration) -> Answer {
        let deadline = Instant::now() + within;
        let mut patience = Duration::from_millis(500);
        while Instant::now() < deadline {
            if self.client.send(Instant::now(), &request.bytes).is_err() {
                return Answer::SessionClosed;
            }
            self.flush().await;
            let again = (Instant::now() + patience).min(deadline);
            if let Some(answer) = self.answer(request, again).await {
                return answer;
            }
            patience = (patience * 2).min(Duration::from_secs(4));
        }
        Answer::None
    }

    async fn answer(&mut self, request: &Request, until: Instant) -> Option<Answer> {
        loop {
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::ApplicationData(message) => {
                        if let Some(answer) = self.take(&message, request) {
                            return Some(answer);
                        }
                    }
                    Event::Closed(_) => return Some(Answer::SessionClosed),
                    _ => {}
                }
            }
            self.flush().await;
            if Instant::now() >= until {
                return None;
            }
            self.wait(until).await;
        }
    }

    /// Of a message: the answer to this request, if it is one. One that comes by itself is acknowledged.
    fn take(&mut self, message: &[u8], request: &Request) -> Option<Answer> {
        let &[first, code, high, low, ref rest @ ..] = message else {
            return None;
        };
        if first >> 4 & 3 == 0 {
            let acknowledgement = [0x60, 0, high, low];
            let sent = self.client.send(Instant::now(), &acknowledgement);
            assert!(sent.is_ok(), "{sent:?}");
        }
        let ours = rest.starts_with(&request.message_id.to_be_bytes());
        match code {
            _ if !ours => None,
            0x44 => Some(Answer::Changed),
            0xa3 => Some(Answer::Unavailable),
            code => Some(Answer::Other(code)),
        }
    }

    async fn flush(&mut self) {
        while let Some(datagram) = self.client.poll_transmit() {
            // Nobody may be there; then it is a lost datagram.
            drop(self.socket.send_to(&datagram, self.server).await);
        }
    }

    async fn wait(&mut self, deadline: Instant) {
        let next = self.client.poll_timeout();
        let until = next.map_or(deadline, |next| next.min(deadline));
        let mut buffer = [0; 2048];
        match timeout_at(until.into(), self.socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, _))) => {
                let datagram = &mut buffer[..length];
                self.client.handle_datagram(Instant::now(), datagram);
            }
            // The system tells that nobody is there.
            Ok(Err(_)) => {}
            Err(_) => self.client.handle_timeout(Instant::now()),
        }
    }
}

/// Not connected, so that the system's word of nobody being there reaches nobody.
async fn bound() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}
