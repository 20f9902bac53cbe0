//! A constrained device: a CoAP client over UDP, plain or under DTLS with a pre-shared key.
//!
//! It does what RFC 7252 §4.2 and §5.2 want of a client, one request at a time: it sends a CON again until it is acknowledged, and
//! takes the answer with the acknowledgement or later. Every wait has a deadline.

mod error;

use std::{
    collections::VecDeque,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use dtls_client::{Client, CloseReason, Config, Event, Stage};
use tokio::{
    net::UdpSocket,
    time::{timeout, timeout_at},
};

pub use self::error::Error;

/// A device that can talk to one server.
pub struct Device {
    socket: UdpSocket,
    server: SocketAddr,
    dtls: Option<Box<Dtls>>,
    /// Starts at random from [`FIRST_MESSAGE_ID`] to twice that. Message ids below are left to
    /// messages that are sent as they are: a server takes a second use of an id for a duplicate.
    next_message_id: u16,
}

struct Dtls {
    client: Client,
    suite: String,
    received: VecDeque<Vec<u8>>,
    closed: Option<CloseReason>,
}

/// How far a handshake came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handshake {
    /// What was reached; none if it did not begin.
    pub stage: Option<Stage>,
    /// How it ended, if it did not just take too long.
    pub closed: Option<CloseReason>,
    /// The device's own address.
    pub local: Option<SocketAddr>,
}

impl Device {
    /// A device without security; nothing is sent yet.
    ///
    /// # Errors
    /// If no socket can be had.
    pub async fn plain(server: SocketAddr) -> Result<Self, Error> {
        let any = match server.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        Self::plain_from(any, server).await
    }

    /// A device without security at an address of this machine; nothing is sent yet.
    ///
    /// # Errors
    /// If no socket can be opened at `local`.
    pub async fn plain_from(local: IpAddr, server: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error::Connection {
            address: server,
            source,
        };
        let socket = UdpSocket::bind((local, 0)).await.map_err(failed)?;
        socket.connect(server).await.map_err(failed)?;
        let [high, low, ..] = uuid::Uuid::new_v4().into_bytes();
        Ok(Self {
            socket,
            server,
            dtls: None,
            next_message_id: FIRST_MESSAGE_ID | u16::from_be_bytes([high & 0x3f, low]),
        })
    }

    /// A device that has shaken hands with a pre-shared key.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the server does not finish the handshake: it is silent to an unknown identity and to a wrong key.
    /// [`Error::Handshake`] if it refuses.
    pub async fn connect(
        server: SocketAddr,
        identity: &str,
        key: &[u8],
        within: Duration,
    ) -> Result<Self, Error> {
        Self::connect_with(server, Config::new(identity, key), within).await
    }

    /// A device that shakes hands as `config` says.
    ///
    /// # Errors
    /// As [`Device::connect`].
    pub async fn connect_with(
        server: SocketAddr,
        config: Config,
        within: Duration,
    ) -> Result<Self, Error> {
        Self::connect_noting(server, config, within, &mut Handshake::default()).await
    }

    /// As [`Device::connect_with`], from an address of this machine.
    ///
    /// # Errors
    /// As [`Device::connect`].
    pub async fn connect_from(
        local: IpAddr,
        server: SocketAddr,
        config: Config,
        within: Duration,
    ) -> Result<Self, Error> {
        let mut device = Self::plain_from(local, server).await?;
        let handshake = &mut Handshake::default();
        device.shake_hands(config, within, handshake).await?;
        Ok(device)
    }

    /// As [`Device::connect_with`]; `handshake` tells how far it came if it comes to nothing.
    ///
    /// # Errors
    /// As [`Device::connect`].
    pub async fn connect_noting(
        server: SocketAddr,
        config: Config,
        within: Duration,
        handshake: &mut Handshake,
    ) -> Result<Self, Error> {
        let mut device = Self::plain(server).await?;
        device.shake_hands(config, within, handshake).await?;
        Ok(device)
    }

