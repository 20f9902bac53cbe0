//! One HTTP exchange over a connection that is there: with a Prometheus server, with an OCSP responder. Who asks connects, and sets the
//! deadline.

use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, StatusCode,
    body::{Body, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Why an exchange gave no body.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The connection broke, or HTTP is not spoken there.
    Broken(hyper::Error),
    /// The answer is not 200.
    Status(StatusCode),
    /// The answer is cut off, or longer than 64 KiB.
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// The body of the answer to `request`, if that is 200.
pub(crate) async fn exchange<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Request<B>,
) -> Result<Bytes, ExchangeError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ExchangeError::Broken)?;
    let answer = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(ExchangeError::Broken)?;
        if response.status() != StatusCode::OK {
            return Err(ExchangeError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(ExchangeError::Body)?;
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

/// Bytes of an answer: one about a certificate has two or three thousand, one with a number far less.
const LONGEST_ANSWER: usize = 64 * 1024;
