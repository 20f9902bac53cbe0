//! The listener with real sockets on loopback, devices played by `dtls-client`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod shards;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use dtls_client::{
    AlertDescription, CertificateKind, Client, CloseReason as DeviceReason, Config as ClientConfig,
    Event as DeviceEvent,
};
use dtls_server::{
    Certificate, CloseReason, Config, Confirmation, Event, HandshakeFailure, Identity, KeyStore,
    Listener, Psk, SendError, Shards, UdpSocket,
};
use rcgen::{CertificateParams, DnType, KeyPair};
use tokio::{net::UdpSocket as TokioSocket, sync::Semaphore, time::timeout};

const LIMIT: Duration = Duration::from_secs(20);

/// Knows every identity; one that starts with "slow" is found only once a permit is given.
#[derive(Debug)]
struct Store {
    gate: Semaphore,
    asked: Semaphore,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(0),
            asked: Semaphore::new(0),
        })
    }
}

impl KeyStore for Store {
    type Principal = String;
    type Refusal = &'static str;

    async fn key(
        &self,
        _peer: SocketAddr,
        identity: Vec<u8>,
    ) -> Result<(Psk, String), &'static str> {
        self.asked.add_permits(1);
        let identity = String::from_utf8(identity).map_err(|_| "no text")?;
        if identity.starts_with("slow") {
            let permit = self.gate.acquire().await;
            permit.map_err(|_| "closed")?.forget();
        }
        if identity == "nobody@T" {
            return Err("unknown");
        }
        Ok((Psk::from(b"secret".as_slice()), identity))
    }

    async fn verdict(
        &self,
        _peer: SocketAddr,
        chain: Vec<Vec<u8>>,
        server_name: Option<String>,
    ) -> Result<String, &'static str> {
        self.asked.add_permits(1);
        let own = chain.first().ok_or("no certificate")?;
        let certificate = Certificate::from_der(own).map_err(|_| "unreadable")?;
        certificate.check_usage().map_err(|_| "usage")?;
        let name = certificate.subject().attribute("CN").ok_or("no name")?;
        if name == "stranger" {
            return Err("stranger");
        }
        Ok(format!("{name}@{}", server_name.unwrap_or_default()))
    }

    async fn raw_key(
        &self,
        _peer: SocketAddr,
        public_key: Vec<u8>,
        server_name: Option<String>,
    ) -> Result<String, &'static str> {
        self.asked.add_permits(1);
        let host = server_name.ok_or("no host")?;
        Ok(format!("{} bytes@{host}", public_key.len()))
    }

    async fn confirm(&self, principal: String) -> Confirmation {
        self.asked.add_permits(1);
        match principal.as_str() {
            "revoked" => Confirmation::Revoked,
            "unknown" => Confirmation::Unknown,
            _ => Confirmation::Unchanged,
        }
    }
}

struct Device {
    socket: TokioSocket,
    client: Client,
}

impl Device {
    async fn new(identity: &str, server: SocketAddr) -> Self {
        Self::with(ClientConfig::new(identity, b"secret"), server).await
    }

    async fn with(config: ClientConfig, server: SocketAddr) -> Self {
        let socket = TokioSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        let client = Client::new(Instant::now(), config).unwrap();
        Self { socket, client }
    }

