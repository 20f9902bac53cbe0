//! Why a look-up gave no answer, in the terms of the services: an HTTP-like status (spec: registry-apis A.1).

use thiserror::Error;

/// What a service, or the lack of one, says instead of an answer.
///
/// Outages, time-outs and missing credit are always 503, an answer that cannot be understood is 500, everything else is the
/// service's own status: nothing that goes wrong on the way looks like a verdict on the device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("status {status}{}", text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct ServiceError {
    /// The status, as in HTTP.
    pub status: u16,
    /// What the service says about it, if anything.
    pub text: Option<String>,
}

impl ServiceError {
    /// The service said `status`.
    #[must_use]
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: Some(text.into()),
        }
    }

    /// This error with the text of Hono's client if its status is 404: Hono's registry sends none, and
    /// Hono's client ignores what another one sends.
    #[must_use]
    pub(crate) fn with_not_found_text(self, text: &str) -> Self {
        if self.status == 404 {
            Self::new(404, text)
        } else {
            self
        }
    }

    /// The service cannot be reached or does not answer in time (503).
    #[must_use]
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(503, text)
    }

    /// The service answered, but not in a way that can be understood (500).
    #[must_use]
    pub fn unusable(text: impl Into<String>) -> Self {
        Self::new(500, text)
    }

    /// Whether asking again later may help: the service failed, not the question.
    #[must_use]
    pub const fn is_server_error(&self) -> bool {
        self.status >= 500
    }
}
