//! Our node, in a thread: binds pods to nodes, runs those of the namespace [`LIVE`] and lets kwok play the rest, gives load balancers an
//! address, and keeps the Service's rules up to date.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Place,
    api::Api,
    plane::PLAYED,
    pod::{Ground, Pod},
    proxy::Proxy,
};

/// The thread; it ends when this is dropped.
pub(super) struct Node {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub(super) fn start(place: &Place, api: Api) -> Result<Self> {
        api.post("/api/v1/nodes", &json!({"metadata": {"name": OURS}}))?;
        let (stop, failed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let mut work = Work {
            api,
            image: place.image.clone(),
            folder: place.folder.clone(),
            pods: Vec::new(),
            addresses: 1,
            proxy: Proxy::start()?,
        };
        let (stopped, failure) = (Arc::clone(&stop), Arc::clone(&failed));
        let thread = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                if let Err(error) = work.round() {
                    println!("cluster: {error:#}");
                    failure.store(true, Relaxed);
                }
                thread::sleep(ROUND);
            }
        });
        Ok(Self {
            stop,
            failed,
            thread: Some(thread),
        })
    }

    /// Whether everything it did worked.
    pub(super) fn is_well(&self) -> bool {
        !self.failed.load(Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

struct Work {
    api: Api,
    image: PathBuf,
    folder: PathBuf,
    pods: Vec<Pod>,
    /// The last part of the last pod's address.
    addresses: u8,
    proxy: Proxy,
}

impl Work {
    fn round(&mut self) -> Result<()> {
        self.balance()?;
        let all = self.api.list("/api/v1/pods")?;
        for pod in &all {
            if pod["spec"]["nodeName"].is_null() && pod["metadata"]["deletionTimestamp"].is_null() {
                self.bind(pod)?;
            }
        }
        let here: Vec<&Value> = all
            .iter()
            .filter(|pod| pod["spec"]["nodeName"] == OURS)
            .collect();
        for manifest in &here {
            if self.pods.iter().any(|pod| pod.is(manifest)) {
                continue;
            }
            self.addresses = self.addresses.checked_add(1).unwrap_or(2);
            let address = Ipv4Addr::new(10, 244, 0, self.addresses);
            let ground = Ground {
                api: self.api,
                image: &self.image,
                folder: &self.folder,
            };
            self.pods.push(Pod::start(&ground, manifest, address)?);
        }
        let (mut left, mut failure) = (Vec::new(), None);
        for mut pod in self.pods.drain(..) {
            let manifest = here.iter().find(|manifest| pod.is(manifest));
            let deleted = manifest.is_none_or(|it| !it["metadata"]["deletionTimestamp"].is_null());
            match pod.tend(self.api, deleted) {
                Ok(false) => {}
                Ok(true) => left.push(pod),
                Err(error) => {
                    failure = Some(error);
                    left.push(pod);
                }
            }
        }
        self.pods = left;
        failure.map_or(Ok(()), Err)?;
        self.serve()
    }

    /// What a scheduler does, without choice.
    fn bind(&self, pod: &Value) -> Result<()> {
        let metadata = &pod["metadata"];
        let node = if metadata["namespace"] == LIVE {
            OURS
        } else {
            PLAYED
        };
        let [namespace, name] =
            [&metadata["namespace"], &metadata["name"]].map(|it| it.as_str().unwrap_or_default());
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        self.api.post(
            &path,
            &json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}),
        )
    }

    /// What a cloud does for load balancers.
    fn balance(&self) -> Result<()> {
        for service in self.api.list("/api/v1/services")? {
            if service["spec"]["type"] == "LoadBalancer"
                && service["status"]["loadBalancer"]["ingress"].is_null()
            {
                let [namespace, name] = ["namespace", "name"]
                    .map(|key| service["metadata"][key].as_str().unwrap_or_default());
                let path = format!("/api/v1/namespaces/{namespace}/services/{name}/status");
                self.api.patch(
                    &path,
                    &json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
                )?;
            }
        }
        Ok(())
    }

    /// What kube-proxy does: datagrams go to the endpoints that are ready.
    fn serve(&mut self) -> Result<()> {
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{LIVE}/endpointslices");
        let mut ready = BTreeSet::new();
        for slice in self.api.list(&path)? {
            if slice["metadata"]["labels"]["kubernetes.io/service-name"] != SERVICE {
                continue;
            }
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] == true {
                    ready.extend(endpoint["addresses"][0].as_str().map(str::to_owned));
                }
            }
        }
        self.proxy.serve(ready)
    }
}

/// The namespace whose pods really run.
pub(super) const LIVE: &str = "live";
/// The Service that devices reach.
pub(super) const SERVICE: &str = "live-coap-adapter";
const OURS: &str = "ours";
const ROUND: Duration = Duration::from_millis(250);
