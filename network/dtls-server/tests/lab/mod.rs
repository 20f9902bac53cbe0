//! Namespaces in a row: a server with several addresses, a router, and a device behind a link with a
//! small MTU. Needs root and `ip`.
//!
//! ```text
//! server 10.78.1.1, .50, fd78:1::1, ::50 ── router ──(MTU)── device 10.78.2.1, fd78:2::1
//! ```

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Three namespaces in a row, until it is dropped.
pub(crate) struct Lab {
    name: String,
}

impl Lab {
    pub(crate) fn new(mtu: &str) -> Self {
        let lab = Self {
            name: format!("lab-{}-{mtu}", std::process::id()),
        };
        for part in PARTS {
            lab.run(&["netns", "add", &lab.of(part)]);
            lab.inside(part, &["link", "set", "lo", "up"]);
        }
        for (end, near, far) in [("server", "s0", "r0"), ("device", "d0", "r1")] {
            let (at, router) = (lab.of(end), lab.of("router"));
            let peer = ["type", "veth", "peer", "name", far, "netns", &router];
            let add = [&["link", "add", near, "netns", &at][..], &peer].concat();
            lab.run(&add);
        }
        for (part, link, addresses) in [
            (
                "server",
                "s0",
                &[
                    "10.78.1.1/24",
                    "10.78.1.50/24",
                    "fd78:1::1/64",
                    "fd78:1::50/64",
                ][..],
            ),
            ("router", "r0", &["10.78.1.2/24", "fd78:1::2/64"]),
            ("router", "r1", &["10.78.2.2/24", "fd78:2::2/64"]),
            ("device", "d0", &["10.78.2.1/24", "fd78:2::1/64"]),
        ] {
            lab.inside(part, &["link", "set", link, "up"]);
            for address in addresses {
                let nodad: &[&str] = if address.contains(':') {
                    &["nodad"]
                } else {
                    &[]
                };
                let add = [&["addr", "add", address, "dev", link][..], nodad].concat();
                lab.inside(part, &add);
            }
        }
        lab.inside("router", &["link", "set", "r1", "mtu", mtu]);
        lab.inside("device", &["link", "set", "d0", "mtu", mtu]);
        for (part, network) in [("server", 1), ("device", 2)] {
            lab.inside(
                part,
                &[
                    "route",
                    "add",
                    "default",
                    "via",
                    &format!("10.78.{network}.2"),
                ],
            );
            // IPv6 needs a link of 1,280 bytes.
            if mtu.parse::<u32>().is_ok_and(|mtu| mtu >= 1280) {
                let via = format!("fd78:{network}::2");
                lab.inside(part, &["-6", "route", "add", "default", "via", &via]);
            }
        }
        for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            let router = lab.of("router");
            assert!(ip(&["netns", "exec", &router, "sysctl", "-qw", key]));
        }
        lab
    }

    /// The namespace of `server`, `router` or `device`.
    pub(crate) fn of(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn run(&self, words: &[&str]) {
        assert!(ip(words), "{}: ip {words:?}", self.name);
    }

    fn inside(&self, part: &str, words: &[&str]) {
        self.run(&[&["-n", &self.of(part)][..], words].concat());
    }
}

/// A program in a namespace.
pub(crate) fn command(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

impl Drop for Lab {
    fn drop(&mut self) {
        for part in PARTS {
            ip(&["netns", "del", &self.of(part)]);
        }
    }
}

fn ip(words: &[&str]) -> bool {
    let status = Command::new("ip")
        .args(words)
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Whether namespaces can be made. A container may forbid them even to root.
pub(crate) fn is_possible() -> bool {
    let trial = format!("lab-{}-trial", std::process::id());
    ip(&["netns", "add", &trial]) && ip(&["netns", "del", &trial])
}

const PARTS: [&str; 3] = ["server", "router", "device"];
