//! Commands that are none: whoever lets one through, it is rejected with the reason, the device waits on, and gets the next good
//! one (spec: amqp-messages §6, command-routing §3).

use sandbox::{
    device::{CoapRequest, CoapResponse},
    northbound::{Application, Behaviour, Outcome, recorded_outcome},
    services::Operation,
};

use crate::{
    amqp::{NULL, TRUE, binary, described, int, list, map, section::*, symbol, text, ulong, uuid},
    scene::{
        CONTENT_FORMAT, LOCATION_QUERY, SOON, application, asked_for, plain, stand, told, values,
    },
};

/// The fields of the properties that matter, in their order (AMQP part 3 §3.2.4).
#[derive(Clone)]
struct Properties {
    message_id: Vec<u8>,
    to: Vec<u8>,
    subject: Vec<u8>,
    reply_to: Vec<u8>,
    correlation_id: Vec<u8>,
    content_type: Vec<u8>,
}

impl Properties {
    fn good() -> Self {
        Self {
            message_id: text("m-1"),
            to: text("command/T/d"),
            subject: text("go"),
            reply_to: NULL.to_vec(),
            correlation_id: NULL.to_vec(),
            content_type: NULL.to_vec(),
        }
    }

    fn of(change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut properties = Self::good();
        change(&mut properties);
        properties.encode()
    }

    fn encode(self) -> Vec<u8> {
        let fields = [
            self.message_id,
            NULL.to_vec(),
            self.to,
            self.subject,
            self.reply_to,
            self.correlation_id,
            self.content_type,
        ];
        described(PROPERTIES, &list(&fields))
    }
}

fn good() -> Vec<u8> {
    Properties::of(|_| {})
}

fn data(bytes: &[u8]) -> Vec<u8> {
    described(DATA, &binary(bytes))
}

/// A body after good properties.
fn body(section: &[u8]) -> Vec<u8> {
    [&good()[..], section].concat()
}

fn properties(change: impl FnOnce(&mut Properties)) -> Vec<u8> {
    [Properties::of(change), data(b"x")].concat()
}

const MALFORMED: &str = "malformed command message";

/// Whatever is wrong with the sections behind the address.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let answered = |id: Vec<u8>| {
        properties(|it| {
            it.reply_to = text("command_response/T/r");
            it.correlation_id = id;
        })
    };
    let reply_to = |address: Vec<u8>| properties(|it| it.reply_to = address);
    vec![
        ("value null", body(&described(VALUE, NULL))),
        ("value int", body(&described(VALUE, &int(1)))),
        ("value bool", body(&described(VALUE, TRUE))),
        ("value list", body(&described(VALUE, &list(&[int(1)])))),
        (
            "value map",
            body(&described(VALUE, &map(&[text("a"), int(1)]))),
        ),
        ("value symbol", body(&described(VALUE, &symbol("on")))),
        ("sequence", body(&described(SEQUENCE, &list(&[int(1)])))),
        ("empty sequence", body(&described(SEQUENCE, &list(&[])))),
        (
            "data and value",
            body(&[data(b"a"), described(VALUE, &text("b"))].concat()),
        ),
        ("no subject", properties(|it| it.subject = NULL.to_vec())),
        ("empty subject", properties(|it| it.subject = text(""))),
        ("reply-to elsewhere", reply_to(text("telemetry/T/r"))),
        (
            "reply-to of another tenant",
            reply_to(text("command_response/OTHER/r")),
        ),
        ("reply-to without id", reply_to(text("command_response/T/"))),
        (
            "reply-to without tenant",
            reply_to(text("command_response")),
        ),
        ("empty reply-to", reply_to(text(""))),
        ("id a number", answered(ulong(7))),
        ("id a uuid", answered(uuid())),
        ("id bytes", answered(binary(b"id"))),
        (
            "id a number, no answer wanted",
            properties(|it| it.correlation_id = ulong(7)),
        ),
        (
            "no id at all",
            properties(|it| {
                it.reply_to = text("command_response/T/r");
                it.message_id = NULL.to_vec();
            }),
        ),
        (
            "message id a number",
            properties(|it| {
                it.reply_to = text("command_response/T/r");
                it.message_id = ulong(7);
            }),
        ),
    ]
}

