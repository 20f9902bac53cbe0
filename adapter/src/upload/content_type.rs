//! What a message's content type may be (spec: coap-adapter §3).

use std::borrow::Cow;

use coap_proto::content_format::media_type;

use super::query::Notification;
use crate::rejection::Rejection;

/// The content type of telemetry or an event, as far as the message tells it.
///
/// # Errors
/// [`Rejection::ContentMismatch`] if it tells neither a body nor what the lack of one means, or both a body and that there is none.
pub fn of_message(
    notification: Notification,
    content_format: Option<u16>,
    payload: &[u8],
) -> Result<Option<Cow<'static, str>>, Rejection> {
    let content_type = match notification {
        Notification::Empty => Some(Cow::Borrowed(EMPTY_NOTIFICATION)),
        Notification::Body => content_format.map(media_type),
    };
    let matches = match content_type.as_deref() {
        None => !payload.is_empty(),
        Some(EMPTY_NOTIFICATION) => payload.is_empty(),
        Some(_) => true,
    };
    if matches {
        Ok(content_type)
    } else {
        Err(Rejection::ContentMismatch {
            content_type: content_type.map(Cow::into_owned),
        })
    }
}

/// The content type of a message that only says that the device is there.
pub const EMPTY_NOTIFICATION: &str = "application/vnd.eclipse-hono-empty-notification";

/// The content type where neither the message nor a default tells one.
pub const OCTET_STREAM: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_and_payload_must_match() {
        use Notification::{Body, Empty};
        let empty = || EMPTY_NOTIFICATION.to_owned();
        let refused = |content_type| Err(Rejection::ContentMismatch { content_type });
        let rows: [(_, _, &[u8], _); 8] = [
            (Body, None, b"x", Ok(None)),
            (Body, None, b"", refused(None)),
            (
                Body,
                Some(50),
                b"x",
                Ok(Some("application/json".to_owned())),
            ),
            (Body, Some(50), b"", Ok(Some("application/json".to_owned()))),
            (Body, Some(9999), b"x", Ok(Some("unknown/9999".to_owned()))),
            (Empty, None, b"", Ok(Some(empty()))),
            (Empty, Some(50), b"", Ok(Some(empty()))),
            (Empty, Some(50), b"x", refused(Some(empty()))),
        ];
        for (notification, format, payload, expected) in rows {
            let found = of_message(notification, format, payload);
            let found = found.map(|content_type| content_type.map(Cow::into_owned));
            assert_eq!(found, expected, "{notification:?} {format:?} {payload:?}");
        }
    }
}
