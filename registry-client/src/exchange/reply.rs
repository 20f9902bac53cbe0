//! Messages on a reply link: the request that each answers, and the outcome of its delivery (spec:
//! registry-apis A.1).

use amqp_client::{Body, Message, MessageId, Outcome, Value};
use zeroize::Zeroizing;

use super::pending::Pending;
use crate::{ServiceError, response::Response};

/// Hands a message to the request that it answers.
pub(super) fn deliver(pending: &Pending, message: Message) -> Outcome {
    let correlation_id = message.properties.correlation_id.clone();
    let response = response(message);
    let outcome = match response {
        Ok(_) => Outcome::Accepted,
        Err(_) => Outcome::Released,
    };
    let id = correlation_id.as_ref().and_then(MessageId::as_str);
    if id.is_some_and(|id| pending.answer(id, response)) {
        return outcome;
    }
    // Also what comes after its request has timed out.
    tracing::debug!("a response answers no request that is waiting");
    Outcome::Rejected {
        condition: None,
        description: None,
    }
}

fn response(message: Message) -> Result<Response, ServiceError> {
    let status = match message.application_property("status") {
        Some(Value::Int(status)) => u16::try_from(*status).ok(),
        _ => return Err(ServiceError::unusable("response without status")),
    };
    let status = status.filter(|status| (100..600).contains(status));
    let cache_control = match message.application_property("cache_control") {
        Some(Value::String(directive)) => Some(directive.clone()),
        _ => None,
    };
    Ok(Response {
        status: status.unwrap_or(500),
        cache_control,
        content_type: message.properties.content_type,
        body: match message.body {
            Body::Data(bytes) | Body::ValueBinary(bytes) => Some(Zeroizing::new(bytes)),
            Body::ValueString(text) => Some(Zeroizing::new(text.into_bytes())),
            Body::None | Body::Other => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use amqp_client::{Body, Message, MessageId, Outcome, Properties, Value};

    use super::{Pending, deliver};

    fn message(correlation_id: Option<MessageId>, status: Option<Value>) -> Message {
        Message {
            properties: Properties {
                correlation_id,
                content_type: Some("application/json".to_owned()),
                ..Properties::default()
            },
            application_properties: status
                .map(|status| ("status".to_owned(), status))
                .into_iter()
                .collect(),
            body: Body::Data(b"{}".to_vec()),
            ..Message::default()
        }
    }

    #[tokio::test]
    async fn each_message_settles_and_answers_as_a_1_says() {
        let rejected = Outcome::Rejected {
            condition: None,
            description: None,
        };
        let known = || Some(MessageId::from("1"));
        let int = |status| Some(Value::Int(status));
        for (line, correlation_id, status, outcome, reported) in [
            (
                "accepted",
                known(),
                int(200),
                Outcome::Accepted,
                Some(Ok(200)),
            ),
            (
                "an error is a response too",
                known(),
                int(404),
                Outcome::Accepted,
                Some(Ok(404)),
            ),
            (
                "without status",
                known(),
                None,
                Outcome::Released,
                Some(Err(500)),
            ),
            (
                "status no int",
                known(),
                Some(Value::Long(200)),
                Outcome::Released,
                Some(Err(500)),
            ),
            (
                "status a text",
                known(),
                Some("200".into()),
                Outcome::Released,
                Some(Err(500)),
            ),
            (
                "status out of range",
                known(),
                int(-200),
                Outcome::Accepted,
                Some(Ok(500)),
            ),
            (
                "status out of range",
                known(),
                int(70_000),
                Outcome::Accepted,
                Some(Ok(500)),
            ),
            (
                "unknown correlation",
                Some("2".into()),
                int(200),
                rejected.clone(),
                None,
            ),
            ("no correlation", None, int(200), rejected.clone(), None),
            (
                "no string",
                Some(MessageId::Ulong(1)),
                int(200),
                rejected.clone(),
                None,
            ),
            ("neither", None, None, rejected, None),
        ] {
            let pending = Arc::new(Pending::default());
            let mut place = pending.enter("1").unwrap();
            let settled = deliver(&pending, message(correlation_id, status));
            assert_eq!(settled, outcome, "{line}");
            pending.close();
            let response = place.response().await;
            let response = response.map(|response| response.status);
            let expected = reported.unwrap_or(Err(503));
            assert_eq!(response.map_err(|error| error.status), expected, "{line}");
        }
    }

    #[tokio::test]
    async fn a_response_keeps_its_directive_and_its_body() {
        let pending = Arc::new(Pending::default());
        let mut place = pending.enter("1").unwrap();
        let mut message = message(Some("1".into()), Some(Value::Int(200)));
        let directive = ("cache_control".to_owned(), "no-cache".into());
        message.application_properties.push(directive);
        deliver(&pending, message);
        let response = place.response().await.unwrap();
        assert_eq!(response.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(response.content_type.as_deref(), Some("application/json"));
        assert_eq!(
            response.body.as_deref().map(Vec::as_slice),
            Some(&b"{}"[..])
        );
    }
}
