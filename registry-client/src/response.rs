//! What a response means: an object that may be kept for a while, or an error (spec: registry-apis A.1).

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    ServiceError,
    cache::{Answer, CacheConfig},
    members::Malformed,
};

/// A service's response, apart from how it travelled.
#[derive(Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_type: Option<String>,
    /// Wiped when dropped, because it may hold keys.
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
}

impl Response {
    /// The object in a successful response, and how long the outcome may be kept. A success without an object that can be
    /// understood is as good as the service saying 500.
    pub(crate) fn read<T>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
        cache: &CacheConfig,
    ) -> Answer<T> {
        let outcome = self.payload().and_then(|payload| {
            let object = parse(payload).map_err(|malformed| {
                tracing::warn!(%malformed, "a service's response is unusable");
                ServiceError::unusable(format!("malformed response: {malformed}"))
            })?;
            Ok(Arc::new(object))
        });
        let status = outcome
            .as_ref()
            .map_or_else(|error| error.status, |_| self.status);
        Answer {
            lifetime: cache.lifetime(status, self.cache_control.as_deref()),
            outcome,
        }
    }

    /// The error of a response that is not the one success.
    pub(crate) fn expect(&self, success: u16) -> Result<(), ServiceError> {
        match self.status {
            status if status == success => Ok(()),
            200..300 => Err(ServiceError::unusable("unexpected status in response")),
            _ => Err(self.error()),
        }
    }

    fn payload(&self) -> Result<&[u8], ServiceError> {
        if !(200..300).contains(&self.status) {
            return Err(self.error());
        }
        let payload = self.body.as_deref().filter(|_| self.is_json());
        let payload = payload.map(Vec::as_slice);
        payload.ok_or_else(|| ServiceError::unusable("response without JSON object"))
    }

    fn error(&self) -> ServiceError {
        let text = self.body.as_deref().filter(|_| !self.is_json());
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        ServiceError {
            status: self.status,
            text: text
                .filter(|text| !text.is_empty())
                .map(|text| text.chars().take(LONGEST_TEXT).collect()),
        }
    }

    fn is_json(&self) -> bool {
        let content_type = self.content_type.as_deref();
        content_type.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
    }
}

/// The characters of an error's text that are passed on.
const LONGEST_TEXT: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::Response;
    use crate::{CacheConfig, ServiceError, members::Malformed};

    fn response(status: u16, content_type: Option<&str>, body: Option<&str>) -> Response {
        Response {
            status,
            cache_control: None,
            content_type: content_type.map(str::to_owned),
            body: body.map(|body| Zeroizing::new(body.as_bytes().to_vec())),
        }
    }

    fn number(json: &[u8]) -> Result<u32, Malformed> {
        serde_json::from_slice(json).map_err(|_| Malformed("the number"))
    }

    #[test]
    fn a_response_is_the_object_or_the_error_that_a_1_says() {
        let json = Some("application/json");
        let text = Some("text/plain");
        let error = |status, text: Option<&str>| {
            Err(ServiceError {
                status,
                text: text.map(str::to_owned),
            })
        };
        for (line, response, expected) in [
            ("success", response(200, json, Some("7")), Ok(7)),
            ("any 2xx", response(201, json, Some("7")), Ok(7)),
            (
                "case",
                response(200, Some("Application/JSON"), Some("7")),
                Ok(7),
            ),
            (
                "no content type",
                response(200, None, Some("7")),
                error(500, None),
            ),
            (
                "other content type",
                response(200, text, Some("7")),
                error(500, None),
            ),
            ("no body", response(200, json, None), error(500, None)),
            (
                "undecodable",
                response(200, json, Some("{")),
                error(500, None),
            ),
            (
                "error with text",
                response(404, text, Some("no such")),
                error(404, Some("no such")),
            ),
            (
                "error text without type",
                response(403, None, Some("no")),
                error(403, Some("no")),
            ),
            (
                "error without body",
                response(400, None, None),
                error(400, None),
            ),
            (
                "error with empty body",
                response(400, text, Some("")),
                error(400, None),
            ),
            (
                "error with JSON",
                response(503, json, Some("{}")),
                error(503, None),
            ),
            (
                "neither 2xx nor error",
                response(302, json, Some("7")),
                error(302, None),
            ),
        ] {
            let reported = response.read(number, &CacheConfig::default());
            let reported = reported.outcome.map(|object| *object).map_err(|mut error| {
                // Which words tell of an unusable response is nobody's business.
                error.text = error.text.filter(|_| error.status != 500);
                error
            });
            assert_eq!(reported, expected, "{line}");
        }
    }

    #[test]
    fn an_unusable_response_is_not_kept_whatever_it_says() {
        let config = CacheConfig::default();
        let kept = |body| {
            let mut response = response(200, Some("application/json"), Some(body));
            response.cache_control = Some("max-age = 180".to_owned());
            response.read(number, &config).lifetime
        };
        assert_eq!(kept("7"), Some(Duration::from_secs(180)));
        assert_eq!(kept("seven"), None);
    }

    #[test]
    fn only_the_status_204_is_a_success_of_the_command_router() {
        for (status, expected) in [
            (204, Ok(())),
            (200, Err(500)),
            (404, Err(404)),
            (503, Err(503)),
        ] {
            let reported = response(status, None, None).expect(204);
            assert_eq!(reported.map_err(|error| error.status), expected, "{status}");
        }
    }
}
