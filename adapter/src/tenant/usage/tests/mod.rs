//! The shell against a local HTTP server in the place of Prometheus.

mod server;
mod tls;

use std::{sync::atomic::Ordering, time::Duration};

use amqp_client::{Secret, UserCredentials};
use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use self::server::{Mode, Server};
use super::*;

#[tokio::test]
async fn what_is_not_known_passes_and_what_is_learnt_counts() {
    let server = Server::start(Mode::Consumed("4096")).await;
    let limits = MessageLimits::start(Some(&config(server.port))).unwrap();
    let tenant = tenant("T", 10_000, 4096);
    assert_eq!(limits.check(&tenant, 99_999), Verdict::Passes);
    settle(&limits).await;
    // 4096 are consumed, and sizes are multiples of 4096.
    for (bytes, verdict) in [
        (0, Verdict::Passes),
        (1, Verdict::Passes),
        (4096, Verdict::Passes),
        (4097, Verdict::Exceeded),
    ] {
        assert_eq!(limits.check(&tenant, bytes), verdict, "{bytes}");
    }
    assert_eq!(server.queries(), 1);
}

#[tokio::test]
async fn the_request_is_the_reference_s() {
    let server = Server::start(Mode::Consumed("0")).await;
    let mut config = config(server.port);
    config.query_timeout = Some(Duration::from_millis(500));
    config.credentials = Some(user("s:ecret"));
    let limits = MessageLimits::start(Some(&config)).unwrap();
    let check = async |config: &ResourceLimitsConfig,
                       limits: &MessageLimits,
                       authorization,
                       timeout: &[(String, String)]| {
        assert_eq!(
            limits.check(&tenant("a+b &c", 10_000, 0), 1),
            Verdict::Passes
        );
        settle(limits).await;
        let request = server.last_request();
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, "/api/v1/query");
        assert_eq!(request.authorization.as_deref(), authorization);
        assert_eq!(request.host, format!("127.0.0.1:{}", config.port));
        let [(query, text), rest @ ..] = request.parameters.as_slice() else {
            panic!("no parameters");
        };
        assert_eq!(query, "query");
        assert!(text.starts_with(r#"floor(sum(increase(hono_telemetry_payload_bytes_sum{status=~"forwarded|unprocessable", tenant="a+b &c"} ["#), "{text}");
        assert_eq!(rest, timeout);
    };
    let half_a_second = [("timeout".to_owned(), "500ms".to_owned())];
    check(
        &config,
        &limits,
        Some("Basic aG9ubzpzOmVjcmV0"),
        &half_a_second,
    )
    .await;
    (config.credentials, config.query_timeout) = (None, None);
    let limits = MessageLimits::start(Some(&config)).unwrap();
    check(&config, &limits, None, &[]).await;
}

/// Each line of resource-limits §6 that makes a load fail: messages pass, and the next one makes it asked again.
#[tokio::test]
async fn failures_pass_and_are_asked_about_again() {
    let failures = [
        Mode::Status(500),
        Mode::Status(503),
        Mode::Status(401),
        Mode::Status(204),
        Mode::Status(302),
        Mode::Silent,
        Mode::SilentInBody,
        Mode::Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        Mode::Raw(b""),
        Mode::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"status\""),
        Mode::Endless,
    ];
    for failure in failures {
        let server = Server::start(failure).await;
        let mut config = config(server.port);
        if matches!(failure, Mode::Silent | Mode::SilentInBody) {
            config.query_timeout = Some(Duration::from_millis(200));
        }
        let limits = MessageLimits::start(Some(&config)).unwrap();
        let tenant = tenant("T", 10, 0);
        for query in 1..=2 {
            assert_eq!(limits.check(&tenant, 11), Verdict::Passes, "{failure:?}");
            settle(&limits).await;
            within(|| server.queries() == query).await;
        }
        server.change(Mode::Consumed("0"));
        // On a busy machine the short time-out may strike again.
        within(|| limits.check(&tenant, 11) == Verdict::Exceeded).await;
        assert_eq!(limits.check(&tenant, 10), Verdict::Passes, "{failure:?}");
    }
}

