use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
};

use super::{SceneConfig, Voice, paste::lines_to_paste, play, show, shown, wait_and_answer};
use crate::{
    Sandbox, SandboxConfig,
    device::Device,
    northbound::{
        Application, ApplicationConfig, Behaviour, Message, Outcome, send_command_line,
        send_command_line_noting,
    },
    scene::Cast,
    world::World,
};

#[test]
fn payloads_are_shown_as_text_or_bytes_and_never_move_the_cursor() {
    for (payload, text) in [
        (b"".as_slice(), "(empty)".to_owned()),
        (b"{\"a\": 1}", "{\"a\": 1}".to_owned()),
        ("\u{e4}".as_bytes(), "\u{e4}".to_owned()),
        (b"\x1b[2J", "0x1b5b324a".to_owned()),
        (b"\xff\x00", "0xff00".to_owned()),
        (&[b'x'; 100], format!("{}... (100 bytes)", "x".repeat(64))),
    ] {
        assert_eq!(shown(payload), text);
    }
    let cut = format!("{}\u{e4}{}", "x".repeat(63), "y".repeat(9));
    assert_eq!(
        shown(cut.as_bytes()),
        format!("{}... (74 bytes)", "x".repeat(63))
    );
}

#[test]
fn the_lines_to_paste_name_a_device_a_gateway_and_the_plain_port() {
    let lines = lines_to_paste(
        &config(SocketAddr::from((Ipv4Addr::LOCALHOST, 5672))),
        Cast::of(&World::default()).as_ref(),
    );
    let expected = [
        r#"coap-client-openssl -v 6 -m post -u sensor1@DEFAULT_TENANT -k hono-secret -t json -e '{"temp": 22}' 'coaps://127.0.0.1:5684/telemetry'"#,
        r#"coap-client-openssl -v 6 -m post -u sensor1@DEFAULT_TENANT -k hono-secret -t json -e '{"alarm": "fire"}' 'coaps://127.0.0.1:5684/event'"#,
        r#"coap-client-openssl -v 6 -m post -u sensor1@DEFAULT_TENANT -k hono-secret 'coaps://127.0.0.1:5684/event?hono-ttd=30&empty'"#,
        r#"coap-client-openssl -v 6 -m put -u gw@DEFAULT_TENANT -k gw-secret -t json -e '{"temp": 3}' 'coaps://127.0.0.1:5684/telemetry/DEFAULT_TENANT/4712'"#,
        r#"coap-client-notls -v 6 -m put -t json -e '{"temp": 23}' 'coap://127.0.0.1:5683/telemetry/DEFAULT_TENANT/4711'"#,
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn the_scene_opens_with_the_addresses_and_ends_when_it_is_told_to() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let out = Shared::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut config = config(sandbox.amqp_address());
    config.play = false;
    let playing = tokio::spawn(play(out.clone(), config, async { drop(stopped.await) }));
    out.comes_to("Now you").await;
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
    let text = out.text();
    assert!(
        text.contains("0.0.0.0:5684") && text.contains(&sandbox.amqp_address().to_string()),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
}

#[tokio::test]
async fn the_device_waits_the_application_commands_and_gets_the_answer() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let adapter = ScriptedAdapter::start(&sandbox, "4711").await;
    let mut config = config(sandbox.amqp_address());
    config.commands = true;
    let cast = Cast::of(&config.world).unwrap();
    let (lines, spoken) = mpsc::channel(64);
    let voice = Voice {
        who: "device 4711".to_owned(),
        lines: lines.clone(),
    };
    let mut device = Device::plain(adapter.address).await.unwrap();
    let device = async move { wait_and_answer(&mut device, &voice).await };
    let out = Shared::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let (_, typed) = mpsc::channel(1);
    let (_, refusals) = mpsc::channel(1);
    let inputs = super::Inputs { typed, refusals };
    let playing = tokio::spawn({
        let out = out.clone();
        async move {
            let stopped = async { drop(stopped.await) };
            let lines = (lines, spoken);
            show(out, &config, Some(&cast), device, lines, inputs, stopped).await
        }
    });
    out.comes_to("Now you").await;
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
    // All that arrived is shown before the scene ends.
    let text = out.text();
    let (text, _) = text.split_once("Now you").unwrap();
    for line in [
        "device 4711  sends POST /event?hono-ttd=10",
        "received event/DEFAULT_TENANT  device 4711  ttd 10",
        "sends the command setLight to device 4711  {\"on\": true}",
        "accepted: the device has the command",
        "with the command setLight",
        "the application has the answer",
        "received command_response/DEFAULT_TENANT/sandbox  device 4711  status 200",
        "{\"light\": \"on\"}",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[tokio::test]
async fn what_is_typed_is_sent_or_told_to_be_wrong() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let out = Shared::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let (prompt, typed) = mpsc::channel(4);
    let mut config = config(sandbox.amqp_address());
    config.play = false;
    let stopped = async { drop(stopped.await) };
    let (_, refusals) = mpsc::channel(1);
    let inputs = super::Inputs { typed, refusals };
    let playing = tokio::spawn(super::play_with(out.clone(), config, inputs, stopped));
    out.comes_to("Or type `command").await;
    for (typed, shown) in [
        ("help", "while a device waits"),
        ("comand 4711 x", "unknown command `comand`"),
        ("command 4711", "the name of the command is missing"),
        (
            "command 4711 setLight on",
            "released: the device does not wait",
        ),
        (
            "command none setLight",
            "rejected: device is disabled or not registered",
        ),
    ] {
        prompt.send(typed.to_owned()).await.unwrap();
        out.comes_to(shown).await;
    }
    let _adapter = ScriptedAdapter::start(&sandbox, "4711").await;
    prompt
        .send("command --one-way 4711 setLight on".to_owned())
        .await
        .unwrap();
    out.comes_to("accepted").await;
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
}

/// A person need not know Ctrl-C.
#[tokio::test]
async fn quit_and_exit_end_the_scene() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    for farewell in ["quit", " exit "] {
        let (prompt, typed) = mpsc::channel(4);
        let (_, refusals) = mpsc::channel(1);
        let inputs = super::Inputs { typed, refusals };
        let mut config = config(sandbox.amqp_address());
        config.play = false;
        let playing = super::play_with(Shared::default(), config, inputs, std::future::pending());
        prompt.send(farewell.to_owned()).await.unwrap();
        tokio::time::timeout(SOON, playing).await.unwrap().unwrap();
    }
}

/// Symptom: the window said nothing when a device was not served. Cause: the adapter only logged it,
/// at a level that the sandbox does not show.
#[tokio::test]
async fn what_the_adapter_refuses_is_a_line_of_the_scene() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let (_prompt, typed) = mpsc::channel(1);
    let (adapter, refusals) = mpsc::channel(4);
    let (stop, stopped) = oneshot::channel::<()>();
    let inputs = super::Inputs { typed, refusals };
    let mut config = config(sandbox.amqp_address());
    (config.play, config.colour) = (false, true);
    let out = Shared::default();
    let stopped = async { drop(stopped.await) };
    let playing = tokio::spawn(super::play_with(out.clone(), config, inputs, stopped));
    adapter
        .send("a\u{1b} failed\nCompare".to_owned())
        .await
        .unwrap();
    out.comes_to("\u{1b}[31mCompare\u{1b}[0m\n").await;
    assert!(!out.text().contains("a\u{1b} failed"), "{}", out.text());
    assert!(
        out.text().contains("adapter\u{1b}[0m  \u{1b}[31ma"),
        "{}",
        out.text()
    );
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
}

