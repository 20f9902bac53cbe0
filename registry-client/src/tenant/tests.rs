//! How tenant objects are read, line by line (spec: registry-apis A.3, resource-limits §1).

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use serde_json::json;

use super::{DataVolume, Period, Sampling, Tenant};

fn read(json: &str) -> Option<Tenant> {
    Tenant::from_json(json.as_bytes()).ok()
}

#[test]
fn the_example_is_read_in_full() {
    let tenant = read(
        r#"{"tenant-id":"T1","enabled":true,"adapters":[{"type":"hono-coap","enabled":true,"ext":{"max-ttd":30,"timeoutToAck":200}}],"defaults":{"ttl":600},"resource-limits":{"max-ttl":300,"data-volume":{"max-bytes":1000000,"effective-since":"2025-01-01T00:00:00Z","period":{"mode":"days","no-of-days":7}}}}"#,
    )
    .unwrap();
    assert_eq!((tenant.id.as_str(), tenant.enabled), ("T1", true));
    let adapter = tenant.adapter("hono-coap").unwrap();
    assert_eq!(adapter.integer("max-ttd"), Some(30));
    assert_eq!(adapter.integer("timeoutToAck"), Some(200));
    assert_eq!(adapter.integer("deviceTriggeredTimeoutToAck"), None);
    assert_eq!(tenant.defaults["ttl"], json!(600));
    assert_eq!(
        tenant.resource_limits.max_ttl,
        Some(Duration::from_secs(300))
    );
    assert_eq!(tenant.resource_limits.max_ttl_telemetry_qos0, None);
    let expected = DataVolume {
        effective_since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600),
        max_bytes: Some(1_000_000),
        period: Period::Days(NonZeroU32::new(7).unwrap()),
    };
    assert_eq!(tenant.resource_limits.data_volume, Some(expected));
}

