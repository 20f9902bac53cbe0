//! What a scorer of manifests asks for (kube-score), and what this adapter needs beside it.

use std::process::Stdio;

use anyhow::Result;
use serde_json::Value;

use super::{
    Tools,
    profile::{Profile, RELEASE},
};
use crate::{manifest, step};

/// Asks kube-score, which ends with an error if it finds something critical.
pub(super) fn score(tools: &Tools, profiles: &[Profile]) -> Result<()> {
    let mut score = tools.kube_score();
    score.args([
        "score",
        "--output-format",
        "ci",
        "--kubernetes-version",
        "v1.37",
    ]);
    for check in IGNORED {
        score.args(["--ignore-test", check]);
    }
    // A throttled pod loses datagrams, so there is no limit of CPU unless an operator wants one.
    score.arg("--ignore-container-cpu-limit");
    step::run(
        score
            .args(profiles.iter().map(|profile| &profile.file))
            .stdout(Stdio::null()),
    )
}

/// What is wrong in the profiles.
pub(super) fn faults(profiles: &[Profile]) -> Vec<String> {
    let mut faults = Vec::new();
    for profile in profiles {
        let judge = Judge {
            manifests: &profile.manifests,
        };
        let found = judge.faults();
        faults.extend(
            found
                .into_iter()
                .map(|fault| format!("profile {}: {fault}", profile.name)),
        );
    }
    faults
}

struct Judge<'m> {
    manifests: &'m [Value],
}

impl Judge<'_> {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for manifest in self.manifests {
            let mut tell =
                |wrong: String| faults.push(format!("{}: {wrong}", manifest::name(manifest)));
            named(manifest, &mut tell);
            match text(&manifest["kind"]) {
                "StatefulSet" => self.stateful_set(manifest, &mut tell),
                "Pod" => pod(&manifest["spec"], &Value::Null, &mut tell),
                "Service" => self.service(manifest, &mut tell),
                "PodDisruptionBudget" => {
                    self.selects(&manifest["spec"]["selector"]["matchLabels"], &mut tell);
                }
                "NetworkPolicy" => {
                    self.selects(&manifest["spec"]["podSelector"]["matchLabels"], &mut tell);
                }
                "ServiceMonitor" => self.monitors(manifest, &mut tell),
                "HorizontalPodAutoscaler" => self.scales(manifest, &mut tell),
                _ => {}
            }
        }
        faults
    }

    fn stateful_set(&self, set: &Value, tell: &mut dyn FnMut(String)) {
        let spec = &set["spec"];
        let template = &spec["template"];
        for (key, wanted) in entries(&spec["selector"]["matchLabels"]) {
            demand(
                template["metadata"]["labels"][key] == *wanted,
                "its selector misses its pods",
                tell,
            );
        }
        let headless = self.of_kind("Service").any(|service| {
            service["metadata"]["name"] == spec["serviceName"]
                && service["spec"]["clusterIP"] == "None"
        });
        demand(headless, "`serviceName` should be a headless Service", tell);
        let scaled = self.of_kind("HorizontalPodAutoscaler").next().is_some();
        demand(
            scaled != spec["replicas"].is_number(),
            "`replicas` should be set if nothing scales it, and only then",
            tell,
        );
        if scaled
            || spec["replicas"]
                .as_u64()
                .is_some_and(|replicas| replicas > 1)
        {
            let budget = self.of_kind("PodDisruptionBudget").next().is_some();
            demand(budget, "several pods need a PodDisruptionBudget", tell);
            let spread = items(&template["spec"]["topologySpreadConstraints"])
                .next()
                .is_some();
            demand(spread, "several pods should be spread", tell);
        }
        let policy = self.of_kind("NetworkPolicy").next().is_some();
        demand(
            policy,
            "its traffic should be limited by a NetworkPolicy",
            tell,
        );
        let container = &template["spec"]["containers"][0];
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            demand(
                container[probe]["httpGet"]["port"] == "health",
                &format!("`{probe}` should ask the health port"),
                tell,
            );
        }
        let path = |probe: &str| &container[probe]["httpGet"]["path"];
        demand(
            path("readinessProbe") != path("livenessProbe"),
            "two probes ask the same",
            tell,
        );
        let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
        let grace = template["spec"]["terminationGracePeriodSeconds"].as_u64();
        let fits = grace
            .zip(sleep)
            .is_some_and(|(grace, sleep)| grace >= sleep + DRAIN);
        demand(
            fits,
            "the grace period should hold `preStop` and the drain",
            tell,
        );
        pod(&template["spec"], &spec["volumeClaimTemplates"], tell);
    }

    fn service(&self, service: &Value, tell: &mut dyn FnMut(String)) {
        self.selects(&service["spec"]["selector"], tell);
        for port in items(&service["spec"]["ports"]) {
            let reached = self.pods().any(|pod| {
                let of_containers = items(&pod["spec"]["containers"])
                    .flat_map(|container| items(&container["ports"]));
                let mut found = of_containers.filter(|held| held["name"] == port["targetPort"]);
                found.any(|held| held["protocol"] == port["protocol"])
            });
            demand(
                reached,
                &format!("no container has the port {}", port["targetPort"]),
                tell,
            );
        }
    }

    fn monitors(&self, monitor: &Value, tell: &mut dyn FnMut(String)) {
        let wanted = &monitor["spec"]["selector"]["matchLabels"];
        let services = self
            .of_kind("Service")
            .filter(|service| holds(&service["metadata"]["labels"], wanted));
        demand(
            services.count() == 1,
            "it should scrape one Service, so that each pod is counted once",
            tell,
        );
    }

    fn scales(&self, scaler: &Value, tell: &mut dyn FnMut(String)) {
        let target = &scaler["spec"]["scaleTargetRef"];
        let found = self
            .manifests
            .iter()
            .any(|it| it["kind"] == target["kind"] && it["metadata"]["name"] == target["name"]);
        demand(found, "it scales nothing", tell);
    }

    fn selects(&self, selector: &Value, tell: &mut dyn FnMut(String)) {
        let selected = self
            .pods()
            .any(|pod| holds(&pod["metadata"]["labels"], selector));
        demand(
            selected && selector.is_object(),
            "its selector selects no pod",
            tell,
        );
    }

    /// Pods, and the templates of pods.
    fn pods(&self) -> impl Iterator<Item = &Value> {
        let templates = self
            .of_kind("StatefulSet")
            .map(|set| &set["spec"]["template"]);
        templates.chain(self.of_kind("Pod"))
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.manifests
            .iter()
            .filter(move |manifest| manifest["kind"] == kind)
    }
}