/// Symptom: messages of devices of a tenant that was created later were answered `no consumer
/// available`. Cause: the application attached to the tenants of the start only.
#[tokio::test]
async fn messages_of_a_tenant_that_is_created_later_arrive() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let out = Shared::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut config = config(sandbox.amqp_address());
    config.play = false;
    let playing = tokio::spawn(play(out.clone(), config, async { drop(stopped.await) }));
    out.comes_to("Now you").await;
    let sender = Application::start(ApplicationConfig::of_tenant(
        sandbox.amqp_address(),
        "DEFAULT_TENANT",
        Behaviour::Accept,
    ))
    .await
    .unwrap();
    for tenant in ["LATER", "LAST", "LATER"] {
        sandbox
            .world()
            .set_tenant(tenant, crate::world::Tenant::default());
        let address = format!("telemetry/{tenant}");
        let message = Message::data("hello");
        let outcome = sender
            .sender()
            .send(&address, &message, SOON)
            .await
            .unwrap();
        assert_eq!(outcome, Some(Outcome::Accepted), "{tenant}");
        out.comes_to(&format!("received {address}")).await;
    }
    sandbox.world().remove_tenant("LATER");
    assert!(!out.text().contains("notification"), "{}", out.text());
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
}

/// A terminal of 80 by 40 shows what to do next without scrolling.
#[tokio::test]
async fn what_to_do_next_comes_last_and_fits_a_terminal() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let out = Shared::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut config = config(sandbox.amqp_address());
    config.play = false;
    let playing = tokio::spawn(play(out.clone(), config, async { drop(stopped.await) }));
    out.comes_to("ends everything").await;
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
    let text = out.text();
    let rows: usize = text
        .lines()
        .map(|line| line.chars().count().div_ceil(80).max(1))
        .sum();
    assert!(rows <= 40, "{rows} rows\n{text}");
    let (_, last) = text.split_once("Now you").unwrap();
    assert!(last.contains("coap-client-notls"), "{text}");
}

#[tokio::test]
async fn a_command_from_another_shell_reports_what_the_device_answers() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let peer = sandbox.amqp_address();
    let report = send_command_line(peer, "4711 setLight on", "DEFAULT_TENANT")
        .await
        .unwrap();
    assert_eq!(report.outcome, Some(Outcome::Released));
    let _adapter = ScriptedAdapter::start(&sandbox, "4711").await;
    let mut noted = String::new();
    let line = "DEFAULT_TENANT/4711 setLight on";
    let report = send_command_line_noting(peer, line, "other", |text| text.clone_into(&mut noted))
        .await
        .unwrap();
    assert_eq!(
        noted,
        "accepted: the device has the command, waiting for the response"
    );
    assert!(report.is_success(), "{report}");
    assert!(report.to_string().contains("status 200"), "{report}");
    assert_eq!(report.response.unwrap().payload, b"done");
    assert!(
        send_command_line(peer, "4711", "DEFAULT_TENANT")
            .await
            .is_err()
    );
}

