//! The way of a device to an application, one step after the other; the first that fails is the last.
//!
//! ```text
//! resolve ─> reach ─> cookie ─> suite ─> prove ─> trust (certificates) ─> request
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use coap_client::{CoapRequest, CoapResponse, Device, Handshake};
use dtls_client::{CloseReason, Stage};

use super::super::{Error, marker};
use super::advice::{Other, Server};
use super::credentials::Credentials;
use super::target::{Security, Target};
use super::trust::Trust;
use super::{Answer, DoctorOptions, Method, Report, Step, advice, probe};

/// The task.
#[derive(Debug)]
pub(super) struct Examination {
    url: String,
    target: Target,
    secured: Option<(Credentials, Trust)>,
    request: CoapRequest,
    patience: Duration,
    steps: Vec<Step>,
}

impl Examination {
    pub(super) fn new(options: &DoctorOptions) -> Result<Self, Error> {
        let target = Target::of(&options.url)?;
        let secured = match target.security {
            Security::Dtls => Some((
                Credentials::of(options)?,
                Trust::of(options.trust.as_deref())?,
            )),
            Security::None => None,
        };
        Ok(Self {
            url: options.url.clone(),
            request: request(options, &target),
            target,
            secured,
            patience: Duration::from_secs(options.timeout),
            steps: Vec::new(),
        })
    }

    pub(super) async fn run(mut self) -> Report {
        let response = self.examine().await;
        Report {
            ok: self.steps.iter().all(|step| step.ok),
            server: self.url,
            steps: self.steps,
            response,
        }
    }

    async fn examine(&mut self) -> Option<Answer> {
        let address = self.resolve().await?;
        let device = match self.secured.take() {
            Some((credentials, trust)) => self.handshake(address, &credentials, &trust).await?,
            None => match Device::plain(address).await {
                Ok(device) => device,
                Err(error) => {
                    let advice = advice::nobody(address, Security::None);
                    self.failed("reach", chain(&error), advice);
                    return None;
                }
            },
        };
        self.ask(device, address).await
    }

    async fn resolve(&mut self) -> Option<SocketAddr> {
        let host = &self.target.host;
        match self.target.resolve().await {
            Ok(found) if !found.is_empty() => {
                let address = *found.first()?;
                let more = match found.len() {
                    1 => String::new(),
                    several => format!(" (the first of {several} addresses)"),
                };
                let detail = match self.target.server_name() {
                    Some(host) => format!("{host} is {}{more}", address.ip()),
                    None => format!("the address is {}", address.ip()),
                };
                self.passed("resolve", detail);
                Some(address)
            }
            found => {
                let why = found.err().map(|error| error.to_string());
                let why = why.unwrap_or_else(|| "it has no address".to_owned());
                let advice = vec![
                    "Check the host name and the DNS configuration of this machine.".to_owned(),
                ];
                self.failed("resolve", format!("cannot resolve {host}: {why}"), advice);
                None
            }
        }
    }

    async fn handshake(
        &mut self,
        address: SocketAddr,
        credentials: &Credentials,
        trust: &Trust,
    ) -> Option<Device> {
        let mut config = credentials.config();
        config.server_name = self.target.server_name().map(str::to_owned);
        let mut seen = Handshake::default();
        let result = Device::connect_noting(address, config, self.patience, &mut seen).await;
        let stage = seen.stage.unwrap_or(Stage::Begun);
        if stage > Stage::Begun {
            self.passed("reach", format!("a DTLS server responds at UDP {address}"));
            self.passed("cookie", "the cookie exchange is complete".to_owned());
        }
        if stage > Stage::Verified {
            self.passed(
                "suite",
                "it chose one of the cipher suites offered".to_owned(),
            );
        }
        match result {
            Ok(device) => {
                let suite = device.suite().unwrap_or_default();
                self.passed("prove", format!("both sides are authenticated; {suite}"));
                self.trust(device, trust)
            }
            Err(error) => {
                self.stuck(address, stage, seen, &error, credentials).await;
                None
            }
        }
    }

    /// Explains why the handshake ended at its stage.
    async fn stuck(
        &mut self,
        address: SocketAddr,
        stage: Stage,
        seen: Handshake,
        error: &coap_client::Error,
        credentials: &Credentials,
    ) {
        let step = match stage {
            Stage::Begun => "reach",
            Stage::Verified => "suite",
            Stage::Chosen | Stage::Presented | Stage::Established => "prove",
        };
        let server = server(address);
        match (seen.closed, error) {
            (Some(CloseReason::PeerAlert(alert)), _) => {
                let step = if step == "reach" { "suite" } else { step };
                let advice = advice::alert(alert, credentials, server);
                self.failed(
                    step,
                    format!("the server refused with the alert {alert:?}"),
                    advice,
                );
            }
            (Some(CloseReason::HandshakeFailed(alert)), _) => {
                let advice = vec![
                    "The server's message violates the protocol, or is for another client."
                        .to_owned(),
                ];
                self.failed(
                    step,
                    format!("the server's response is invalid ({alert:?})"),
                    advice,
                );
            }
            (_, coap_client::Error::Connection { .. }) => {
                let advice = advice::nobody(address, Security::Dtls);
                self.failed("reach", chain(error), advice);
            }
            _ => {
                let waited = format!("no response within {} s", self.patience.as_secs());
                let advice = match stage {
                    Stage::Begun => silence(address, Security::Dtls).await,
                    Stage::Verified => advice::full(),
                    Stage::Chosen | Stage::Presented | Stage::Established => {
                        advice::not_accepted(credentials, seen.local, server)
                    }
                };
                self.failed(step, waited, advice);
            }
        }
    }