/// Names and labels by which people and tools find what belongs together.
fn named(manifest: &Value, tell: &mut dyn FnMut(String)) {
    let metadata = &manifest["metadata"];
    demand(
        text(&metadata["name"]).starts_with(RELEASE) || manifest["kind"] == "ServiceAccount",
        "its name should tell the release",
        tell,
    );
    demand(
        metadata["namespace"].is_null(),
        "it should be in the namespace of the release, not in a fixed one",
        tell,
    );
    for label in [
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/version",
        "helm.sh/chart",
    ] {
        demand(
            metadata["labels"][label].is_string(),
            &format!("it has no label {label}"),
            tell,
        );
    }
}

/// Pod Security `restricted`, and what scorers ask beyond it.
fn pod(spec: &Value, claims: &Value, tell: &mut dyn FnMut(String)) {
    let security = &spec["securityContext"];
    demand(security["runAsNonRoot"] == true, "it may run as root", tell);
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        demand(
            security[id].as_u64().is_some_and(|id| id > 10_000),
            &format!("`{id}` may be one of the node's"),
            tell,
        );
    }
    demand(
        security["seccompProfile"]["type"] == "RuntimeDefault",
        "its system calls are not limited",
        tell,
    );
    for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
        demand(
            spec[namespace] != true,
            &format!("it takes part in the node's by `{namespace}`"),
            tell,
        );
    }
    demand(
        spec["automountServiceAccountToken"] == false,
        "it gets a token that it does not need",
        tell,
    );
    demand(
        spec["enableServiceLinks"] == false,
        "Services become variables that are taken for settings",
        tell,
    );
    for volume in items(&spec["volumes"]) {
        demand(
            volume["hostPath"].is_null(),
            "it reaches into the node's files",
            tell,
        );
        let whole = volume["secret"]["items"].is_null();
        demand(
            whole,
            "a Secret should be mounted as a whole directory",
            tell,
        );
        if volume["secret"].is_object() {
            demand(
                volume["secret"]["defaultMode"] == 0o440,
                "a Secret's files should be readable by the adapter only",
                tell,
            );
        }
        let mounted = items(&spec["containers"])
            .flat_map(|container| items(&container["volumeMounts"]))
            .any(|mount| mount["name"] == volume["name"]);
        demand(
            mounted,
            &format!("nobody mounts the volume {}", volume["name"]),
            tell,
        );
    }
    for one in items(&spec["containers"]) {
        container(one, spec, claims, tell);
    }
}

