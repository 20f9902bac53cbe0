//! Where a value was written, and what is wrong with it there.

use std::{fmt, path::PathBuf};

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody wrote one.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1; 0 is the file as a whole.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line: 0 } => write!(formatter, "{}", path.display()),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => formatter.write_str(name),
        }
    }
}

/// One mistake: where it is, what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Problem {
    /// Where the mistake was made; [`Origin::Default`] if it is that something was not written at all.
    pub origin: Origin,
    /// What is wrong and what would be right.
    pub text: String,
}

impl Problem {
    pub(super) fn new(origin: Origin, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { origin, text }
    }

    pub(super) fn missing(text: impl Into<String>) -> Self {
        Self::new(Origin::Default, text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(formatter, "not configured: {}", self.text),
            written => write!(formatter, "{written}: {}", self.text),
        }
    }
}

impl std::error::Error for Problem {}
