//! Each profile from its installation to its removal, against the API server.

use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::{Place, plane::Plane};
use crate::{chart, step};

pub(super) fn run(place: &Place, plane: &Plane) -> Result<()> {
    for file in chart::profiles(&place.chart)? {
        let name = file
            .file_stem()
            .context("a profile without name")?
            .to_string_lossy()
            .replace("-values", "");
        plane.make_namespace(&name)?;
        let helm = |words: &[&str]| {
            let mut helm = plane.helm(place);
            helm.args(["--namespace", &name]).args(words);
            helm
        };
        let chart = place.chart.folder();
        let mut dry = helm(&[
            "install",
            "try",
            "--dry-run=server",
            "--output=json",
            "--values",
        ]);
        dry.stdout(Stdio::null());
        step::run(dry.arg(&file).arg(&chart))?;
        step::run(
            helm(&[
                "install",
                "try",
                "--wait",
                "--timeout=120s",
                "--output=table",
                "--values",
            ])
            .arg(&file)
            .arg(&chart),
        )?;
        let changed = [
            "upgrade",
            "try",
            "--wait",
            "--timeout=120s",
            "--set",
            "podAnnotations.example\\.org/change=second",
            "--values",
        ];
        step::run(helm(&changed).arg(&file).arg(&chart).stdout(Stdio::null()))?;
        expect(plane, &name, Some("second"))?;
        step::run(&mut helm(&[
            "rollback",
            "try",
            "1",
            "--wait",
            "--timeout=120s",
        ]))?;
        expect(plane, &name, None)?;
        step::run(&mut helm(&["uninstall", "try", "--wait"]))?;
        println!("cluster: profile {name}: installed, upgraded, rolled back, removed");
    }
    Ok(())
}

/// What the `StatefulSet` of the namespace says of its pods now.
fn expect(plane: &Plane, namespace: &str, change: Option<&str>) -> Result<()> {
    let sets = plane.api().list(&format!(
        "/apis/apps/v1/namespaces/{namespace}/statefulsets"
    ))?;
    let set = sets.first().context("no StatefulSet")?;
    let held = &set["spec"]["template"]["metadata"]["annotations"]["example.org/change"];
    anyhow::ensure!(
        held.as_str() == change,
        "the pods of {namespace} should have the change {change:?}, but have {held}"
    );
    let status = &set["status"];
    anyhow::ensure!(
        status["readyReplicas"] == set["spec"]["replicas"]
            && status["updatedReplicas"] == set["spec"]["replicas"],
        "not all pods of {namespace} are ready: {status}"
    );
    Ok(())
}
