//! Who exists in the sandbox: tenants, their devices and gateways, and the devices' keys.
//!
//! A world comes from a YAML file ([`World::from_yaml`]; [`World::default`] reads the one inside the binary) and can be changed
//! while the sandbox runs ([`SharedWorld`]). Only the registry reads it, and returns its content to
//! the adapter.

mod change;
mod credentials;
mod yaml;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub(crate) use self::change::{Change, Kind, of_removed_tenant as removed_tenant};
pub use self::credentials::{Credentials, Key, Secret};
use crate::store::{Store, StoreError};

/// Everything the registry knows.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// By tenant id.
    pub tenants: BTreeMap<String, Tenant>,
}

impl World {
    /// A world without tenants.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            tenants: BTreeMap::new(),
        }
    }

    /// Reads a world from YAML; [`World::default_yaml`] is a documented example of all it may say.
    ///
    /// # Errors
    /// All mistakes of the text, each with the line it stands in; `file` is the name to tell them with.
    pub fn from_yaml(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        yaml::read(file, text)
    }

    /// The text of the world that is used when none is given.
    #[must_use]
    pub const fn default_yaml() -> &'static str {
        include_str!("../default-world.yaml")
    }

    /// Reads the `setup.json` that stands beside recorded exchanges: every device gets the auth-id that is its id and the key
    /// `key-<id>`.
    ///
    /// # Errors
    /// What is not as such a file should be.
    pub fn from_golden_setup(json: &str) -> Result<Self, String> {
        let setup: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let mut world = Self::empty();
        for (tenant, members) in members(&setup["tenants"], "tenants")? {
            let mut devices = BTreeMap::new();
            for (id, members) in members_or_none(&setup["devices"][tenant.as_str()], "devices")? {
                devices.insert(
                    id.clone(),
                    Device::from_json(members)?.with_psk(id, format!("key-{id}")),
                );
            }
            let members = members_or_none(members, tenant)?
                .into_iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let known = Tenant {
                members,
                devices,
                ..Tenant::default()
            };
            world.tenants.insert(tenant.clone(), known);
        }
        Ok(world)
    }
}

/// The world of the built-in YAML text.
impl Default for World {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a test reads the built-in text")]
        Self::from_yaml("default-world.yaml", Self::default_yaml())
            .expect("the built-in world has no mistakes")
    }
}

/// A tenant and what belongs to it.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Tenant {
    /// The members of the tenant object as the Tenant API has them (spec: registry-apis A.3), without `tenant-id`.
    pub members: Map<String, Value>,
    /// By device id; gateways are devices.
    pub devices: BTreeMap<String, Device>,
    /// What the management API remembers of it.
    pub(crate) record: Record,
}

impl Tenant {
    /// A tenant with the members of a JSON object; anything but an object counts as an empty one.
    #[must_use]
    pub fn from_json(members: Value) -> Self {
        match members {
            Value::Object(members) => Self {
                members,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// Adds a device.
    #[must_use]
    pub fn with_device(mut self, id: impl Into<String>, device: Device) -> Self {
        self.devices.insert(id.into(), device);
        self
    }
}

/// How often something was changed through the management API, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    pub(crate) revision: u64,
    pub(crate) created: Option<OffsetDateTime>,
    pub(crate) updated: Option<OffsetDateTime>,
}

/// A device, or a gateway, which is a device that others name in `via` or that is a member of a group.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Device {
    /// A disabled device is answered like one that does not exist.
    pub disabled: bool,
    /// Gateways that may speak for this device.
    pub via: Vec<String>,
    /// Groups whose members may speak for this device.
    pub via_groups: Vec<String>,
    /// Groups that this gateway is in.
    pub member_of: Vec<String>,
    /// Values for what messages of this device leave open.
    pub defaults: Map<String, Value>,
    /// Further members that the management API has and tells again (spec: registry-apis part C), such as `ext` and `authorities`.
    pub further: Map<String, Value>,
    /// What the device proves itself with.
    pub credentials: Vec<Credentials>,
    /// What the management API remembers of it.
    pub(crate) record: Record,
    /// What the management API remembers of its credentials.
    pub(crate) credentials_record: Record,
}

impl Device {
    /// Adds a pre-shared key under which the device shakes hands as `auth_id@tenant`.
    #[must_use]
    pub fn with_psk(mut self, auth_id: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        self.credentials.push(Credentials::psk(auth_id, key));
        self
    }

    /// Lets the device prove itself with a client certificate of this subject (RFC 2253).
    #[must_use]
    pub fn with_certificate(mut self, subject_dn: impl Into<String>) -> Self {
        self.credentials.push(Credentials::certificate(subject_dn));
        self
    }

    /// Lets `gateway` speak for this device.
    #[must_use]
    pub fn with_via(mut self, gateway: impl Into<String>) -> Self {
        self.via.push(gateway.into());
        self
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let mut device = Self::default();
        for (key, value) in members(value, "device")? {
            let list = || -> Result<Vec<String>, String> {
                serde_json::from_value(value.clone()).map_err(|error| format!("{key}: {error}"))
            };
            match key.as_str() {
                "enabled" => device.disabled = value == false,
                "via" => device.via = list()?,
                "viaGroups" => device.via_groups = list()?,
                "memberOf" => device.member_of = list()?,
                "defaults" => device.defaults = value.as_object().cloned().unwrap_or_default(),
                other => return Err(format!("a device has no member `{other}`")),
            }
        }
        Ok(device)
    }
}

/// A mistake in a world file, to be shown as `file:line: text`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The name of the file as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and where it can be guessed, what was meant.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// The world of a running sandbox: a handle to change it, effective from the next request to the
/// registry. Receivers of
/// change notifications get one.
#[derive(Clone)]
pub struct SharedWorld(Arc<Shared>);

struct Shared {
    world: RwLock<World>,
    /// Held while a change is made, stored and sent, so that notifications are in order.
    followers: Mutex<Followers>,
}

/// Who gets to know of changes.
#[derive(Default)]
struct Followers {
    store: Option<Store>,
    listener: Option<Listener>,
}

type Listener = Box<dyn Fn(&Change) + Send>;

impl SharedWorld {
    pub(crate) fn new(world: World) -> Self {
        Self::with(world, Followers::default())
    }

