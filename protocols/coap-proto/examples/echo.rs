//! A CoAP server that gives back what it gets, to be tried with any client:
//!
//! ```text
//! cargo run -p coap-proto --example echo -- 127.0.0.1:5683
//! coap-client-notls -m post -b 64 -f some.file coap://127.0.0.1/t
//! ```
//!
//! `POST` and `PUT` are answered 2.04 with the body of the request, on the path `/late` after an empty acknowledgement; `GET` is
//! answered 2.05 with as many bytes as the first query tells.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the socket and the clock that the core does without"
)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use coap_proto::{Code, Config, Endpoint, Event, Request, Response};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let socket = UdpSocket::bind(address.as_deref().unwrap_or("127.0.0.1:5683"))?;
    eprintln!("serving coap://{}", socket.local_addr()?);
    let mut endpoint = Endpoint::new(Config::default(), u64::from(std::process::id()));
    let mut buffer = [0; 4096];
    loop {
        let wait = endpoint
            .poll_timeout()
            .map(|at| at.saturating_duration_since(Instant::now()));
        socket.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, peer)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                endpoint.handle_datagram(Instant::now(), &peer, datagram);
            }
            Err(error) if is_timeout(&error) => endpoint.handle_timeout(Instant::now()),
            Err(error) => return Err(error),
        }
        serve(&mut endpoint);
        while let Some(transmit) = endpoint.poll_transmit() {
            socket.send_to(&transmit.payload, transmit.peer)?;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn serve(endpoint: &mut Endpoint<SocketAddr>) {
    while let Some(event) = endpoint.poll_event() {
        match event {
            Event::Request {
                exchange, request, ..
            } => {
                let is_late = request
                    .uri_path()
                    .first()
                    .is_some_and(|path| path == "late");
                if is_late {
                    endpoint.acknowledge(Instant::now(), exchange);
                }
                endpoint.respond(Instant::now(), exchange, respond(request));
            }
            event => eprintln!("{event:?}"),
        }
    }
}

fn respond(request: Request) -> Response {
    match request.code() {
        Code::GET => {
            let length = request.uri_query().first();
            let length = length
                .and_then(|length| length.parse::<u16>().ok())
                .unwrap_or(0);
            let body = b"0123456789".iter().copied().cycle().take(length.into());
            Response::new(Code::CONTENT).payload(body.collect::<Vec<_>>())
        }
        Code::POST | Code::PUT => {
            eprintln!(
                "{} {:?} {} bytes",
                request.code(),
                request.uri_path(),
                request.payload().len()
            );
            Response::new(Code::CHANGED).payload(request.into_payload())
        }
        _ => Response::new(Code::METHOD_NOT_ALLOWED),
    }
}
