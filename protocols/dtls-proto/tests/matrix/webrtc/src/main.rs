//! The crate `dtls` of webrtc-rs, steered by lines: what it reads it sends, what it receives it prints behind "< ".
//!
//! `webrtc-peer client PORT SUITE MTU PEM`, with the suite's number, the longest datagram and the PEM file of key and certificate, or "-" for a pre-shared key;
//! `webrtc-peer server PORT PEM` sends back what it gets.

use std::{error::Error, net::SocketAddr, sync::Arc};

use dtls::{
    cipher_suite::CipherSuiteId,
    config::{ClientAuthType, Config},
    conn::DTLSConn,
    crypto::{Certificate, CryptoPrivateKey},
    listener::listen,
};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    net::UdpSocket,
};
use webrtc_util::conn::Listener;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match *words {
        ["client", port, suite, mtu, pem] => {
            let config = Config {
                cipher_suites: vec![CipherSuiteId::from(suite.parse::<u16>()?)],
                mtu: mtu.parse()?,
                ..config(pem)?
            };
            runtime.block_on(client(port.parse()?, config))
        }
        ["version"] => {
            println!("crate dtls 0.17.2");
            Ok(())
        }
        ["server", port, pem] => runtime.block_on(server(port.parse()?, pem)),
        _ => Err("usage: client PORT SUITE MTU PEM | server PORT PEM".into()),
    }
}

async fn client(port: u16, config: Config) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(loopback(port)).await?;
    let conn = Arc::new(DTLSConn::new(Arc::new(socket), config, true, None).await?);
    println!("established");
    let reading = Arc::clone(&conn);
    tokio::spawn(async move {
        let mut buffer = vec![0; 16_384];
        while let Ok(length) = reading.read(&mut buffer, None).await {
            println!("< {}", String::from_utf8_lossy(&buffer[..length]));
        }
    });
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        conn.write(line.as_bytes(), None).await?;
    }
    conn.close().await?;
    Ok(())
}

/// Serves one client after the other, as its listener shakes hands inside of `accept`.
async fn server(port: u16, pem: &str) -> Outcome {
    let listener = listen(loopback(port), config(pem)?).await?;
    println!("listening");
    loop {
        let Ok((conn, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            let mut buffer = vec![0; 16_384];
            while let Ok(length) = conn.recv(&mut buffer).await {
                if length == 0 || conn.send(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        });
    }
}

fn config(pem: &str) -> Result<Config, Box<dyn Error>> {
    let mut config = Config {
        insecure_skip_verify: true,
        client_auth: ClientAuthType::RequireAnyClientCert,
        ..Config::default()
    };
    if pem == "-" {
        config.psk = Some(Arc::new(|_| Box::pin(async { Ok(b"secret1".to_vec()) })));
        config.psk_identity_hint = Some(b"sensor1@DEFAULT_TENANT".to_vec());
        config.client_auth = ClientAuthType::NoClientCert;
        config.cipher_suites = [0xc0a8, 0xc0a4, 0x00a8].map(CipherSuiteId::from).into();
    } else {
        let text = std::fs::read_to_string(pem)?;
        config.cipher_suites = [0xc0ae, 0xc0ac, 0xc02b].map(CipherSuiteId::from).into();
        config.certificates = vec![Certificate {
            certificate: vec![CertificateDer::from_pem_slice(text.as_bytes())?],
            private_key: CryptoPrivateKey::from_key_pair(&KeyPair::from_pem(&text)?)?,
        }];
    }
    Ok(config)
}

fn loopback(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
