//! Requests to services that behave and services that do not, over AMQP on the loopback interface.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use amqp_client::{Body, Message, MessageId, Outcome, SendError, Value};
use sandbox::{Sandbox, SandboxConfig};
use tokio::time::timeout;

use super::{
    Exchange, Request,
    service::{PATIENCE, Service, config, connect, response},
};
use crate::{ServiceError, response::Response};

async fn stage(request_timeout: Duration) -> (Sandbox, Service, Exchange) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let service = Service::start(&sandbox).await;
    let mut config = config(&sandbox);
    config.request_timeout = request_timeout;
    let exchange = Exchange::new(connect(config), "event");
    (sandbox, service, exchange)
}

async fn ask(exchange: &Exchange) -> Result<u16, ServiceError> {
    let response = exchange.ask(Some("S"), Request::new("get")).await;
    response.map(|response: Response| response.status)
}

#[tokio::test]
async fn a_request_names_itself_and_the_way_back() {
    let (_sandbox, mut service, exchange) = stage(PATIENCE).await;
    let serve = async {
        let request = service.take().await;
        let properties = &request.properties;
        assert_eq!(properties.to.as_deref(), Some("event/S"));
        assert_eq!(properties.subject.as_deref(), Some("get"));
        assert_eq!(properties.correlation_id, None);
        let id = properties.message_id.as_ref().and_then(MessageId::as_str);
        assert!(id.unwrap().starts_with("event-client-"));
        assert!(
            properties
                .reply_to
                .as_deref()
                .unwrap()
                .starts_with("event/S/")
        );
        assert_eq!(request.body, Body::None);
        let answer = response(properties.message_id.clone(), Some(204));
        assert_eq!(service.send(&request, &answer).await, Outcome::Accepted);
    };
    let (answer, ()) = tokio::join!(ask(&exchange), serve);
    assert_eq!(answer, Ok(204));
}

#[tokio::test]
async fn what_becomes_of_each_request_is_told() {
    let (_sandbox, mut service, exchange) = stage(Duration::from_millis(300)).await;
    let reported = Arc::new(Mutex::new(Vec::new()));
    let notes = reported.clone();
    exchange.observe(Box::new(move |tenant, result, _| {
        let result = result.cloned().map_err(Clone::clone);
        notes.lock().unwrap().push((tenant.to_owned(), result));
    }));
    let serve = async {
        let request = service.take().await;
        let answer = response(request.properties.message_id.clone(), Some(204));
        service.send(&request, &answer).await;
    };
    let (answer, ()) = tokio::join!(ask(&exchange), serve);
    assert_eq!(answer, Ok(204));
    let accepted = ("S".to_owned(), Ok(Outcome::Accepted));
    assert_eq!(*reported.lock().unwrap(), std::slice::from_ref(&accepted));
    // Nobody takes it.
    ask(&exchange).await.unwrap_err();
    let late = ("S".to_owned(), Err(SendError::TimedOut));
    assert_eq!(*reported.lock().unwrap(), [accepted, late]);
}

#[tokio::test]
async fn requests_share_their_links_and_are_answered_in_any_order() {
    let (_sandbox, mut service, exchange) = stage(PATIENCE).await;
    let exchange = Arc::new(exchange);
    let asked: Vec<_> = (0..20)
        .map(|number| {
            let exchange = exchange.clone();
            tokio::spawn(async move {
                let request = Request::new("get").with("number", Value::Int(number));
                let answer = exchange.ask(Some("S"), request).await;
                (number, answer.map(|response| i32::from(response.status)))
            })
        })
        .collect();
    let mut requests = Vec::new();
    while requests.len() < asked.len() {
        requests.push(service.take().await);
    }
    let way_back = requests[0].properties.reply_to.clone();
    let sender = service
        .connection
        .sender(way_back.as_deref().unwrap())
        .await
        .unwrap();
    for request in requests.iter().rev() {
        assert_eq!(request.properties.reply_to, way_back);
        let Some(Value::Int(number)) = request.application_property("number") else {
            panic!("{request:?}")
        };
        let id = request.properties.message_id.clone();
        let sent = sender
            .send(&response(id, Some(200 + number)))
            .await
            .unwrap();
        assert_eq!(sent.outcome(Some(PATIENCE)).await, Ok(Outcome::Accepted));
    }
    for asked in asked {
        let (number, answer) = asked.await.unwrap();
        assert_eq!(answer, Ok(200 + number));
    }
}

