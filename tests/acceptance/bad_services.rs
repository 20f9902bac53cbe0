//! A registry and a command router that answer late, twice, or with rubbish: a device is never told that it is its own fault, never
//! served by mistake, and served as ever when they are well again (spec: registry-apis A.1).

use std::time::Duration;

use acceptance::stand::Stand;
use sandbox::{
    device::CoapRequest,
    northbound::{Application, Behaviour, Outcome},
    services::{Fault, Garbage, Operation, Services},
};

use crate::scene::{A_WHILE, SOON, application, give, plain, told, world};

/// How long the adapter waits for an answer.
const PATIENCE: &str = "300";
const LONGER: Duration = Duration::from_millis(700);

/// Without caches, so that each request asks.
async fn stand() -> Stand {
    let settings = [
        ("HONO_TENANT_RESPONSECACHEMAXSIZE", "0"),
        ("HONO_REGISTRATION_RESPONSECACHEMAXSIZE", "0"),
        ("HONO_TENANT_REQUESTTIMEOUT", PATIENCE),
        ("HONO_REGISTRATION_REQUESTTIMEOUT", PATIENCE),
        ("HONO_COMMANDROUTER_REQUESTTIMEOUT", PATIENCE),
    ];
    Stand::start(world(), &settings).await.unwrap()
}

/// What is asked for a device that waits, and the answers that no garbage can spoil, for nobody reads what is spoilt.
const ASKED: [(Operation, &[Garbage]); 3] = [
    (Operation::Tenant, &[]),
    (Operation::Assertion, &[]),
    // Its success is a status without body.
    (
        Operation::RegisterConsumer,
        &[
            Garbage::NoJson,
            Garbage::OtherJson,
            Garbage::NoMembers,
            Garbage::OtherContentType,
            Garbage::Large,
        ],
    ),
];

fn upload() -> CoapRequest {
    CoapRequest::put("e/T/d").body(0, "x").query("hono-ttd=60")
}

/// The device waits, and gets a command.
async fn served(stand: &Stand, application: &mut Application) -> (String, String) {
    let request = upload();
    let mut device = plain(stand).await;
    let (response, outcome) = tokio::join!(device.request(&request, SOON), async {
        assert!(application.receive(SOON).await.is_some());
        give(application, "d", "go").await
    });
    assert_eq!(outcome, Some(Outcome::Accepted));
    told(&response.unwrap())
}

fn mend(services: &Services) {
    for (operation, _) in ASKED {
        services.recover(operation);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_from_a_service_is_an_error_of_the_server() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    for (operation, unread) in ASKED {
        for garbage in Garbage::ALL {
            if unread.contains(&garbage) {
                continue;
            }
            services.fail(operation, Fault::Garbage(garbage));
            let response = plain(&stand).await.request(&upload(), SOON).await.unwrap();
            let (code, text) = told(&response);
            let name = format!("{operation:?} {garbage:?}: {code} {text}");
            let expected = match garbage {
                // Nobody knows which request it answers, so that the time is over.
                Garbage::NoMessage
                | Garbage::Empty
                | Garbage::NoCorrelation
                | Garbage::OtherCorrelation => ("5.03", "Temporarily unavailable"),
                _ => ("5.00", "Internal server error"),
            };
            assert_eq!((code.as_str(), text.as_str()), expected, "{name}");
            mend(&services);
            let ok = ("2.04".to_owned(), "go".to_owned());
            assert_eq!(served(&stand, &mut application).await, ok, "after {name}");
        }
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// An answer that comes too late answers nobody any more, least of all the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_none_and_a_second_one_changes_nothing() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    for (operation, _) in ASKED {
        services.fail(operation, Fault::Late(LONGER));
        let response = plain(&stand).await.request(&upload(), SOON).await.unwrap();
        let later = ("5.03".to_owned(), "Temporarily unavailable".to_owned());
        assert_eq!(told(&response), later, "{operation:?}");
        mend(&services);
        // While the late answer is still on its way, and after it has come.
        for _ in 0..2 {
            let ok = ("2.04".to_owned(), "go".to_owned());
            assert_eq!(served(&stand, &mut application).await, ok, "{operation:?}");
            tokio::time::sleep(LONGER).await;
        }
        services.fail(operation, Fault::Twice);
        for _ in 0..3 {
            let ok = ("2.04".to_owned(), "go".to_owned());
            assert_eq!(
                served(&stand, &mut application).await,
                ok,
                "{operation:?} twice"
            );
        }
        mend(&services);
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// The status of a service is the code of the device, where it has a meaning for one (spec: coap-adapter §4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_s_refusal_is_told_by_its_own_code() {
    let words = "the sandbox is configured to refuse this";
    let error = "Internal server error";
    let later = "Temporarily unavailable";
    let rows = [
        (400, "4.00", words),
        (401, "4.01", words),
        (409, "4.09", words),
        (412, "4.12", words),
        (413, "4.13", words),
        (429, "4.29", words),
        (499, "5.00", words),
        (500, "5.00", error),
        (501, "5.01", ""),
        (502, "5.02", ""),
        (503, "5.03", later),
        (504, "5.04", ""),
        (507, "5.00", error),
        (202, "5.00", error),
        (302, "5.00", error),
    ];
    let own = |operation, status| match (operation, status) {
        (Operation::Tenant, 403) | (Operation::RegisterConsumer, 403 | 404) => Some(words),
        (Operation::Tenant, 404) => Some("no such tenant"),
        (Operation::Assertion, 403) => Some("gateway is disabled or not registered"),
        (Operation::Assertion, 404) => Some("device is disabled or not registered"),
        _ => None,
    };
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    let mut device = plain(&stand).await;
    for (operation, _) in ASKED {
        let further = [403, 404].map(|status| {
            let code = if status == 403 { "4.03" } else { "4.04" };
            (status, code, own(operation, status).unwrap())
        });
        for (status, code, text) in rows.into_iter().chain(further) {
            services.fail(operation, Fault::Status(status));
            let response = device.request(&upload(), SOON).await.unwrap();
            let expected = (code.to_owned(), text.to_owned());
            assert_eq!(told(&response), expected, "{operation:?} {status}");
        }
        mend(&services);
        if operation == Operation::Tenant {
            // For so long it is remembered that there is no such tenant.
            tokio::time::sleep(Duration::from_secs(3) + A_WHILE).await;
        }
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// A service that does not take a request says so by its outcome (spec: registry-apis A.1, client rules).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_a_service_does_not_take_is_refused() {
    let rejected = |condition: &str| Outcome::Rejected {
        condition: Some(condition.to_owned()),
        description: Some("no".to_owned()),
    };
    let modified = |undeliverable_here| Outcome::Modified {
        delivery_failed: true,
        undeliverable_here,
    };
    let rows = [
        (Outcome::Released, "5.03"),
        (modified(false), "5.03"),
        (rejected("amqp:resource-limit-exceeded"), "5.03"),
        (rejected("amqp:internal-error"), "5.00"),
        (rejected("amqp:unauthorized-access"), "4.03"),
        (rejected("hono:bad-request"), "4.00"),
        (modified(true), "4.04"),
        // It took it and says nothing further.
        (Outcome::Accepted, "5.03"),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    let mut device = plain(&stand).await;
    for (operation, _) in ASKED {
        for (outcome, code) in &rows {
            services.fail(operation, Fault::Settled(outcome.clone()));
            let response = device.request(&upload(), SOON).await.unwrap();
            assert_eq!(response.code(), *code, "{operation:?} {outcome:?}");
        }
        mend(&services);
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}
