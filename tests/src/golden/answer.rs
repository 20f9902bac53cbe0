//! The answer to a CoAP message, with what may differ taken out.

use std::time::Duration;

use coap_lite::{MessageType, Packet};
use serde_json::{Value, json};

use super::{Exchange, Moment, Request, Stage};

/// A message of an answer, and when it came.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The whole message.
    pub message: Vec<u8>,
    /// Since the request was sent.
    pub after: Duration,
}

impl Arrival {
    /// Its message id and whether it wants an acknowledgement.
    #[must_use]
    pub fn confirmable(&self) -> Option<u16> {
        let packet = Packet::from_bytes(&self.message).ok()?;
        (packet.header.get_type() == MessageType::Confirmable).then_some(packet.header.message_id)
    }
}

/// The recorded answer in the form that is compared.
#[must_use]
pub fn recorded(exchange: &Exchange) -> Value {
    let stages: Vec<String> = exchange.stages.iter().map(stage).collect();
    let last = exchange
        .response
        .as_ref()
        .map(|response| response.raw.as_slice());
    json!({"stages": stages, "last": comparable(last, &exchange.request, Moment::Recorded)})
}

/// The answer that came to a request sent at `since`, in the form that is compared.
#[must_use]
pub fn received(request: &Request, arrivals: &[Arrival], since: Moment) -> Value {
    let stages: Vec<String> = arrivals
        .iter()
        .map(|arrival| match Packet::from_bytes(&arrival.message) {
            Ok(packet) => format!("{} {}", kind(&packet), packet.header.get_code()),
            Err(error) => format!("no CoAP message: {error}"),
        })
        .collect();
    let last = arrivals.last().map(|arrival| arrival.message.as_slice());
    json!({"stages": stages, "last": comparable(last, request, since)})
}

/// What came far too early to be of the recorded kind: an acknowledgement before its time, a response that waited for nobody.
///
/// Lateness is not a difference: it depends on the machine. The wait for the response has a
/// deadline.
#[must_use]
pub fn early(stages: &[Stage], arrivals: &[Arrival]) -> Vec<String> {
    let pairs = stages.iter().zip(arrivals);
    let too_early = pairs.filter(|(stage, arrival)| {
        let expected = Duration::from_millis(stage.elapsed_ms);
        expected >= A_WAIT && arrival.after < expected.mul_f64(MUCH_OF_IT)
    });
    too_early
        .map(|(stage, arrival)| {
            let (expected, after) = (stage.elapsed_ms, arrival.after.as_millis());
            format!(
                "  {} came after {after} ms, recorded were {expected} ms",
                self::stage(stage)
            )
        })
        .collect()
}

fn stage(stage: &Stage) -> String {
    format!("{} {}", stage.kind, stage.code)
}

/// A message as text; ids and tokens are described by their relation to the request's.
fn comparable(message: Option<&[u8]>, request: &Request, moment: Moment) -> Value {
    let Some(message) = message else {
        return Value::Null;
    };
    let Ok(packet) = Packet::from_bytes(message) else {
        return json!({"no CoAP message": format!("{message:02x?}")});
    };
    let options = packet.options().flat_map(|(number, values)| {
        let number = *number;
        values
            .iter()
            .map(move |value| json!([number, option(number, value, moment)]))
    });
    json!({
        "type": kind(&packet),
        "code": packet.header.get_code(),
        "mid": message_id(&packet, &request.raw),
        "token": token(packet.get_token(), &request.raw),
        "options": options.collect::<Vec<_>>(),
        "payload": String::from_utf8_lossy(&packet.payload),
    })
}

fn kind(packet: &Packet) -> &'static str {
    match packet.header.get_type() {
        MessageType::Confirmable => "CON",
        MessageType::NonConfirmable => "NON",
        MessageType::Acknowledgement => "ACK",
        MessageType::Reset => "RST",
    }
}

/// Acknowledgements and resets carry the id of the message they are for (RFC 7252 §4.2); others have their own.
fn message_id(packet: &Packet, request: &[u8]) -> Value {
    let id = packet.header.message_id;
    match (packet.header.get_type(), request.get(2..4)) {
        (MessageType::Confirmable | MessageType::NonConfirmable, _) => "its own".into(),
        (_, Some(bytes)) if bytes == id.to_be_bytes() => "the request's".into(),
        _ => id.into(),
    }
}

