use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use super::{SceneConfig, lines_to_paste, play, shown};
use crate::{Sandbox, SandboxConfig, scene::Cast, world::World};

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
        r#"coap-client-openssl -m post -u sensor1@DEFAULT_TENANT -k hono-secret -t json -e '{"temp": 22}' 'coaps://127.0.0.1:5684/telemetry'"#,
        r#"coap-client-openssl -m post -u sensor1@DEFAULT_TENANT -k hono-secret -t json -e '{"alarm": "fire"}' 'coaps://127.0.0.1:5684/event'"#,
        r#"coap-client-openssl -m put -u gw@DEFAULT_TENANT -k gw-secret -t json -e '{"temp": 3}' 'coaps://127.0.0.1:5684/telemetry/DEFAULT_TENANT/4712'"#,
        r#"coap-client -m put -t json -e '{"temp": 23}' 'coap://127.0.0.1:5683/telemetry/DEFAULT_TENANT/4711'"#,
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
    while !out.text().contains("Now you") {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    playing.await.unwrap().unwrap();
    let text = out.text();
    assert!(
        text.contains("0.0.0.0:5684") && text.contains(&sandbox.amqp_address().to_string()),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
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
