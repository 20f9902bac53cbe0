//! The page of settings says what the tables say.

use super::*;

/// `UPDATE_PAGES=1 cargo test --workspace --lib pages` writes it.
#[test]
fn the_page_of_settings_has_the_generated_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = fs::read_to_string(path).unwrap();
    let (text, tables) = page.split_once(MARK).unwrap();
    let generated = format!("\n\n{}\n", table().trim_end());
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(path, format!("{text}{MARK}{generated}")).unwrap();
    } else {
        assert!(
            tables == generated,
            "docs/configuration.md is old: UPDATE_PAGES=1 cargo test -p adapter pages"
        );
    }
}

/// The example of the least configuration can be used.
#[test]
fn the_example_of_the_page_about_running_is_right() {
    let page = include_str!("../../../../docs/running.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let folder = std::env::temp_dir().to_string_lossy().into_owned();
    let credentials = File::new("username=u\npassword=p\n");
    let name = credentials.0.file_name().unwrap().to_str().unwrap();
    let mut text = example.replace("/etc/coap-adapter", &folder);
    for file in [
        "messaging.properties",
        "registry.properties",
        "router.properties",
    ] {
        text = text.replace(file, name);
    }
    let config = Config::load(Some(&File::new(&text).0), std::iter::empty()).unwrap();
    assert_eq!(config.coap.secure.unwrap().to_string(), "0.0.0.0:5684");
    assert_eq!(config.messaging.unwrap().credentials.unwrap().username, "u");
}

const MARK: &str = "<!-- settings -->";