    async fn event(&mut self) -> DeviceEvent {
        timeout(LIMIT, async {
            let mut buffer = [0; 2048];
            loop {
                while let Some(datagram) = self.client.poll_transmit() {
                    self.socket.send(&datagram).await.unwrap();
                }
                if let Some(event) = self.client.poll_event() {
                    return event;
                }
                let due = self.client.poll_timeout().unwrap_or(Instant::now() + LIMIT);
                match tokio::time::timeout_at(due.into(), self.socket.recv(&mut buffer)).await {
                    Ok(received) => self
                        .client
                        .handle_datagram(Instant::now(), &mut buffer[..received.unwrap()]),
                    Err(_) => self.client.handle_timeout(Instant::now()),
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("nothing happened to {:?}", self.client))
    }

    async fn say(&mut self, text: &[u8]) {
        self.client.send(Instant::now(), text).unwrap();
        while let Some(datagram) = self.client.poll_transmit() {
            self.socket.send(&datagram).await.unwrap();
        }
    }

    async fn greet(&mut self) {
        let event = self.event().await;
        assert!(
            matches!(event, DeviceEvent::Established { .. }),
            "{event:?}"
        );
    }
}

fn listener(store: &Arc<Store>, config: Config) -> (Listener<Store>, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = Listener::new(socket, config, [7; 32], Arc::clone(store));
    let address = listener.local_address().unwrap();
    (listener, address)
}

async fn next(listener: &mut Listener<Store>) -> Event<String, &'static str> {
    timeout(LIMIT, listener.next()).await.unwrap().unwrap()
}

/// On a wildcard address, the first flight and all that followed left from the address that the routing
/// table prefers, so a client with a connected socket never heard of its handshake (RFC 7252 §5.3.2).
/// A session that goes on at another local address is answered from there.
#[tokio::test]
async fn a_session_is_answered_from_the_address_it_talks_to() {
    let store = Store::new();
    for bound in ["0.0.0.0:0", "[::]:0"] {
        let socket = UdpSocket::bind(bound.parse().unwrap()).unwrap();
        let port = socket.local_address().unwrap().port();
        let mut listener = Listener::new(socket, Config::default(), [7; 32], Arc::clone(&store));
        let mut device = Device::new("sensor1@T", ([127, 0, 0, 2], port).into()).await;
        let ((), first) = tokio::join!(device.greet(), next(&mut listener));
        let Event::Established {
            association, peer, ..
        } = first
        else {
            panic!("{first:?}")
        };
        // IPv4 is IPv4, whatever the socket.
        assert_eq!(peer, device.socket.local_addr().unwrap());
        for local in [[127, 0, 0, 2], [127, 0, 0, 3]] {
            device
                .socket
                .connect((IpAddr::from(local), port))
                .await
                .unwrap();
            device.say(b"21.5").await;
            let event = next(&mut listener).await;
            assert!(matches!(event, Event::ApplicationData { .. }), "{event:?}");
            listener.send(association, b"thanks").unwrap();
            listener.flush();
            let thanks = DeviceEvent::ApplicationData(b"thanks".to_vec());
            assert_eq!(device.event().await, thanks, "{bound} {local:?}");
        }
    }
}

#[tokio::test]
async fn a_session_tells_its_beginning_its_data_and_its_end() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    let mut device = Device::new("sensor1@T", address).await;
    let peer_address = device.socket.local_addr().unwrap();
    let ((), first) = tokio::join!(device.greet(), next(&mut listener));
    let Event::Established {
        association,
        principal,
        peer,
        ..
    } = first
    else {
        panic!("{first:?}")
    };
    assert_eq!((principal.as_str(), peer), ("sensor1@T", peer_address));
    assert_eq!(listener.gauges().sessions, 1);
    assert_eq!(listener.gauges().handshakes, 0);
    assert_eq!(listener.gauges().lookups, 0);

    device.say(b"21.5").await;
    let event = next(&mut listener).await;
    let Event::ApplicationData { data, peer, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!((data.as_slice(), peer), (&b"21.5"[..], peer_address));
    assert_eq!(listener.send(association, b"thanks"), Ok(()));
    listener.flush();
    assert_eq!(
        device.event().await,
        DeviceEvent::ApplicationData(b"thanks".to_vec())
    );

    device.client.close(Instant::now());
    while let Some(datagram) = device.client.poll_transmit() {
        device.socket.send(&datagram).await.unwrap();
    }
    let event = next(&mut listener).await;
    let Event::Closed {
        principal, reason, ..
    } = event
    else {
        panic!("{event:?}")
    };
    assert_eq!(principal, "sensor1@T");
    assert_eq!(reason, CloseReason::PeerClosed);
    assert_eq!(listener.gauges().sessions, 0);
    assert_eq!(
        listener.send(association, b"gone"),
        Err(SendError::NotEstablished)
    );
    assert_eq!(listener.max_payload(association), None);
}

#[tokio::test]
async fn a_slow_look_up_delays_nobody_else() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    let mut slow = Device::new("slow@T", address).await;
    let mut quick = Device::new("quick@T", address).await;
    // The slow device's key is asked for and can't be found before the gate opens.
    tokio::select! {
        _ = slow.event() => panic!("the gate is shut"),
        _ = listener.next() => panic!("the gate is shut"),
        asked = store.asked.acquire() => asked.unwrap().forget(),
    }
    tokio::join!(quick.greet(), next(&mut listener));
    quick.say(b"here").await;
    let event = next(&mut listener).await;
    assert!(
        matches!(&event, Event::ApplicationData { principal, .. } if principal == "quick@T"),
        "{event:?}"
    );
    store.gate.add_permits(1);
    let ((), event) = tokio::join!(slow.greet(), next(&mut listener));
    assert!(
        matches!(&event, Event::Established { principal, .. } if principal == "slow@T"),
        "{event:?}"
    );
}

#[tokio::test]
async fn look_ups_wait_for_their_turn() {
    let store = Store::new();
    let (listener, address) = listener(&store, Config::default());
    let mut listener = listener.with_max_lookups(1);
    let mut first = Device::new("slow1@T", address).await;
    tokio::select! {
        _ = first.event() => panic!("the gate is shut"),
        _ = listener.next() => panic!("the gate is shut"),
        asked = store.asked.acquire() => asked.unwrap().forget(),
    }
    let mut second = Device::new("slow2@T", address).await;
    let second_waits = async {
        while listener.gauges().lookups < 2 {
            // Only events end `next`, and there can be none.
            let pause = timeout(Duration::from_millis(5), listener.next()).await;
            assert!(pause.is_err(), "{pause:?}");
        }
    };
    tokio::select! {
        _ = second.event() => panic!("the gate is shut"),
        () = second_waits => {}
    }
    assert_eq!(
        store.asked.available_permits(),
        0,
        "the second was not asked for"
    );
    store.gate.add_permits(2);
    let both = async {
        next(&mut listener).await;
        next(&mut listener).await;
    };
    tokio::join!(first.greet(), second.greet(), both);
    assert_eq!(listener.gauges().sessions, 2);
}

#[tokio::test]
async fn a_look_up_ends_with_its_handshake_and_the_caller_hears_of_its_deadline_only() {
    let store = Store::new();
    let mut config = Config::default();
    config.psk_deadline = Duration::from_millis(100);
    config.retransmission_timeout = Duration::from_millis(50);
    config.max_retransmissions = 1;
    let (mut listener, address) = listener(&store, config);
    let mut device = Device::new("slow@T", address).await;
    let over = async {
        let failed = Failed::of(next(&mut listener).await);
        assert_eq!(failed.failure, HandshakeFailure::KeyDeadline);
        assert_eq!(failed.identity.as_deref(), Some(&b"slow@T"[..]));
        assert_eq!((failed.principal, failed.refusal), (None, None));
        while listener.statistics().handshakes_expired == 0 || listener.gauges().lookups > 0 {
            let pause = timeout(Duration::from_millis(5), listener.next()).await;
            assert!(pause.is_err(), "{pause:?}");
        }
    };
    timeout(LIMIT, async {
        tokio::select! {
            _ = device.event() => panic!("the gate is shut"),
            () = over => {}
        }
    })
    .await
    .unwrap();
    assert_eq!(listener.gauges(), dtls_server::Gauges::default());
}

/// What is told of a handshake that came to nothing.
struct Failed {
    identity: Option<Vec<u8>>,
    principal: Option<String>,
    failure: HandshakeFailure,
    refusal: Option<&'static str>,
}

impl Failed {
    fn of(event: Event<String, &'static str>) -> Self {
        match event {
            Event::HandshakeFailed {
                identity,
                principal,
                failure,
                refusal,
                ..
            } => Self {
                identity,
                principal,
                failure,
                refusal,
            },
            other => panic!("{other:?}"),
        }
    }
}

/// At once, not only when the peer is forgotten; the peer itself hears nothing.
#[tokio::test]
async fn the_caller_hears_why_a_handshake_came_to_nothing() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    let known = || Some("sensor1@T".to_owned());
    let rows = [
        (
            ClientConfig::new("nobody@T", b"secret"),
            HandshakeFailure::KeyUnknown,
            (None, Some("unknown")),
        ),
        (
            ClientConfig::new("sensor1@T", b"wrong"),
            HandshakeFailure::NotAuthentic,
            (known(), None),
        ),
    ];
    for (config, failure, (principal, refusal)) in rows {
        let identity = config.identity.clone();
        let mut device = Device::with(config, address).await;
        let failed = tokio::select! {
            event = device.event() => panic!("{event:?}"),
            event = next(&mut listener) => Failed::of(event),
        };
        assert_eq!(failed.failure, failure);
        assert_eq!(failed.identity, Some(identity));
        assert_eq!((failed.principal, failed.refusal), (principal, refusal));
    }
}

