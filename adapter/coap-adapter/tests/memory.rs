//! The built binary under more load than its memory contract has room for: it stays within, serves on, and loses nothing that it said
//! it had.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sandbox::{
    Sandbox, SandboxConfig,
    device::CoapRequest,
    northbound::{Application, Behaviour},
    world::{Device, Tenant, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

/// Bytes that the adapter may have; it says itself which requests fit into that.
const CONTRACT: u64 = 40 << 20;
/// Devices that want to wait for commands at once: more than fit.
const DEVICES: usize = 1500;
/// Devices that begin a body in blocks and never end it.
const BLOCKS: usize = 2000;
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_fits_is_refused_and_nothing_is_lost() {
    let sandbox = sandbox().await;
    let amqp = sandbox.amqp_address();
    let mut application = Application::attach(amqp, "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let adapter = Adapter::start(amqp).await;
    let before = adapter.anonymous_memory();
    let places = adapter.bound("parked_requests").await;
    assert!(places > 0 && places < DEVICES, "{places} places");
    let mut crowd = Crowd::new(adapter.coap).await;

    let mut received = BTreeSet::new();
    for number in 0..DEVICES {
        crowd.wait_for_command(number).await;
        if number % 20 == 0 {
            crowd.listen(Duration::from_millis(10)).await;
            take_all(&mut application, &mut received).await;
        }
    }
    for number in 0..BLOCKS {
        crowd.begin_body(number).await;
    }
    crowd.listen(Duration::from_secs(1)).await;
    let parked = adapter.metric("coap_adapter_parked_requests", "").await;
    let full = adapter.anonymous_memory();
    // Who does not wait is served while all places for those who wait are taken.
    let mut other = sandbox::device::Device::plain(adapter.coap).await.unwrap();
    let telemetry = CoapRequest::put("/telemetry/T/d0").body(0, *b"other");
    let answer = other.request(&telemetry, SOON).await.unwrap();
    assert_eq!(answer.code(), "2.04");

    let until = Instant::now() + SOON;
    while crowd.answers() < DEVICES && Instant::now() < until {
        crowd.listen(Duration::from_millis(200)).await;
        take_all(&mut application, &mut received).await;
    }
    take_all(&mut application, &mut received).await;
    println!(
        "{places} places, {parked} requests waited at once; {} events accepted, {} refused, {} answers; {before} bytes before, {full} when full",
        crowd.accepted.len(),
        crowd.refused.len(),
        crowd.answers(),
    );
    assert!(full <= CONTRACT, "{full} bytes of {CONTRACT}");
    assert!(parked > 0 && parked <= places, "{parked} of {places} wait");
    assert!(
        crowd.accepted.is_subset(&received),
        "answered 2.04 and lost"
    );
    assert!(
        crowd.accepted.len() >= parked,
        "they are answered when their time is over"
    );
    drop(adapter);
    sandbox.stop().await;
}

/// Requests and handshakes from thousands of addresses: with 64 MiB, 84 were in RAM, as the kernel
/// backed each region of the allocator that a byte was written to with a huge page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_many_addresses_send_memory_stays_in_its_bound() {
    const BOUND: u64 = 64 << 20;
    let sandbox = sandbox().await;
    let amqp = sandbox.amqp_address();
    let mut application = Application::attach(amqp, "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let consumer = tokio::spawn(async move {
        loop {
            application.receive(SOON).await;
        }
    });
    let adapter = Adapter::start_with(amqp, BOUND, Ports::Both).await;
    assert!(!adapter.may_have_huge_pages());
    for kind in Flood::ALL {
        let mut largest = 0;
        for number in 0..FLOOD {
            let server = match kind {
                Flood::Hello => adapter.coaps,
                _ => adapter.coap,
            };
            kind.send(server, number).await;
            if number % 100 == 0 {
                largest = largest.max(adapter.anonymous_memory());
                sleep(Duration::from_millis(2)).await;
            }
        }
        println!("{kind:?}: {largest} bytes in RAM");
        assert!(largest <= BOUND, "{kind:?}: {largest} bytes of {BOUND}");
    }
    consumer.abort();
    drop(adapter);
    sandbox.stop().await;
}

/// How many addresses send one message of each kind.
const FLOOD: u16 = 6_000;

/// What an address without credentials may send.
#[derive(Debug, Clone, Copy)]
enum Flood {
    /// An event of a device that waits for a command.
    Waiting,
    /// The same, of devices that the tenant does not have.
    UnknownDevice,
    /// Unreliable telemetry.
    NonConfirmable,
    /// The first block of a body.
    Block,
    /// Discovery, whose answer is longer than the request allows.
    Discovery,
    /// A handshake that ends after the cookie.
    Hello,
}