/// Does what the adapter does for one device: over CoAP without security, and towards the AMQP network. A command that comes
/// while no request waits is answered at once.
struct ScriptedAdapter {
    address: SocketAddr,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl ScriptedAdapter {
    async fn start(sandbox: &Sandbox, device: &'static str) -> Self {
        let mut config =
            ApplicationConfig::of_tenant(sandbox.amqp_address(), "", Behaviour::Accept);
        let reply_to = "cmd_router/DEFAULT_TENANT/1";
        config.addresses = vec!["command_internal/a".to_owned(), reply_to.to_owned()];
        let mut application = Application::start(config).await.unwrap();
        let mut request = Message::default();
        request.properties.message_id = Some("1".into());
        request.properties.subject = Some("register-command-consumer".to_owned());
        request.properties.reply_to = Some(reply_to.to_owned());
        request.application_properties = [("device_id", device), ("adapter_instance_id", "a")]
            .map(|(name, value)| (name.to_owned(), value.into()))
            .to_vec();
        let sender = application.sender();
        sender
            .send("cmd_router/DEFAULT_TENANT", &request, SOON)
            .await
            .unwrap();
        let reply = application.receive(SOON).await.unwrap();
        assert_eq!(reply.application_property("status", "int"), 204);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(Self::run(socket, application, device));
        let _task = tokio_util::task::AbortOnDropHandle::new(task);
        Self { address, _task }
    }

    async fn run(socket: UdpSocket, mut application: Application, device: &str) {
        let sender = application.sender();
        let mut waiting: Option<(Packet, SocketAddr)> = None;
        let mut buffer = [0; 2048];
        loop {
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    let (length, from) = received.unwrap();
                    let packet = Packet::from_bytes(&buffer[..length]).unwrap();
                    let path: Vec<String> = packet.get_option(CoapOption::UriPath).unwrap().iter()
                        .map(|segment| String::from_utf8(segment.clone()).unwrap()).collect();
                    if path == ["event"] {
                        let event = Message { application_properties: vec![
                            ("device_id".to_owned(), device.into()),
                            ("ttd".to_owned(), 10.into()),
                        ], ..Message::default() };
                        sender.send("event/DEFAULT_TENANT", &event, SOON).await.unwrap();
                        waiting = Some((packet, from));
                    } else {
                        assert_eq!(path, ["command_response", "007command"]);
                        respond(&sender, "command_response/DEFAULT_TENANT/sandbox", device, &packet.payload).await;
                        answer(&socket, &packet, from, &[], b"").await;
                    }
                }
                command = application.next() => {
                    let command = command.unwrap();
                    let properties = &command.sections["properties"];
                    match (waiting.take(), properties["reply-to"]["string"].as_str()) {
                        (Some((packet, from)), _) => {
                            let query = format!("hono-command={}", properties["subject"]["string"].as_str().unwrap());
                            let options = [(8, "command_response"), (8, "007command"), (20, query.as_str())];
                            answer(&socket, &packet, from, &options, &command.payload).await;
                        }
                        (None, Some(reply_to)) => respond(&sender, reply_to, device, b"done").await,
                        (None, None) => {}
                    }
                }
            }
        }
    }
}

async fn respond(sender: &crate::northbound::Sender, address: &str, device: &str, body: &[u8]) {
    let mut response = Message::data(body);
    response.application_properties = vec![
        ("device_id".to_owned(), device.into()),
        ("status".to_owned(), 200.into()),
    ];
    sender.send(address, &response, SOON).await.unwrap();
}

async fn answer(
    socket: &UdpSocket,
    request: &Packet,
    to: SocketAddr,
    options: &[(u16, &str)],
    payload: &[u8],
) {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Acknowledgement);
    packet.header.message_id = request.header.message_id;
    packet.header.code = MessageClass::from(0x44);
    packet.set_token(request.get_token().to_vec());
    for (number, value) in options {
        packet.add_option(CoapOption::from(*number), value.as_bytes().to_vec());
    }
    packet.payload = payload.to_vec();
    socket
        .send_to(&packet.to_bytes().unwrap(), to)
        .await
        .unwrap();
}

fn config(amqp: SocketAddr) -> SceneConfig {
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    SceneConfig::new(
        any(5684),
        Some(any(5683)),
        amqp,
        any(8088),
        World::default(),
    )
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    async fn comes_to(&self, wanted: &str) {
        let coming = async {
            while !self.text().contains(wanted) {
                tokio::task::yield_now().await;
            }
        };
        let come = tokio::time::timeout(SOON, coming).await;
        assert!(come.is_ok(), "no `{wanted}` in\n{}", self.text());
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SOON: std::time::Duration = std::time::Duration::from_secs(10);
