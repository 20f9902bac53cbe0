//! One test per resource that an attacker could take from others.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use acceptance::stand::{Stand, status};
use dtls_client::{Client, Config};
use sandbox::{
    device::{CoapRequest, Device},
    northbound::Behaviour,
};
use tokio::{
    net::{TcpStream, UdpSocket},
    sync::Mutex,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{ATTACKER, ELSEWHERE, Setting, victims::config, victims_are_served};
use crate::scene::{SOON, application};

/// Half-open handshakes: each answers the cookie and never its flight. There are more than places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_lock_nobody_out() {
    victims_are_served(&[], async |stand, _| {
        for _ in 0..3 {
            for _ in 0..800 {
                begin(stand.coaps(), Config::new("victim@acme", b"k")).await;
            }
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
}

/// Handshakes that name tenants nobody has, from one port: each asks for the key of its identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_tenants_in_identities_lock_nobody_out() {
    victims_are_served(&[], async |stand, _| {
        let socket = socket(stand.coaps()).await;
        for number in 0..3_000 {
            let config = Config::new(format!("x@none-{number}").as_str(), b"k");
            name_identity(&socket, config).await;
        }
    })
    .await;
}

/// Requests without security that name tenants and devices nobody has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_tenants_in_paths_lock_nobody_out() {
    victims_are_served(&[], async |stand, _| {
        let socket = socket(stand.coap()).await;
        for number in 0..3_000_u16 {
            let request = CoapRequest::put(&format!("t/none-{number}/d")).body(0, "x");
            send_plain(&socket, &request.non_confirmable(), number).await;
        }
    })
    .await;
}

/// One device names thousands of devices that its tenant does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_devices_lock_nobody_out() {
    victims_are_served(
        &[("HONO_BUDGET_DEVICE_MESSAGES", "6000")],
        async |stand, setting| {
            let mut mallory = session(stand, MALLORY, setting).await;
            for number in 0..3_000_u16 {
                let request = CoapRequest::put(&format!("t//none-{number}")).body(0, "x");
                let bytes = request.non_confirmable().encode(number, b"tokn");
                mallory.send_raw(&bytes).await.unwrap();
                pace(number).await;
            }
        },
    )
    .await;
}

/// One device with many sessions, each full of requests that wait for commands; it never
/// acknowledges the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_answers_lock_nobody_out() {
    victims_are_served(&[], async |stand, setting| {
        let mut sessions = Vec::new();
        for _ in 0..40 {
            let mut session = session(stand, MALLORY, setting).await;
            for id in 0..64_u16 {
                let request = CoapRequest::post("t").query("hono-ttd=1").body(0, "x");
                session
                    .send_raw(&request.encode(id, &id.to_be_bytes()))
                    .await
                    .unwrap();
            }
            sessions.push(session);
        }
        sleep(Duration::from_secs(2)).await;
    })
    .await;
}

/// The same on the port without security, where anybody can do it from many ports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_plain_answers_lock_nobody_out() {
    victims_are_served(&[], async |stand, _| {
        let mut sockets = Vec::new();
        for _ in 0..40 {
            let socket = socket(stand.coap()).await;
            for id in 0..64_u16 {
                let request = CoapRequest::put("t/acme/mallory")
                    .query("hono-ttd=1")
                    .body(0, "x");
                send_plain(&socket, &request, id).await;
            }
            sockets.push(socket);
        }
        sleep(Duration::from_secs(2)).await;
    })
    .await;
}

/// One device begins block-wise uploads in many sessions; a victim's upload of two blocks goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_transfers_of_one_device_evict_nobody_elses() {
    victims_are_served(&[], async |stand, setting| {
        let mut victim = session(stand, "victim@other", setting).await;
        let first = victim.request(&block(0, Block::More, 64), SOON).await;
        assert_eq!(first.unwrap().code(), "2.31", "{setting:?}");
        for _ in 0..30 {
            let mut mallory = session(stand, MALLORY, setting).await;
            for id in 0..16_u16 {
                let request = block(0, Block::More, 1024).query(&format!("n={id}"));
                let bytes = request.encode(id, &id.to_be_bytes());
                mallory.send_raw(&bytes).await.unwrap();
            }
            while let Ok(Some(_)) = mallory.receive(Duration::from_millis(20)).await {}
        }
        let last = victim.request(&block(1, Block::Last, 64), SOON).await;
        assert_eq!(last.unwrap().code(), "2.04", "{setting:?}");
    })
    .await;
}

