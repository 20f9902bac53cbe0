//! Sockets across a router, in network namespaces: paths with a small MTU, and hosts with several
//! addresses. Needs root and `ip`; without them the test says so and does nothing.
#![expect(clippy::print_stderr, reason = "a skipped test must be seen")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod lab;

use std::{
    env,
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    process::{Child, Stdio},
    time::Duration,
};

use dtls_server::{Batch, UdpSocket};

use self::lab::Lab;

/// Answers of 700 and 1,232 bytes left with the don't-fragment flag, so a router before a link of 576
/// bytes dropped each of their repetitions; and they left from the host's first address, whichever was
/// asked, so that connected sockets did not hear them (RFC 7252 §5.3.2).
#[test]
fn answers_pass_small_links_and_leave_from_the_address_asked() {
    if !lab::is_possible() {
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
        let mut server = child(&lab, "server", "serves", &[]);
        let asked = child(&lab, "device", "asks", hosts).wait().unwrap();
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

/// One of the ignored tests, in a namespace.
fn child(lab: &Lab, part: &str, test: &str, hosts: &[&str]) -> Child {
    lab::command(&lab.of(part), &env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(HOSTS, hosts.join(","))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

const HOSTS: &str = "ROUTED_HOSTS";
const PORT: u16 = 5684;
