//! World files; reports all errors at once.
//!
//! Scalars are kept as written, so that the device `0815` and the key `1e3` stay what the author sees.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use saphyr::{AnnotatedMapping, MarkedYaml, Scalar, ScalarStyle, ScanError, YamlData, YamlLoader};
use saphyr_parser::Parser;
use serde_json::{Map, Value};

use super::{Credentials, Device, Problem, Tenant, World};

pub(super) fn read(file: &str, text: &str) -> Result<World, Vec<Problem>> {
    let mut reader = Reader {
        file,
        problems: Vec::new(),
    };
    let world = reader.document(text);
    if reader.problems.is_empty() {
        return Ok(world);
    }
    reader.problems.sort_by_key(|problem| problem.line);
    Err(reader.problems)
}

struct Reader<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

/// What credentials prove.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// That the device knows a key.
    Psk,
    /// That it has a certificate with the subject that is the auth-id.
    Certificate,
}

type Node<'a> = MarkedYaml<'a>;

impl Reader<'_> {
    fn document(&mut self, text: &str) -> World {
        let mut world = World::empty();
        let documents = match load(text) {
            Ok(documents) => documents,
            Err((line, problem)) => {
                self.tell(line, format!("not YAML: {problem}"));
                return world;
            }
        };
        let Some(root) = documents.first() else {
            self.tell(1, "the file is empty; it should start with `tenants:`");
            return world;
        };
        if let Some(second) = documents.get(1) {
            self.tell(line(second), "a second document; one file is one world");
        }
        for (key, node) in self.entries(root, "the file", &["tenants"]) {
            if key.text == "tenants" {
                self.tenants(node, &mut world);
            }
        }
        if world.tenants.is_empty() && self.problems.is_empty() {
            self.tell(
                line(root),
                "there is no tenant; it should start with `tenants:`",
            );
        }
        world
    }

    fn tenants(&mut self, node: &Node<'_>, world: &mut World) {
        for (key, node) in self.named(node, "tenants") {
            self.check_id(&key, "tenant", "-_.");
            let mut tenant = Tenant::default();
            let mut owners = Owners::new();
            for (member, node) in
                self.entries_or_null(node, "a tenant", &names(TENANT, &["devices"]))
            {
                if member.text == "devices" {
                    self.devices(node, &mut tenant, &mut owners);
                } else if let Some(shape) = shape_of(TENANT, &member.text) {
                    let value = self.value(node, &member.text, shape);
                    tenant.members.insert(member.text, value);
                }
            }
            world.tenants.insert(key.text, tenant);
        }
    }

    fn devices(&mut self, node: &Node<'_>, tenant: &mut Tenant, owners: &mut Owners) {
        let mut wanted = Vec::new();
        for (key, node) in self.named(node, "devices") {
            self.check_id(&key, "device", "-_.:=");
            let mut device = Device::default();
            let members = [
                "enabled",
                "via",
                "viaGroups",
                "memberOf",
                "defaults",
                "credentials",
            ];
            for (member, node) in self.entries_or_null(node, "a device", &members) {
                match member.text.as_str() {
                    "enabled" => {
                        device.disabled = self.value(node, "enabled", &Shape::Flag) == false;
                    }
                    "via" => {
                        device.via = self.texts(node, "via");
                        wanted.extend(
                            device
                                .via
                                .iter()
                                .map(|gateway| (gateway.clone(), line(node))),
                        );
                    }
                    "viaGroups" => device.via_groups = self.texts(node, "viaGroups"),
                    "memberOf" => device.member_of = self.texts(node, "memberOf"),
                    "defaults" => device.defaults = self.object(node, "defaults"),
                    "credentials" => device.credentials = self.credentials(node, owners),
                    _ => {}
                }
            }
            let served = !device.via.is_empty() || !device.via_groups.is_empty();
            if served && !device.member_of.is_empty() {
                self.tell(key.line, format!("device `{}` has `memberOf`, so it is a gateway and has neither `via` nor `viaGroups`", key.text));
            }
            tenant.devices.insert(key.text, device);
        }
        for (gateway, line) in wanted {
            if !tenant.devices.contains_key(&gateway) {
                let meant = did_you_mean(&gateway, tenant.devices.keys().map(String::as_str));
                self.tell(
                    line,
                    format!("`via` names `{gateway}`, which is no device of this tenant{meant}"),
                );
            }
        }
    }

    fn credentials(&mut self, node: &Node<'_>, owners: &mut Owners) -> Vec<Credentials> {
        let mut all = Vec::new();
        for item in self.items(node, "credentials") {
            let (mut auth_id, mut key, mut disabled) = (None, None, false);
            let mut kind = Kind::Psk;
            let members = ["type", "auth-id", "enabled", "key", "key-base64"];
            for (member, node) in self.entries(item, "credentials", &members) {
                match member.text.as_str() {
                    "type" => kind = self.credentials_kind(node),
                    "auth-id" => auth_id = self.text(node, "auth-id"),
                    "enabled" => disabled = self.value(node, "enabled", &Shape::Flag) == false,
                    "key" | "key-base64" => {
                        if key.is_some() {
                            self.tell(member.line, "both `key` and `key-base64`; one says it all");
                        }
                        key = Some(self.key(node, &member.text));
                    }
                    _ => {}
                }
            }
            let start = line(item);
            match &auth_id {
                None => self.tell(start, "credentials without `auth-id`"),
                Some(auth_id) => {
                    if let Some(first) = owners.insert((kind, auth_id.clone()), start) {
                        self.tell(
                            start,
                            format!("auth-id `{auth_id}` is already used in line {first}"),
                        );
                    }
                }
            }
            match (kind, &key) {
                (Kind::Psk, None) => {
                    self.tell(start, "credentials without `key` or `key-base64`");
                }
                (Kind::Certificate, Some(_)) => {
                    self.tell(start, "credentials of type `x509-cert` with a key");
                }
                _ => {}
            }
            if let Some(auth_id) = auth_id {
                let mut credentials = match kind {
                    Kind::Psk => Credentials::psk(auth_id, key.unwrap_or_default()),
                    Kind::Certificate => Credentials::certificate(auth_id),
                };
                credentials.disabled = disabled;
                all.push(credentials);
            }
        }
        all
    }

    fn key(&mut self, node: &Node<'_>, name: &str) -> Vec<u8> {
        let Some(text) = self.text(node, name) else {
            return Vec::new();
        };
        let key = if name == "key" {
            Some(text.into_bytes())
        } else {
            BASE64_STANDARD.decode(text).ok()
        };
        match key {
            Some(key) if key.is_empty() => self.tell(line(node), format!("`{name}` is empty")),
            Some(key) => return key,
            None => self.tell(line(node), format!("`{name}` is not Base64 with padding")),
        }
        Vec::new()
    }

    fn value(&mut self, node: &Node<'_>, name: &str, shape: &Shape) -> Value {
        let value = self.any(node);
        let (fits, wanted) = match shape {
            Shape::Flag => (value.is_boolean(), "true or false"),
            Shape::Whole => (value.is_i64(), "a whole number"),
            Shape::Text => (value.is_string(), "a text"),
            Shape::Any => (true, ""),
            Shape::Object => (value.is_object(), "a mapping"),
            Shape::Known(members) => {
                for (member, node) in self.entries(node, &format!("`{name}`"), &names(members, &[]))
                {
                    if let Some(shape) = shape_of(members, &member.text) {
                        self.value(node, &member.text, shape);
                    }
                }
                return value;
            }
            Shape::Each(shape) => {
                for item in self.items(node, name) {
                    self.value(item, name, shape);
                }
                return value;
            }
        };
        if !fits {
            self.tell(line(node), format!("`{name}` should be {wanted}"));
        }
        value
    }

    fn object(&mut self, node: &Node<'_>, name: &str) -> Map<String, Value> {
        match self.value(node, name, &Shape::Object) {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn texts(&mut self, node: &Node<'_>, name: &str) -> Vec<String> {
        let items = self.items(node, name);
        items
            .into_iter()
            .filter_map(|item| self.text(item, name))
            .collect()
    }

    /// The text of a scalar as it is written, be it like a number or not.
    fn text(&mut self, node: &Node<'_>, name: &str) -> Option<String> {
        if let YamlData::Representation(text, style, _) = &node.data
            && !(*style == ScalarStyle::Plain && matches!(&**text, "" | "~" | "null"))
        {
            return Some(text.clone().into_owned());
        }
        self.tell(line(node), format!("`{name}` should be a text"));
        None
    }

    fn any(&mut self, node: &Node<'_>) -> Value {
        match &node.data {
            YamlData::Representation(text, style, tag) => {
                match Scalar::parse_from_cow_and_metadata(text.clone(), *style, tag.as_ref()) {
                    Some(Scalar::Null) => Value::Null,
                    Some(Scalar::Boolean(flag)) => flag.into(),
                    Some(Scalar::Integer(number)) => number.into(),
                    Some(Scalar::FloatingPoint(number)) => (*number).into(),
                    Some(Scalar::String(text)) => text.into_owned().into(),
                    None => {
                        self.tell(line(node), format!("`{text}` is not what its tag says"));
                        Value::Null
                    }
                }
            }
            YamlData::Sequence(items) => items.iter().map(|item| self.any(item)).collect(),
            YamlData::Mapping(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (self.key_of(key).text, self.any(value)))
                    .collect(),
            ),
            YamlData::Tagged(_, node) => self.any(node),
            YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
                self.tell(line(node), "this is not understood");
                Value::Null
            }
        }
    }

    fn entries<'n>(
        &mut self,
        node: &'n Node<'n>,
        what: &str,
        known: &[&str],
    ) -> Vec<(Entry, &'n Node<'n>)> {
        let Some(map) = mapping(node) else {
            self.tell(line(node), format!("{what} should be a mapping"));
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (key, value) in map {
            let key = self.key_of(key);
            if known.contains(&key.text.as_str()) {
                entries.push((key, value));
            } else {
                let meant = did_you_mean(&key.text, known.iter().copied());
                self.tell(key.line, format!("{what} has no `{}`{meant}", key.text));
            }
        }
        entries
    }

    fn entries_or_null<'n>(
        &mut self,
        node: &'n Node<'n>,
        what: &str,
        known: &[&str],
    ) -> Vec<(Entry, &'n Node<'n>)> {
        if is_null(node) {
            Vec::new()
        } else {
            self.entries(node, what, known)
        }
    }

    /// Entries whose keys are ids.
    fn named<'n>(&mut self, node: &'n Node<'n>, what: &str) -> Vec<(Entry, &'n Node<'n>)> {
        match mapping(node) {
            Some(map) => map
                .iter()
                .map(|(key, value)| (self.key_of(key), value))
                .collect(),
            None if is_null(node) => Vec::new(),
            None => {
                self.tell(
                    line(node),
                    format!("`{what}` should be a mapping from id to what it is"),
                );
                Vec::new()
            }
        }
    }

    fn items<'n>(&mut self, node: &'n Node<'n>, name: &str) -> Vec<&'n Node<'n>> {
        if let YamlData::Sequence(items) = &node.data {
            return items.iter().collect();
        }
        self.tell(line(node), format!("`{name}` should be a list"));
        Vec::new()
    }

    fn key_of(&mut self, key: &Node<'_>) -> Entry {
        let line = line(key);
        let text = self.text(key, "the name of a member").unwrap_or_default();
        Entry { text, line }
    }

    fn credentials_kind(&mut self, node: &Node<'_>) -> Kind {
        match self.text(node, "type").as_deref() {
            Some("x509-cert") => Kind::Certificate,
            Some("psk") | None => Kind::Psk,
            Some(_) => {
                let text = "only credentials of the types `psk` and `x509-cert` are known";
                self.tell(line(node), text);
                Kind::Psk
            }
        }
    }

    fn check_id(&mut self, id: &Entry, what: &str, also: &str) {
        if id.text.is_empty()
            || !id
                .text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
        {
            self.tell(
                id.line,
                format!(
                    "`{}` is no {what} id; letters, digits and `{also}` are allowed",
                    id.text
                ),
            );
        }
    }

    fn tell(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            text: text.into(),
        });
    }
}