impl Flood {
    const ALL: [Self; 6] = [
        Self::Waiting,
        Self::UnknownDevice,
        Self::NonConfirmable,
        Self::Block,
        Self::Discovery,
        Self::Hello,
    ];

    /// Sends one message from an address of its own, and never receives an answer.
    async fn send(self, server: SocketAddr, number: u16) {
        let [high, low] = number.to_be_bytes();
        let socket = UdpSocket::bind(SocketAddr::from(([127, 1 + low % 3, high, low.max(1)], 0)))
            .await
            .unwrap();
        socket.connect(server).await.unwrap();
        let device = usize::from(number) % DEVICES;
        let request = match self {
            Self::Waiting => CoapRequest::put(&format!("/event/T/d{device}"))
                .query("hono-ttd=20")
                .body(0, vec![b'x'; 100]),
            Self::UnknownDevice => CoapRequest::put(&format!("/event/T/none-{number}"))
                .query("hono-ttd=20")
                .body(0, "x"),
            Self::NonConfirmable => CoapRequest::put(&format!("/telemetry/T/d{device}"))
                .body(0, vec![b'x'; 1000])
                .non_confirmable(),
            Self::Block => CoapRequest::put(&format!("/telemetry/T/d{device}"))
                .option(27, &[0b1110])
                .body(0, vec![b'x'; 1024]),
            Self::Discovery => CoapRequest::new(1, "/.well-known/core"),
            Self::Hello => return begin_handshake(&socket).await,
        };
        let bytes = request.encode(number, &number.to_be_bytes());
        // The kernel may refuse a datagram after an ICMP error; the next address sends the next.
        drop(socket.send(&bytes).await);
    }
}

/// Goes as far as the second hello.
async fn begin_handshake(socket: &UdpSocket) {
    let config = dtls_client::Config::new("d0@T", b"k");
    let mut client = dtls_client::Client::new(Instant::now(), config).unwrap();
    drop(socket.send(&client.poll_transmit().unwrap()).await);
    let mut bytes = [0; 2048];
    let answer = timeout(Duration::from_millis(20), socket.recv(&mut bytes));
    if let Ok(Ok(length)) = answer.await {
        client.handle_datagram(Instant::now(), &mut bytes[..length]);
        if let Some(hello) = client.poll_transmit() {
            drop(socket.send(&hello).await);
        }
    }
}

async fn sandbox() -> Sandbox {
    let mut tenant = Tenant::from_json(serde_json::json!({}));
    for number in 0..DEVICES {
        tenant = tenant.with_device(format!("d{number}"), Device::default());
    }
    let mut world = World::empty();
    world.tenants.insert("T".to_owned(), tenant);
    let config = SandboxConfig::new(([127, 0, 0, 1], 0).into(), world);
    Sandbox::start(config).await.unwrap()
}

async fn take_all(application: &mut Application, received: &mut BTreeSet<usize>) {
    while let Some(message) = application.receive(Duration::from_millis(20)).await {
        let text = String::from_utf8(message.payload).unwrap();
        received.extend(text.parse::<usize>().ok());
    }
}

/// Devices on some sockets.
struct Crowd {
    sockets: Vec<UdpSocket>,
    accepted: BTreeSet<usize>,
    refused: BTreeSet<usize>,
}

