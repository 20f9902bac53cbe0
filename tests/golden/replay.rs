//! Replays one recorded case: the application in the north, the device in the south, the adapter
//! between them.

use std::time::{Duration, Instant, SystemTime};

use crate::commands::Commands;
use acceptance::{
    golden::{
        Case, Consumer, Exchange, Moment, Transport, answer, answer::Arrival, differences, message,
    },
    outcome::NOBODY,
    prometheus::Prometheus,
    stand::Stand,
};
use sandbox::{
    device::Device,
    northbound::{Application, Behaviour, Received},
    world::World,
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Plays `case` in a world of its own. An error tells each difference in a line.
pub(crate) async fn replay(case: &Case, world: World) -> Result<(), String> {
    let prometheus = match case.over_the_limit() {
        Some(_) => Some(Prometheus::of(EVERYTHING).await),
        None => None,
    };
    let prometheus = prometheus.transpose().map_err(|error| error.to_string())?;
    let limits = prometheus.as_ref().map(Prometheus::settings);
    let limits = limits.iter().flatten();
    let settings: Vec<(&str, &str)> = SETTINGS
        .into_iter()
        .chain(limits.map(|(name, value)| (*name, value.as_str())))
        .collect();
    let stand = Stand::start(world, &settings)
        .await
        .map_err(|error| error.to_string())?;
    let played = timeout(CASE_DEADLINE, async {
        if let Some(refused) = case.over_the_limit() {
            until_refused(case, refused, &stand).await?;
        }
        play(case, &stand).await
    });
    let played = played.await;
    stand.stop().await;
    let differences = played.map_err(|_| format!("not over after {CASE_DEADLINE:?}"))??;
    if differences.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "- as recorded, + as it came\n{}",
            differences.join("\n")
        ))
    }
}

/// Sends what was refused until it is refused here: at first it is not known how much the tenant has sent. No application is there
/// yet to get it.
async fn until_refused(case: &Case, refused: &Exchange, stand: &Stand) -> Result<(), String> {
    let lost = |error| format!("the device: {error}");
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        // Another device each time, for the message is the same.
        let mut device = device(case, stand).await?;
        device.send_raw(&refused.request.raw).await.map_err(lost)?;
        let answer = device.receive(SOON).await.map_err(lost)?;
        device.close().await;
        if answer.is_some_and(|answer| answer.get(1) == Some(&TOO_MANY_REQUESTS)) {
            return Ok(());
        }
    }
    Err("it does not become known that the tenant is over its limit".to_owned())
}

async fn play(case: &Case, stand: &Stand) -> Result<Vec<String>, String> {
    let mut application = application(case, stand).await?;
    let mut device = device(case, stand).await?;
    let mut commands = Commands::new(case, application.as_ref())?;
    let mut lines = Vec::new();
    for (number, exchange) in case.exchanges.iter().enumerate() {
        let found = play_exchange(
            case,
            exchange,
            &mut device,
            application.as_mut(),
            &mut commands,
        )
        .await?;
        let prefix = if case.exchanges.len() > 1 {
            format!("exchange {number}: ")
        } else {
            String::new()
        };
        lines.extend(found.into_iter().map(|line| format!("{prefix}{line}")));
    }
    lines.extend(commands.differences(case).await);
    device.close().await;
    if let Some(application) = application {
        application.detach().await;
    }
    Ok(lines)
}

async fn application(case: &Case, stand: &Stand) -> Result<Option<Application>, String> {
    let Consumer::Attached(word) = &case.setup.consumer else {
        return Ok(None);
    };
    let behaviour: Behaviour = word.parse().map_err(|error| format!("{error}"))?;
    let tenant = &case.setup.tenant;
    let replies = ["app1", "4711/app2"].map(|id| format!("command_response/{tenant}/{id}"));
    let further: Vec<&str> = replies.iter().map(String::as_str).collect();
    let attached = Application::attach(stand.amqp(), tenant, &further, behaviour).await;
    attached
        .map(Some)
        .map_err(|error| format!("the application: {error}"))
}

async fn device(case: &Case, stand: &Stand) -> Result<Device, String> {
    let device = match (case.transport, &case.principal) {
        (Transport::Plain, _) => Device::plain(stand.coap()).await,
        (Transport::Psk, None) => return Err("a session needs a principal".to_owned()),
        (Transport::Psk, Some(principal)) => {
            Device::connect(stand.coaps(), &principal.identity(), &principal.key(), SOON).await
        }
    };
    device.map_err(|error| format!("the device: {error}"))
}

async fn play_exchange(
    case: &Case,
    exchange: &Exchange,
    device: &mut Device,
    mut application: Option<&mut Application>,
    commands: &mut Commands,
) -> Result<Vec<String>, String> {
    let since = Moment::Since(SystemTime::now());
    let (arrivals, mut messages) = tokio::join!(
        talk(case, exchange, device),
        listen(exchange, application.as_deref_mut(), commands),
    );
    let arrivals = arrivals?;
    // What is more than expected comes at once or never.
    if let Some(application) = application {
        while let Some(message) = application.receive(QUIET).await {
            messages.push(message);
        }
    }
    let recorded = json!({
        "answer": answer::recorded(exchange),
        "downstream": exchange.downstream.iter().map(message::recorded).collect::<Vec<_>>(),
    });
    let received = messages
        .iter()
        .map(|it| message::received(&it.link, it.settled, &it.sections, since));
    let came = json!({
        "answer": answer::received(&exchange.request, &arrivals, since),
        "downstream": received.collect::<Vec<_>>(),
    });
    if case.setup.consumer == Consumer::Absent && is_refused_without_credit(&recorded, &came) {
        return Ok(Vec::new());
    }
    let mut lines = differences(&recorded, &came);
    lines.extend(answer::early(&exchange.stages, &arrivals));
    Ok(lines)
}

