//! A metric as the page of documentation shows it.

/// A metric as it is documented.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Description {
    /// The name of its family; of a summary it has the ends `_count` and `_sum`.
    pub name: String,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels beside `host`, `component_type` and `component_name`, in alphabetical order.
    pub labels: Vec<&'static str>,
    /// What it tells.
    pub help: String,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many, and how much together.
    Summary,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

pub(super) fn described(
    name: &str,
    kind: Kind,
    labels: &[&'static str],
    help: &str,
) -> Description {
    Description {
        name: name.to_owned(),
        kind,
        labels: labels.to_vec(),
        help: help.to_owned(),
    }
}