struct Entry {
    text: String,
    line: usize,
}

/// The line of each credentials of a tenant: a kind and an auth-id belong to one device (spec: registry-apis §C).
type Owners = BTreeMap<(Kind, String), usize>;

/// What a member of the tenant object may hold.
enum Shape {
    Flag,
    Whole,
    Text,
    Any,
    Object,
    Known(&'static [(&'static str, Self)]),
    Each(&'static Self),
}

const TENANT: &[(&str, Shape)] = &[
    ("enabled", Shape::Flag),
    ("alias", Shape::Text),
    ("adapters", Shape::Each(&Shape::Known(ADAPTER))),
    ("defaults", Shape::Object),
    ("minimum-message-size", Shape::Whole),
    ("resource-limits", Shape::Known(RESOURCE_LIMITS)),
    (
        "tracing",
        Shape::Known(&[
            ("sampling-mode", Shape::Text),
            ("sampling-mode-per-auth-id", Shape::Object),
        ]),
    ),
    ("trusted-ca", Shape::Each(&Shape::Object)),
    ("registration-limits", Shape::Object),
    ("trust-anchor-group", Shape::Text),
    ("ext", Shape::Object),
];

const ADAPTER: &[(&str, Shape)] = &[
    ("type", Shape::Text),
    ("enabled", Shape::Flag),
    ("device-authentication-required", Shape::Flag),
    ("ext", Shape::Object),
];