impl Crowd {
    async fn new(server: SocketAddr) -> Self {
        let mut sockets = Vec::new();
        for _ in 0..100 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(server).await.unwrap();
            sockets.push(socket);
        }
        Self {
            sockets,
            accepted: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    async fn wait_for_command(&self, number: usize) {
        let event = CoapRequest::put(&format!("/event/T/d{number}"))
            .query("hono-ttd=20")
            .body(0, number.to_string());
        self.send(number, &event).await;
    }

    /// The first of many blocks of 512 bytes (RFC 7959 §2.2).
    async fn begin_body(&self, number: usize) {
        let block = CoapRequest::put(&format!("/telemetry/T/d{number}"))
            .option(27, &[0b1101])
            .body(0, vec![b'x'; 512]);
        self.send(DEVICES + number, &block).await;
    }

    async fn send(&self, number: usize, request: &CoapRequest) {
        let token = u32::try_from(number).unwrap().to_be_bytes();
        let id = u16::try_from(number).unwrap();
        let socket = &self.sockets[number % self.sockets.len()];
        socket.send(&request.encode(id, &token)).await.unwrap();
    }

    /// Takes the answers that come; separate ones are acknowledged.
    async fn listen(&mut self, within: Duration) {
        let until = Instant::now() + within;
        loop {
            let mut came = false;
            for socket in &self.sockets {
                let mut bytes = [0; 1500];
                while let Ok(length) = socket.try_recv(&mut bytes) {
                    came = true;
                    let Some([first, code, high, low, token @ ..]) = bytes.get(..length) else {
                        continue;
                    };
                    if first & 0x30 == 0 {
                        socket.send(&[0x60, 0, *high, *low]).await.unwrap();
                    }
                    let Some(token) = token.first_chunk().filter(|_| first & 0xf == 4) else {
                        continue;
                    };
                    let number = u32::from_be_bytes(*token) as usize;
                    match code {
                        0x44 => self.accepted.insert(number),
                        0xa3 => self.refused.insert(number),
                        _ => false,
                    };
                }
            }
            if Instant::now() >= until {
                return;
            }
            if !came {
                sleep(Duration::from_millis(2)).await;
            }
        }
    }

    fn answers(&self) -> usize {
        self.accepted.len() + self.refused.len()
    }
}

/// A port for UDP and one for TCP that nobody has.
fn free_ports() -> (SocketAddr, SocketAddr) {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    (udp.local_addr().unwrap(), tcp.local_addr().unwrap())
}

/// Which ports are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ports {
    Plain,
    Both,
}

/// The process. Dropping it kills it.
struct Adapter {
    process: Child,
    coap: SocketAddr,
    coaps: SocketAddr,
    health: SocketAddr,
}

impl Adapter {
    /// Starts it and waits until it is ready.
    async fn start(amqp: SocketAddr) -> Self {
        Self::start_with(amqp, CONTRACT, Ports::Plain).await
    }

    async fn start_with(amqp: SocketAddr, max_memory: u64, ports: Ports) -> Self {
        let (coap, health) = free_ports();
        let (coaps, _) = free_ports();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coap-adapter"));
        command
            .arg("run")
            .env_clear()
            .env("HONO_APP_MAXMEMORY", max_memory.to_string())
            .env("HONO_COAP_AUTHENTICATIONREQUIRED", "false")
            .env("HONO_COAP_INSECUREPORT", coap.port().to_string())
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", health.port().to_string())
            .env("QUARKUS_LOG_LEVEL", "ERROR");
        if ports == Ports::Both {
            command.env("HONO_COAP_PORT", coaps.port().to_string());
        }
        let patience = [
            ("FLOWLATENCY", "5000"),
            ("REQUESTTIMEOUT", "10000"),
            ("SENDMESSAGETIMEOUT", "10000"),
        ];
        command.envs(sandbox::variables(amqp, &patience));
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        let adapter = Self {
            process,
            coap,
            coaps,
            health,
        };
        let ready = async {
            while !adapter.page("/readiness").await.starts_with("HTTP/1.0 200") {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, ready).await.unwrap();
        adapter
    }

    /// Bytes in RAM without those that are the program itself, of which an unoptimised one has many (proc(5), `RssAnon`).
    fn anonymous_memory(&self) -> u64 {
        let status = self.status();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        let kibibytes: u64 = line
            .trim()
            .strip_suffix("kB")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        kibibytes * 1024
    }

    /// Whether the kernel may back its memory with huge pages (proc(5), `THP_enabled`, since Linux 5.0).
    fn may_have_huge_pages(&self) -> bool {
        let status = self.status();
        let mut lines = status.lines();
        lines.any(|line| line.strip_prefix("THP_enabled:").map(str::trim) == Some("1"))
    }

    fn status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap()
    }

    /// What a table may have, by the contract.
    async fn bound(&self, table: &str) -> usize {
        let label = format!("table=\"{table}\"");
        self.metric("coap_adapter_table_bound", &label).await
    }

    async fn metric(&self, name: &str, label: &str) -> usize {
        let page = self.page("/prometheus").await;
        let mut lines = page.lines();
        let line = lines.find(|line| line.starts_with(name) && line.contains(label));
        let value = line.and_then(|line| line.split(' ').next_back());
        value.unwrap().parse::<f64>().unwrap() as usize
    }

    /// What a GET request gets, head and all; nothing as long as nobody listens.
    async fn page(&self, path: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.health).await?;
            let request = format!("GET {path} HTTP/1.0\r\nhost: adapter\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        exchange.await.unwrap_or_default()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