fn container(container: &Value, spec: &Value, claims: &Value, tell: &mut dyn FnMut(String)) {
    let security = &container["securityContext"];
    demand(
        security["allowPrivilegeEscalation"] == false,
        "it may gain privileges",
        tell,
    );
    demand(
        security["readOnlyRootFilesystem"] == true,
        "it may write to its image",
        tell,
    );
    demand(security["privileged"] != true, "it is privileged", tell);
    demand(
        security["capabilities"]["drop"][0] == "ALL" && security["capabilities"]["add"].is_null(),
        "it has capabilities",
        tell,
    );
    let image = text(&container["image"]);
    let pinned = image.contains('@')
        || image
            .rsplit_once(':')
            .is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest");
    demand(pinned, "its image has no version", tell);
    let resources = &container["resources"];
    for asked in ["cpu", "memory", "ephemeral-storage"] {
        demand(
            resources["requests"][asked].is_string(),
            &format!("it asks for no {asked}"),
            tell,
        );
    }
    for limited in ["memory", "ephemeral-storage"] {
        demand(
            resources["limits"][limited].is_string(),
            &format!("its {limited} is not limited"),
            tell,
        );
    }
    demand(
        resources["limits"]["memory"] == resources["requests"]["memory"],
        "the memory that sessions are counted by may be taken away",
        tell,
    );
    for mount in items(&container["volumeMounts"]) {
        demand(
            mount["subPath"].is_null(),
            "what is mounted by `subPath` never changes in a running pod",
            tell,
        );
        let there = items(&spec["volumes"]).any(|volume| volume["name"] == mount["name"])
            || items(claims).any(|claim| claim["metadata"]["name"] == mount["name"]);
        demand(
            there,
            &format!("there is no volume {}", mount["name"]),
            tell,
        );
    }
    for variable in items(&container["env"]) {
        demand(
            variable["valueFrom"]["secretKeyRef"].is_null(),
            "a secret in a variable is seen by every child and never changes",
            tell,
        );
    }
}

/// Whether `labels` have all of `wanted`.
fn holds(labels: &Value, wanted: &Value) -> bool {
    entries(wanted).all(|(key, value)| labels[key] == *value)
}

fn demand(holds: bool, otherwise: &str, tell: &mut dyn FnMut(String)) {
    if !holds {
        tell(otherwise.to_owned());
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

/// An image is named by version or digest, which do not change: a registry that is away must not keep pods from starting.
const IGNORED: [&str; 1] = ["container-image-pull-policy"];

/// Seconds that the adapter needs at most to end: the drain, saving sessions and closing connections.
const DRAIN: u64 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_asks_for_too_much_is_told_each_thing() {
        let manifests = manifest::read(CARELESS).unwrap();
        let faults = Judge {
            manifests: &manifests,
        }
        .faults();
        for wrong in [
            "root",
            "`runAsUser`",
            "system calls",
            "hostNetwork",
            "token",
            "settings",
            "node's files",
            "whole directory",
            "readable",
            "nobody mounts the volume",
            "gain",
            "write",
            "privileged",
            "capabilities",
            "no version",
            "asks for no cpu",
            "memory is not limited",
            "subPath",
            "no volume \"gone\"",
            "every child",
            "no label",
            "tell the release",
            "fixed",
        ] {
            assert!(
                faults.iter().any(|fault| fault.contains(wrong)),
                "{wrong}: {faults:#?}"
            );
        }
    }

    const CARELESS: &str = "
kind: Pod
metadata: {name: x, namespace: default}
spec:
  hostNetwork: true
  volumes:
    - {name: host, hostPath: {path: /}}
    - {name: key, secret: {items: [{key: a, path: a}]}}
  containers:
    - image: adapter
      securityContext: {privileged: true}
      volumeMounts: [{name: gone, mountPath: /x, subPath: y}, {name: host, mountPath: /y}]
      env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]
";
}
