use std::net::IpAddr;
use std::sync::Arc;

use coap_proto::message::{Message, MessageId, Type};
use coap_proto::{Options, Token, option};
use fair_share::HolderHasher;
use registry_client::CredentialsType;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

fn order() -> (Arc<TransferOrder>, Metrics) {
    let metrics = Metrics::new("host");
    (Arc::new(TransferOrder::new(metrics.clone())), metrics)
}

fn request(code: Code, path: &str) -> Request {
    let mut options = Options::default();
    for segment in path.split('/') {
        options.push(option::URI_PATH, segment.as_bytes());
    }
    Request::of(Message {
        kind: Type::Confirmable,
        code,
        id: MessageId(1),
        token: Token::default(),
        options,
        payload: Vec::new(),
    })
    .unwrap()
}

fn principal(device: &str) -> Principal {
    Principal {
        tenant: "T".into(),
        device: device.into(),
        auth_id: "a".into(),
        credentials: CredentialsType::Psk,
    }
}

fn expired(metrics: &Metrics) -> bool {
    let page = metrics.render();
    let line = page.lines().find(|line| {
        line.starts_with("coap_adapter_order_turns_expired_total") && !line.ends_with(" 0")
    });
    line.is_some()
}

/// A generator of delays that are the same in each run.
struct Delays(u64);

impl Delays {
    fn next(&mut self, below: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % u64::try_from(below.as_micros()).unwrap())
    }
}

/// Bursts of one device reached the application in another order: each request is a task of its own, the newest task runs first,
/// and look-ups take different time.
#[tokio::test(start_paused = true)]
async fn messages_of_a_device_are_transferred_as_they_arrived_whatever_look_ups_take() {
    const DEVICES: u64 = 100;
    const MESSAGES: usize = 1000;
    let (order, metrics) = order();
    let transferred = Arc::new(Mutex::new(vec![Vec::new(); 100]));
    let mut delays = Delays(0x9e37_79b9_7f4a_7c15);
    let mut tasks = JoinSet::new();
    for message in 0..MESSAGES {
        for device in 0..DEVICES {
            let ticket = order.enter(device);
            let look_up = delays.next(MAX_TURN / 2);
            let transferred = Arc::clone(&transferred);
            tasks.spawn(async move {
                sleep(look_up).await;
                ticket.turn().await;
                transferred.lock().unwrap()[usize::try_from(device).unwrap()].push(message);
            });
        }
        if message % 100 == 99 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    tasks.join_all().await;
    for device in transferred.lock().unwrap().iter() {
        assert!(device.is_sorted(), "{device:?}");
        assert_eq!(device.len(), MESSAGES);
    }
    assert_eq!(order.tickets(), 0);
    assert!(!expired(&metrics));
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_keeps_no_other_stream_waiting() {
    let (order, _) = order();
    let _slow = order.enter(1);
    let started = Instant::now();
    for number in 2..1000 {
        let ticket = order.enter(number);
        ticket.turn().await;
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

/// A look-up that hangs must not end a device's service; the rest of its messages keep their order.
#[tokio::test(start_paused = true)]
async fn later_messages_go_ahead_in_order_when_the_first_takes_too_long() {
    let (order, metrics) = order();
    let slow = order.enter(1);
    let transferred = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for message in 0..10 {
        let (ticket, transferred) = (order.enter(1), Arc::clone(&transferred));
        tasks.spawn(async move {
            sleep(Duration::from_millis(10 - message)).await;
            ticket.turn().await;
            transferred
                .lock()
                .unwrap()
                .push((message, started.elapsed()));
        });
    }
    tasks.join_all().await;
    let messages: Vec<_> = transferred.lock().unwrap().drain(..).collect();
    assert!(messages.is_sorted(), "{messages:?}");
    let [.., (_, last)] = messages[..] else {
        panic!("there is none")
    };
    assert!(last >= MAX_TURN && last < MAX_TURN * 2, "{last:?}");
    assert!(expired(&metrics));
    // It has no turn to wait for any more, and ends nobody else's.
    let next = order.enter(1);
    slow.turn().await;
    drop(slow);
    next.turn().await;
    drop(next);
    assert_eq!(order.tickets(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_gives_its_turn_away_at_once() {
    let (order, _) = order();
    let (first, second, third) = (order.enter(1), order.enter(1), order.enter(1));
    let started = Instant::now();
    drop(second);
    let waiting = tokio::spawn(async move { third.turn().await });
    sleep(Duration::from_millis(1)).await;
    assert!(!waiting.is_finished(), "the first has not failed");
    drop(first);
    waiting.await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_millis(1));
    assert_eq!(order.tickets(), 0);
}

/// One request that hangs while others of its device fail must not pile up what is kept of these.
#[tokio::test(start_paused = true)]
async fn tickets_of_requests_that_ended_are_not_kept() {
    let (order, _) = order();
    let slow = order.enter(1);
    for _ in 0..1000 {
        drop(order.enter(1));
    }
    assert_eq!(order.tickets(), 1);
    drop(slow);
    assert_eq!(order.tickets(), 0);
}

#[test]
fn each_device_has_a_stream_for_each_endpoint() {
    let (order, _) = order();
    let (gateway, other) = (principal("gw"), principal("gw2"));
    let hasher = HolderHasher::default();
    let key = |principal: Option<&Principal>, code, path: &str| {
        let holder = match principal {
            Some(principal) => hasher.holder(&principal.tenant, &principal.device),
            None => hasher.source(IpAddr::from([192, 0, 2, 1])),
        };
        order.key(holder, principal, &request(code, path))
    };
    let (post, put) = (Code::POST, Code::PUT);
    let own = key(Some(&gateway), post, "t");
    for (path, code) in [("telemetry", post), ("t//gw", put), ("telemetry/T/gw", put)] {
        assert_eq!(own, key(Some(&gateway), code, path), "{path}");
    }
    let mut streams = vec![
        own,
        key(Some(&gateway), post, "e"),
        key(Some(&gateway), post, "cr/1"),
        key(Some(&gateway), put, "t/T/d"),
        key(Some(&gateway), put, "t/T/e"),
        key(Some(&other), put, "t/T/d"),
        key(Some(&other), post, "t"),
        key(None, put, "t/T/gw"),
        key(None, put, "t/U/gw"),
    ];
    assert!(streams.iter().all(Option::is_some));
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams.len(), 9, "each is a stream of its own");
    for (code, path) in [
        (Code::GET, ".well-known/core"),
        (put, "t"),
        (put, "t/T/"),
        (post, "x"),
    ] {
        assert_eq!(key(None, code, path), None, "{path}");
    }
}