/// What is unusual, and no reason to reject: the body that the device gets.
fn unusual() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let odd = map(&[
        symbol("x-opt-list"),
        list(&[int(1), TRUE.to_vec()]),
        symbol("x-opt-map"),
        map(&[text("k"), uuid()]),
        symbol("tenant_id"),
        int(1),
    ]);
    let annotated = |section: u8| [&described(section, &odd)[..], &good(), &data(b"x")].concat();
    let application = |pairs: &[Vec<u8>]| {
        [
            &good()[..],
            &described(APPLICATION, &map(pairs)),
            &data(b"x"),
        ]
        .concat()
    };
    let header = list(&[TRUE.to_vec(), NULL.to_vec(), NULL.to_vec(), TRUE.to_vec()]);
    vec![
        ("no body", good(), b""),
        ("empty data", body(&data(b"")), b""),
        (
            "data in parts",
            body(&[data(b"a"), data(b"b")].concat()),
            b"ab",
        ),
        (
            "value bytes",
            body(&described(VALUE, &binary(b"\0\xff"))),
            b"\0\xff",
        ),
        (
            "value text",
            body(&described(VALUE, &text("\u{fc}"))),
            "\u{fc}".as_bytes(),
        ),
        ("odd annotations", annotated(ANNOTATIONS), b"x"),
        (
            "odd delivery annotations",
            annotated(DELIVERY_ANNOTATIONS),
            b"x",
        ),
        (
            "a footer",
            [body(&data(b"x")), described(FOOTER, &odd)].concat(),
            b"x",
        ),
        (
            "a header",
            [described(HEADER, &header), body(&data(b"x"))].concat(),
            b"x",
        ),
        (
            "odd properties",
            application(&[text("n"), NULL.to_vec(), text("u"), uuid()]),
            b"x",
        ),
        ("no gateway", application(&[text("via"), int(1)]), b"x"),
        (
            "further parts",
            properties(|it| it.to = text("command/T/d/and/more")),
            b"x",
        ),
        (
            "an unregistered type",
            properties(|it| it.content_type = symbol("x/y;z=1")),
            b"x",
        ),
    ]
}

/// A device that waits, and what it gets.
async fn wait(stand: &acceptance::stand::Stand) -> CoapResponse {
    let waiting = CoapRequest::put("e/T/d")
        .query("empty")
        .query("hono-ttd=60");
    plain(stand).await.request(&waiting, SOON).await.unwrap()
}

async fn outcome(application: &Application, address: &str, message: Vec<u8>) -> Option<Outcome> {
    let sent = application
        .sender()
        .send_bytes(address, message, SOON)
        .await;
    sent.unwrap()
}

/// By the router, which no adapter needs to see it for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_router_rejects_what_is_no_command() {
    let address = "missing or invalid command target address";
    let device = "invalid command target address";
    let to = |to: Vec<u8>| properties(|it| it.to = to);
    let rows = [
        ("no address", to(NULL.to_vec()), "hono:bad-request", address),
        ("empty address", to(text("")), "hono:bad-request", address),
        (
            "an address from the root",
            to(text("/command/T/d")),
            "hono:bad-request",
            address,
        ),
        (
            "an address in bytes",
            to(binary(b"command/T/d")),
            "hono:bad-request",
            address,
        ),
        ("no properties", data(b"x"), "hono:bad-request", address),
        (
            "no device",
            to(text("command/T")),
            "hono:bad-request",
            device,
        ),
        (
            "empty device",
            to(text("command/T/")),
            "hono:bad-request",
            device,
        ),
        ("no message", vec![0xff; 30], "hono:bad-request", MALFORMED),
        (
            "a cut message",
            good()[..20].to_vec(),
            "hono:bad-request",
            MALFORMED,
        ),
        (
            "another tenant",
            to(text("command/OTHER/d")),
            "amqp:unauthorized-access",
            "unauthorized to send command to tenant",
        ),
        (
            "an unknown device",
            to(text("command/T/none")),
            "hono:bad-request",
            "device is disabled or not registered",
        ),
    ];
    let malformed = malformed().into_iter();
    let malformed = malformed.map(|(name, message)| (name, message, "hono:bad-request", MALFORMED));
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let (response, ()) = tokio::join!(wait(&stand), async {
        assert!(application.receive(SOON).await.is_some());
        for (name, message, condition, text) in rows.into_iter().chain(malformed) {
            let told = outcome(&application, "command/T", message).await;
            let expected = ("rejected", Some(condition), Some(text));
            assert_eq!(recorded_outcome(told.as_ref()), expected, "{name}");
        }
        let told = outcome(&application, "command/T", body(&data(b"good"))).await;
        assert_eq!(told, Some(Outcome::Accepted));
    });
    assert_eq!(told(&response), ("2.04".to_owned(), "good".to_owned()));
    stand.stop().await;
}

