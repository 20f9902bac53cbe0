//! Files that are there, are not, or are something else.

use std::{env, fs, path::PathBuf};

use serde_json::json;

use super::*;
use crate::world::{Device, SharedWorld};

/// A file of a test's own, gone after it.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let name = format!("sandbox-store-{}.db", uuid::Uuid::new_v4());
        Self(env::temp_dir().join(name))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = self.0.clone().into_os_string();
            name.push(suffix);
            drop(fs::remove_file(name));
        }
    }
}

fn world() -> World {
    let yaml = "
tenants:
  T:
    adapters: [{ type: hono-coap, enabled: true }]
    devices:
      d: { via: [gw], defaults: { ttl: 3 }, credentials: [{ type: psk, auth-id: a, key: secret }] }
      gw: { enabled: false }
  EMPTY: {}
";
    World::from_yaml("w", yaml).unwrap()
}

#[test]
fn a_new_file_begins_with_the_world_given_and_an_old_one_keeps_its_own() {
    let file = File::new();
    let (store, first) = Store::open(&file.0, world()).unwrap();
    assert_eq!(first, world());
    drop(store);
    let (_store, second) = Store::open(&file.0, World::empty()).unwrap();
    assert_eq!(second, world());
}

#[test]
fn every_kind_of_change_is_in_the_file_at_once() {
    let file = File::new();
    let (store, first) = Store::open(&file.0, world()).unwrap();
    let shared = SharedWorld::kept(first, store);
    shared.set_device("T", "new", Device::default().with_psk("n", "key"));
    shared.set_device("NEW", "d", Device::default());
    shared.remove_device("T", "gw");
    shared.remove_tenant("EMPTY");
    shared.set_tenant("T", Tenant::from_json(json!({"enabled": false})));
    shared.change(|world| {
        let device = world.tenants.get_mut("T").unwrap().devices.get_mut("d");
        device.unwrap().credentials.clear();
    });
    let expected = shared.look(Clone::clone);
    drop(shared);
    let (_store, found) = Store::open(&file.0, World::empty()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(found.tenants.len(), 2);
}

#[test]
fn a_change_that_cannot_be_kept_is_not_made() {
    let file = File::new();
    let (store, first) = Store::open(&file.0, world()).unwrap();
    store
        .connection
        .execute_batch("PRAGMA query_only = 1")
        .unwrap();
    let shared = SharedWorld::kept(first, store);
    let kept = shared.apply(|world| {
        world.tenants.clear();
        ((), vec![Change::tenant_deleted("T")])
    });
    assert!(kept.is_err());
    assert_eq!(shared.look(Clone::clone), world());
}

#[test]
fn a_file_that_is_none_of_ours_is_told_and_left_as_it_is() {
    let file = File::new();
    fs::write(
        &file.0,
        "somebody's letter, longer than a header of SQLite is",
    )
    .unwrap();
    let before = fs::read(&file.0).unwrap();
    assert!(matches!(
        Store::open(&file.0, world()),
        Err(StoreError::Sqlite(_))
    ));
    assert_eq!(fs::read(&file.0).unwrap(), before);
    fs::remove_file(&file.0).unwrap();
    let later = Connection::open(&file.0).unwrap();
    later.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(later);
    assert!(matches!(
        Store::open(&file.0, world()),
        Err(StoreError::Format { found: 7 })
    ));
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_it_and_only_one_sandbox_may_use_it() {
    use std::os::unix::fs::PermissionsExt;

    let file = File::new();
    let (_store, _) = Store::open(&file.0, world()).unwrap();
    let mode = fs::metadata(&file.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(
        Store::open(&file.0, world()),
        Err(StoreError::Locked)
    ));
}