/// A certificate nobody vouches for.
fn identity(name: &str) -> Arc<Identity> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let chain = params.self_signed(&key).unwrap().pem();
    let identity = Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes());
    Arc::new(identity.unwrap())
}

#[tokio::test]
async fn certificates_are_judged_beside_keys_on_one_port() {
    let store = Store::new();
    let mut config = Config::default();
    config.identity = Some(identity("server"));
    let (mut listener, address) = listener(&store, config);

    let mut with_certificate = ClientConfig::with_certificate(identity("sensor1"));
    with_certificate.server_name = Some("tenant.example".to_owned());
    let mut device = Device::with(with_certificate, address).await;
    let ((), event) = tokio::join!(device.greet(), next(&mut listener));
    assert!(
        matches!(&event, Event::Established { principal, .. } if principal == "sensor1@tenant.example"),
        "{event:?}"
    );
    let mut device = Device::new("sensor2@T", address).await;
    tokio::join!(device.greet(), next(&mut listener));

    let stranger = ClientConfig::with_certificate(identity("stranger"));
    let mut device = Device::with(stranger, address).await;
    let failed = tokio::select! {
        event = device.event() => panic!("{event:?}"),
        event = next(&mut listener) => Failed::of(event),
    };
    assert_eq!(failed.failure, HandshakeFailure::CertificateRefused);
    assert_eq!(failed.refusal, Some("stranger"));
    assert_eq!(
        device.event().await,
        DeviceEvent::Closed(DeviceReason::PeerAlert(AlertDescription::BAD_CERTIFICATE))
    );
    assert_eq!(listener.gauges().sessions, 2);
    assert_eq!(listener.gauges().handshakes, 0);
}