    /// Makes a new handshake from the same address, as after a power loss: without closing the
    /// previous session.
    ///
    /// # Errors
    /// As [`Device::connect`].
    pub async fn restart(
        &mut self,
        identity: &str,
        key: &[u8],
        within: Duration,
    ) -> Result<(), Error> {
        let config = Config::new(identity, key);
        self.shake_hands(config, within, &mut Handshake::default())
            .await
    }

    async fn shake_hands(
        &mut self,
        config: Config,
        within: Duration,
        handshake: &mut Handshake,
    ) -> Result<(), Error> {
        let server = self.server;
        let refused = |reason: String| Error::Handshake {
            address: server,
            reason,
        };
        let client =
            Client::new(Instant::now(), config).map_err(|error| refused(error.to_string()))?;
        self.dtls = Some(Box::new(Dtls {
            client,
            suite: String::new(),
            received: VecDeque::new(),
            closed: None,
        }));
        let deadline = Instant::now() + within;
        loop {
            self.drive().await?;
            if let Some(dtls) = &self.dtls {
                handshake.stage = Some(dtls.client.stage());
                handshake.closed = dtls.closed;
                handshake.local = self.local_address().ok();
            }
            match self.dtls.as_deref() {
                Some(dtls) if dtls.client.is_established() => return Ok(()),
                Some(Dtls {
                    closed: Some(CloseReason::HandshakeTimeout),
                    ..
                }) => return Err(Error::Timeout(within)),
                Some(Dtls {
                    closed: Some(reason),
                    ..
                }) => return Err(refused(format!("{reason:?}"))),
                _ if Instant::now() >= deadline => return Err(Error::Timeout(within)),
                _ => self.wait(deadline).await?,
            }
        }
    }

    /// The certificates (DER) that the server has proved itself with, its own first. Nobody has judged them.
    #[must_use]
    pub fn server_chain(&self) -> &[Vec<u8>] {
        self.dtls
            .as_ref()
            .map_or(&[], |dtls| dtls.client.server_chain())
    }

    /// The cipher suite of the session; none without DTLS.
    #[must_use]
    pub fn suite(&self) -> Option<&str> {
        self.dtls.as_ref().map(|dtls| dtls.suite.as_str())
    }

