//! Responses that `openssl ocsp` made about one certificate, good for a day from [`SAID_AT`] on.

use super::*;

const AUTHORITY: &[u8] = include_bytes!("vectors/ca.der");
const DEVICE: &[u8] = include_bytes!("vectors/device.der");
const GOOD: &[u8] = include_bytes!("vectors/good.der");
const REVOKED: &[u8] = include_bytes!("vectors/revoked.der");

/// 25 Nov 2026, 14:31:58.
const SAID_AT: u64 = 1_795_617_118;
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn anchor() -> TrustAnchor {
    let authority = Certificate::from_der(AUTHORITY).unwrap();
    let json = serde_json::json!({
        "tenant-id": "T",
        "trusted-ca": [{
            "subject-dn": authority.subject().to_string(),
            "public-key": base64::Engine::encode(
                &base64::prelude::BASE64_STANDARD,
                authority.public_key(),
            ),
            "algorithm": "EC",
        }],
    });
    let tenant = registry_client::Tenant::from_json(json.to_string().as_bytes()).unwrap();
    tenant.trusted_ca[0].clone()
}

fn read_at(bytes: &[u8], seconds: u64, ocsp: &Ocsp) -> Result<Answer, NotGood> {
    let (device, anchor) = (Certificate::from_der(DEVICE).unwrap(), anchor());
    let question = Question::new(&device, &anchor, ocsp).unwrap();
    response::read(bytes, &question, &anchor, ocsp, at(seconds))
}

fn verdict(bytes: &[u8], seconds: u64) -> Result<(), NotGood> {
    read_at(bytes, seconds, &Ocsp::default())?.verdict()
}

#[test]
fn a_response_counts_in_its_time_and_a_quarter_of_an_hour_around_it() {
    let rows = [
        (SAID_AT - 16 * MINUTE, Err(NotGood::Stale)),
        (SAID_AT - 14 * MINUTE, Ok(())),
        (SAID_AT, Ok(())),
        (SAID_AT + DAY + 14 * MINUTE, Ok(())),
        (SAID_AT + DAY + 16 * MINUTE, Err(NotGood::Stale)),
    ];
    for (seconds, expected) in rows {
        assert_eq!(verdict(GOOD, seconds), expected, "{seconds}");
    }
    assert_eq!(verdict(REVOKED, SAID_AT), Err(NotGood::Revoked));
}

#[test]
fn what_is_cut_off_or_changed_anywhere_is_not_believed() {
    for length in 0..GOOD.len() {
        assert!(verdict(&GOOD[..length], SAID_AT).is_err(), "{length}");
    }
    for at in 0..GOOD.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = GOOD.to_vec();
            changed[at] ^= bit;
            assert!(verdict(&changed, SAID_AT).is_err(), "{at}");
        }
    }
}

/// An answer without the nonce may be an old one.
#[test]
fn where_a_nonce_is_wanted_it_must_come_back() {
    let mut ocsp = Ocsp::default();
    ocsp.nonce_enabled = true;
    let found = read_at(GOOD, SAID_AT, &ocsp);
    assert_eq!(found, Err(NotGood::Unrelated));
}

#[test]
fn a_responder_that_the_tenant_names_is_the_only_one() {
    let mut ocsp = Ocsp::default();
    ocsp.responder_certificate = Some(DEVICE.to_vec());
    assert_eq!(read_at(GOOD, SAID_AT, &ocsp), Err(NotGood::Unsigned));
    ocsp.responder_certificate = Some(AUTHORITY.to_vec());
    assert!(read_at(GOOD, SAID_AT, &ocsp).is_ok());
}

#[test]
fn an_answer_is_remembered_as_long_as_it_says_and_no_longer_than_wanted() {
    let answer = read_at(GOOD, SAID_AT, &Ocsp::default()).unwrap();
    for (longest, after, remembered) in [
        (600, 599, true),
        (600, 600, false),
        (0, 0, false),
        (10 * DAY, DAY - 1, true),
        (10 * DAY, DAY, false),
    ] {
        let cache = Cache::new(Duration::from_secs(longest));
        cache.put(b"id", &anchor(), at(SAID_AT), answer);
        let found = cache.get(b"id", at(SAID_AT + after));
        assert_eq!(found.is_some(), remembered, "{longest} {after}");
        assert_eq!(cache.get(b"other", at(SAID_AT)), None);
    }
}