const RESOURCE_LIMITS: &[(&str, Shape)] = &[
    ("max-connections", Shape::Whole),
    ("max-ttl", Shape::Whole),
    ("max-ttl-command-response", Shape::Whole),
    ("max-ttl-telemetry-qos0", Shape::Whole),
    ("max-ttl-telemetry-qos1", Shape::Whole),
    (
        "data-volume",
        Shape::Known(&[
            ("max-bytes", Shape::Whole),
            ("effective-since", Shape::Text),
            ("period", PERIOD),
        ]),
    ),
    (
        "connection-duration",
        Shape::Known(&[
            ("max-minutes", Shape::Whole),
            ("effective-since", Shape::Text),
            ("period", PERIOD),
        ]),
    ),
    ("ext", Shape::Any),
];

const PERIOD: Shape = Shape::Known(&[("mode", Shape::Text), ("no-of-days", Shape::Whole)]);

fn names<'a>(members: &[(&'a str, Shape)], more: &[&'a str]) -> Vec<&'a str> {
    members
        .iter()
        .map(|(name, _)| *name)
        .chain(more.iter().copied())
        .collect()
}

fn shape_of(members: &'static [(&str, Shape)], name: &str) -> Option<&'static Shape> {
    members
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, shape)| shape)
}

fn mapping<'n, 'i>(node: &'n Node<'i>) -> Option<&'n AnnotatedMapping<'i, Node<'i>>> {
    match &node.data {
        YamlData::Mapping(map) => Some(map),
        _ => None,
    }
}

fn is_null(node: &Node<'_>) -> bool {
    matches!(&node.data, YamlData::Representation(text, ScalarStyle::Plain, _) if matches!(&**text, "" | "~" | "null"))
}

fn line(node: &Node<'_>) -> usize {
    node.span.start.line()
}

fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let closest = known
        .map(|known| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), &known.to_lowercase()),
                known,
            )
        })
        .min();
    match closest {
        Some((distance, known)) if distance <= 1 + word.len() / 4 => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

/// Parses the text; an error has its line and the parser's message.
fn load<'i>(text: &'i str) -> Result<Vec<Node<'i>>, (usize, String)> {
    let mut loader = YamlLoader::<Node<'i>>::default();
    loader.early_parse(false);
    let reported = |error: &ScanError| (error.marker().line(), error.info().to_owned());
    Parser::new_from_str(text)
        .load(&mut loader, true)
        .map_err(|error| reported(&error))?;
    match loader.error() {
        Some(error) => Err(reported(error)),
        None => Ok(loader.into_documents()),
    }
}