/// Sends the request, takes and acknowledges what comes back, and stays a while to see that nothing more does.
async fn talk(
    case: &Case,
    exchange: &Exchange,
    device: &mut Device,
) -> Result<Vec<Arrival>, String> {
    let lost = |error| format!("the device: {error}");
    let started = Instant::now();
    device.send_raw(&exchange.request.raw).await.map_err(lost)?;
    if case.sends_twice() {
        device.send_raw(&exchange.request.raw).await.map_err(lost)?;
    }
    let last = exchange.stages.last().map_or(0, |stage| stage.elapsed_ms);
    let deadline = started + Duration::from_millis(2 * last) + SOON;
    let mut arrivals: Vec<Arrival> = Vec::new();
    loop {
        let patience = if arrivals.len() < exchange.stages.len() {
            deadline.saturating_duration_since(Instant::now())
        } else if exchange.stages.is_empty() {
            SILENCE
        } else {
            QUIET
        };
        let Some(message) = device.receive(patience).await.map_err(lost)? else {
            return Ok(arrivals);
        };
        let arrival = Arrival {
            message,
            after: started.elapsed(),
        };
        if let Some(id) = arrival.confirmable() {
            let [high, low] = id.to_be_bytes();
            device
                .send_raw(&[EMPTY_ACK, 0, high, low])
                .await
                .map_err(lost)?;
        }
        // Who sends twice may be answered twice, if both answers are the same.
        if !(case.sends_twice()
            && arrivals
                .iter()
                .any(|before| before.message == arrival.message))
        {
            arrivals.push(arrival);
        }
        if Instant::now() > deadline + SOON {
            return Ok(arrivals);
        }
    }
}

/// Takes as many messages as were recorded.
async fn listen(
    exchange: &Exchange,
    application: Option<&mut Application>,
    commands: &mut Commands,
) -> Vec<Received> {
    let mut messages = Vec::new();
    let Some(application) = application else {
        return messages;
    };
    while messages.len() < exchange.downstream.len() {
        match application.receive(SOON).await {
            Some(message) => {
                commands.follow();
                messages.push(message);
            }
            None => break,
        }
    }
    messages
}

/// With nobody attached, the recorded network had given credit before and released the message; one that gives none is right as
/// well (see the vectors' README), and then the adapter cannot send at all, be it confirmable or not.
fn is_refused_without_credit(recorded: &Value, came: &Value) -> bool {
    let mut refused = recorded.clone();
    refused["answer"]["last"]["code"] = "5.03".into();
    refused["answer"]["last"]["options"] = json!([[12, ""], [14, "02"]]);
    refused["answer"]["last"]["payload"] = NOBODY.1.into();
    if let Some(kind) = recorded
        .pointer("/answer/last/type")
        .and_then(Value::as_str)
    {
        refused["answer"]["stages"] = json!([format!("{kind} 5.03")]);
    }
    refused == *came
}

/// Those of the recordings (see the vectors' README).
const SETTINGS: [(&str, &str); 12] = [
    ("HONO_COAP_AUTHENTICATIONREQUIRED", "false"),
    ("HONO_COAP_MAXPAYLOADSIZE", "2048"),
    ("HONO_TENANT_RESPONSECACHEMAXSIZE", "0"),
    ("HONO_TENANT_REQUESTTIMEOUT", "2000"),
    ("HONO_REGISTRATION_REQUESTTIMEOUT", "2000"),
    ("HONO_CREDENTIALS_REQUESTTIMEOUT", "2000"),
    ("HONO_COMMANDROUTER_REQUESTTIMEOUT", "2000"),
    ("HONO_TENANT_FLOWLATENCY", "100"),
    ("HONO_REGISTRATION_FLOWLATENCY", "100"),
    ("HONO_CREDENTIALS_FLOWLATENCY", "100"),
    ("HONO_COMMANDROUTER_FLOWLATENCY", "100"),
    ("HONO_MESSAGING_FLOWLATENCY", "100"),
];
/// More than any tenant may send.
const EVERYTHING: u64 = i64::MAX.unsigned_abs();
/// The code 4.29 (RFC 8516 §2).
const TOO_MANY_REQUESTS: u8 = 0x9d;
/// Version 1, type ACK, no token (RFC 7252 §3).
const EMPTY_ACK: u8 = 0x60;
const CASE_DEADLINE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(5);
/// How long to watch whether more comes than was recorded.
const QUIET: Duration = Duration::from_millis(150);
/// How long to watch that nothing is answered at all.
const SILENCE: Duration = Duration::from_millis(500);
