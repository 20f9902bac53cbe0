//! A device on Mbed TLS. What it says is made here, and goes through its session as it is.

use acceptance::stand::Stand;
use coap_lite::{CoapOption, MessageType, Packet};
use libtest_mimic::Trial;
use sandbox::{
    device::CoapRequest,
    northbound::{Application, Behaviour, Body, Message, Outcome as Delivery, command},
    world::World,
};
use tokio::process::Command;

use crate::{Outcome, Runner, openssl::wait_for, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for (code, limit) in [
        ("0", None),
        ("1", Some(512)),
        ("2", Some(1024)),
        ("3", Some(2048)),
    ] {
        let limited = limit.map_or("without_limit".to_owned(), |it: usize| format!("of_{it}"));
        let name = format!("commands_fit_a_max_fragment_length_{limited}_of_mbed_tls");
        let trial = move || commands_fit_the_max_fragment_length(code, limit);
        trials.push(runner.trial(Tool::MbedTls, &name, trial));
    }
}

/// Symptom: a command larger than the negotiated length was lost, and its application got the
/// outcome that
/// it was accepted. Cause: the size of blocks did not depend on the limit of records.
async fn commands_fit_the_max_fragment_length(code: &str, limit: Option<usize>) -> Outcome {
    let stand = Stand::start(World::default(), &[])
        .await
        .map_err(|error| error.to_string())?;
    let mut application = application(&stand).await?;
    let server = stand.coaps();
    let mut words = Command::new(Tool::MbedTls.program());
    words.args([
        &server.ip().to_string(),
        &server.port().to_string(),
        code,
        "-",
    ]);
    let mut device = Pipe::start(words).await?;
    for length in [100, 470, 480, 512, 900, 1000, 1024, 3000] {
        let largest = device.fetches_a_command(&mut application, length).await?;
        if limit.is_some_and(|limit| largest > limit) {
            return Err(format!("a record of {largest} bytes for {length} bytes"));
        }
    }
    application.detach().await;
    stand.stop().await;
    Ok(())
}

pub(crate) async fn application(stand: &Stand) -> Result<Application, String> {
    let attached = Application::attach(stand.amqp(), TENANT, &[], Behaviour::Accept).await;
    attached.map_err(|error| error.to_string())
}

/// A session of device 4711.
pub(crate) struct Pipe {
    program: Program,
    next_message_id: u16,
}

impl Pipe {
    /// Starts the program, and waits until it has a session.
    pub(crate) async fn start(command: Command) -> Result<Self, String> {
        let mut program = Program::start(command)?;
        wait_for(&mut program, "established").await?;
        Ok(Self {
            program,
            next_message_id: 1,
        })
    }

    async fn send(&mut self, message: &[u8]) -> Outcome {
        let digits: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
        self.program.write(format!("{digits}\n").as_bytes()).await
    }

    async fn request(&mut self, request: &CoapRequest) -> Outcome {
        let message = request.encode(self.next_message_id, b"T");
        self.next_message_id += 1;
        self.send(&message).await
    }

    /// The next response and the length of its record.
    async fn response(&mut self) -> Result<(Packet, usize), String> {
        loop {
            let line = self.program.line(SOON).await.ok_or("no response")?;
            let digits = line.strip_prefix("< ").ok_or(line.clone())?;
            let record: Vec<u8> = digits
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            let packet = Packet::from_bytes(&record).map_err(|error| error.to_string())?;
            if packet.header.get_type() == MessageType::Confirmable {
                let [high, low] = packet.header.message_id.to_be_bytes();
                self.send(&[0x60, 0, high, low]).await?;
            }
            if packet.header.get_code() != "0.00" {
                return Ok((packet, record.len()));
            }
        }
    }

    /// Waits for a command, which `application` sends then, and fetches all of it. Returns the length
    /// of the largest record.
    pub(crate) async fn fetches_a_command(
        &mut self,
        application: &mut Application,
        length: usize,
    ) -> Result<usize, String> {
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
        let wait = CoapRequest::post("event")
            .query("hono-ttd=20")
            .query("empty");
        self.request(&wait).await?;
        let order = Message {
            body: Body::Data(body.clone()),
            ..command(TENANT, "4711", "go")
        };
        let ordering = async {
            application.receive(SOON).await.ok_or("no event arrived")?;
            let sent = application.send_command(TENANT, &order, 2 * SOON).await;
            match sent.map_err(|error| error.to_string())? {
                Some(Delivery::Accepted) => Ok(()),
                other => Err(format!("the command of {length} bytes: {other:?}")),
            }
        };
        let fetching = async {
            let (mut fetched, mut largest) = (Vec::<u8>::new(), 0);
            loop {
                let (packet, record) = self.response().await?;
                let code = packet.header.get_code();
                if code != "2.04" {
                    return Err(format!("{code} for a command of {length} bytes"));
                }
                largest = largest.max(record);
                fetched.extend(&packet.payload);
                let block = packet.get_first_option(CoapOption::Block2);
                let block = block.map_or(0, |bytes| number(bytes));
                if block & 8 == 0 {
                    return Ok((fetched, largest));
                }
                let next = ((block >> 4) + 1) << 4 | block & 7;
                let [.., high, low] = next.to_be_bytes();
                let bytes: &[u8] = if high == 0 { &[low] } else { &[high, low] };
                self.request(&wait.clone().option(BLOCK2, bytes)).await?;
            }
        };
        let (ordered, fetched) = tokio::join!(ordering, fetching);
        let (fetched, largest) = fetched?;
        ordered?;
        if fetched == body {
            Ok(largest)
        } else {
            Err(format!("{} bytes of {length} arrived", fetched.len()))
        }
    }

    /// Sends telemetry in blocks of 1,024 bytes, which arrives whole.
    pub(crate) async fn uploads(
        &mut self,
        application: &mut Application,
        length: usize,
    ) -> Outcome {
        let body: Vec<u8> = (b'A'..=b'Z').cycle().take(length).collect();
        let blocks = body.chunks(BLOCK);
        let last = blocks.len() - 1;
        for (number, block) in blocks.enumerate() {
            let more = if number < last { 8 } else { 0 };
            let option = u8::try_from(number << 4 | more | 6).map_err(|error| error.to_string())?;
            let part = CoapRequest::post("telemetry")
                .body(OCTETS, block)
                .option(BLOCK1, &[option]);
            self.request(&part).await?;
            let wanted = if number < last { "2.31" } else { "2.04" };
            let (packet, _) = self.response().await?;
            let code = packet.header.get_code();
            if code != wanted {
                return Err(format!("{code} for block {number}"));
            }
        }
        let message = application.receive(SOON).await.ok_or("nothing arrived")?;
        if message.payload == body {
            Ok(())
        } else {
            Err(format!(
                "{} bytes of {length} arrived",
                message.payload.len()
            ))
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

const TENANT: &str = "DEFAULT_TENANT";
/// RFC 7959 §2.1.
const BLOCK1: u16 = 27;
/// RFC 7959 §2.1.
const BLOCK2: u16 = 23;
const BLOCK: usize = 1024;
const OCTETS: u16 = 42;