#[tokio::test]
async fn handshakes_of_the_revoked_end_and_look_ups_under_way_are_made_once_more() {
    let store = Store::new();
    let mut config = Config::default();
    config.retransmission_timeout = LIMIT;
    let (mut listener, address) = listener(&store, config);
    // The first device is past its look-up, but its Finished never comes whole.
    let mut half = Device::new("half@T", address).await;
    let stuck = async {
        while listener.statistics().bad_records == 0 {
            while let Some(mut datagram) = half.client.poll_transmit() {
                let switches = datagram.windows(3).any(|bytes| bytes == [20, 0xfe, 0xfd]);
                *datagram.last_mut().unwrap() ^= u8::from(switches);
                half.socket.send(&datagram).await.unwrap();
            }
            if let Ok(told) = timeout(Duration::from_millis(20), listener.next()).await {
                let failed = Failed::of(told.unwrap());
                assert_eq!(failed.failure, HandshakeFailure::NotAuthentic);
            }
            let mut buffer = [0; 2048];
            while let Ok(length) = half.socket.try_recv(&mut buffer) {
                let answer = &mut buffer[..length];
                half.client.handle_datagram(Instant::now(), answer);
            }
        }
    };
    timeout(LIMIT, stuck).await.unwrap();
    store.asked.acquire().await.unwrap().forget();
    // The second device's look-up is under way.
    let mut slow = Device::new("slow@T", address).await;
    tokio::select! {
        _ = slow.event() => panic!("the gate is shut"),
        event = listener.next() => panic!("{event:?}"),
        asked = store.asked.acquire() => asked.unwrap().forget(),
    }
    let closed = listener.close_where(|principal| principal == "half@T");
    assert_eq!(closed, 1);
    assert_eq!(listener.gauges().handshakes, 1);
    store.gate.add_permits(2);
    let ((), event) = tokio::join!(slow.greet(), next(&mut listener));
    assert!(
        matches!(&event, Event::Established { principal, .. } if principal == "slow@T"),
        "{event:?}"
    );
    assert_eq!(store.asked.available_permits(), 1, "asked once more");
}

/// Ends a port and begins another with its sessions.
async fn restart(listener: Listener<Store>, store: &Arc<Store>) -> Listener<Store> {
    let mut listeners = shards::restart(vec![listener], 1, store, 1).await;
    listeners.pop().unwrap()
}

#[tokio::test]
async fn a_session_goes_on_at_the_next_port_once_its_owner_was_confirmed() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    let mut device = Device::new("sensor1", address).await;
    tokio::join!(device.greet(), next(&mut listener));
    let mut unreadable = Device::new("unreadable", address).await;
    tokio::join!(unreadable.greet(), next(&mut listener));
    let mut listener = restart(listener, &store).await;
    assert_eq!(listener.gauges().sessions, 1);
    let asked = store.asked.available_permits();
    for text in [b"1", b"2", b"3"] {
        device.say(text).await;
    }
    for text in [b"1", b"2", b"3"] {
        let event = next(&mut listener).await;
        let Event::ApplicationData {
            association,
            principal,
            data,
            ..
        } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(
            (principal.as_str(), data.as_slice()),
            ("sensor1", &text[..])
        );
        assert_eq!(listener.send(association, b"heard"), Ok(()));
        listener.flush();
        let heard = device.event().await;
        assert_eq!(heard, DeviceEvent::ApplicationData(b"heard".to_vec()));
    }
    assert_eq!(store.asked.available_permits(), asked + 1, "once");
}

