//! One pod on our node: the image's file system with what the API server says is mounted, the adapter as nobody in it, its probes, and its end.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{api::Api, node::SERVICE, plane, process::Process, proxy};
use crate::step;

/// What a pod needs from its node.
pub(super) struct Ground<'g> {
    pub(super) api: Api,
    /// The image's root file system.
    pub(super) image: &'g Path,
    /// Where pods, their volumes and logs are.
    pub(super) folder: &'g Path,
}

/// A pod that runs.
pub(super) struct Pod {
    pub(super) path: String,
    uid: String,
    address: Ipv4Addr,
    process: Process,
    /// None for a pod that ends by itself.
    probes: Option<Probes>,
    pre_stop: Duration,
    grace: Duration,
    ending: Option<Instant>,
    told_to_end: bool,
    /// State last reported to the API server: whether it is ready, or whether it succeeded.
    seen: Option<bool>,
}

impl Pod {
    /// Lays out the pod's files and starts its container.
    pub(super) fn start(ground: &Ground<'_>, manifest: &Value, address: Ipv4Addr) -> Result<Self> {
        let (namespace, name) = (
            text(&manifest["metadata"]["namespace"]),
            text(&manifest["metadata"]["name"]),
        );
        let uid = text(&manifest["metadata"]["uid"]);
        let container = &manifest["spec"]["containers"][0];
        let root = ground.folder.join("pods").join(format!("{name}-{uid}"));
        // As a container's own layer: files are shared, folders are not.
        fs::create_dir_all(ground.folder.join("pods"))?;
        step::output(
            Command::new("cp")
                .args(["-al"])
                .arg(ground.image)
                .arg(&root),
        )?;
        lay_out(ground, manifest, &root)?;
        fs::write(
            root.join("etc/hosts"),
            format!("{} {SERVICE}\n", proxy::ADDRESS),
        )?;
        step::output(Command::new("ip").args([
            "address",
            "add",
            &format!("{address}/32"),
            "dev",
            "lo",
        ]))?;
        let mut command = Command::new("chroot");
        command
            .arg("--userspec=65532:65532")
            .arg(&root)
            .arg("/coap-adapter");
        command.args(items(&container["args"]).filter_map(Value::as_str));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOSTNAME", name);
        for variable in items(&container["env"]) {
            command.env(text(&variable["name"]), value_of(variable, manifest));
        }
        // All pods share this network, so that each keeps to the address that it would have alone.
        for variable in [
            "HONO_COAP_BINDADDRESS",
            "HONO_COAP_INSECUREPORTBINDADDRESS",
            "QUARKUS_HTTP_HOST",
        ] {
            command.env(variable, address.to_string());
        }
        let log = ground.folder.join(format!("{name}-{uid}.log"));
        let process = Process::start(&mut command, &log)?;
        let probes = match manifest["spec"]["restartPolicy"].as_str() {
            Some("Never") => None,
            _ => Some(Probes::new(container, address)?),
        };
        let seconds = |value: &Value| Duration::from_secs(value.as_u64().unwrap_or_default());
        Ok(Self {
            path: format!("/api/v1/namespaces/{namespace}/pods/{name}"),
            uid: uid.to_owned(),
            address,
            process,
            probes,
            pre_stop: seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]),
            grace: seconds(&manifest["spec"]["terminationGracePeriodSeconds"]),
            ending: None,
            told_to_end: false,
            seen: None,
        })
    }

    pub(super) fn is(&self, manifest: &Value) -> bool {
        manifest["metadata"]["uid"] == self.uid.as_str()
    }

    /// Does what is due; false when the pod is gone.
    pub(super) fn tend(&mut self, api: Api, deleted: bool) -> Result<bool> {
        if deleted || self.ending.is_some() {
            return self.end(api);
        }
        let Some(probes) = &mut self.probes else {
            return self.report_end(api).map(|()| true);
        };
        ensure!(
            self.process.runs(),
            "{} ended by itself; see its log",
            self.path
        );
        let ready = probes.ask().with_context(|| self.path.clone())?;
        if self.seen != Some(ready) {
            api.patch(&format!("{}/status", self.path), &self.status(ready))?;
            self.seen = Some(ready);
        }
        Ok(true)
    }

    /// Tells how a pod ended that ends by itself.
    fn report_end(&mut self, api: Api) -> Result<()> {
        if self.seen.is_none()
            && let Ok(Some(status)) = self.process.child.try_wait()
        {
            let phase = if status.success() {
                "Succeeded"
            } else {
                "Failed"
            };
            api.patch(
                &format!("{}/status", self.path),
                &json!({"status": {"phase": phase}}),
            )?;
            self.seen = Some(status.success());
        }
        Ok(())
    }

    /// The hook, then SIGTERM, then at the end of the grace period SIGKILL.
    fn end(&mut self, api: Api) -> Result<bool> {
        let since = *self.ending.get_or_insert_with(Instant::now);
        if !self.told_to_end && since.elapsed() >= self.pre_stop && self.process.runs() {
            self.process.terminate()?;
            self.told_to_end = true;
        }
        if self.process.runs() && since.elapsed() < self.grace {
            return Ok(true);
        }
        if self.process.runs() {
            println!("cluster: {} did not end within its grace period", self.path);
            self.process.kill();
        }
        api.delete(&self.path)?;
        step::output(Command::new("ip").args([
            "address",
            "del",
            &format!("{}/32", self.address),
            "dev",
            "lo",
        ]))?;
        Ok(false)
    }

    fn status(&self, ready: bool) -> Value {
        let word = if ready { "True" } else { "False" };
        let kinds = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|kind| json!({"type": kind, "status": if kind.contains("Ready") { word } else { "True" }}))
            .collect();
        let address = self.address.to_string();
        json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions,
            "containerStatuses": [{
                "name": "adapter", "image": "coap-adapter", "imageID": "", "restartCount": 0, "ready": ready, "started": ready,
                "state": {"running": {}},
            }],
        }})
    }
}