    /// The device's own address.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        self.socket
            .local_addr()
            .map_err(|source| self.failed(source))
    }

    /// Sends these bytes as they are, in one datagram or record.
    ///
    /// # Errors
    /// If they cannot be sent.
    pub async fn send_raw(&mut self, message: &[u8]) -> Result<(), Error> {
        match &mut self.dtls {
            None => self
                .socket
                .send(message)
                .await
                .map(drop)
                .map_err(|source| self.failed(source)),
            Some(dtls) => {
                let sent = dtls.client.send(Instant::now(), message);
                sent.map_err(|error| self.failed(io::Error::other(error)))?;
                self.drive().await
            }
        }
    }

    /// The next bytes that come, if any come in time.
    ///
    /// # Errors
    /// If the session is over, or nobody listens at the server's port.
    pub async fn receive(&mut self, within: Duration) -> Result<Option<Vec<u8>>, Error> {
        let deadline = Instant::now() + within;
        if self.dtls.is_none() {
            let mut buffer = vec![0; MAX_DATAGRAM];
            return match timeout(within, self.socket.recv(&mut buffer)).await {
                Err(_) => Ok(None),
                Ok(Err(source)) => Err(self.failed(source)),
                Ok(Ok(length)) => {
                    buffer.truncate(length);
                    Ok(Some(buffer))
                }
            };
        }
        loop {
            self.drive().await?;
            if let Some(dtls) = &mut self.dtls {
                if let Some(message) = dtls.received.pop_front() {
                    return Ok(Some(message));
                }
                if let Some(reason) = dtls.closed {
                    return Err(self.failed(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        format!("{reason:?}"),
                    )));
                }
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.wait(deadline).await?;
        }
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// [`Error::Timeout`] without response, [`Error::Reset`] if the server does not want the message.
    pub async fn request(
        &mut self,
        request: &CoapRequest,
        within: Duration,
    ) -> Result<CoapResponse, Error> {
        let started = Instant::now();
        let deadline = started + within;
        let (message_id, token) = (self.next_message_id, uuid::Uuid::new_v4().into_bytes());
        let token = token.get(..4).unwrap_or_default();
        self.next_message_id = message_id.wrapping_add(1);
        let encoded = request.encode(message_id, token);
        let mut patience = ACK_TIMEOUT;
        let mut again = started;
        let mut acknowledged = request.reliability == Reliability::NonConfirmable;
        self.send_raw(&encoded).await?;
        loop {
            again = if acknowledged {
                deadline
            } else {
                (again + patience).min(deadline)
            };
            while let Some(bytes) = self
                .receive(again.saturating_duration_since(Instant::now()))
                .await?
            {
                let Ok(packet) = Packet::from_bytes(&bytes) else {
                    continue;
                };
                let ours = packet.header.message_id == message_id;
                match (packet.header.get_type(), packet.header.code) {
                    (MessageType::Reset, _) if ours => return Err(Error::Reset),
                    (MessageType::Acknowledgement, MessageClass::Empty) if ours => {
                        acknowledged = true;
                        again = deadline;
                    }
                    (kind, MessageClass::Response(_)) if packet.get_token() == token => {
                        if kind == MessageType::Confirmable {
                            let [high, low] = packet.header.message_id.to_be_bytes();
                            self.send_raw(&[EMPTY_ACK, 0, high, low]).await?;
                        }
                        let separate = kind != MessageType::Acknowledgement;
                        return Ok(CoapResponse::from_packet(
                            packet,
                            separate,
                            started.elapsed(),
                        ));
                    }
                    _ => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout(within));
            }
            patience *= 2;
            self.send_raw(&encoded).await?;
        }
    }

    /// Ends the session, so that the server forgets it.
    pub async fn close(mut self) {
        if let Some(dtls) = &mut self.dtls {
            dtls.client.close(Instant::now());
        }
        if let Err(error) = self.drive().await {
            tracing::debug!(%error, "the farewell was not sent");
        }
    }

    /// Sends what the DTLS client has to send and takes what it has to tell.
    async fn drive(&mut self) -> Result<(), Error> {
        let Some(dtls) = &mut self.dtls else {
            return Ok(());
        };
        while let Some(event) = dtls.client.poll_event() {
            match event {
                Event::Established { suite } => dtls.suite = suite.to_string(),
                Event::ApplicationData(data) => dtls.received.push_back(data),
                Event::Closed(reason) => dtls.closed = Some(reason),
                _ => {}
            }
        }
        while let Some(datagram) = dtls.client.poll_transmit() {
            let sent = self.socket.send(&datagram).await;
            sent.map_err(|source| Error::Connection {
                address: self.server,
                source,
            })?;
        }
        Ok(())
    }

    /// Waits for a datagram, for the DTLS client's next deadline or for `deadline`.
    async fn wait(&mut self, deadline: Instant) -> Result<(), Error> {
        let Some(dtls) = &mut self.dtls else {
            return Ok(());
        };
        let until = dtls
            .client
            .poll_timeout()
            .map_or(deadline, |next| next.min(deadline));
        let mut buffer = vec![0; MAX_DATAGRAM];
        match timeout_at(until.into(), self.socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => dtls
                .client
                .handle_datagram(Instant::now(), buffer.get_mut(..length).unwrap_or_default()),
            // Nobody listens there, or not yet.
            Ok(Err(source)) => {
                return Err(Error::Connection {
                    address: self.server,
                    source,
                });
            }
            Err(_) => dtls.client.handle_timeout(Instant::now()),
        }
        Ok(())
    }

    const fn failed(&self, source: io::Error) -> Error {
        Error::Connection {
            address: self.server,
            source,
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Device")
            .field("server", &self.server)
            .field("suite", &self.suite())
            .finish_non_exhaustive()
    }
}

/// Whether a request asks for an acknowledgement (RFC 7252 §4.2, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// CON: sent again until acknowledged.
    Confirmable,
    /// NON: sent once.
    NonConfirmable,
}