#[test]
fn unknown_members_and_scalars_of_the_wrong_type_change_nothing() {
    let bare = read(r#"{"tenant-id":"T"}"#).unwrap();
    assert!(bare.enabled && bare.adapters.is_none() && bare.defaults.is_empty());
    assert_eq!(bare.minimum_message_size, 0);
    for (line, members) in [
        ("no member `limits`", r#""limits":7"#),
        ("unknown member", r#""x":{"y":[1]}"#),
        ("enabled: default", r#""enabled":"false""#),
        ("enabled: null", r#""enabled":null"#),
        (
            "minimum-message-size: text",
            r#""minimum-message-size":"4096""#,
        ),
        (
            "minimum-message-size: fraction",
            r#""minimum-message-size":1.5"#,
        ),
        (
            "minimum-message-size: negative",
            r#""minimum-message-size":-1"#,
        ),
        (
            "minimum-message-size: object",
            r#""minimum-message-size":{}"#,
        ),
        (
            "nested: null",
            r#""adapters":null,"defaults":null,"resource-limits":null,"tracing":null,"trusted-ca":null,"ext":null"#,
        ),
    ] {
        let tenant = read(&format!(r#"{{"tenant-id":"T",{members}}}"#));
        assert_eq!(tenant.as_ref(), Some(&bare), "{line}");
    }
}

#[test]
fn a_malformed_object_makes_the_tenant_unusable() {
    for (line, json) in [
        ("no JSON", "tenant"),
        ("empty", ""),
        ("no object", r#"["tenant-id","T"]"#),
        ("tenant-id mandatory", r#"{"enabled":true}"#),
        ("tenant-id no text", r#"{"tenant-id":1}"#),
    ] {
        assert_eq!(read(json), None, "{line}");
    }
    let since = r#""effective-since":"2025-01-01T00:00:00Z""#;
    for (line, members) in [
        ("adapters no array", r#""adapters":{}"#.to_owned()),
        (
            "adapter no object",
            r#""adapters":["hono-coap"]"#.to_owned(),
        ),
        (
            "adapter without type",
            r#""adapters":[{"enabled":true}]"#.to_owned(),
        ),
        (
            "adapter type no text",
            r#""adapters":[{"type":1}]"#.to_owned(),
        ),
        (
            "adapter enabled no bool",
            r#""adapters":[{"type":"a","enabled":1}]"#.to_owned(),
        ),
        (
            "adapter ext no object",
            r#""adapters":[{"type":"a","ext":1}]"#.to_owned(),
        ),
        (
            "types unique",
            r#""adapters":[{"type":"a"},{"type":"a"}]"#.to_owned(),
        ),
        ("defaults no object", r#""defaults":"x""#.to_owned()),
        ("ext no object", r#""ext":[]"#.to_owned()),
        ("trusted-ca no array", r#""trusted-ca":{}"#.to_owned()),
        ("tracing no object", r#""tracing":"all""#.to_owned()),
        (
            "sampling-mode no text",
            r#""tracing":{"sampling-mode":1}"#.to_owned(),
        ),
        ("limits no object", r#""resource-limits":7"#.to_owned()),
        (
            "max-ttl no number",
            r#""resource-limits":{"max-ttl":"60"}"#.to_owned(),
        ),
        (
            "max-ttl below -1",
            r#""resource-limits":{"max-ttl":-2}"#.to_owned(),
        ),
        ("effective-since mandatory", volume(r#""max-bytes":1"#)),
        (
            "effective-since no time",
            volume(r#""effective-since":"yesterday""#),
        ),
        (
            "max-bytes below -1",
            volume(&format!(r#"{since},"max-bytes":-2"#)),
        ),
        (
            "max-bytes no number",
            volume(&format!(r#"{since},"max-bytes":"1""#)),
        ),
        (
            "period no object",
            volume(&format!(r#"{since},"period":"days""#)),
        ),
        (
            "period without mode",
            volume(&format!(r#"{since},"period":{{"no-of-days":1}}"#)),
        ),
        (
            "days without number",
            volume(&format!(r#"{since},"period":{{"mode":"days"}}"#)),
        ),
        (
            "no day",
            volume(&format!(
                r#"{since},"period":{{"mode":"days","no-of-days":0}}"#
            )),
        ),
        (
            "connection-duration",
            r#""resource-limits":{"connection-duration":{"max-minutes":1}}"#.to_owned(),
        ),
    ] {
        assert_eq!(
            read(&format!(r#"{{"tenant-id":"T",{members}}}"#)),
            None,
            "{line}"
        );
    }
}

fn volume(members: &str) -> String {
    format!(r#""resource-limits":{{"data-volume":{{{members}}}}}"#)
}

#[test]
fn the_data_volume_is_limited_as_resource_limits_1_says() {
    let days = |days| Period::Days(NonZeroU32::new(days).unwrap());
    for (line, members, max_bytes, period) in [
        ("max-bytes -1", r#""max-bytes":-1"#, None, Period::Monthly),
        ("max-bytes missing", "", None, Period::Monthly),
        ("max-bytes 0", r#""max-bytes":0"#, Some(0), Period::Monthly),
        (
            "missing period = monthly",
            r#""max-bytes":5"#,
            Some(5),
            Period::Monthly,
        ),
        (
            "monthly",
            r#""period":{"mode":"monthly"}"#,
            None,
            Period::Monthly,
        ),
        (
            "days",
            r#""period":{"mode":"days","no-of-days":30}"#,
            None,
            days(30),
        ),
        (
            "mode unknown",
            r#""period":{"mode":"unknown"}"#,
            None,
            Period::Unlimited,
        ),
        (
            "unrecognised mode",
            r#""period":{"mode":"yearly"}"#,
            None,
            Period::Unlimited,
        ),
    ] {
        let comma = if members.is_empty() { "" } else { "," };
        let members = format!(r#""effective-since":"2025-01-01T00:00:00Z"{comma}{members}"#);
        let tenant = read(&format!(r#"{{"tenant-id":"T",{}}}"#, volume(&members))).unwrap();
        let limit = tenant.resource_limits.data_volume.unwrap();
        assert_eq!(
            (limit.max_bytes, limit.period),
            (max_bytes, period),
            "{line}"
        );
    }
}

#[test]
fn ttl_limits_of_minus_one_are_none() {
    let limits = r#"{"max-ttl":-1,"max-ttl-telemetry-qos0":1,"max-ttl-telemetry-qos1":2,"max-ttl-command-response":0,"max-connections":3,"ext":{}}"#;
    let tenant = read(&format!(
        r#"{{"tenant-id":"T","resource-limits":{limits}}}"#
    ))
    .unwrap();
    let limits = tenant.resource_limits;
    assert_eq!(limits.max_ttl, None);
    assert_eq!(limits.max_ttl_telemetry_qos0, Some(Duration::from_secs(1)));
    assert_eq!(limits.max_ttl_telemetry_qos1, Some(Duration::from_secs(2)));
    assert_eq!(limits.max_ttl_command_response, Some(Duration::ZERO));
}

#[test]
fn an_adapter_is_enabled_as_coap_adapter_4_says() {
    for (line, adapters, enabled) in [
        ("no list = all enabled", "null", true),
        ("empty list", "[]", false),
        (
            "not listed",
            r#"[{"type":"hono-mqtt","enabled":true}]"#,
            false,
        ),
        (
            "listed and enabled",
            r#"[{"type":"hono-coap","enabled":true}]"#,
            true,
        ),
        (
            "listed and disabled",
            r#"[{"type":"hono-coap","enabled":false}]"#,
            false,
        ),
        (
            "present without enabled = disabled",
            r#"[{"type":"hono-coap"}]"#,
            false,
        ),
        (
            "enabled null",
            r#"[{"type":"hono-coap","enabled":null,"ext":null}]"#,
            false,
        ),
    ] {
        let tenant = read(&format!(r#"{{"tenant-id":"T","adapters":{adapters}}}"#)).unwrap();
        assert_eq!(tenant.is_adapter_enabled("hono-coap"), enabled, "{line}");
    }
}

#[test]
fn who_is_named_is_traced_in_its_own_way() {
    let tracing = r#"{"sampling-mode":"all","sampling-mode-per-auth-id":{"a":"none","b":"default","c":"some"}}"#;
    let tenant = read(&format!(r#"{{"tenant-id":"T","tracing":{tracing}}}"#)).unwrap();
    assert_eq!(tenant.sampling(None), Sampling::All);
    assert_eq!(tenant.sampling(Some("x")), Sampling::All);
    assert_eq!(tenant.sampling(Some("a")), Sampling::None);
    assert_eq!(tenant.sampling(Some("b")), Sampling::Default);
    assert_eq!(tenant.sampling(Some("c")), Sampling::Default);
}

/// A tenant's devices were refused as untrusted when the registry wrote a binary member in the alphabet for URLs, or without padding.
#[test]
fn binary_members_of_trust_anchors_may_be_in_either_alphabet() {
    for [one, four] in [
        ["++//AQ==", "++//"],
        ["++//AQ", "++//"],
        ["--__AQ==", "--__"],
        ["--__AQ", "--__"],
    ] {
        let tenant = read(&format!(
            r#"{{"tenant-id":"T","trusted-ca":[{{"subject-dn-bytes":"{one}","public-key":"{one}",
                "ocsp-revocation-enabled":true,"ocsp-responder-cert":"{four}"}}]}}"#
        ))
        .unwrap();
        let [anchor] = tenant.trusted_ca.as_slice() else {
            panic!("{one}: {:?}", tenant.trusted_ca)
        };
        let bytes = [0xfb, 0xef, 0xff, 1];
        assert_eq!(anchor.public_key, bytes, "{one}");
        assert_eq!(anchor.subject_dn_der.as_deref(), Some(&bytes[..]), "{one}");
        let ocsp = anchor.ocsp.as_ref().unwrap();
        assert_eq!(
            ocsp.responder_certificate.as_deref(),
            Some(&bytes[..3]),
            "{one}"
        );
    }
}

#[test]
fn trust_anchors_that_lack_a_name_or_a_key_are_skipped() {
    let tenant = read(
        r#"{"tenant-id":"T","trusted-ca":[
            {"id":"1","subject-dn":"CN=a","public-key":"AQI="},
            {"subject-dn-bytes":"Aw==","public-key":"AQI=","algorithm":"EC","auth-id-template":"{{subject-cn}}","auto-provisioning-enabled":true,"ocsp-revocation-enabled":true,"ocsp-responder-uri":"http://x","ocsp-responder-cert":"BA==","ocsp-nonce-enabled":true},
            {"subject-dn":"CN=no key"},
            {"subject-dn":"CN=bad key","public-key":"?"},
            {"public-key":"AQI="},
            {"subject-dn-bytes":7,"public-key":"AQI="},
            "CN=a", null, {}
        ]}"#,
    )
    .unwrap();
    let [first, second] = tenant.trusted_ca.as_slice() else {
        panic!("{:?}", tenant.trusted_ca)
    };
    assert_eq!(first.subject_dn.as_deref(), Some("CN=a"));
    assert_eq!(
        (first.algorithm.as_str(), first.public_key.as_slice()),
        ("RSA", &[1, 2][..])
    );
    assert!(!first.auto_provisioning_enabled && first.ocsp.is_none());
    assert_eq!(second.subject_dn_der.as_deref(), Some(&[3][..]));
    assert_eq!(second.algorithm, "EC");
    assert_eq!(second.auth_id_template.as_deref(), Some("{{subject-cn}}"));
    let ocsp = second.ocsp.as_ref().unwrap();
    assert!(second.auto_provisioning_enabled && ocsp.nonce_enabled);
    assert_eq!(ocsp.responder_uri.as_deref(), Some("http://x"));
    assert_eq!(ocsp.responder_certificate.as_deref(), Some(&[4][..]));
}
