//! Where a device or gateway is told to send the answer to a command, or whom a one-way command is for: the Location-Path of the
//! response (spec: coap-adapter §6).

use super::message::Command;
use crate::authn::{Authenticated, Origin};
use crate::route::{PathStyle, Resource};

/// The segments for a command for `device`; `via` is the gateway the router chose, `origin` that of the waiting request.
#[must_use]
pub fn path(
    style: PathStyle,
    origin: &Origin,
    device: &str,
    via: Option<&str>,
    command: &Command,
) -> Vec<String> {
    let one_way = Resource::Command.segment(style);
    let answer = Resource::CommandResponse.segment(style);
    let for_other = via.is_some() || origin.gateway.is_some();
    let id = command.request_id.as_ref().map(|id| id.encode(device));
    let segments = match (&id, origin.authenticated) {
        (None, Authenticated::Yes) if for_other => vec![one_way, "", device],
        (None, _) => vec![one_way],
        (Some(id), Authenticated::No) => vec![answer, &origin.tenant, device, id],
        (Some(id), Authenticated::Yes) if for_other => vec![answer, "", device, id],
        (Some(id), Authenticated::Yes) => vec![answer, id],
    };
    segments.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::message::Payload;
    use super::super::request_id::RequestId;
    use super::*;

    #[test]
    fn each_way_of_waiting_has_its_form() {
        let origin = |gateway: Option<&str>, authenticated| Origin {
            tenant: "T".into(),
            device: "D".into(),
            gateway: gateway.map(Into::into),
            auth_id: None,
            authenticated,
        };
        let device = origin(None, Authenticated::Yes);
        let for_device = origin(Some("gw"), Authenticated::Yes);
        let nobody = origin(None, Authenticated::No);
        let answer = "002c1app1";
        let rows: [(_, _, _, &[&str], &[&str]); 6] = [
            (PathStyle::Short, &device, None, &["c"], &["cr", answer]),
            (
                PathStyle::Long,
                &device,
                None,
                &["command"],
                &["command_response", answer],
            ),
            (
                PathStyle::Short,
                &device,
                Some("gw"),
                &["c", "", "D"],
                &["cr", "", "D", answer],
            ),
            (
                PathStyle::Long,
                &for_device,
                None,
                &["command", "", "D"],
                &["command_response", "", "D", answer],
            ),
            (
                PathStyle::Short,
                &for_device,
                Some("gw"),
                &["c", "", "D"],
                &["cr", "", "D", answer],
            ),
            (
                PathStyle::Short,
                &nobody,
                None,
                &["c"],
                &["cr", "T", "D", answer],
            ),
        ];
        for (style, origin, via, one_way, two_way) in rows {
            let mut command = Command {
                name: "x".to_owned(),
                request_id: None,
                content_type: None,
                payload: Payload(Vec::new()),
            };
            assert_eq!(
                path(style, origin, "D", via, &command),
                one_way,
                "{origin:?} {via:?}"
            );
            command.request_id = Some(RequestId::new("c1".to_owned(), "app1".to_owned()));
            assert_eq!(
                path(style, origin, "D", via, &command),
                two_way,
                "{origin:?} {via:?}"
            );
        }
    }
}