/// A request to send.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CoapRequest {
    /// The method's code: 1 GET, 2 POST, 3 PUT, 4 DELETE.
    pub method: u8,
    /// CON or NON.
    pub reliability: Reliability,
    /// Numbers and values in the order to send them in; ascending.
    pub options: Vec<(u16, Vec<u8>)>,
    /// The body.
    pub payload: Vec<u8>,
}

impl CoapRequest {
    /// A confirmable POST without body; `path` has its segments between slashes.
    #[must_use]
    pub fn post(path: &str) -> Self {
        Self::new(2, path)
    }

    /// A confirmable PUT without body.
    #[must_use]
    pub fn put(path: &str) -> Self {
        Self::new(3, path)
    }

    /// A confirmable request of any method.
    #[must_use]
    pub fn new(method: u8, path: &str) -> Self {
        let segments = path.trim_start_matches('/').split('/');
        let options = segments
            .map(|segment| (URI_PATH, segment.as_bytes().to_vec()))
            .collect();
        Self {
            method,
            reliability: Reliability::Confirmable,
            options,
            payload: Vec::new(),
        }
    }

    /// Makes it one that is sent once and not acknowledged.
    #[must_use]
    pub fn non_confirmable(mut self) -> Self {
        self.reliability = Reliability::NonConfirmable;
        self
    }

    /// Adds a query argument such as `hono-ttd=3`.
    #[must_use]
    pub fn query(self, argument: &str) -> Self {
        self.option(URI_QUERY, argument.as_bytes())
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, number: u16, value: &[u8]) -> Self {
        self.options.push((number, value.to_vec()));
        self.options.sort_by_key(|(number, _)| *number);
        self
    }

    /// Sets the body and what it is (RFC 7252 §12.3: 0 text, 50 JSON, ...).
    #[must_use]
    pub fn body(mut self, content_format: u16, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        let bytes: Vec<u8> = content_format
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        self.option(CONTENT_FORMAT, &bytes)
    }

    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self, message_id: u16, token: &[u8]) -> Vec<u8> {
        let mut packet = Packet::new();
        packet.header.message_id = message_id;
        packet.header.code = MessageClass::from(self.method);
        packet.header.set_type(match self.reliability {
            Reliability::Confirmable => MessageType::Confirmable,
            Reliability::NonConfirmable => MessageType::NonConfirmable,
        });
        packet.set_token(token.to_vec());
        for (number, value) in &self.options {
            packet.add_option(CoapOption::from(*number), value.clone());
        }
        packet.payload.clone_from(&self.payload);
        packet.to_bytes_unlimited().unwrap_or_default()
    }
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoapResponse {
    /// Class in the upper three bits, detail in the lower five; [`CoapResponse::code`] has it in words.
    pub raw_code: u8,
    /// Numbers and values, ascending.
    pub options: Vec<(u16, Vec<u8>)>,
    /// The body.
    pub payload: Vec<u8>,
    /// Whether it came apart from the acknowledgement.
    pub separate: bool,
    /// From the first sending of the request to this.
    pub took: Duration,
}

impl CoapResponse {
    /// The code as it is written, such as `2.04`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{}.{:02}", self.raw_code >> 5, self.raw_code & 0x1f)
    }

    /// Whether the class is 2.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.raw_code >> 5 == 2
    }

    fn from_packet(packet: Packet, separate: bool, took: Duration) -> Self {
        let options = packet
            .options()
            .flat_map(|(number, values)| values.iter().map(move |value| (*number, value.clone())))
            .collect();
        Self {
            raw_code: packet.header.code.into(),
            options,
            payload: packet.payload,
            separate,
            took,
        }
    }
}

