//! A row for each line of the tables of spec coap-adapter §2 to §4 and of observed §4.

use std::sync::mpsc;
use std::time::{Duration, UNIX_EPOCH};

use amqp_client::LinkError;

use super::*;
use crate::command::message::Payload;

fn refused(rejection: Rejection) -> (Code, Option<u16>, Option<u8>, String) {
    let response = answer(Err(rejection), UNIX_EPOCH).go_out();
    assert!(response.is_valid());
    let uint = |number| response.options.uint(number);
    let format = uint(option::CONTENT_FORMAT).and_then(|value| u16::try_from(value).ok());
    let max_age = uint(option::MAX_AGE).and_then(|value| u8::try_from(value).ok());
    (
        response.code,
        format,
        max_age,
        String::from_utf8(response.payload.clone()).unwrap(),
    )
}

fn service(status: u16, text: Option<&str>) -> ServiceError {
    ServiceError {
        status,
        text: text.map(str::to_owned),
    }
}

fn rejected(condition: Option<&str>, description: Option<&str>) -> Rejection {
    Rejection::NotAccepted(Disposition::Rejected {
        condition: condition.map(str::to_owned),
        description: description.map(str::to_owned),
    })
}

fn refused_link(condition: &str) -> Rejection {
    let condition = Some(condition.to_owned());
    Rejection::Send(SendError::Link(LinkError::Refused {
        condition,
        description: None,
    }))
}

fn modified(undeliverable_here: bool) -> Rejection {
    Rejection::NotAccepted(Disposition::Modified {
        delivery_failed: true,
        undeliverable_here,
    })
}

#[test]
fn every_rejection_has_the_code_and_text_of_the_reference() {
    let malformed = |request_id: Option<&str>, status| Rejection::MalformedCommandResponse {
        request_id: request_id.map(str::to_owned),
        status,
    };
    let mismatch = |content_type: Option<&str>| Rejection::ContentMismatch {
        content_type: content_type.map(str::to_owned),
    };
    let rows = [
        (
            Rejection::MethodNotAllowed,
            Code::METHOD_NOT_ALLOWED,
            "Error Code: 405",
        ),
        (
            Rejection::TooManySearchQueries,
            Code::BAD_OPTION,
            "only one search query is supported!",
        ),
        (
            Rejection::NotAuthenticated,
            Code::UNAUTHORIZED,
            "DTLS session does not contain authenticated Device",
        ),
        (
            Rejection::NoDevice,
            Code::NOT_FOUND,
            "request URI must contain device ID",
        ),
        (
            Rejection::NoTenantAndDevice,
            Code::NOT_FOUND,
            "request URI must contain tenant and device ID",
        ),
        (
            Rejection::ForeignTenant,
            Code::FORBIDDEN,
            "tenant ID in request URI must match provided credentials",
        ),
        (
            Rejection::NotConfirmable("event"),
            Code::BAD_REQUEST,
            "event endpoint supports confirmable request messages only",
        ),
        (
            Rejection::NotConfirmable("command response"),
            Code::BAD_REQUEST,
            "command response endpoint supports confirmable request messages only",
        ),
        (
            mismatch(None),
            Code::BAD_REQUEST,
            "content type [null] does not match payload",
        ),
        (
            mismatch(Some("a/b")),
            Code::BAD_REQUEST,
            "content type [a/b] does not match payload",
        ),
        (
            malformed(Some("x"), Some(300)),
            Code::BAD_REQUEST,
            "command-request-id [x] or status code [300] is missing/invalid",
        ),
        (
            malformed(None, None),
            Code::BAD_REQUEST,
            "command-request-id [null] or status code [null] is missing/invalid",
        ),
        (
            Rejection::TenantDisabled,
            Code::FORBIDDEN,
            "tenant is disabled or not registered",
        ),
        (
            Rejection::MessageLimit,
            Code::TOO_MANY_REQUESTS,
            "tenant's accumulated message data volume exceeds configured maximum value",
        ),
        (
            Rejection::AdapterDisabled,
            Code::FORBIDDEN,
            "adapter is disabled",
        ),
        (
            Rejection::Tenant(service(404, Some("no such tenant"))),
            Code::NOT_FOUND,
            "no such tenant",
        ),
        (
            Rejection::Registration(service(404, Some("no such device"))),
            Code::NOT_FOUND,
            "device is disabled or not registered",
        ),
        (
            Rejection::Registration(service(403, None)),
            Code::FORBIDDEN,
            "gateway is disabled or not registered",
        ),
        (
            Rejection::Registration(service(400, None)),
            Code::BAD_REQUEST,
            "Error Code: 400",
        ),
        (
            Rejection::Registration(service(400, Some("why"))),
            Code::BAD_REQUEST,
            "why",
        ),
        (
            Rejection::Registration(service(418, None)),
            Code::INTERNAL_SERVER_ERROR,
            "Internal server error",
        ),
        (
            Rejection::Tenant(service(500, Some("secret"))),
            Code::INTERNAL_SERVER_ERROR,
            "Internal server error",
        ),
        (
            Rejection::Tenant(service(429, None)),
            Code::TOO_MANY_REQUESTS,
            "Error Code: 429",
        ),
        (Rejection::Tenant(service(502, None)), Code::BAD_GATEWAY, ""),
        (
            Rejection::Send(SendError::Unsettled),
            Code::INTERNAL_SERVER_ERROR,
            "Internal server error",
        ),
        (
            Rejection::Send(SendError::TooLarge { limit: 9 }),
            Code::REQUEST_ENTITY_TOO_LARGE,
            "Error Code: 413",
        ),
        (
            refused_link("amqp:internal-error"),
            Code::INTERNAL_SERVER_ERROR,
            "Internal server error",
        ),
        (
            modified(true),
            Code::NOT_FOUND,
            "consumer declared message as undeliverable, it should not be redelivered",
        ),
        (rejected(None, None), Code::BAD_REQUEST, "Error Code: 400"),
        (
            rejected(None, Some("no thanks")),
            Code::BAD_REQUEST,
            "no thanks",
        ),
        (
            rejected(Some("amqp:not-allowed"), Some("no thanks")),
            Code::BAD_REQUEST,
            "no thanks",
        ),
        (
            rejected(Some("amqp:unauthorized-access"), Some("no thanks")),
            Code::FORBIDDEN,
            "no thanks",
        ),
        (
            rejected(Some("amqp:internal-error"), Some("no thanks")),
            Code::INTERNAL_SERVER_ERROR,
            "Internal server error",
        ),
    ];
    for (rejection, code, text) in rows {
        let format = (!text.is_empty()).then_some(0);
        let told = format!("{rejection:?}");
        assert_eq!(
            refused(rejection),
            (code, format, None, text.to_owned()),
            "{told}"
        );
    }
}

