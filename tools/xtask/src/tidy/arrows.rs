//! Dependencies that must never exist.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata, PackageId};

/// What a rule counts as depending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// By any number of steps; tests and build scripts do not count.
    Shipped,
    /// Named in the package's own manifest, also for tests.
    Named,
}

struct Rule {
    /// Packages that the rule applies to; `-` before a name exempts it from a rule for
    /// [`EVERYBODY`].
    from: &'static [&'static str],
    to: &'static [&'static str],
    reach: Reach,
    why: &'static str,
}

const RULES: [Rule; 6] = [
    Rule {
        from: &[
            "coap-proto",
            "fair-share",
            "fair-table",
            "dtls-proto",
            "dtls-client",
            "amqp-proto",
            "dialect",
        ],
        to: &[
            "tokio",
            "mio",
            "socket2",
            "quinn-udp",
            "async-io",
            "smol",
            "hyper",
            "rustix",
            "nix",
        ],
        reach: Reach::Shipped,
        why: "a core has no socket, clock or task",
    },
    Rule {
        from: &[EVERYBODY, "-amqp-proto", "-amqp-client", "-sandbox"],
        to: &["fe2o3-amqp", "fe2o3-amqp-types", "serde_amqp"],
        reach: Reach::Named,
        why: "the library's types stay behind amqp-client's own",
    },
    Rule {
        from: &["sandbox"],
        to: &["adapter"],
        reach: Reach::Named,
        why: "the sandbox is the adapter's surroundings, not its user",
    },
    Rule {
        from: &[
            EVERYBODY,
            "-coap-adapter",
            "-acceptance",
            "-benches",
            "-counts",
            "-load",
        ],
        to: &["sandbox"],
        reach: Reach::Shipped,
        why: "only the command line starts a sandbox",
    },
    Rule {
        from: &["observability"],
        to: &["adapter", "coap-adapter"],
        reach: Reach::Shipped,
        why: "its users pass in what they count",
    },
    Rule {
        from: &["adapter", "dtls-server", "amqp-client", "registry-client"],
        to: &["dtls-client", "coap-client", "clap"],
        reach: Reach::Shipped,
        why: "what serves devices is no device, and no command line",
    },
];

const EVERYBODY: &str = "*";

/// What the program is not linked of where `metadata` is that of the production form.
pub(super) fn production_faults(metadata: &Metadata) -> Vec<String> {
    let names = names(metadata);
    let product = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name == PRODUCT);
    let Some(product) = product else {
        return vec![format!("there is no package {PRODUCT}")];
    };
    let linked = shipped(metadata, &names, &product.id);
    let forbidden = NOT_IN_PRODUCTION
        .iter()
        .filter(|name| linked.contains(**name));
    forbidden
        .map(|name| format!("the production form of {PRODUCT} must not be linked of {name}"))
        .collect()
}

/// The package of the program.
const PRODUCT: &str = "coap-adapter";

/// The sandbox, what only it needs, and what only tests need.
const NOT_IN_PRODUCTION: [&str; 10] = [
    "sandbox",
    "rusqlite",
    "libsqlite3-sys",
    "saphyr",
    "x509-parser",
    "url",
    "acceptance",
    "load",
    "rcgen",
    "fe2o3-amqp",
];

fn names(metadata: &Metadata) -> BTreeMap<&PackageId, &str> {
    let packages = metadata.packages.iter();
    packages
        .map(|package| (&package.id, package.name.as_str()))
        .collect()
}

pub(super) fn faults(metadata: &Metadata) -> Vec<String> {
    let names = names(metadata);
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        for rule in RULES.iter().filter(|rule| rule.is_for(&package.name)) {
            let met = match rule.reach {
                Reach::Named => package
                    .dependencies
                    .iter()
                    .map(|dependency| dependency.name.clone())
                    .collect(),
                Reach::Shipped => shipped(metadata, &names, &package.id),
            };
            let forbidden = rule
                .to
                .iter()
                .filter(|name| **name != package.name.as_str() && met.contains(**name));
            faults.extend(
                forbidden.map(|name| {
                    format!("{} must not depend on {name}: {}", package.name, rule.why)
                }),
            );
        }
    }
    faults
}

impl Rule {
    fn is_for(&self, package: &str) -> bool {
        let excepted = self
            .from
            .iter()
            .any(|name| name.strip_prefix('-') == Some(package));
        !excepted
            && self
                .from
                .iter()
                .any(|name| *name == EVERYBODY || *name == package)
    }
}

/// The names of all that a package is built from, itself left out.
fn shipped(
    metadata: &Metadata,
    names: &BTreeMap<&PackageId, &str>,
    root: &PackageId,
) -> BTreeSet<String> {
    let nodes: BTreeMap<_, _> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&node.id, node))
        .collect();
    let (mut met, mut names_met) = (BTreeSet::from([root]), BTreeSet::new());
    let mut queue = VecDeque::from([root]);
    while let Some(node) = queue.pop_front().and_then(|id| nodes.get(id)) {
        for dependency in &node.deps {
            let normal = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if normal && met.insert(&dependency.pkg) {
                names_met.extend(names.get(&dependency.pkg).map(|name| (*name).to_owned()));
                queue.push_back(&dependency.pkg);
            }
        }
    }
    names_met
}