#[tokio::test]
async fn a_service_that_never_answers_is_a_503_and_its_late_answer_is_rejected() {
    let (_sandbox, mut service, exchange) = stage(Duration::from_millis(100)).await;
    let (answer, request) = tokio::join!(ask(&exchange), service.take());
    let error = ServiceError::unavailable("request timed out after 100ms");
    assert_eq!(answer, Err(error));
    let late = response(request.properties.message_id.clone(), Some(200));
    let settled = service.send(&request, &late).await;
    assert!(matches!(settled, Outcome::Rejected { .. }), "{settled:?}");
}

#[tokio::test]
async fn a_request_that_nobody_settles_is_a_503() {
    let (_sandbox, mut service, exchange) = stage(Duration::from_millis(100)).await;
    let (answer, _held) = tokio::join!(ask(&exchange), service.next());
    assert_eq!(answer.unwrap_err().status, 503);
}

#[tokio::test]
async fn an_answer_counts_even_if_the_request_is_settled_later_or_never() {
    let (_sandbox, mut service, exchange) = stage(PATIENCE).await;
    let serve = async {
        let held = service.next().await;
        let request = held.message.as_ref().unwrap().clone();
        let answer = response(request.properties.message_id.clone(), Some(200));
        service.send(&request, &answer).await;
        held
    };
    let (answer, _held) = tokio::join!(ask(&exchange), serve);
    assert_eq!(answer, Ok(200));
}

#[tokio::test]
async fn answers_that_fit_no_request_are_rejected_and_one_without_status_is_released() {
    let (_sandbox, mut service, exchange) = stage(PATIENCE).await;
    let serve = async {
        let request = service.take().await;
        for wrong in [None, Some("unknown".into()), Some(MessageId::Ulong(1))] {
            let settled = service.send(&request, &response(wrong, Some(200))).await;
            assert!(matches!(settled, Outcome::Rejected { .. }), "{settled:?}");
        }
        let id = request.properties.message_id.clone();
        let settled = service.send(&request, &response(id, None)).await;
        assert_eq!(settled, Outcome::Released);
    };
    let (answer, ()) = tokio::join!(ask(&exchange), serve);
    assert_eq!(answer.unwrap_err().status, 500);
}

#[tokio::test]
async fn what_the_service_does_with_the_request_is_told() {
    let (_sandbox, mut service, exchange) = stage(PATIENCE).await;
    let unauthorized = Outcome::rejected("amqp:unauthorized-access", "no");
    for (outcome, status, text) in [
        (unauthorized, 403, Some("no")),
        (Outcome::Released, 503, None),
    ] {
        let serve = async { service.next().await.settle(outcome) };
        let (answer, settled) = tokio::join!(ask(&exchange), serve);
        assert!(settled);
        let error = answer.unwrap_err();
        assert_eq!((error.status, error.text.as_deref()), (status, text));
    }
}

#[tokio::test]
async fn a_service_without_credit_is_a_503() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let mut config = config(&sandbox);
    config.flow_latency = Duration::from_millis(1);
    let exchange = Exchange::new(connect(config), "event");
    let error = ServiceError::unavailable("no credit available for sending request");
    assert_eq!(ask(&exchange).await, Err(error));
}

#[tokio::test]
async fn a_refused_link_is_a_503_and_is_tried_again() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let exchange = Exchange::new(connect(config(&sandbox)), "nowhere");
    for _ in 0..3 {
        assert_eq!(ask(&exchange).await.unwrap_err().status, 503);
        assert!(exchange.pairs.len() == 0, "a failure is kept");
    }
}

/// Symptom to be prevented: who waits for a link inherits the failures of all who waited before, one time-out after the other.
#[tokio::test]
async fn all_who_wait_for_a_link_share_its_failure() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let mut config = config(&sandbox);
    config.link_establishment_timeout = Duration::from_secs(1);
    sandbox.stop().await;
    let exchange = Arc::new(Exchange::new(connect(config), "event"));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let exchange = exchange.clone();
            tokio::spawn(async move { ask(&exchange).await })
        })
        .collect();
    let all = async {
        for asked in asked {
            assert_eq!(asked.await.unwrap().unwrap_err().status, 503);
        }
    };
    timeout(PATIENCE, all).await.unwrap();
}

