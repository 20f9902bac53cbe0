//! The operator's port: what happened to a device lately. Off unless a port is set; every question needs the token.
//!
//! ```text
//! GET /operator/devices/{tenant}/{device}/recent      Authorization: Bearer <token>
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use ring::{hmac, rand::SystemRandom};
use zeroize::Zeroizing;

use super::health::{self, Health, ServeError};
use crate::diagnostics::recent::{Page, Recent};

/// Starts to answer at `address` whoever has the token in the file at `token`, which is read for each question, so that it can be
/// replaced.
///
/// # Errors
/// The port cannot be had.
pub async fn serve(
    address: SocketAddr,
    token: PathBuf,
    recent: Arc<Recent>,
) -> Result<Health, ServeError> {
    let state = Asked {
        recent,
        token: token.into(),
    };
    let router = Router::new()
        .route(PATH, get(recent_events))
        .with_state(state);
    health::listen(address, router, "operator", "HONO_COAP_OPERATORPORT").await
}

#[derive(Debug, Clone)]
struct Asked {
    recent: Arc<Recent>,
    token: Arc<std::path::Path>,
}

async fn recent_events(
    State(asked): State<Asked>,
    Path((tenant, device)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let file = Arc::clone(&asked.token);
    let read = tokio::task::spawn_blocking(move || read_token(&file)).await;
    let unreadable = |ended| Err(TokenError::Unreadable(std::io::Error::other(ended)));
    let token = match read.unwrap_or_else(unreadable) {
        Ok(token) => token,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, file = %asked.token.display(), "cannot read the operator token");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let token = token.trim_ascii();
    if !given.is_some_and(|given| is_same(given.trim().as_bytes(), token)) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    match serde_json::to_string_pretty(&Page::of(&asked.recent, &tenant, &device)) {
        Ok(page) => {
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, page).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The token in a file, with blanks around it.
///
/// # Errors
/// The file cannot be read, or holds no token that is long enough.
pub fn read_token(file: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let token = std::fs::read(file)
        .map(Zeroizing::new)
        .map_err(TokenError::Unreadable)?;
    if token.trim_ascii().len() < SHORTEST_TOKEN {
        return Err(TokenError::Short);
    }
    Ok(token)
}

/// Why a file gives no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// It can be guessed.
    #[error("the token should have at least {SHORTEST_TOKEN} bytes")]
    Short,
}

/// Takes the same time wherever the two differ: not they are compared, but what a key that nobody knows makes of them.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()) else {
        return false;
    };
    hmac::verify(&key, given, hmac::sign(&key, token).as_ref()).is_ok()
}

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

const PATH: &str = "/operator/devices/{tenant}/{device}/recent";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_or_not() {
        for (given, same) in [
            (&b"0123456789abcdef"[..], true),
            (b"0123456789abcdeg", false),
            (b"0123456789abcde", false),
            (b"", false),
        ] {
            assert_eq!(is_same(given, b"0123456789abcdef"), same, "{given:?}");
        }
    }
}