/// Forged records with the connection id that a victim's records carry in the clear, from
/// elsewhere and from the victim's own address. The victim's requests are sent once each, until
/// enough of them are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_records_cost_their_victim_nothing() {
    victims_are_served(&[], async |stand, setting| {
        let tap = Tap::new(stand.coaps()).await;
        let config = config("victim@other", setting);
        let victim = Device::connect_with(tap.address, config, SOON).await;
        let mut victim = victim.unwrap();
        let confirmable = CoapRequest::post("t").body(0, "x");
        victim.request(&confirmable, SOON).await.unwrap();
        let record = tap.last_record.lock().await.clone();
        let flood = tokio::spawn(forge(stand.coaps(), record, Arc::clone(&tap.to_server)));
        sleep(BRIEFLY).await;
        // The kernel may lose datagrams while its buffer is full; filtered records are never opened.
        let (mut answered, deadline) = (0, Instant::now() + 6 * SOON);
        while answered < 15 && Instant::now() < deadline {
            let request = confirmable.clone().non_confirmable();
            answered += u32::from(victim.request(&request, BRIEFLY).await.is_ok());
        }
        assert!(!flood.is_finished(), "the attack goes on");
        flood.abort();
        assert_eq!(answered, 15, "{setting:?}: answered during the attack");
    })
    .await;
}

/// Sends forged records without end, about 5,000 a second, half of them through `tapped`.
async fn forge(server: SocketAddr, mut record: Vec<u8>, tapped: Arc<UdpSocket>) {
    let attacker = socket(server).await;
    for number in (1_000..=u16::MAX).cycle() {
        // Another sequence number, and a body that nobody has sealed.
        let body = record.len() - 2;
        record[body..].copy_from_slice(&number.to_be_bytes());
        record[9..11].copy_from_slice(&number.to_be_bytes());
        attacker.send(&record).await.unwrap();
        tapped.send(&record).await.unwrap();
        if number.is_multiple_of(25) {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A device that may not speak for another one cannot use up that one's budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_anothers_name_spend_the_senders_budget() {
    let budget = [("HONO_BUDGET_DEVICE_MESSAGES", "2000")];
    victims_are_served(&budget, async |stand, setting| {
        let mut mallory = session(stand, MALLORY, setting).await;
        for number in 0..2_500_u16 {
            let request = CoapRequest::put("t//behind").body(0, "x").non_confirmable();
            mallory
                .send_raw(&request.encode(number, b"tokn"))
                .await
                .unwrap();
            pace(number).await;
        }
        let mut gateway = session(stand, "gateway@acme", setting).await;
        let request = CoapRequest::put("t//behind").body(0, "x");
        let response = gateway.request(&request, SOON).await.unwrap();
        assert_eq!(response.code(), "2.04", "{setting:?}");
    })
    .await;
}

/// One device opens more sessions than there are places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_one_device_evict_nobody_elses() {
    victims_are_served(
        &[("HONO_COAP_MAXCONNECTIONS", "200")],
        async |stand, setting| {
            let mut sessions = Vec::new();
            for _ in 0..300 {
                let config = config(MALLORY, setting);
                let opened = Device::connect_from(ATTACKER, stand.coaps(), config, BRIEFLY).await;
                sessions.extend(opened.ok());
            }
        },
    )
    .await;
}

/// More requests at a time than there are places, from many sessions of one device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_one_device_takes_no_turn_of_others() {
    victims_are_served(&[], async |stand, setting| {
        let mut burst = JoinSet::new();
        for _ in 0..16 {
            let mut mallory = session(stand, MALLORY, setting).await;
            burst.spawn(async move {
                for number in 0..1_000_u16 {
                    let request = CoapRequest::post("t").body(0, vec![b'x'; 1000]);
                    let bytes = request.non_confirmable().encode(number, b"tokn");
                    mallory.send_raw(&bytes).await.unwrap();
                    pace(number).await;
                }
            });
        }
        burst.join_all().await;
    })
    .await;
}

/// Events of a tenant whose application settles nothing: they fill the connection to the network
/// that all tenants share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsettled_events_of_one_tenant_lock_nobody_out() {
    victims_are_served(&[], async |stand, setting| {
        let mut silent = application(stand, "greedy", Behaviour::Silent).await;
        let receiving = tokio::spawn(async move {
            loop {
                silent.receive(SOON).await;
            }
        });
        let mut sessions = Vec::new();
        for _ in 0..8 {
            let mut session = session(stand, "hog@greedy", setting).await;
            for id in 0..100_u16 {
                let request = CoapRequest::post("e").body(0, vec![b'x'; 1000]);
                let bytes = request.encode(id, &id.to_be_bytes());
                session.send_raw(&bytes).await.unwrap();
                pace(id).await;
            }
            sessions.push(session);
        }
        sleep(Duration::from_secs(1)).await;
        receiving.abort();
    })
    .await;
}

/// Idle TCP connections to the port for probes and metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_http_connections_stop_neither_probes_nor_devices() {
    victims_are_served(&[], async |stand, setting| {
        let health = stand.app().health_address();
        let mut idle = Vec::new();
        for _ in 0..400 {
            let connecting = timeout(BRIEFLY, TcpStream::connect(health));
            idle.extend(connecting.await.ok().and_then(Result::ok));
        }
        assert!(idle.len() > 300, "only {} connections", idle.len());
        let alive = probe_until(health, Instant::now() + SOON).await;
        assert_eq!(alive, Some(200), "{setting:?}");
        drop(idle);
    })
    .await;
}