#[test]
fn what_may_work_later_is_5_03_and_says_when() {
    let rows = [
        (
            Rejection::Send(SendError::NoCredit),
            "no consumer available",
        ),
        (
            Rejection::NotAccepted(Disposition::Released),
            "consumer didn't process the message",
        ),
        (modified(false), "consumer didn't process the message"),
        (
            Rejection::Send(SendError::TimedOut),
            "consumer failed to indicate in time whether it has processed the message",
        ),
        (
            rejected(Some("amqp:resource-limit-exceeded"), Some("no thanks")),
            "consumer rejected the message because a resource limit was exceeded, possibly a (tenant-specific) queue size limit",
        ),
        (
            Rejection::Send(SendError::Link(LinkError::NotConnected)),
            "Temporarily unavailable",
        ),
        (
            Rejection::Send(SendError::LinkLost),
            "Temporarily unavailable",
        ),
        (
            Rejection::Send(SendError::Congested),
            "Temporarily unavailable",
        ),
        (
            refused_link("amqp:unauthorized-access"),
            "Temporarily unavailable",
        ),
        (refused_link("amqp:not-found"), "Temporarily unavailable"),
        (
            Rejection::Tenant(service(503, Some("request timed out after 200ms"))),
            "Temporarily unavailable",
        ),
        (
            Rejection::Registration(service(503, None)),
            "Temporarily unavailable",
        ),
        (Rejection::Overloaded, "Temporarily unavailable"),
        (Rejection::Stopping, "Temporarily unavailable"),
    ];
    for (rejection, text) in rows {
        let told = format!("{rejection:?}");
        assert_eq!(
            refused(rejection),
            (Code::SERVICE_UNAVAILABLE, Some(0), Some(2), text.to_owned()),
            "{told}"
        );
    }
}

#[test]
fn the_transport_s_own_errors_have_no_payload() {
    let rows = [
        (Rejection::NoSuchResource, Code::NOT_FOUND),
        (Rejection::NotReadable, Code::METHOD_NOT_ALLOWED),
        (Rejection::NotAcceptable, Code::NOT_ACCEPTABLE),
    ];
    for (rejection, code) in rows {
        assert_eq!(refused(rejection), (code, None, None, String::new()));
    }
}

