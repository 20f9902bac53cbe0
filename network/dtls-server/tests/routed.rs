//! Sockets across a router, in network namespaces: paths with a small MTU, and hosts with several
//! addresses. Needs root and `ip`; without them the test says so and does nothing.
//!
//! ```text
//! server 10.78.1.1, .50, fd78:1::1, ::50 ── router ──(MTU)── device 10.78.2.1, fd78:2::1
//! ```
#![expect(clippy::print_stderr, reason = "a skipped test must be seen")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{
    env,
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    process::{Child, Command, Stdio},
    time::Duration,
};

use dtls_server::{Batch, UdpSocket};

/// Answers of 700 and 1,232 bytes left with the don't-fragment flag, so a router before a link of 576
/// bytes dropped each of their repetitions; and they left from the host's first address, whichever was
/// asked, so that connected sockets did not hear them (RFC 7252 §5.3.2).
#[test]
fn answers_pass_small_links_and_leave_from_the_address_asked() {
    if !is_root() || !ip(&["-V"]) {
        eprintln!("SKIPPED: network namespaces need root and `ip` (iproute2)");
        return;
    }
    for (mtu, hosts) in [
        ("576", &["10.78.1.1", "10.78.1.50"][..]),
        (
            "1280",
            &["10.78.1.1", "10.78.1.50", "fd78:1::1", "fd78:1::50"],
        ),
    ] {
        let lab = Lab::new(mtu);
        let mut server = lab.child("server", "serves", &[]);
        let asked = lab.child("device", "asks", hosts).wait().unwrap();
        drop(server.kill());
        drop(server.wait());
        assert!(asked.success(), "link of {mtu} bytes");
    }
}

/// The server's part: answers each datagram by as many bytes as it names.
#[test]
#[ignore = "started by the other test in a namespace"]
fn serves() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let mut socket = UdpSocket::bind(SocketAddr::from(([0; 8], PORT))).unwrap();
        let mut batch = Batch::new();
        loop {
            socket.receive(&mut batch).await.unwrap();
            let mut answers = Vec::new();
            batch.for_each(|path, datagram| {
                let length = std::str::from_utf8(datagram).unwrap().parse().unwrap();
                answers.push((path, vec![7; length]));
            });
            assert_eq!(socket.send_all(&answers).unsent(), 0);
        }
    });
}

/// The device's part.
#[test]
#[ignore = "started by the other test in a namespace"]
fn asks() {
    for host in env::var(HOSTS).unwrap().split(',') {
        let host: IpAddr = host.parse().unwrap();
        let any: SocketAddr = match host {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0; 8], 0).into(),
        };
        let socket = StdSocket::bind(any).unwrap();
        socket.connect((host, PORT)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        for length in [20, 700, 1232] {
            let mut buffer = [0; 2048];
            // The server may not be up yet, and neighbours have to be found.
            let answered = (0..40).any(|_| {
                drop(socket.send(length.to_string().as_bytes()));
                matches!(socket.recv(&mut buffer), Ok(found) if found == length)
            });
            assert!(answered, "{length} bytes from {host}");
        }
    }
}

/// Three namespaces in a row, until it is dropped.
struct Lab {
    name: String,
}

impl Lab {
    fn new(mtu: &str) -> Self {
        let lab = Self {
            name: format!("dtls-{}", std::process::id()),
        };
        for part in PARTS {
            lab.run(&["netns", "add", &lab.of(part)]);
            lab.inside(part, &["link", "set", "lo", "up"]);
        }
        for (end, near, far) in [("server", "s0", "r0"), ("device", "d0", "r1")] {
            let (at, router) = (lab.of(end), lab.of("router"));
            let peer = ["type", "veth", "peer", "name", far, "netns", &router];
            let add = [&["link", "add", near, "netns", &at][..], &peer].concat();
            lab.run(&add);
        }
        for (part, link, addresses) in [
            (
                "server",
                "s0",
                &[
                    "10.78.1.1/24",
                    "10.78.1.50/24",
                    "fd78:1::1/64",
                    "fd78:1::50/64",
                ][..],
            ),
            ("router", "r0", &["10.78.1.2/24", "fd78:1::2/64"]),
            ("router", "r1", &["10.78.2.2/24", "fd78:2::2/64"]),
            ("device", "d0", &["10.78.2.1/24", "fd78:2::1/64"]),
        ] {
            lab.inside(part, &["link", "set", link, "up"]);
            for address in addresses {
                let nodad: &[&str] = if address.contains(':') {
                    &["nodad"]
                } else {
                    &[]
                };
                let add = [&["addr", "add", address, "dev", link][..], nodad].concat();
                lab.inside(part, &add);
            }
        }
        lab.inside("router", &["link", "set", "r1", "mtu", mtu]);
        lab.inside("device", &["link", "set", "d0", "mtu", mtu]);
        for (part, network) in [("server", 1), ("device", 2)] {
            lab.inside(
                part,
                &[
                    "route",
                    "add",
                    "default",
                    "via",
                    &format!("10.78.{network}.2"),
                ],
            );
            if mtu != "576" {
                let via = format!("fd78:{network}::2");
                lab.inside(part, &["-6", "route", "add", "default", "via", &via]);
            }
        }
        for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            let router = lab.of("router");
            assert!(ip(&["netns", "exec", &router, "sysctl", "-qw", key]));
        }
        lab
    }

    fn of(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn run(&self, words: &[&str]) {
        assert!(ip(words), "{}: ip {words:?}", self.name);
    }

    fn inside(&self, part: &str, words: &[&str]) {
        self.run(&[&["-n", &self.of(part)][..], words].concat());
    }

    /// One of the ignored tests, in a namespace.
    fn child(&self, part: &str, test: &str, hosts: &[&str]) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.of(part)])
            .arg(env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(HOSTS, hosts.join(","))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for part in PARTS {
            ip(&["netns", "del", &self.of(part)]);
        }
    }
}

fn ip(words: &[&str]) -> bool {
    let status = Command::new("ip")
        .args(words)
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

const PARTS: [&str; 3] = ["server", "router", "device"];
const HOSTS: &str = "ROUTED_HOSTS";
const PORT: u16 = 5684;
