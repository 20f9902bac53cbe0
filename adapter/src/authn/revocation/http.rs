//! The way to a responder: one POST over HTTP (RFC 6960 appendix A.1).

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::NotGood;

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
    exchange(stream, request).await
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<Bytes, NotGood> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| NotGood::Unreachable)?;
    let answer = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|_| NotGood::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(NotGood::Refused);
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(|_| NotGood::Malformed)?;
        Ok(body.to_bytes())
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        // The connection ends before the answer is put together, or in failure; the answer tells.
        _ = connection => {}
    }
    answer.await
}

/// Bytes of a response; one about one certificate has two or three thousand.
const LONGEST_ANSWER: usize = 65_536;