const URI_PATH: u16 = 11;
const CONTENT_FORMAT: u16 = 12;
const URI_QUERY: u16 = 15;
/// Version 1, type ACK, no token.
const FIRST_MESSAGE_ID: u16 = 0x4000;
const EMPTY_ACK: u8 = 0x60;
/// RFC 7252 §4.8: 2 s, here without the random factor.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_DATAGRAM: usize = 65_535;

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::net::UdpSocket;

    use super::{CoapRequest, Device};
    use crate::Error;

    const SOON: Duration = Duration::from_secs(5);

    async fn server() -> (UdpSocket, Device) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let device = Device::plain(server.local_addr().unwrap()).await.unwrap();
        (server, device)
    }

    #[test]
    fn a_request_is_encoded_as_the_standard_says() {
        let request = CoapRequest::post("/e").query("hono-ttd=4").body(50, *b"{}");
        let bytes = request.encode(0x5cf2, &[0xa0, 0x42]);
        assert_eq!(
            bytes,
            b"\x42\x02\x5c\xf2\xa0\x42\xb1e\x11\x32\x3ahono-ttd=4\xff{}"
        );
        let bytes = CoapRequest::put("t//d")
            .non_confirmable()
            .body(0, *b"x")
            .encode(1, &[]);
        assert_eq!(bytes, b"\x50\x03\x00\x01\xb1t\x00\x01d\x10\xffx");
    }

    #[tokio::test]
    async fn an_answer_comes_with_the_acknowledgement_or_later() {
        let (server, mut device) = server().await;
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 100];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let token = buffer[4..8].to_vec();
            assert_eq!(&buffer[length - 2..length], b"\xb1t");
            let piggybacked = [&[0x64, 0x44, buffer[2], buffer[3]], token.as_slice()].concat();
            server.send_to(&piggybacked, from).await.unwrap();

            let (_, from) = server.recv_from(&mut buffer).await.unwrap();
            let token = buffer[4..8].to_vec();
            server
                .send_to(&[0x60, 0, buffer[2], buffer[3]], from)
                .await
                .unwrap();
            let separate = [&[0x44, 0xa3, 0x12, 0x34], token.as_slice(), b"\xd1\x01\x02"].concat();
            server.send_to(&separate, from).await.unwrap();
            let (length, _) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], [0x60, 0, 0x12, 0x34]);
        });
        let response = device.request(&CoapRequest::post("t"), SOON).await.unwrap();
        assert_eq!(
            (response.code().as_str(), response.separate),
            ("2.04", false)
        );
        let response = device.request(&CoapRequest::post("t"), SOON).await.unwrap();
        assert_eq!(
            (
                response.code().as_str(),
                response.separate,
                response.is_success()
            ),
            ("5.03", true, false)
        );
        assert_eq!(response.options, [(14, vec![2])]);
        answering.await.unwrap();
    }

    #[tokio::test]
    async fn silence_is_a_timeout_and_a_reset_is_told() {
        let (server, mut device) = server().await;
        let short = Duration::from_millis(50);
        assert!(matches!(
            device.request(&CoapRequest::post("t"), short).await,
            Err(Error::Timeout(_))
        ));
        let mut buffer = [0; 100];
        server.recv_from(&mut buffer).await.unwrap();
        let resetting = tokio::spawn(async move {
            let mut buffer = [0; 100];
            let (_, from) = server.recv_from(&mut buffer).await.unwrap();
            server
                .send_to(&[0x70, 0, buffer[2], buffer[3]], from)
                .await
                .unwrap();
        });
        assert!(matches!(
            device.request(&CoapRequest::post("t"), SOON).await,
            Err(Error::Reset)
        ));
        resetting.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_does_not_shake_hands_is_a_timeout() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let error = Device::connect(
            server.local_addr().unwrap(),
            "a@T",
            b"k",
            Duration::from_millis(100),
        )
        .await
        .unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
}