/// A response carries the token of the request (RFC 7252 §5.3.1).
fn token(token: &[u8], request: &[u8]) -> Value {
    let length = request.first().map_or(0, |first| usize::from(first & 0x0f));
    match (token, request.get(4..4 + length)) {
        ([], _) => "none".into(),
        (_, Some(sent)) if sent == token => "the request's".into(),
        _ => format!("{token:02x?}").into(),
    }
}

fn option(number: u16, value: &[u8], moment: Moment) -> String {
    let milliseconds = value
        .iter()
        .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    if number == TIME && value.len() == 6 && moment.fits(milliseconds) {
        return "now".to_owned();
    }
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The option in which a device gets the time (spec: coap-adapter §3).
const TIME: u16 = 65_000;
/// What takes longer than this has waited for something.
const A_WAIT: Duration = Duration::from_millis(400);
/// The part of a recorded wait that must be waited at least; timers of the recording machine were late, too.
const MUCH_OF_IT: f64 = 0.7;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Arrival, early, received, recorded};
    use crate::golden::{Exchange, Moment, differences};

    fn exchange(request: &str, response: &str, stages: &[(&str, &str, u64)]) -> Exchange {
        let stages: Vec<_> = stages
            .iter()
            .map(|(kind, code, elapsed)| serde_json::json!({"type": kind, "code": code, "elapsed_ms": elapsed}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "request": {"raw_hex": request},
            "response": {"raw_hex": response, "code": "2.04"},
            "stages": stages,
        }))
        .unwrap()
    }

    fn arrivals(messages: &[(&[u8], u64)]) -> Vec<Arrival> {
        let arrival = |(message, after): &(&[u8], u64)| Arrival {
            message: message.to_vec(),
            after: Duration::from_millis(*after),
        };
        messages.iter().map(arrival).collect()
    }

    #[test]
    fn other_ids_and_tokens_are_right_if_they_are_echoed_alike() {
        let old = exchange(
            "4402000111111111b174",
            "6444000111111111",
            &[("ACK", "2.04", 30)],
        );
        let mut request = old.request.clone();
        request.raw = b"\x44\x02\0\x02\x22\x22\x22\x22\xb1t".to_vec();
        let compare = |answer: &[u8]| {
            let came = received(
                &request,
                &arrivals(&[(answer, 1)]),
                Moment::Since(SystemTime::now()),
            );
            differences(&recorded(&old), &came)
        };
        assert_eq!(compare(b"\x64\x44\0\x02\x22\x22\x22\x22"), [""; 0]);
        assert_eq!(compare(b"\x64\x44\0\x01\x22\x22\x22\x22").len(), 2);
        assert_eq!(compare(b"\x64\x44\0\x02\x22\x22\x22\x23").len(), 2);
        assert_eq!(compare(b"\x64\x44\0\x02\x22\x22\x22\x22\xff.").len(), 2);
        assert_eq!(compare(b"\x64\x44\0\x02\x22\x22\x22\x22\xc0").len(), 3);
        assert_eq!(compare(b"\x64\x45\0\x02\x22\x22\x22\x22").len(), 4);
    }

    #[test]
    fn an_acknowledgement_too_few_and_one_too_early_are_told() {
        let stages = [("ACK", "0.00", 559), ("CON", "2.04", 862)];
        let old = exchange("4402000111111111b174", "4444abcd11111111", &stages);
        let acknowledgement: &[u8] = b"\x60\0\0\x01";
        let separate: &[u8] = b"\x44\x44\x12\x34\x11\x11\x11\x11";
        let compare = |came: &[(&[u8], u64)]| {
            let came = arrivals(came);
            let value = received(&old.request, &came, Moment::Since(SystemTime::now()));
            (
                differences(&recorded(&old), &value).len(),
                early(&old.stages, &came).len(),
            )
        };
        assert_eq!(compare(&[(acknowledgement, 500), (separate, 800)]), (0, 0));
        assert_eq!(
            compare(&[(acknowledgement, 5000), (separate, 8000)]),
            (0, 0)
        );
        assert_eq!(compare(&[(acknowledgement, 3), (separate, 800)]), (0, 1));
        assert_eq!(compare(&[(separate, 800)]).0, 3);
        assert_ne!(compare(&[]).0, 0);
    }
}
