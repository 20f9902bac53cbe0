//! The answers of devices to commands, end to end (spec: coap-adapter §6, §7).

use std::time::Duration;

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, CoapResponse},
    northbound::{Application, Behaviour, Body, Message, Outcome, command},
};

use crate::{
    outcomes::patience,
    scene::{A_WHILE, LOCATION_PATH, SOON, device, plain, told, values, world},
};

const REPLIES: &str = "command_response/T/app";

async fn application(stand: &Stand, behaviour: Behaviour) -> Application {
    let attached = Application::attach(stand.amqp(), "T", &[REPLIES], behaviour);
    attached.await.unwrap()
}

/// Sends a command that wants an answer.
async fn ask(application: &mut Application, id: &str) -> Option<Outcome> {
    assert!(application.receive(SOON).await.is_some());
    let mut question = Message {
        body: Body::Data(b"how warm?".to_vec()),
        ..command("T", id, "tell")
    };
    question.properties.reply_to = Some(REPLIES.to_owned());
    question.properties.correlation_id = Some("question 1".to_owned().into());
    application
        .send_command("T", &question, SOON)
        .await
        .unwrap()
}

fn location(response: &CoapResponse) -> String {
    let segments = values(response, LOCATION_PATH).into_iter();
    let segments = segments.map(|segment| String::from_utf8_lossy(segment).into_owned());
    segments.collect::<Vec<_>>().join("/")
}

/// Whoever waited: it is told where to answer, and its answer reaches the application as that device's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_back_where_the_command_came_from() {
    let stand = Stand::start(world(), &[]).await.unwrap();
    let mut application = application(&stand, Behaviour::Accept).await;
    let mut devices = [
        device(&stand, "sensor").await,
        device(&stand, "gw").await,
        plain(&stand).await,
    ];
    let [known, gateway, stranger] = [0, 1, 2];
    let wait = |request: CoapRequest| request.query("empty").query("hono-ttd=60");
    let id = "00aquestion 1app";
    let rows = [
        (known, wait(CoapRequest::post("e")), "d", format!("cr/{id}")),
        (
            known,
            wait(CoapRequest::post("event")),
            "d",
            format!("command_response/{id}"),
        ),
        (
            gateway,
            wait(CoapRequest::put("e//behind")),
            "behind",
            format!("cr//behind/{id}"),
        ),
        (
            gateway,
            wait(CoapRequest::post("e")),
            "behind",
            format!("cr//behind/{id}"),
        ),
        (
            gateway,
            wait(CoapRequest::post("e")),
            "gw",
            format!("cr/{id}"),
        ),
        (
            stranger,
            wait(CoapRequest::put("telemetry/T/d")),
            "d",
            format!("command_response/T/d/{id}"),
        ),
        (
            stranger,
            wait(CoapRequest::put("t/T/d")),
            "d",
            format!("cr/T/d/{id}"),
        ),
    ];
    for (who, waiting, whose, path) in rows {
        let device = &mut devices[who];
        let (response, outcome) =
            tokio::join!(device.request(&waiting, SOON), ask(&mut application, whose));
        let response = response.unwrap();
        assert_eq!(outcome, Some(Outcome::Accepted), "{path}");
        assert_eq!(
            told(&response),
            ("2.04".to_owned(), "how warm?".to_owned()),
            "{path}"
        );
        assert_eq!(location(&response), path);
        let method = if path.matches('/').count() > 1 {
            CoapRequest::put
        } else {
            CoapRequest::post
        };
        let answer = method(&path).query("hono-cmd-status=200").body(0, "21");
        let response = device.request(&answer, SOON).await.unwrap();
        assert_eq!(
            told(&response),
            ("2.04".to_owned(), String::new()),
            "{path}"
        );
        let received = application.receive(SOON).await.unwrap();
        assert_eq!(
            (received.link.as_str(), received.payload.as_slice()),
            (REPLIES, &b"21"[..]),
            "{path}"
        );
        assert_eq!(
            received.application_property("device_id", "string"),
            whose,
            "{path}"
        );
        assert_eq!(
            received.application_property("tenant_id", "string"),
            "T",
            "{path}"
        );
        assert_eq!(
            received.application_property("status", "int"),
            200,
            "{path}"
        );
        assert_eq!(
            received.sections["properties"]["correlation-id"]["string"], "question 1",
            "{path}"
        );
    }
    stand.stop().await;
}

/// However long the application takes, the answer's own answer comes with its acknowledgement (spec: coap-adapter §5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_never_acknowledged_ahead() {
    let settings = [
        ("HONO_COAP_TIMEOUTTOACK", "0"),
        ("HONO_MESSAGING_SENDMESSAGETIMEOUT", "10000"),
    ];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let late = Duration::from_millis(700);
    let mut application = application(&stand, Behaviour::Delay(late)).await;
    let mut known = device(&stand, "sensor").await;
    let answer = CoapRequest::post("cr/001capp").query("hono-cmd-status=200");
    let response = known.request(&answer, SOON).await.unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    assert!(response.took >= late && !response.separate, "{response:?}");
    assert!(application.receive(SOON).await.is_some());
    // As a message of the device's own is.
    let upload = known
        .request(&CoapRequest::post("t").body(0, "x"), SOON)
        .await;
    assert!(upload.unwrap().separate);
    stand.stop().await;
}

/// What the application does with an answer is told as it is of any message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_an_answer_is_told() {
    for (word, code, text) in acceptance::outcome::OUTCOMES {
        let behaviour = word.parse().unwrap();
        let stand = Stand::start(world(), patience(&behaviour)).await.unwrap();
        let mut application = application(&stand, behaviour).await;
        let mut known = device(&stand, "sensor").await;
        let answer = CoapRequest::post("cr/001capp").query("hono-cmd-status=500");
        let response = known.request(&answer.body(0, "21"), SOON).await.unwrap();
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{word}"
        );
        let arrived = application.receive(A_WHILE).await.is_some();
        assert_eq!(arrived, word != "no-credit", "{word}");
        stand.stop().await;
    }
}
