//! The control plane: etcd, API server, controllers, and kwok for the nodes that are only played.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::Result;
use serde_json::json;

use super::{
    Place,
    api::{self, Api},
    process::{Process, until},
    programs,
};
use crate::{chart, step};

/// Running; ends when it is dropped.
pub(super) struct Plane {
    kubeconfig: PathBuf,
    api: Api,
    _processes: Vec<Process>,
}

impl Plane {
    /// Returns when the API server is ready and a node for played pods is there.
    pub(super) fn start(place: &Place) -> Result<Self> {
        let folder = &place.folder;
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, KUBECONFIG)?;
        fs::write(folder.join("tokens"), "secret,admin,admin,system:masters\n")?;
        step::run(Command::new("openssl").args(["genrsa", "-out", &file("accounts.key"), "2048"]))?;
        let mut processes = Vec::new();
        let mut start = |name: &str, words: &[&str]| -> Result<()> {
            let mut command = Command::new(place.tools.path(name));
            let log = folder.join(name).with_extension("log");
            processes.push(Process::start(command.args(words), &log)?);
            Ok(())
        };
        start(
            "etcd",
            &[
                "--data-dir",
                &file("etcd"),
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )?;
        start(
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=127.0.0.1",
                "--advertise-address=10.0.0.1",
                "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
                "--cert-dir",
                &file("certificates"),
                "--token-auth-file",
                &file("tokens"),
                "--authorization-mode=AlwaysAllow",
                "--service-account-issuer=https://cluster.local",
                "--service-account-key-file",
                &file("accounts.key"),
                "--service-account-signing-key-file",
                &file("accounts.key"),
            ],
        )?;
        let server = SocketAddr::from(([127, 0, 0, 1], 6443));
        until("the API server listens", LIMIT, || {
            TcpStream::connect(server).is_ok()
        })?;
        start(
            "kubectl",
            &["--kubeconfig", &file("kubeconfig"), "proxy", "--port=8001"],
        )?;
        let api = Api { proxy: PROXY };
        until("the API server answers", LIMIT, || {
            api.get("/api/v1/namespaces/default")
                .is_ok_and(|it| it.is_some())
        })?;
        start(
            "kube-controller-manager",
            &[
                "--kubeconfig",
                &file("kubeconfig"),
                "--leader-elect=false",
                "--controllers",
                CONTROLLERS,
                "--concurrent-statefulset-syncs=10",
            ],
        )?;
        start(
            "kwok",
            &[
                "--kubeconfig",
                &file("kubeconfig"),
                "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                "--config",
                &place.tools.path(programs::STAGES).to_string_lossy(),
                "--cidr=10.1.0.0/16",
                "--node-ip=10.0.0.2",
            ],
        )?;
        api.post(
            "/api/v1/nodes",
            &json!({"metadata": {"name": PLAYED, "annotations": {"kwok.x-k8s.io/node": "fake"}}}),
        )?;
        let plane = Self {
            kubeconfig,
            api,
            _processes: processes,
        };
        until("kwok's node is ready", LIMIT, || {
            let node = plane
                .api
                .get(&format!("/api/v1/nodes/{PLAYED}"))
                .ok()
                .flatten()
                .unwrap_or_default();
            let conditions = node["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|it| it["type"] == "Ready" && it["status"] == "True")
            })
        })?;
        Ok(plane)
    }

    pub(super) const fn api(&self) -> Api {
        self.api
    }

    /// Helm for this cluster.
    pub(super) fn helm(&self, place: &Place) -> Command {
        let mut helm = place.tools.helm();
        helm.arg("--kubeconfig").arg(&self.kubeconfig);
        helm
    }

    /// A namespace that takes only pods that Pod Security calls restricted.
    pub(super) fn make_namespace(&self, name: &str) -> Result<()> {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        self.api.post(
            "/api/v1/namespaces",
            &json!({"metadata": {"name": name, "labels": labels}}),
        )?;
        until("the namespace has its account", LIMIT, || {
            self.api
                .get(&format!(
                    "/api/v1/namespaces/{name}/serviceaccounts/default"
                ))
                .is_ok_and(|it| it.is_some())
        })
    }

    /// The kinds of Prometheus Operator and cert-manager.
    pub(super) fn define_custom_resources(&self, place: &Place) -> Result<()> {
        for definition in chart::definitions(&place.tools)? {
            self.api.post(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                &definition,
            )?;
        }
        Ok(())
    }
}

/// Whether a container answers a probe with 2xx or 3xx.
pub(super) fn probe(address: SocketAddr, path: &str) -> bool {
    api::request(address, "GET", path, None).is_ok_and(|(code, _)| (200..400).contains(&code))
}

/// The node whose pods kwok plays.
pub(super) const PLAYED: &str = "played";
const PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);
const LIMIT: Duration = Duration::from_secs(180);

const CONTROLLERS: &str = "statefulset-controller,endpointslice-controller,serviceaccount-controller,namespace-controller,\
garbage-collector-controller,disruption-controller,root-ca-certificate-publisher-controller";

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: secret}}]
contexts: [{name: here, context: {cluster: here, user: admin}}]
current-context: here
";
