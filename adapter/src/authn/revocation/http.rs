//! The way to a responder: one POST over HTTP (RFC 6960 appendix A.1).

use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::Bytes,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use tokio::net::TcpStream;

use super::NotGood;
use crate::http::{ExchangeError, exchange};

/// The body of the answer. The caller sets the deadline.
pub(super) async fn post(responder: &str, request: Vec<u8>) -> Result<Bytes, NotGood> {
    let uri: Uri = responder.parse().map_err(|_| NotGood::Unreachable)?;
    // What is signed needs no TLS, and responders have none: their certificates would have to be asked about in turn.
    let authority = match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => authority.clone(),
        _ => return Err(NotGood::Unreachable),
    };
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|_| NotGood::Unreachable)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/ocsp-request")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(request)))
        .map_err(|_| NotGood::Unreachable)?;
    exchange(stream, request)
        .await
        .map_err(|error| match error {
            ExchangeError::Broken(_) => NotGood::Unreachable,
            ExchangeError::Status(_) => NotGood::Refused,
            ExchangeError::Body(_) => NotGood::Malformed,
        })
}