    /// Checks the server's certificate; a pre-shared key authenticates the server by itself.
    fn trust(&mut self, device: Device, trust: &Trust) -> Option<Device> {
        if device.server_chain().is_empty() {
            return Some(device);
        }
        match trust.check(device.server_chain(), &self.target.host) {
            Ok(()) => {
                let origin = trust.origin();
                self.passed(
                    "trust",
                    format!("the server's certificate is valid (trusted by {origin})"),
                );
                Some(device)
            }
            Err(distrust) => {
                let advice = distrust.advice(trust.origin());
                self.failed(
                    "trust",
                    format!("the server's certificate is not valid: {distrust}"),
                    advice,
                );
                None
            }
        }
    }

    async fn ask(&mut self, mut device: Device, address: SocketAddr) -> Option<Answer> {
        let answered = device.request(&self.request, self.patience).await;
        device.close().await;
        match answered {
            Ok(response) => {
                let answer = answer(&response);
                let detail = format!("{} in {} ms", answer.code, answer.milliseconds);
                if response.is_success() {
                    self.passed("request", detail);
                } else {
                    let advice = advice::response(&answer.code, &answer.payload, server(address));
                    let text = Some(&answer.payload).filter(|text| !text.is_empty());
                    let text = text.map(|text| format!(": {text}")).unwrap_or_default();
                    self.failed("request", format!("{}{text}", answer.code), advice);
                }
                Some(answer)
            }
            Err(coap_client::Error::Timeout(_))
                if self.request.reliability == coap_client::Reliability::NonConfirmable =>
            {
                self.passed(
                    "request",
                    "sent; a non-confirmable message needs no response".to_owned(),
                );
                None
            }
            Err(coap_client::Error::Timeout(within)) => {
                let advice = if self.target.security == Security::None {
                    silence(address, Security::None).await
                } else {
                    vec!["The session is established, but the request or its response was lost, or hono-ttd is longer than --timeout.".to_owned()]
                };
                self.failed(
                    "request",
                    format!("no response within {} s", within.as_secs()),
                    advice,
                );
                None
            }
            Err(error @ coap_client::Error::Connection { .. }) => {
                let advice = if self.target.security == Security::None {
                    advice::nobody(address, Security::None)
                } else {
                    vec!["The server ended the session: the device may just have been disabled or deleted.".to_owned()]
                };
                self.failed("request", chain(&error), advice);
                None
            }
            Err(error) => {
                self.failed("request", chain(&error), Vec::new());
                None
            }
        }
    }

    fn passed(&mut self, step: &'static str, detail: String) {
        self.steps.push(Step {
            step,
            ok: true,
            detail,
            advice: Vec::new(),
        });
    }

    fn failed(&mut self, step: &'static str, detail: String, advice: Vec<String>) {
        self.steps.push(Step {
            step,
            ok: false,
            detail,
            advice,
        });
    }
}

/// The kind of server at this address.
fn server(address: SocketAddr) -> Server {
    if marker::is_sandbox(address) {
        Server::Sandbox
    } else {
        Server::Adapter
    }
}

/// Advice for a server that does not respond, depending on whether it uses the other protocol.
async fn silence(address: SocketAddr, security: Security) -> Vec<String> {
    let other = match security {
        Security::None if probe::speaks_dtls(address).await => Other::Dtls,
        Security::Dtls if probe::speaks_plain_coap(address).await => Other::PlainCoap,
        _ => Other::Nothing,
    };
    advice::silence(address, security, other)
}

/// The request. By default, a harmless one that passes every check that data does.
fn request(options: &DoctorOptions, target: &Target) -> CoapRequest {
    let path = options.path.as_deref().unwrap_or(&target.path);
    let wish = !path.is_empty() || options.payload.is_some();
    let (method, path) = match (options.method, target.security) {
        (Some(method), _) => (method, path),
        (None, Security::Dtls) => (Method::Post, path),
        (None, Security::None) if wish => (Method::Put, path),
        (None, Security::None) => (Method::Get, ".well-known/core"),
    };
    let path = match (method, path) {
        (Method::Post, "") => "telemetry",
        (Method::Get, "") => ".well-known/core",
        (_, path) => path,
    };
    let code = match method {
        Method::Get => 1,
        Method::Post => 2,
        Method::Put => 3,
        Method::Delete => 4,
    };
    let mut request = CoapRequest::new(code, path);
    let sends = matches!(method, Method::Post | Method::Put);
    match &options.payload {
        Some(payload) => request = request.body(options.content_format, payload.as_bytes()),
        None if sends => request = request.query("empty"),
        None => {}
    }
    for argument in target.query.iter().chain(&options.query) {
        request = request.query(argument);
    }
    if options.non {
        request = request.non_confirmable();
    }
    request
}

fn answer(response: &CoapResponse) -> Answer {
    let location = response
        .options
        .iter()
        .filter(|(number, _)| [LOCATION_PATH, LOCATION_QUERY].contains(number));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        code: response.code(),
        payload: text(&response.payload),
        location: location
            .map(|(number, value)| match *number {
                LOCATION_PATH => format!("Location-Path: {}", text(value)),
                _ => format!("Location-Query: {}", text(value)),
            })
            .collect(),
        milliseconds: response.took.as_millis(),
    }
}

fn chain(error: &coap_client::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

const LOCATION_PATH: u16 = 8;
const LOCATION_QUERY: u16 = 20;
