//! Values that must not be taken: each is refused when the chart is rendered, by a message that names the key.

use anyhow::Result;

use super::{Chart, Tools, profile, tools::KUBERNETES};

/// The wrong values that were taken, or refused without a word that helps.
pub(super) fn faults(chart: &Chart, tools: &Tools) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for Wrong {
        profile,
        set,
        reported,
    } in WRONG
    {
        let mut template = tools.helm();
        template.args(["template", profile::RELEASE, "--kube-version", KUBERNETES]);
        let file = chart.folder().join(format!("ci/{profile}-values.yaml"));
        template.arg("--values").arg(file).args(["--set", set]);
        let output = template.arg(chart.folder()).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            faults.push(format!("profile {profile} with {set} is taken"));
        } else if !reported.iter().all(|words| text.contains(words)) {
            faults.push(format!(
                "profile {profile} with {set} should be refused by {reported:?}, but it was by: {text}"
            ));
        }
    }
    println!(
        "xtask: {} wrong values are refused by name",
        WRONG.len() - faults.len()
    );
    Ok(faults)
}

struct Wrong {
    /// What is right beside it.
    profile: &'static str,
    /// The wrong value, as `--set` has it.
    set: &'static str,
    /// Words of the message.
    reported: &'static [&'static str],
}

const fn wrong(
    profile: &'static str,
    set: &'static str,
    reported: &'static [&'static str],
) -> Wrong {
    Wrong {
        profile,
        set,
        reported,
    }
}

const WRONG: &[Wrong] = &[
    // Types and ranges.
    wrong(
        "minimal",
        "replicaCount=many",
        &["'/replicaCount'", "want integer"],
    ),
    wrong(
        "minimal",
        "config.hono.coap.maxPayloadSize=big",
        &["'/config/hono/coap/maxPayloadSize'"],
    ),
    wrong(
        "minimal",
        "config.hono.coap.maxPayloadSize=1",
        &["'/config/hono/coap/maxPayloadSize'", "minimum"],
    ),
    wrong(
        "minimal",
        "config.hono.messaging.port=70000",
        &["'/config/hono/messaging/port'", "maximum"],
    ),
    wrong(
        "minimal",
        "service.type=LoadBalance",
        &["'/service/type'", "'LoadBalancer'"],
    ),
    wrong(
        "minimal",
        "service.externalTrafficPolicy=local",
        &["'/service/externalTrafficPolicy'"],
    ),
    wrong("minimal", "image.digest=sha256:12", &["'/image/digest'"]),
    wrong(
        "minimal",
        "connections.shared.credentialsSecret=Not A Name",
        &["'/connections/shared/credentialsSecret'"],
    ),
    // Unknown keys.
    wrong("minimal", "replicas=2", &["'replicas' not allowed"]),
    wrong(
        "minimal",
        "service.portz=2",
        &["'/service'", "'portz' not allowed"],
    ),
    wrong(
        "minimal",
        "config.hono.coap.prot=5684",
        &["'/config/hono/coap'", "'prot' not allowed"],
    ),
    wrong(
        "minimal",
        "config.hono.mesaging.host=x",
        &["'/config/hono'", "'mesaging' not allowed"],
    ),
    wrong(
        "minimal",
        "connections.messageing.tlsSecret=x",
        &["'/connections'", "'messageing' not allowed"],
    ),
    // Ports that clash, or that a Service cannot have.
    wrong(
        "minimal",
        "config.hono.coap.insecurePort=5684,config.hono.coap.authenticationRequired=false",
        &["config.hono.coap.port and config.hono.coap.insecurePort are both 5684"],
    ),
    wrong(
        "everything",
        "service.ports.coap=5684",
        &["service.ports.coaps and service.ports.coap are both 5684"],
    ),
    wrong(
        "everything",
        "service.nodePorts.coap=30684",
        &["service.nodePorts.coaps and service.nodePorts.coap are both 30684"],
    ),
    wrong(
        "minimal",
        "config.hono.coap.port=0",
        &["config.hono.coap.port is 0"],
    ),
    wrong(
        "minimal",
        "config.quarkus.http.port=0",
        &["config.quarkus.http.port is 0"],
    ),
    wrong(
        "minimal",
        "config.hono.coap.port=-1",
        &["config.hono.coap.port should be set"],
    ),
    // What is missing.
    wrong(
        "minimal",
        "config.hono.messaging.host=null",
        &["config.hono.messaging.host should be set"],
    ),
    wrong(
        "minimal",
        "config.hono.commandRouter=null",
        &["config.hono.commandRouter.host should be set"],
    ),
    wrong(
        "minimal",
        "config.hono.coap.keyPath=/tls/tls.key,config.hono.coap.certPath=/tls/tls.crt",
        &["certificate.existingSecret"],
    ),
    wrong(
        "minimal",
        "config.hono.messaging.credentialsPath=/user/it.properties",
        &[
            "config.hono.messaging.credentialsPath",
            "connections.messaging.credentialsSecret",
        ],
    ),
    wrong(
        "tls",
        "certificate.certManager.issuerRef.name=",
        &["certificate.certManager.issuerRef.name should be"],
    ),
    wrong(
        "tls",
        "certificate.certManager.dnsNames=null",
        &["certificate.certManager.dnsNames should hold"],
    ),
    // What is said twice, or does not go together.
    wrong(
        "tls",
        "config.hono.coap.keyPath=/x,config.hono.coap.certPath=/y",
        &["config.hono.coap.keyPath comes from certificate"],
    ),
    wrong(
        "tls",
        "config.hono.tenant.credentialsPath=/x",
        &["config.hono.tenant.credentialsPath comes from connections.tenant"],
    ),
    wrong(
        "tls",
        "config.hono.resourceLimits.prometheusBased.credentialsPath=/x",
        &[
            "config.hono.resourceLimits.prometheusBased.credentialsPath comes from connections.prometheus",
        ],
    ),
    wrong(
        "tls",
        "connections.shared.trustSecret=x",
        &["connections.shared.trustSecret and connections.shared.trustConfigMap"],
    ),
    wrong(
        "minimal",
        "sessions.store.enabled=true",
        &["sessions.store is enabled, but its keySecret names no Secret"],
    ),
    wrong(
        "minimal",
        "test.identity=a@b",
        &["test.identity is set, but test.keySecret names no Secret"],
    ),
    wrong(
        "minimal",
        "preStopSeconds=20",
        &["terminationGracePeriodSeconds is 30, but should be at least 35"],
    ),
    wrong(
        "ha",
        "autoscaling.minReplicas=20",
        &["autoscaling.minReplicas should not be more"],
    ),
    wrong(
        "sandbox",
        "replicaCount=2",
        &["sandbox.enabled goes with replicaCount: 1"],
    ),
];