/// By the adapter, which does not rely on the router: here somebody sends straight to its instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_rejects_what_is_no_command() {
    let device = "invalid command target address";
    let to = |to: Vec<u8>| properties(|it| it.to = to);
    let rows = [
        ("no address", to(NULL.to_vec()), device),
        ("empty address", to(text("")), device),
        ("an address from the root", to(text("/command/T/d")), device),
        ("no device", to(text("command/T")), device),
        ("another endpoint", to(text("event/T/d")), device),
        ("no properties", data(b"x"), device),
        ("no message", vec![0xff; 30], MALFORMED),
        ("nothing", Vec::new(), device),
        ("a cut message", good()[..20].to_vec(), MALFORMED),
        ("an address in bytes", to(binary(b"command/T/d")), device),
        (
            "a subject of bytes",
            properties(|it| it.subject = binary(b"go")),
            MALFORMED,
        ),
    ];
    let malformed = malformed().into_iter();
    let malformed = malformed.map(|(name, message)| (name, message, MALFORMED));
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let (response, ()) = tokio::join!(wait(&stand), async {
        let registered = asked_for(&mut asked, Operation::RegisterConsumer).await;
        let instance = registered.text("adapter_instance_id").unwrap();
        let address = format!("command_internal/{instance}");
        assert!(application.receive(SOON).await.is_some());
        for (name, message, text) in rows.into_iter().chain(malformed) {
            let told = outcome(&application, &address, message).await;
            let (what, _, description) = recorded_outcome(told.as_ref());
            assert_eq!((what, description), ("rejected", Some(text)), "{name}");
        }
        for (name, whose) in [
            ("another tenant", "command/OTHER/d"),
            ("nobody", "command/T/nobody"),
        ] {
            let told = outcome(&application, &address, to(text(whose))).await;
            assert_eq!(told, Some(Outcome::Released), "{name}");
        }
        let told = outcome(&application, &address, body(&data(b"good"))).await;
        assert_eq!(told, Some(Outcome::Accepted));
    });
    assert_eq!(told(&response), ("2.04".to_owned(), "good".to_owned()));
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unusual_and_allowed_reaches_the_device() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    for (name, message, body) in unusual() {
        let (response, told) = tokio::join!(wait(&stand), async {
            assert!(application.receive(SOON).await.is_some());
            outcome(&application, "command/T", message).await
        });
        assert_eq!(told, Some(Outcome::Accepted), "{name}");
        assert_eq!(
            (response.code().as_str(), response.payload.as_slice()),
            ("2.04", body),
            "{name}"
        );
        assert_eq!(
            values(&response, LOCATION_QUERY),
            [b"hono-command=go"],
            "{name}"
        );
        assert!(values(&response, CONTENT_FORMAT).is_empty(), "{name}");
    }
    stand.stop().await;
}

/// What cannot be written into a response is not lost: the device is told that something went wrong, the application that it may
/// send again (spec: coap-adapter §6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_cannot_be_told_goes_back_to_the_application() {
    let long = "x".repeat(300);
    let rows = [
        ("a long name", properties(|it| it.subject = text(&long))),
        (
            "a long correlation id",
            properties(|it| {
                it.reply_to = text("command_response/T/r");
                it.correlation_id = text(&long);
            }),
        ),
        (
            "a long reply-to",
            properties(|it| it.reply_to = text(&format!("command_response/T/{long}"))),
        ),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    for (name, message) in rows {
        let (response, told) = tokio::join!(wait(&stand), async {
            assert!(application.receive(SOON).await.is_some());
            outcome(&application, "command/T", message).await
        });
        assert_eq!(told, Some(Outcome::Released), "{name}");
        assert_eq!(
            (response.code().as_str(), response.payload.as_slice()),
            ("5.00", &b""[..]),
            "{name}"
        );
    }
    stand.stop().await;
}