/// Status of the liveness probe, tried until it is answered: the kubelet tries again, too.
async fn probe_until(health: SocketAddr, deadline: Instant) -> Option<u16> {
    while Instant::now() < deadline {
        if let Ok(answered) = status(health, "/liveness").await {
            return Some(answered);
        }
    }
    None
}

/// A device's session from the attacker's address.
async fn session(stand: &Stand, identity: &str, setting: Setting) -> Device {
    let config = config(identity, setting);
    let session = Device::connect_from(ATTACKER, stand.coaps(), config, SOON).await;
    session.unwrap_or_else(|error| panic!("{identity}, {setting:?}: {error}"))
}

/// A socket of the attacker's, connected to `server`.
async fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ATTACKER, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

/// Begins a handshake at a port of its own, and never answers the server's flight. The port is
/// closed at once, so that the server's answers go nowhere.
async fn begin(server: SocketAddr, config: Config) {
    let socket = socket(server).await;
    let now = Instant::now();
    let mut client = Client::new(now, config).unwrap();
    socket.send(&client.poll_transmit().unwrap()).await.unwrap();
    // What came may have been meant for an earlier user of the port.
    if answer(&socket, &mut client).await
        && let Some(hello) = client.poll_transmit()
    {
        socket.send(&hello).await.unwrap();
    }
}

/// Goes through a handshake as far as a `ClientKeyExchange`, which names the identity.
async fn name_identity(socket: &UdpSocket, config: Config) {
    let mut client = Client::new(Instant::now(), config).unwrap();
    for _ in 0..2 {
        while let Some(datagram) = client.poll_transmit() {
            socket.send(&datagram).await.unwrap();
        }
        if !answer(socket, &mut client).await {
            return;
        }
    }
    while let Some(datagram) = client.poll_transmit() {
        socket.send(&datagram).await.unwrap();
    }
}

/// Hands the client the next datagram; `false` if none comes.
async fn answer(socket: &UdpSocket, client: &mut Client) -> bool {
    let mut buffer = [0; 2048];
    let Ok(Ok(length)) = timeout(BRIEFLY, socket.recv(&mut buffer)).await else {
        return false;
    };
    client.handle_datagram(Instant::now(), &mut buffer[..length]);
    true
}

async fn send_plain(socket: &UdpSocket, request: &CoapRequest, number: u16) {
    let bytes = request.encode(number, &number.to_be_bytes());
    socket.send(&bytes).await.unwrap();
    pace(number).await;
}

/// Lets the other tasks and the kernel's buffer keep up.
async fn pace(number: u16) {
    if number.is_multiple_of(50) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a block is the last one of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    More,
    Last,
}

/// A telemetry upload's block of `size` bytes (RFC 7959 §2.2).
fn block(number: u8, more: Block, size: usize) -> CoapRequest {
    let szx = u8::try_from(size.ilog2()).unwrap() - 4;
    let value = (number << 4) | (u8::from(more == Block::More) << 3) | szx;
    let mut request = CoapRequest::post("t").body(0, vec![b'x'; size]);
    request.options.push((BLOCK1, vec![value]));
    request
}

/// Forwards datagrams between a victim and the server, and shows what the victim sends.
struct Tap {
    address: SocketAddr,
    to_server: Arc<UdpSocket>,
    last_record: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Tap {
    async fn new(server: SocketAddr) -> Self {
        let from_victim = UdpSocket::bind((ELSEWHERE, 0)).await.unwrap();
        let address = from_victim.local_addr().unwrap();
        let to_server = UdpSocket::bind((ELSEWHERE, 0)).await.unwrap();
        to_server.connect(server).await.unwrap();
        let to_server = Arc::new(to_server);
        let last_record = Arc::new(Mutex::new(Vec::new()));
        let (sent, seen) = (Arc::clone(&to_server), Arc::clone(&last_record));
        let task = tokio::spawn(async move {
            let mut victim = None;
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            loop {
                tokio::select! {
                    Ok((length, peer)) = from_victim.recv_from(&mut up) => {
                        victim = Some(peer);
                        *seen.lock().await = up[..length].to_vec();
                        sent.send(&up[..length]).await.unwrap();
                    }
                    Ok(length) = sent.recv(&mut down) => if let Some(victim) = victim {
                        from_victim.send_to(&down[..length], victim).await.unwrap();
                    }
                }
            }
        });
        Self {
            address,
            to_server,
            last_record,
            task,
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const MALLORY: &str = "mallory@acme";
/// RFC 7959 §6.
const BLOCK1: u16 = 27;
/// How long an attacker waits for an answer.
const BRIEFLY: Duration = Duration::from_millis(500);