/// Registration assertions of a sandbox, which takes 4,096 links.
async fn registrations() -> (Sandbox, Exchange) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let exchange = Exchange::new(connect(config(&sandbox)), "registration");
    (sandbox, exchange)
}

async fn assert(exchange: &Exchange, tenant: &str, device: &str) -> Result<u16, ServiceError> {
    let request = Request::new("assert").with_text("device_id", device);
    let response = exchange.ask(Some(tenant), request).await;
    response.map(|response: Response| response.status)
}

/// Symptom: after requests for some 2,000 tenants no other tenant's request was answered until the
/// adapter was restarted (`too many links`). Cause: links were bounded by 10,000 pairs, whatever the
/// peer's handle-max, and none was released when the peer took no more.
#[tokio::test]
async fn more_tenants_than_links_are_served_and_those_without_answers_make_room() {
    let (_sandbox, exchange) = registrations().await;
    assert_eq!(assert(&exchange, "DEFAULT_TENANT", "4711").await, Ok(200));
    let real = exchange.pairs.get("registration/DEFAULT_TENANT").await;
    let real = real.unwrap();
    for batch in 0..22 {
        let (exchange, numbers) = (&exchange, batch * 100..(batch + 1) * 100);
        let names = numbers.map(|number| format!("none-{number}"));
        let asked = names.map(|name| async move { assert(exchange, &name, "d").await });
        for answer in futures(asked.collect()).await {
            assert_eq!(answer, Ok(404));
        }
    }
    assert!(exchange.pairs.len() <= 2_032);
    let still = exchange.pairs.get("registration/DEFAULT_TENANT").await;
    assert!(
        Arc::ptr_eq(&real, &still.unwrap()),
        "the pair in use was released"
    );
}

/// Symptom: the links of made-up tenants stayed for good. Cause: nothing closed them.
#[tokio::test]
async fn a_pair_whose_only_answers_were_404_is_closed_when_idle() {
    let (_sandbox, exchange) = registrations().await;
    assert_eq!(assert(&exchange, "DEFAULT_TENANT", "4711").await, Ok(200));
    assert_eq!(assert(&exchange, "none", "d").await, Ok(404));
    assert_eq!(assert(&exchange, "DEFAULT_TENANT", "none").await, Ok(404));
    assert_eq!(exchange.pairs.len(), 2);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(exchange.pairs.len(), 1);
}

/// The results of all futures, which run at the same time.
async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut all {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if all.iter().all(|(_, output)| output.is_some()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

/// Symptom: of thousands of requests at once, only a few hundred were sent in a second, and the others timed out, though the service
/// was idle. Cause: each request waited for its turn in a task of its own. What is asked first is still sent first, and what
/// nobody waits for any more is not sent.
#[tokio::test]
async fn requests_beyond_the_credit_are_sent_in_their_order_if_somebody_still_waits() {
    let (_sandbox, mut service, exchange) = stage(PATIENCE).await;
    // Who waits for the links to open is woken in any order.
    let serve = async {
        let request = service.take().await;
        let id = request.properties.message_id.clone();
        service.send(&request, &response(id, Some(204))).await
    };
    let (opened, _) = tokio::join!(ask(&exchange), serve);
    assert_eq!(opened, Ok(204));
    let exchange = Arc::new(exchange);
    let mut asked = Vec::new();
    for number in 0..300 {
        let exchange = exchange.clone();
        asked.push(tokio::spawn(async move {
            let request = Request::new("get").with("number", Value::Int(number));
            exchange.ask(Some("S"), request).await.map(drop)
        }));
    }
    let first = service.take().await;
    // The service has granted no more than a hundred, so the last ones wait.
    for asked in &asked[250..] {
        asked.abort();
    }
    let number = |request: &Message| match request.application_property("number") {
        Some(Value::Int(number)) => *number,
        other => panic!("{other:?}"),
    };
    let mut numbers = vec![number(&first)];
    while numbers.len() < 250 {
        numbers.push(number(&service.take().await));
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    let last = exchange.ask(
        Some("S"),
        Request::new("get").with("number", Value::Int(300)),
    );
    let (_, last) = tokio::join!(timeout(Duration::from_millis(500), last), service.take());
    assert_eq!(number(&last), 300);
}
