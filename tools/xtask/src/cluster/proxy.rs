//! The Service's address in the kernel: a new flow goes to a pod by chance and stays there, as kube-proxy sets it up, and the flows of a pod
//! that is no endpoint any more are forgotten, as kube-proxy does for UDP.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The rules that hold.
pub(super) struct Proxy {
    ready: BTreeSet<String>,
}

impl Proxy {
    pub(super) fn start() -> Result<Self> {
        nft(
            "table ip service {\n  chain output {\n    type nat hook output priority -100;\n  }\n}\n",
        )?;
        Ok(Self {
            ready: BTreeSet::new(),
        })
    }

    /// From now on these are the endpoints.
    pub(super) fn serve(&mut self, ready: BTreeSet<String>) -> Result<()> {
        if self.ready == ready {
            return Ok(());
        }
        let mut rules = "flush chain ip service output\n".to_owned();
        if !ready.is_empty() {
            let places: Vec<String> = ready
                .iter()
                .enumerate()
                .map(|(number, address)| format!("{number} : {address}"))
                .collect();
            rules += &format!(
                "add rule ip service output ip daddr {ADDRESS} udp dport 5684 dnat to numgen random mod {} map {{ {} }}\n",
                places.len(),
                places.join(", ")
            );
        }
        nft(&rules)?;
        for gone in self.ready.difference(&ready) {
            // It fails if there are none.
            let mut forget = Command::new("conntrack");
            forget
                .args(["-D", "-p", "udp", "--reply-src", gone])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            forget.status().context("no conntrack")?;
        }
        println!("cluster: endpoints are {ready:?}");
        self.ready = ready;
        Ok(())
    }
}

fn nft(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("no nft; it is in nftables")?;
    nft.stdin
        .take()
        .context("no input")?
        .write_all(rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused: {rules}");
    Ok(())
}

/// The Service's address, one that only this machine has.
pub(super) const ADDRESS: &str = "127.0.100.1";