/// What the kubelet asks.
struct Probes {
    startup: Probe,
    readiness: Probe,
    liveness: Probe,
}

impl Probes {
    fn new(container: &Value, address: Ipv4Addr) -> Result<Self> {
        let health = items(&container["ports"]).find(|port| port["name"] == "health");
        let port = health.and_then(|port| port["containerPort"].as_u64());
        let health = SocketAddr::from((address, u16::try_from(port.context("no health port")?)?));
        Ok(Self {
            startup: Probe::new(&container["startupProbe"], health),
            readiness: Probe::new(&container["readinessProbe"], health),
            liveness: Probe::new(&container["livenessProbe"], health),
        })
    }

    /// Asks what is due; whether the container is ready.
    fn ask(&mut self) -> Result<bool> {
        if !self.startup.passed {
            self.startup.ask();
        } else {
            self.readiness.ask();
            self.liveness.ask();
            ensure!(
                self.liveness.failures < self.liveness.threshold,
                "it is stuck"
            );
        }
        Ok(self.startup.passed && self.readiness.passed)
    }
}

/// A question that is asked again and again.
struct Probe {
    address: SocketAddr,
    path: String,
    period: Duration,
    threshold: u64,
    failures: u64,
    asked: Option<Instant>,
    passed: bool,
}

impl Probe {
    fn new(value: &Value, address: SocketAddr) -> Self {
        Self {
            address,
            path: text(&value["httpGet"]["path"]).to_owned(),
            period: Duration::from_secs(value["periodSeconds"].as_u64().unwrap_or(10)),
            threshold: value["failureThreshold"].as_u64().unwrap_or(3),
            failures: 0,
            asked: None,
            passed: false,
        }
    }

    fn ask(&mut self) {
        if self
            .asked
            .is_some_and(|asked| asked.elapsed() < self.period)
        {
            return;
        }
        self.asked = Some(Instant::now());
        if plane::probe(self.address, &self.path) {
            (self.passed, self.failures) = (true, 0);
        } else {
            self.failures += 1;
            self.passed &= self.failures < self.threshold;
        }
    }
}

/// Volumes as the kubelet fills them.
fn lay_out(ground: &Ground<'_>, manifest: &Value, root: &Path) -> Result<()> {
    let namespace = text(&manifest["metadata"]["namespace"]);
    for mount in items(&manifest["spec"]["containers"][0]["volumeMounts"]) {
        let place = root.join(text(&mount["mountPath"]).trim_start_matches('/'));
        fs::create_dir_all(&place)?;
        let volume =
            items(&manifest["spec"]["volumes"]).find(|volume| volume["name"] == mount["name"]);
        let volume = volume.with_context(|| format!("no volume {}", mount["name"]))?;
        let held = |kind: &str, name: &Value| -> Result<Value> {
            let path = format!("/api/v1/namespaces/{namespace}/{kind}/{}", text(name));
            ground
                .api
                .get(&path)?
                .with_context(|| format!("there is no {path}"))
        };
        if volume["configMap"].is_object() {
            for (file, content) in
                entries(&held("configmaps", &volume["configMap"]["name"])?["data"])
            {
                fs::write(place.join(file), text(content))?;
            }
        } else if volume["secret"].is_object() {
            for (file, content) in
                entries(&held("secrets", &volume["secret"]["secretName"])?["data"])
            {
                fs::write(place.join(file), decoded(text(content))?)?;
            }
        } else if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            // It outlives the pod.
            let kept = ground.folder.join("volumes").join(claim);
            fs::create_dir_all(&kept)?;
            fs::set_permissions(&kept, fs::Permissions::from_mode(0o2775))?;
            step::output(Command::new("chown").arg("0:65532").arg(&kept))?;
            step::output(Command::new("mount").arg("--bind").arg(&kept).arg(&place))?;
        }
    }
    Ok(())
}

fn decoded(base64: &str) -> Result<Vec<u8>> {
    use std::io::Write as _;
    let mut decode = Command::new("base64");
    decode
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut decode = decode.spawn()?;
    decode
        .stdin
        .take()
        .context("no input")?
        .write_all(base64.as_bytes())?;
    Ok(decode.wait_with_output()?.stdout)
}

/// A variable's value, written or taken from the pod itself.
fn value_of(variable: &Value, manifest: &Value) -> String {
    let Some(path) = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() else {
        return text(&variable["value"]).to_owned();
    };
    let label = path
        .strip_prefix("metadata.labels['")
        .and_then(|rest| rest.strip_suffix("']"));
    match label {
        Some(label) => text(&manifest["metadata"]["labels"][label]).to_owned(),
        None => text(path.split('.').fold(manifest, |value, key| &value[key])).to_owned(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