    /// A world all of whose changes are kept in `store`, which holds it as it is now.
    pub(crate) fn kept(world: World, store: Store) -> Self {
        let followers = Followers {
            store: Some(store),
            listener: None,
        };
        Self::with(world, followers)
    }

    fn with(world: World, followers: Followers) -> Self {
        Self(Arc::new(Shared {
            world: RwLock::new(world),
            followers: Mutex::new(followers),
        }))
    }

    /// Sets what a tenant is; devices it has already stay, if `tenant` brings none of the same id.
    pub fn set_tenant(&self, id: impl Into<String>, tenant: Tenant) {
        let id = id.into();
        self.try_to(|world| {
            let known = world.tenants.get(&id);
            let kind = known.map_or(Kind::Create, |_| Kind::Update);
            let mut changes = vec![Change::of_tenant(kind, &id, &tenant)];
            for (device_id, device) in &tenant.devices {
                let old = known.and_then(|known| known.devices.get(device_id));
                changes.extend(change::of_device_set(&id, device_id, old, device));
            }
            let known = world.tenants.entry(id).or_default();
            known.members = tenant.members;
            known.devices.extend(tenant.devices);
            ((), changes)
        });
    }

    /// Removes a tenant with all its devices.
    pub fn remove_tenant(&self, id: &str) {
        self.try_to(|world| {
            let removed = world.tenants.remove(id);
            let changes = removed.map(|tenant| change::of_removed_tenant(id, &tenant));
            ((), changes.unwrap_or_default())
        });
    }

    /// Sets what a device is; its tenant comes into being if it does not exist.
    pub fn set_device(&self, tenant: impl Into<String>, id: impl Into<String>, device: Device) {
        let (tenant, id) = (tenant.into(), id.into());
        self.try_to(|world| {
            let mut changes = Vec::new();
            if !world.tenants.contains_key(&tenant) {
                let new = Tenant::default();
                changes.push(Change::of_tenant(Kind::Create, &tenant, &new));
            }
            let devices = &mut world.tenants.entry(tenant.clone()).or_default().devices;
            let old = devices.get(&id);
            changes.extend(change::of_device_set(&tenant, &id, old, &device));
            devices.insert(id, device);
            ((), changes)
        });
    }

    /// Removes a device with its credentials.
    pub fn remove_device(&self, tenant: &str, id: &str) {
        self.try_to(|world| {
            let known = world.tenants.get_mut(tenant);
            let removed = known.and_then(|known| known.devices.remove(id));
            let reported = removed.map(|_| Change::device_deleted(tenant, id));
            ((), reported.into_iter().collect())
        });
    }

    /// Changes anything, at once for all who ask. What is different afterwards is found by comparing all there is. The result is a
    /// default one if the change could not be kept in a file, and so was not made.
    pub fn change<R: Default>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        self.try_to(|world| {
            let before = world.clone();
            let result = change(world);
            let changes = change::between(&before, world);
            (result, changes)
        })
    }

    /// Looks at the world as it is now.
    pub fn look<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.0.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the world, keeps and tells what `change` says that it did.
    ///
    /// # Errors
    /// If the change could not be stored: the world is unchanged, and there is no notification.
    pub(crate) fn apply<R>(
        &self,
        change: impl FnOnce(&mut World) -> (R, Vec<Change>),
    ) -> Result<R, StoreError> {
        let mut followers = self.lock_followers();
        let mut world = self.0.world.write().unwrap_or_else(PoisonError::into_inner);
        let (result, changes) = change(&mut world);
        if let Some(store) = followers.store.as_mut().filter(|_| !changes.is_empty())
            && let Err(error) = store.save(&world, &changes)
        {
            tracing::error!(%error, "refused a change of the registry's data that cannot be stored");
            *world = store.load()?;
            return Err(error);
        }
        drop(world);
        if let Some(listener) = &followers.listener {
            changes.iter().for_each(listener);
        }
        Ok(result)
    }

    /// As [`SharedWorld::apply`], for who has no use for the error: it is logged.
    fn try_to<R: Default>(&self, change: impl FnOnce(&mut World) -> (R, Vec<Change>)) -> R {
        self.apply(change).unwrap_or_default()
    }

    /// Tells `listener` of each change from now on. It must not change the world itself.
    pub(crate) fn listen(&self, listener: impl Fn(&Change) + Send + 'static) {
        self.lock_followers().listener = Some(Box::new(listener));
    }

    fn lock_followers(&self) -> std::sync::MutexGuard<'_, Followers> {
        self.0
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedWorld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look(|world| world.fmt(formatter))
    }
}

fn members<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("`{what}` is not an object"))
}

fn members_or_none<'a>(
    value: &'a Value,
    what: &str,
) -> Result<Vec<(&'a String, &'a Value)>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        other => members(other, what).map(|members| members.iter().collect()),
    }
}

#[cfg(test)]
mod tests;
