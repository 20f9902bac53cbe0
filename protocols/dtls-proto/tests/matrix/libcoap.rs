//! libcoap's `coap-client`, which takes no suite and no curve: it gets the only one that the server has.

use std::process::Command;

use dtls_proto::crypto::KeyExchange;

use crate::peer::Peer;
use crate::scenario::{Feature, Place, Scenario, Stack, first_line};
use crate::server::{IDENTITY, Seen};

/// The library below it.
#[derive(Clone, Copy)]
pub(crate) enum Libcoap {
    OpenSsl,
    GnuTls,
    MbedTls,
}

impl Libcoap {
    const fn program(self) -> &'static str {
        match self {
            Self::OpenSsl => "coap-client-openssl",
            Self::GnuTls => "coap-client-gnutls",
            Self::MbedTls => "coap-client-mbedtls",
        }
    }
}

impl Stack for Libcoap {
    fn name(&self) -> &'static str {
        match self {
            Self::OpenSsl => "libcoap on OpenSSL",
            Self::GnuTls => "libcoap on GnuTLS",
            Self::MbedTls => "libcoap on Mbed TLS",
        }
    }

    /// The first line of its usage.
    fn version(&self) -> Option<String> {
        match self {
            Self::MbedTls => Some("not in Debian".to_owned()),
            _ => first_line(&mut Command::new(self.program())),
        }
    }

    fn needs(&self) -> &'static str {
        "libcoap's programs (Debian: apt-get install libcoap3-bin)"
    }

    fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        if matches!(self, Self::MbedTls) {
            return Some("Debian's libcoap3-bin is built on OpenSSL and on GnuTLS only");
        }
        if scenario.suite.key_exchange() == KeyExchange::EcdhePsk {
            return Some("the library below has this key exchange with CBC and ChaCha20 only");
        }
        if matches!(self, Self::GnuTls) && scenario.suite.cipher() == "AES_256_CCM_8" {
            return Some("libcoap does not switch this cipher on in GnuTLS");
        }
        match scenario.feature {
            Feature::SessionId | Feature::Ticket => Some("coap-client has one session in a run"),
            Feature::ConnectionId | Feature::EmptyConnectionId => {
                Some("the library below has no connection ids")
            }
            _ => None,
        }
    }

    fn answer(&self) -> fn(&[u8]) -> Vec<u8> {
        content
    }

    fn talk(&self, scenario: Scenario, place: &Place) {
        let mut command = Command::new(self.program());
        command.args(["-w", "-B", "10"]);
        match scenario.pem() {
            Some(pem) => command.args(["-n", "-c", pem, "-j", pem]),
            None => command.args(["-u", IDENTITY, "-k", "secret1"]),
        };
        command.arg(format!("coaps://127.0.0.1:{}/line", place.port));
        let mut client = Peer::start(&mut command, "libcoap3-bin").unwrap();
        client.wait_for(LINE);
        place.server.wait_for(&Seen::Data);
    }
}

/// 2.05 to any confirmable request, in its acknowledgement (RFC 7252 §5.2.1).
fn content(request: &[u8]) -> Vec<u8> {
    const ACKNOWLEDGEMENT: u8 = 0x60;
    const CONTENT: u8 = 0x45;
    let [first, _, id @ ..] = &request[..4] else {
        panic!("no message");
    };
    let token_length = first & 0x0f;
    let token = &request[4..4 + usize::from(token_length)];
    let head = [ACKNOWLEDGEMENT | token_length, CONTENT];
    [&head, id, token, &[0xff], LINE.as_bytes()].concat()
}

const LINE: &str = "a line from the server";
