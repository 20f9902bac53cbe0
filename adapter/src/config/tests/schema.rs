//! The schema says what the tables say, and the shipped file is the schema.

use serde_json::Value;

use super::*;

/// `coap-adapter config-schema > deploy/config.schema.json` writes it.
#[test]
fn the_shipped_schema_is_the_generated_one() {
    let shipped: Value = serde_json::from_str(SHIPPED).unwrap();
    assert!(
        shipped == schema(),
        "deploy/config.schema.json is not what `coap-adapter config-schema` prints"
    );
}

#[test]
fn every_setting_stands_in_it_nested_and_by_its_full_name() {
    let schema = schema();
    for (name, setting) in catalogue::all() {
        let reference = &schema["properties"][&name]["$ref"];
        let pointer = reference.as_str().unwrap().trim_start_matches('#');
        let leaf = schema.pointer(pointer).expect(&name);
        let description = leaf["description"].as_str().unwrap();
        assert!(description.starts_with(setting.doc.trim()), "{name}");
        assert_eq!(
            leaf["default"].is_null(),
            setting.default.is_none(),
            "{name}"
        );
    }
}

/// What the schema gives as a default is what is read if nothing is written.
#[test]
fn defaults_in_their_plain_form_are_read_as_the_defaults() {
    let schema = schema();
    for (name, setting) in catalogue::all() {
        let reference = schema["properties"][&name]["$ref"].as_str().unwrap();
        let plain = &schema.pointer(reference.trim_start_matches('#')).unwrap()["default"];
        let Some(default) = setting.default else {
            continue;
        };
        let file = PathBuf::from("f");
        let (written, problems, _) = file::read(&file, &format!("{name}: {plain}\n"));
        assert_eq!(problems, [], "{name}");
        let read = |text| format!("{:?}", setting.kind.read(text));
        assert_eq!(read(&written[0].text), read(default), "{name}");
    }
}

const SHIPPED: &str = include_str!("../../../../deploy/config.schema.json");
