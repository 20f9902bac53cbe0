//! What is remembered, what makes room, what an operator reads.

use super::*;

fn arc(text: &str) -> Arc<str> {
    text.into()
}

fn failed(auth_id: &str, reason: Reason) -> What {
    What::HandshakeFailed {
        peer: "192.0.2.1:40000".parse().unwrap(),
        auth_id: Some(arc(auth_id)),
        reason,
        detail: None,
    }
}

fn names(recent: &Recent, name: &str) -> usize {
    recent.of("T", name).len()
}

#[test]
fn only_the_last_events_of_a_device_are_kept_newest_first() {
    let recent = Recent::new(10);
    for number in 0..EVENTS + 5 {
        let what = What::Request {
            peer: "192.0.2.1:40000".parse().unwrap(),
            operation: "telemetry",
            gateway: None,
            code: Code::CHANGED,
            reason: None,
            command: None,
            bytes: number,
            duration: Duration::ZERO,
        };
        recent.note(Standing::Known, &arc("T"), &arc("d"), what);
    }
    let found = recent.of("T", "d");
    assert_eq!(found.len(), EVENTS);
    assert!(
        matches!(found[0].what, What::Request { bytes, .. } if bytes == EVENTS + 4)
            || found[0].at == found[1].at,
        "{:?}",
        found[0]
    );
    assert!(recent.of("U", "d").is_empty());
}

#[test]
fn the_device_heard_of_least_recently_makes_room_and_no_stranger_pushes_one_out() {
    let recent = Recent::new(2);
    let note = |standing, name: &str| {
        let what = What::SessionClosed { why: "x" };
        recent.note(standing, &arc("T"), &arc(name), what);
    };
    note(Standing::Known, "a");
    note(Standing::Known, "b");
    note(Standing::Known, "a");
    note(Standing::Known, "c");
    assert_eq!(
        [
            names(&recent, "a"),
            names(&recent, "b"),
            names(&recent, "c")
        ],
        [2, 0, 1]
    );
    for number in 0..1000 {
        note(Standing::Stranger, &number.to_string());
    }
    assert_eq!([names(&recent, "a"), names(&recent, "c")], [2, 1]);
    assert_eq!(names(&recent, "999"), 1);
    assert_eq!(recent.len(), 3);
}

/// Symptom: a hundred failed handshakes in the name of a device, which needs no key, pushed out what
/// had happened to the device. Cause: they were kept as events of the device.
#[test]
fn failed_handshakes_of_anybody_push_out_no_event_of_the_device() {
    let recent = Recent::new(10);
    let opened = || What::SessionClosed { why: "own" };
    for _ in 0..EVENTS {
        recent.note(Standing::Known, &arc("T"), &arc("d"), opened());
    }
    for number in 0..1000 {
        let what = failed("d", Reason::WrongKey);
        recent.note(Standing::Claimed, &arc("T"), &arc("d"), what);
        let what = failed("x", Reason::UnknownIdentity);
        recent.note(
            Standing::Stranger,
            &arc("T"),
            &arc(&number.to_string()),
            what,
        );
    }
    let found = recent.of("T", "d");
    let own = found.iter().filter(|entry| entry.what == opened());
    assert_eq!(
        (own.count(), found.len()),
        (EVENTS, EVENTS + UNPROVED_EVENTS)
    );
}

/// Symptom: the devices of one tenant pushed out the events of all others. Cause: one bound for all,
/// and the least recently heard of made room.
#[test]
fn a_tenant_with_many_devices_pushes_out_its_own() {
    let recent = Recent::new(20);
    let what = || What::SessionClosed { why: "x" };
    for number in 0..5 {
        recent.note(
            Standing::Known,
            &arc("T"),
            &arc(&number.to_string()),
            what(),
        );
    }
    for number in 0..1000 {
        recent.note(
            Standing::Known,
            &arc("U"),
            &arc(&number.to_string()),
            what(),
        );
    }
    for number in 0..5 {
        assert_eq!(names(&recent, &number.to_string()), 1, "{number}");
    }
}

#[test]
fn a_device_is_found_by_its_auth_id_too() {
    let recent = Recent::new(10);
    let what = failed("sensor1", Reason::WrongKey);
    recent.note(Standing::Known, &arc("T"), &arc("4711"), what);
    assert_eq!((names(&recent, "4711"), names(&recent, "sensor1")), (1, 1));
    assert_eq!(names(&recent, "sensor2"), 0);
}

#[test]
fn an_operator_reads_what_happened_and_what_to_do() {
    let recent = Recent::new(10);
    let what = failed("sensor1", Reason::WrongKey);
    recent.note(Standing::Known, &arc("T"), &arc("4711"), what);
    let page = serde_json::to_value(Page::of(&recent, "T", "4711")).unwrap();
    let event = &page["events"][0];
    assert_eq!(event["event"], "handshake-failed");
    assert_eq!(event["peer"], "192.0.2.1:40000");
    assert_eq!(event["auth-id"], "sensor1");
    assert_eq!(event["reason"], "wrong-key");
    assert_eq!(event["remedy"], Reason::WrongKey.remedy());
    assert_eq!(page.get("hint"), None);
    let page = serde_json::to_value(Page::of(&recent, "T", "nobody")).unwrap();
    assert_eq!(page["events"], serde_json::json!([]));
    assert!(page["hint"].as_str().unwrap().starts_with("Nothing"));
}
