//! The page while it is put together: families of metrics by name.

use std::{collections::BTreeMap, time::Instant};

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Summary};

use super::distribution::Distribution;

/// All families, and the labels that all metrics have.
pub(super) struct Page {
    constant: Vec<LabelPair>,
    families: BTreeMap<String, MetricFamily>,
}

impl Page {
    pub(super) fn new(constant: &[(&str, &str)]) -> Self {
        Self {
            constant: pairs(constant).collect(),
            families: BTreeMap::new(),
        }
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(approximate(value));
        let mut metric = self.metric(labels);
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = self.metric(labels);
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// `_count`, `_sum` and `_max`.
    pub(super) fn distribution(
        &mut self,
        (name, help): &Meter,
        labels: &[(&str, &str)],
        distribution: &mut Distribution,
        now: Instant,
    ) {
        let mut summary = Summary::default();
        summary.set_sample_count(distribution.count);
        summary.set_sample_sum(distribution.sum);
        let mut metric = self.metric(labels);
        metric.set_summary(summary);
        self.add(name, help, MetricType::SUMMARY, metric);
        let (name, help) = greatest(name, help);
        self.gauge(&name, &help, labels, distribution.max(now));
    }

    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.families.into_values().collect()
    }

    fn metric(&self, labels: &[(&str, &str)]) -> Metric {
        let constant = self.constant.iter().cloned();
        Metric::from_label(constant.chain(pairs(labels)).collect())
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        if let Some(family) = self.families.get_mut(name) {
            family.mut_metric().push(metric);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        self.families.insert(name.to_owned(), family);
    }
}

/// Name and help of the greatest of a distribution.
pub(super) fn greatest(name: &str, help: &str) -> (String, String) {
    let help = format!("{help} Maximum of the last minutes.");
    (format!("{name}_max"), help)
}

fn pairs<'a>(labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = LabelPair> + 'a {
    labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    })
}

/// Metrics are floating point numbers; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "metrics are floating point numbers"
)]
pub(super) const fn approximate(number: u64) -> f64 {
    number as f64
}

/// Name and help of a meter that has a greatest value, too.
pub(super) type Meter = (&'static str, &'static str);