#[tokio::test]
async fn a_loaded_session_whose_owner_is_no_more_is_closed_at_its_first_record() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    let mut device = Device::new("revoked", address).await;
    tokio::join!(device.greet(), next(&mut listener));
    let mut listener = restart(listener, &store).await;
    device.say(b"let me in").await;
    let event = next(&mut listener).await;
    assert!(
        matches!(
            &event,
            Event::Closed { principal, reason: CloseReason::Local, .. } if principal == "revoked"
        ),
        "{event:?}"
    );
    let told = device.event().await;
    assert_eq!(told, DeviceEvent::Closed(DeviceReason::PeerClosed));
    assert_eq!(listener.gauges(), dtls_server::Gauges::default());
}

#[tokio::test]
async fn as_long_as_nobody_knows_a_loaded_session_goes_on_and_is_asked_about() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    let mut device = Device::new("unknown", address).await;
    tokio::join!(device.greet(), next(&mut listener));
    let mut listener = restart(listener, &store).await;
    let asked = store.asked.available_permits();
    for round in 1..3 {
        device.say(b"hello").await;
        let event = next(&mut listener).await;
        assert!(matches!(event, Event::ApplicationData { .. }), "{event:?}");
        assert_eq!(store.asked.available_permits(), asked + round);
    }
}

#[tokio::test]
async fn a_port_about_to_end_lets_nobody_new_in() {
    let store = Store::new();
    let (mut listener, address) = listener(&store, Config::default());
    listener.close_admission();
    let mut device = Device::new("late", address).await;
    let heard = async {
        while listener.statistics().hellos_after_closing == 0 {
            drop(timeout(Duration::from_millis(20), listener.next()).await);
        }
    };
    tokio::select! {
        event = device.event() => panic!("{event:?}"),
        heard = timeout(LIMIT, heard) => heard.unwrap(),
    }
    assert_eq!(listener.gauges(), dtls_server::Gauges::default());
}

/// The port closes the older of two sessions of the same principal, but nobody else's, and only if it is told to.
#[tokio::test]
async fn where_each_may_have_one_session_a_new_one_closes_the_older() {
    let store = Store::new();
    for one_each in [false, true] {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut port = Shards::new(vec![socket], &Config::default(), [7; 32], &store);
        if one_each {
            port = port.with_one_session_each();
        }
        let mut listener = port.into_listeners().pop().unwrap();
        let address = listener.local_address().unwrap();
        let mut devices = Vec::new();
        for identity in ["sensor1@T", "other@T", "sensor1@T"] {
            let mut device = Device::new(identity, address).await;
            let ((), event) = tokio::join!(device.greet(), next(&mut listener));
            assert!(matches!(event, Event::Established { .. }), "{event:?}");
            devices.push(device);
        }
        assert_eq!(listener.gauges().sessions, if one_each { 2 } else { 3 });
        if one_each {
            let event = next(&mut listener).await;
            let Event::Closed { principal, .. } = event else {
                panic!("{event:?}")
            };
            assert_eq!(principal, "sensor1@T");
            assert_eq!(
                devices[0].event().await,
                DeviceEvent::Closed(dtls_client::CloseReason::PeerClosed)
            );
            assert_eq!(listener.statistics().sessions_superseded, 1);
        }
        // The newer is the one that lives on, and may end and come back.
        devices[2].say(b"here").await;
        let event = next(&mut listener).await;
        let Event::ApplicationData { association, .. } = event else {
            panic!("{event:?}")
        };
        listener.close(association);
        assert!(matches!(next(&mut listener).await, Event::Closed { .. }));
        let mut again = Device::new("sensor1@T", address).await;
        let ((), event) = tokio::join!(again.greet(), next(&mut listener));
        assert!(matches!(event, Event::Established { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn bare_keys_are_judged_where_they_are_wanted() {
    let store = Store::new();
    let mut config = Config::default();
    config.identity = Some(identity("server"));
    config.raw_public_keys = true;
    let (mut listener, address) = listener(&store, config);
    let own = identity("bare");
    let mut client = ClientConfig::with_certificate(Arc::clone(&own));
    client.certificate_kind = CertificateKind::RawPublicKey;
    client.server_name = Some("T.example.org".to_owned());
    let mut device = Device::with(client, address).await;
    let ((), event) = tokio::join!(device.greet(), next(&mut listener));
    let Event::Established { principal, .. } = event else {
        panic!("{event:?}")
    };
    let length = own.public_key().len();
    assert_eq!(principal, format!("{length} bytes@T.example.org"));
}
