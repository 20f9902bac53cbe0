use super::{Device, SharedWorld, Tenant, World};

#[test]
fn the_built_in_world_has_a_sensor_a_gateway_and_a_device_behind_it() {
    let world = World::default();
    let tenant = &world.tenants["DEFAULT_TENANT"];
    let sensor = &tenant.devices["4711"].credentials[0];
    assert_eq!(
        (sensor.auth_id.as_str(), sensor.key().unwrap().expose()),
        ("sensor1", b"hono-secret".as_slice())
    );
    let gateway = &tenant.devices["gw-1"].credentials[0];
    assert_eq!(
        (gateway.auth_id.as_str(), gateway.key().unwrap().expose()),
        ("gw", b"gw-secret".as_slice())
    );
    assert_eq!(tenant.devices["4712"].via, ["gw-1"]);
}

#[test]
fn a_tenant_may_say_all_that_the_tenant_api_has() {
    let text = r#"
tenants:
  T:
    enabled: true
    adapters:
      - type: hono-coap
        enabled: true
        device-authentication-required: true
        ext: { max-ttd: 30, timeoutToAck: 500 }
    defaults: { ttl: 45, importance: high, floor: 3.5, active: true }
    minimum-message-size: 4096
    resource-limits:
      max-ttl: 60
      max-ttl-telemetry-qos0: 10
      data-volume: { max-bytes: 1000000, effective-since: "2026-01-01T00:00:00Z", period: { mode: days, no-of-days: 7 } }
    tracing: { sampling-mode: default }
    ext: { messaging-type: amqp }
    devices:
      4713:
        enabled: false
        viaGroups: [hall-1]
        defaults: { content-type: application/json, room: A1 }
        credentials:
          - { type: psk, auth-id: sensor3, enabled: false, key-base64: aG9uby1zZWNyZXQ= }
          - { type: x509-cert, auth-id: "CN=sensor3,O=Hono" }
      gw: { memberOf: [hall-1] }
      bare:
"#;
    let world = World::from_yaml("w", text).unwrap();
    let tenant = &world.tenants["T"];
    assert_eq!(
        tenant.members["resource-limits"]["data-volume"]["period"]["no-of-days"],
        7
    );
    assert_eq!(tenant.members["defaults"]["floor"], 3.5);
    assert_eq!(tenant.members["adapters"][0]["ext"]["max-ttd"], 30);
    let device = &tenant.devices["4713"];
    assert!(device.disabled && device.credentials[0].disabled);
    assert_eq!(
        device.credentials[0].key().unwrap().expose(),
        b"hono-secret"
    );
    let certificate = &device.credentials[1];
    assert_eq!(
        (certificate.kind.as_str(), certificate.auth_id.as_str()),
        ("x509-cert", "CN=sensor3,O=Hono")
    );
    assert!(certificate.key().is_none());
    assert_eq!(device.via_groups, tenant.devices["gw"].member_of);
    assert!(tenant.devices.contains_key("bare"));
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line() {
    let text = "\
tenant: {}
tenants:
  T 1:
    enabld: false
    enabled: maybe
    minimum-message-size: much
    adapters:
      - type: hono-coap
        enable: true
    resource-limits:
      max-tll: 3
      data-volume: { max-bytes: lots }
    devices:
      d/1:
        via: [gw-2]
      gw-1:
        memberOf: [hall]
        via: [d]
      d:
        credentials:
          - type: x509
            auth-id: a
            key: k
          - auth-id: a
            key-base64: '***'
          - key: k
          - auth-id: b
            psk: secret
          - type: x509-cert
            auth-id: b
";
    let problems = World::from_yaml("world.yaml", text).unwrap_err();
    let reported: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "world.yaml:1: the file has no `tenant`; did you mean `tenants`?",
        "world.yaml:3: `T 1` is no tenant id; letters, digits and `-_.` are allowed",
        "world.yaml:4: a tenant has no `enabld`; did you mean `enabled`?",
        "world.yaml:5: `enabled` should be true or false",
        "world.yaml:6: `minimum-message-size` should be a whole number",
        "world.yaml:9: `adapters` has no `enable`; did you mean `enabled`?",
        "world.yaml:11: `resource-limits` has no `max-tll`; did you mean `max-ttl`?",
        "world.yaml:12: `max-bytes` should be a whole number",
        "world.yaml:14: `d/1` is no device id; letters, digits and `-_.:=` are allowed",
        "world.yaml:15: `via` names `gw-2`, which is no device of this tenant; did you mean `gw-1`?",
        "world.yaml:16: device `gw-1` has `memberOf`, so it is a gateway and has neither `via` nor `viaGroups`",
        "world.yaml:21: only credentials of the types `psk` and `x509-cert` are known",
        "world.yaml:24: auth-id `a` is already used in line 21",
        "world.yaml:25: `key-base64` is not Base64 with padding",
        "world.yaml:26: credentials without `auth-id`",
        "world.yaml:27: credentials without `key` or `key-base64`",
        "world.yaml:28: credentials has no `psk`",
    ];
    assert_eq!(reported, expected);
    assert!(!reported.concat().contains("secret"));
}

#[test]
fn texts_that_are_no_world_are_told_with_a_line() {
    for (text, line) in [
        ("", 1),
        ("tenants: [", 1),
        ("a: b\n  c: d\n", 2),
        ("tenants:\n  T: {}\n  T: {}\n", 3),
        ("- 1", 1),
        ("tenants:\n", 1),
    ] {
        let problems = World::from_yaml("w", text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text:?} {problems:?}");
        assert!(
            problems[0].line.abs_diff(line) <= 1,
            "{text:?} {problems:?}"
        );
    }
}

#[test]
fn ids_and_keys_that_look_like_numbers_stay_as_written() {
    let text = "tenants:\n  0815:\n    devices:\n      1e3:\n        credentials: [{auth-id: 007, key: 0x10}]\n";
    let world = World::from_yaml("w", text).unwrap();
    let credentials = &world.tenants["0815"].devices["1e3"].credentials[0];
    assert_eq!(
        (
            credentials.auth_id.as_str(),
            credentials.key().unwrap().expose()
        ),
        ("007", b"0x10".as_slice())
    );
}

#[test]
fn the_set_up_of_the_recordings_is_a_world() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/vectors/golden/setup.json"
    );
    let world = World::from_golden_setup(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(world.tenants.len(), 6);
    assert_eq!(
        world.tenants["GOLD-D"].members["resource-limits"]["max-ttl"],
        20
    );
    let tenant = &world.tenants["GOLD-A"];
    assert!(tenant.devices["4714"].disabled);
    assert_eq!(tenant.devices["4713"].via, ["gw-1", "gw-2"]);
    assert_eq!(tenant.devices["def"].defaults["room"], "A1");
    assert_eq!(
        tenant.devices["4711"].credentials[0]
            .key()
            .unwrap()
            .expose(),
        b"key-4711"
    );
}

#[test]
fn a_running_world_can_be_changed() {
    let world = SharedWorld::new(World::empty());
    world.set_device("T", "d", Device::default().with_psk("a", "k"));
    world.set_tenant(
        "T",
        Tenant::from_json(serde_json::json!({"enabled": false})),
    );
    world.look(|world| {
        assert_eq!(world.tenants["T"].members["enabled"], false);
        assert!(world.tenants["T"].devices.contains_key("d"));
    });
    world.remove_device("T", "d");
    world.remove_tenant("T");
    assert!(world.look(|world| world.tenants.is_empty()));
}