#[test]
fn only_success_tells_the_time() {
    let now = UNIX_EPOCH + Duration::from_millis(0x01_a2_0b_55_34_5e);
    let told = answer(
        Ok(Outcome::Changed {
            time: TimeRequest::Wanted,
            command: None,
        }),
        now,
    );
    assert_eq!(
        told.go_out().options.first(option::HONO_TIME),
        Some(&[0x01, 0xa2, 0x0b, 0x55, 0x34, 0x5e][..])
    );
    let plain = answer(
        Ok(Outcome::Changed {
            time: TimeRequest::None,
            command: None,
        }),
        now,
    );
    assert_eq!(plain.go_out(), Response::new(Code::CHANGED));
}

/// Whether the device that waits for an answer is still there, and the application for the outcome.
enum Waits {
    Both,
    NoDevice,
    NoApplication,
    /// The device waits, but the command cannot be sent to it.
    Unreachable,
}

/// Answers with a command; also tells the outcome for the application.
fn instruct(
    content_type: Option<&str>,
    location: &[&str],
    waits: &Waits,
) -> (Response, Disposition) {
    let (told, outcome) = mpsc::channel();
    let command = Command {
        name: "setLight".to_owned(),
        request_id: None,
        content_type: content_type.map(str::to_owned),
        payload: Payload(b"on".to_vec()),
    };
    let location = location.iter().map(|it| (*it).to_owned()).collect();
    let in_time = match waits {
        Waits::Both | Waits::NoDevice | Waits::Unreachable => Told::InTime,
        Waits::NoApplication => Told::TooLate,
    };
    let delivery = Delivery::new(move |outcome| {
        told.send(outcome).unwrap();
        in_time
    });
    let instruction = Box::new(Instruction {
        command,
        location,
        delivery,
    });
    let outcome_of_request = Outcome::Changed {
        time: TimeRequest::None,
        command: Some(instruction),
    };
    let answer = answer(Ok(outcome_of_request), UNIX_EPOCH);
    let response = match waits {
        Waits::Both | Waits::NoApplication => answer.go_out(),
        Waits::NoDevice => answer.come_too_late(),
        Waits::Unreachable => {
            assert!(answer.has_command());
            answer.without_command()
        }
    };
    (response, outcome.recv().unwrap())
}

#[test]
fn a_command_is_told_and_accepted_at_that_moment() {
    let location = ["c", "", "4712"];
    let (response, outcome) = instruct(Some("Application/JSON"), &location, &Waits::Both);
    let expected = Response::new(Code::CHANGED)
        .option(option::LOCATION_QUERY, "hono-command=setLight")
        .option(option::LOCATION_PATH, "c")
        .option(option::LOCATION_PATH, "")
        .option(option::LOCATION_PATH, "4712")
        .content_format(50)
        .payload("on");
    assert_eq!((response, outcome), (expected, Disposition::Accepted));
    let (_, outcome) = instruct(None, &["c"], &Waits::NoDevice);
    assert_eq!(outcome, Disposition::Released);
}

/// Symptom: a command that did not fit a record of its device got lost, and the application heard
/// `accepted`. Cause: it was settled before anybody knew whether it can be sent.
#[test]
fn a_command_that_cannot_be_sent_is_released() {
    let (response, outcome) = instruct(None, &["c"], &Waits::Unreachable);
    assert_eq!(response, Response::new(Code::CHANGED));
    assert_eq!(outcome, Disposition::Released);
}

/// Symptom: of 10,000 commands at once, some were executed though their applications had been told that nobody took them. Cause: a
/// command whose outcome came later than the command router waits for was told to its device nevertheless.
#[test]
fn a_command_that_was_given_back_meanwhile_is_not_told() {
    let (response, _) = instruct(None, &["c"], &Waits::NoApplication);
    assert_eq!(response, Response::new(Code::CHANGED));
}

#[test]
fn a_content_type_without_number_is_not_told() {
    for content_type in [
        None,
        Some("text/plain; charset=utf-8"),
        Some("application/vnd.x+json"),
    ] {
        let (response, _) = instruct(content_type, &["c"], &Waits::Both);
        assert_eq!(
            response.options.first(option::CONTENT_FORMAT),
            None,
            "{content_type:?}"
        );
    }
}

#[test]
fn a_command_that_cannot_be_told_goes_back() {
    let (response, outcome) = instruct(None, &["cr", &"x".repeat(256)], &Waits::Both);
    assert_eq!(response, Response::new(Code::INTERNAL_SERVER_ERROR));
    assert_eq!(outcome, Disposition::Released);
}

#[test]
fn a_long_text_is_cut_between_letters() {
    let (_, _, _, text) = refused(rejected(None, Some(&"ä".repeat(400))));
    assert_eq!(text, "ä".repeat(256));
}