/// Each line of resource-limits §6 that counts as nothing consumed: known from then on.
#[tokio::test]
async fn rubbish_counts_as_nothing_consumed() {
    for rubbish in [
        Mode::Body(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#),
        Mode::Body(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#),
        Mode::Consumed("1.5"),
        Mode::Body("<html>welcome to the captive portal</html>"),
        Mode::Body(""),
    ] {
        let server = Server::start(rubbish).await;
        let limits = MessageLimits::start(Some(&config(server.port))).unwrap();
        let tenant = tenant("T", 10, 0);
        assert_eq!(limits.check(&tenant, 11), Verdict::Passes, "{rubbish:?}");
        settle(&limits).await;
        assert_eq!(limits.check(&tenant, 10), Verdict::Passes, "{rubbish:?}");
        assert_eq!(limits.check(&tenant, 11), Verdict::Exceeded, "{rubbish:?}");
        assert_eq!(server.queries(), 1, "{rubbish:?}");
    }
}

#[tokio::test]
async fn messages_pass_while_nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let limits = MessageLimits::start(Some(&config(port))).unwrap();
    for _ in 0..3 {
        assert_eq!(limits.check(&tenant("T", 0, 0), 1), Verdict::Passes);
        settle(&limits).await;
    }
    let mut nowhere = config(port);
    nowhere.host = "no such host".to_owned();
    let limits = MessageLimits::start(Some(&nowhere)).unwrap();
    assert_eq!(limits.check(&tenant("T", 0, 0), 1), Verdict::Passes);
    settle(&limits).await;
}

#[tokio::test]
async fn nobody_is_asked_where_nothing_is_limited() {
    let server = Server::start(Mode::Consumed("99")).await;
    let limits = MessageLimits::start(Some(&config(server.port))).unwrap();
    let unlimited = json!({"tenant-id": "T"});
    let unknown_mode = json!({"tenant-id": "T", "resource-limits": {"data-volume":
        {"effective-since": "2020-01-01T00:00:00Z", "max-bytes": 1, "period": {"mode": "unknown"}}}});
    for tenant in [read(&unlimited), read(&unknown_mode), tenant("T", -1, 0)] {
        assert_eq!(limits.check(&tenant, 1000), Verdict::Passes);
    }
    assert_eq!(limits.check(&tenant("T", 0, 4096), 0), Verdict::Passes);
    let off = MessageLimits::start(None).unwrap();
    assert_eq!(off.check(&tenant("T", 0, 0), 1000), Verdict::Passes);
    assert_eq!(
        MessageLimits::default().check(&tenant("T", 0, 0), 1),
        Verdict::Passes
    );
    settle(&limits).await;
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn before_a_limit_is_effective_everything_is_too_much_and_nobody_is_asked() {
    let server = Server::start(Mode::Consumed("0")).await;
    let limits = MessageLimits::start(Some(&config(server.port))).unwrap();
    let future = read(&json!({"tenant-id": "T", "resource-limits": {"data-volume":
        {"effective-since": "2999-01-01T00:00:00Z", "max-bytes": 1_000_000}}}));
    assert_eq!(limits.check(&future, 1), Verdict::Passes);
    settle(&limits).await;
    assert_eq!(limits.check(&future, 1), Verdict::Exceeded);
    assert_eq!(limits.check(&future, 0), Verdict::Passes);
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn what_is_known_counts_until_a_refresh_succeeds() {
    let server = Server::start(Mode::Consumed("0")).await;
    let mut config = config(server.port);
    config.cache_refresh_divisor = u32::MAX;
    let limits = MessageLimits::start(Some(&config)).unwrap();
    let tenant = tenant("T", 10, 0);
    assert_eq!(limits.check(&tenant, 1), Verdict::Passes);
    settle(&limits).await;
    for (mode, before, after) in [
        (Mode::Consumed("10"), Verdict::Passes, Verdict::Exceeded),
        (Mode::Status(500), Verdict::Exceeded, Verdict::Exceeded),
        (Mode::Consumed("9"), Verdict::Exceeded, Verdict::Passes),
    ] {
        server.change(mode);
        assert_eq!(limits.check(&tenant, 1), before, "{mode:?}");
        settle(&limits).await;
        server.change(Mode::Status(500));
        assert_eq!(limits.check(&tenant, 1), after, "{mode:?}");
        settle(&limits).await;
    }
}

#[tokio::test]
async fn one_query_runs_at_a_time_and_few_tenants_wait() {
    let server = Server::start(Mode::Held).await;
    let mut config = config(server.port);
    config.query_timeout = None;
    let limits = MessageLimits::start(Some(&config)).unwrap();
    let tenants = 2 * WISHES;
    for number in 0..tenants {
        let verdict = limits.check(&tenant(&format!("T{number}"), 0, 0), 1);
        assert_eq!(verdict, Verdict::Passes);
        let waiting = limits.0.as_ref().unwrap().known.wished().len();
        assert!(waiting <= WISHES + 1, "{waiting}");
    }
    server.change(Mode::Consumed("0"));
    settle(&limits).await;
    assert_eq!(server.most_at_a_time.load(Ordering::SeqCst), 1);
    assert_eq!(limits.check(&tenant("T0", 0, 0), 1), Verdict::Exceeded);
    // Those for whom there was no place are asked about when they send again.
    let last = tenant(&format!("T{}", tenants - 1), 0, 0);
    assert_eq!(limits.check(&last, 1), Verdict::Passes);
    settle(&limits).await;
    assert_eq!(limits.check(&last, 1), Verdict::Exceeded);
}

#[tokio::test]
async fn a_silent_server_does_not_outlive_those_who_ask() {
    let server = Server::start(Mode::Held).await;
    let mut config = config(server.port);
    config.query_timeout = None;
    let limits = MessageLimits::start(Some(&config)).unwrap();
    assert_eq!(limits.check(&tenant("T", 0, 0), 1), Verdict::Passes);
    within(|| server.queries() == 1).await;
    let known = Arc::downgrade(&limits.0.as_ref().unwrap().known);
    drop(limits);
    within(|| known.strong_count() == 0).await;
}

#[tokio::test]
async fn passwords_are_not_printed() {
    let mut config = config(1);
    config.credentials = Some(user("s3cret"));
    let limits = MessageLimits::start(Some(&config)).unwrap();
    let prometheus = Prometheus::new(&config).unwrap();
    let printed = format!("{limits:?} {prometheus:?} {config:?}");
    assert!(
        !printed.contains("s3cret") && !printed.contains("Basic"),
        "{printed}"
    );
}

/// Prometheus on a local port, with Hono's defaults, but for time-outs that no busy machine
/// reaches.
fn config(port: u16) -> ResourceLimitsConfig {
    ResourceLimitsConfig {
        host: "127.0.0.1".to_owned(),
        port,
        cache_max_size: 1000,
        cache_timeout: Duration::from_secs(60),
        cache_refresh_divisor: 2,
        connect_timeout: Duration::from_secs(30),
        query_timeout: Some(Duration::from_secs(30)),
        credentials: None,
        tls: None,
    }
}

fn user(password: &str) -> UserCredentials {
    UserCredentials {
        username: "hono".to_owned(),
        password: Secret::new(password.to_owned()),
    }
}

/// A tenant that may send so many bytes a day.
fn tenant(id: &str, max_bytes: i64, minimum_message_size: u32) -> Tenant {
    let period = json!({"mode": "days", "no-of-days": 40_000});
    let volume = json!({"effective-since": "2020-01-01T00:00:00Z", "max-bytes": max_bytes, "period": period});
    read(&json!({
        "tenant-id": id,
        "minimum-message-size": minimum_message_size,
        "resource-limits": {"data-volume": volume},
    }))
}

fn read(tenant: &serde_json::Value) -> Tenant {
    Tenant::from_json(tenant.to_string().as_bytes()).unwrap()
}

/// Waits until nobody waits to be asked about.
async fn settle(limits: &MessageLimits) {
    let limits = limits.0.as_ref().unwrap();
    within(|| limits.known.wished().is_empty()).await;
}

async fn within(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(30), holds).await.unwrap();
}
