//! What a request is about: (method, Uri-Path) -> operation, as a pure table (spec: coap-adapter §1, §2).
//!
//! Only the first path segment decides; what stands below it belongs to the operation. Segments count as sent, empty ones too.

use std::fmt;

use coap_proto::content_format::LINK_FORMAT;
use coap_proto::{Code, Request, option};

use crate::rejection::Rejection;

/// What a device asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Data for applications: telemetry or an event.
    Upload(Endpoint, Addressing),
    /// The answer to a command; with the request id it names, if the path has the form that can name one.
    CommandResponse(Addressing, Option<String>),
    /// `GET /.well-known/core` (RFC 6690), with the filter of its query.
    Discovery(Option<String>),
}

/// The two kinds of data messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// May be lost if the device does not mind.
    Telemetry,
    /// Must not be lost.
    Event,
}

impl Endpoint {
    /// The first segment of its AMQP addresses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Event => "event",
        }
    }
}

/// Where a request says which device it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressing {
    /// POST: whoever the session belongs to.
    Session,
    /// PUT: the tenant and device of the path; absent and empty are the same.
    Path {
        /// The second segment.
        tenant: Option<String>,
        /// The third segment.
        device: Option<String>,
    },
}

/// A path as it is written in a URI, for logs.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a>(pub &'a [String]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|segment| write!(formatter, "/{segment}"))
    }
}

/// What the first segment of a path names (spec: coap-adapter §1). No other place knows the names
/// and their aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Telemetry of devices.
    Telemetry,
    /// Events of devices.
    Event,
    /// Responses to commands.
    CommandResponse,
    /// Commands: named in responses only, nothing is served there.
    Command,
    /// Discovery (RFC 6690).
    WellKnown,
}

/// Whether a path has the long or the short name of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// Such as `telemetry`.
    Long,
    /// Such as `t`.
    Short,
}

impl Resource {
    /// Resources that devices send to.
    pub const UPLOADS: [Self; 3] = [Self::Telemetry, Self::Event, Self::CommandResponse];

    /// The resource of a path and the style of its name; `None` for an unknown name.
    #[must_use]
    pub fn parse(path: &[String]) -> Option<(Self, PathStyle)> {
        use PathStyle::{Long, Short};
        Some(match path.first()?.as_str() {
            "telemetry" => (Self::Telemetry, Long),
            "t" => (Self::Telemetry, Short),
            "event" => (Self::Event, Long),
            "e" => (Self::Event, Short),
            "command_response" => (Self::CommandResponse, Long),
            "cr" => (Self::CommandResponse, Short),
            "command" => (Self::Command, Long),
            "c" => (Self::Command, Short),
            ".well-known" => (Self::WellKnown, Long),
            _ => return None,
        })
    }

    /// The resource of a request.
    #[must_use]
    pub fn from_request(request: &Request) -> Option<Self> {
        Self::parse(request.uri_path()).map(|(resource, _)| resource)
    }

    /// The first segment of its path.
    #[must_use]
    pub const fn segment(self, style: PathStyle) -> &'static str {
        match (self, style) {
            (Self::Telemetry, PathStyle::Long) => "telemetry",
            (Self::Telemetry, PathStyle::Short) => "t",
            (Self::Event, PathStyle::Long) => "event",
            (Self::Event, PathStyle::Short) => "e",
            (Self::CommandResponse, PathStyle::Long) => "command_response",
            (Self::CommandResponse, PathStyle::Short) => "cr",
            (Self::Command, PathStyle::Long) => "command",
            (Self::Command, PathStyle::Short) => "c",
            (Self::WellKnown, _) => ".well-known",
        }
    }
}

impl PathStyle {
    /// The style of a path; long for unknown names.
    #[must_use]
    pub fn from_path(path: &[String]) -> Self {
        Resource::parse(path).map_or(Self::Long, |(_, style)| style)
    }
}

/// What a request is about, in one of a few words, whether or not it can be served.
#[must_use]
pub fn name(request: &Request) -> &'static str {
    match Resource::from_request(request) {
        Some(Resource::WellKnown) => "discovery",
        Some(Resource::Command) | None => "other",
        Some(upload) => upload.segment(PathStyle::Long),
    }
}

/// Tells the operation of a request.
///
/// # Errors
/// [`Rejection::NoSuchResource`] and [`Rejection::MethodNotAllowed`]; for discovery also what it cannot give.
pub fn operation(request: &Request) -> Result<Operation, Rejection> {
    match Resource::from_request(request) {
        Some(Resource::Telemetry) => {
            Ok(Operation::Upload(Endpoint::Telemetry, addressing(request)?))
        }
        Some(Resource::Event) => Ok(Operation::Upload(Endpoint::Event, addressing(request)?)),
        Some(Resource::CommandResponse) => {
            let id = match request.uri_path() {
                [_, id] | [_, _, _, id] => Some(id.clone()),
                _ => None,
            };
            Ok(Operation::CommandResponse(addressing(request)?, id))
        }
        Some(Resource::WellKnown) => discovery(request),
        Some(Resource::Command) | None => Err(Rejection::NoSuchResource),
    }
}

fn addressing(request: &Request) -> Result<Addressing, Rejection> {
    let segment = |place: usize| {
        request
            .uri_path()
            .get(place)
            .filter(|it| !it.is_empty())
            .cloned()
    };
    match request.code() {
        Code::POST => Ok(Addressing::Session),
        Code::PUT => Ok(Addressing::Path {
            tenant: segment(1),
            device: segment(2),
        }),
        _ => Err(Rejection::MethodNotAllowed),
    }
}

fn discovery(request: &Request) -> Result<Operation, Rejection> {
    match request.uri_path() {
        [_, core] if core == "core" => {}
        [_] => return Err(Rejection::NotReadable),
        _ => return Err(Rejection::NoSuchResource),
    }
    if request.code() != Code::GET {
        return Err(Rejection::NotReadable);
    }
    if request.uri_query().len() > 1 {
        return Err(Rejection::TooManySearchQueries);
    }
    match request.options().first(option::ACCEPT) {
        Some(_) if request.accept() != Some(LINK_FORMAT) => Err(Rejection::NotAcceptable),
        _ => Ok(Operation::Discovery(request.uri_query().first().cloned())),
    }
}

#[cfg(test)]
mod tests {
    use coap_proto::message::{Message, MessageId, Type};
    use coap_proto::{Options, Token};

    use super::*;

    fn request(code: Code, path: &str) -> Request {
        let mut options = Options::default();
        for segment in path.split('/').skip(1) {
            options.push(option::URI_PATH, segment.as_bytes());
        }
        of(code, options)
    }

    fn of(code: Code, options: Options) -> Request {
        let id = MessageId(1);
        let token = Token::default();
        Request::of(Message {
            kind: Type::Confirmable,
            code,
            id,
            token,
            options,
            payload: Vec::new(),
        })
        .unwrap()
    }

    fn path(tenant: &str, device: &str) -> Addressing {
        let segment = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Addressing::Path {
            tenant: segment(tenant),
            device: segment(device),
        }
    }

    #[test]
    fn every_name_of_a_resource_is_read_as_it_is_written() {
        let all = [Resource::Command, Resource::WellKnown];
        for resource in Resource::UPLOADS.into_iter().chain(all) {
            for style in [PathStyle::Long, PathStyle::Short] {
                let segment = resource.segment(style);
                let parsed = Resource::parse(&[segment.to_owned()]);
                assert_eq!(parsed.map(|it| it.0), Some(resource), "{segment}");
                if resource != Resource::WellKnown {
                    assert_eq!(parsed.map(|it| it.1), Some(style), "{segment}");
                }
            }
        }
        for path in [&[][..], &[String::new()], &["T".to_owned()]] {
            assert_eq!(Resource::parse(path), None, "{path:?}");
            assert_eq!(PathStyle::from_path(path), PathStyle::Long, "{path:?}");
        }
    }

    #[test]
    fn every_form_of_uri_is_its_operation() {
        use Addressing::Session;
        use Endpoint::{Event, Telemetry};
        use Operation::{CommandResponse, Discovery, Upload};
        let id = || Some("101a1".to_owned());
        let rows = [
            (Code::POST, "/t", Ok(Upload(Telemetry, Session))),
            (Code::POST, "/telemetry", Ok(Upload(Telemetry, Session))),
            (
                Code::POST,
                "/t/anything/more",
                Ok(Upload(Telemetry, Session)),
            ),
            (Code::POST, "/e", Ok(Upload(Event, Session))),
            (Code::POST, "/event", Ok(Upload(Event, Session))),
            (
                Code::PUT,
                "/t//4712",
                Ok(Upload(Telemetry, path("", "4712"))),
            ),
            (Code::PUT, "/e/T/4712", Ok(Upload(Event, path("T", "4712")))),
            (
                Code::PUT,
                "/e/T/4712/more",
                Ok(Upload(Event, path("T", "4712"))),
            ),
            (Code::PUT, "/t", Ok(Upload(Telemetry, path("", "")))),
            (Code::PUT, "/t/T/", Ok(Upload(Telemetry, path("T", "")))),
            (Code::POST, "/cr/101a1", Ok(CommandResponse(Session, id()))),
            (
                Code::POST,
                "/cr/T/D/101a1",
                Ok(CommandResponse(Session, id())),
            ),
            (
                Code::PUT,
                "/command_response//D/101a1",
                Ok(CommandResponse(path("", "D"), id())),
            ),
            (Code::POST, "/cr", Ok(CommandResponse(Session, None))),
            (
                Code::POST,
                "/cr/D/101a1",
                Ok(CommandResponse(Session, None)),
            ),
            (Code::GET, "/.well-known/core", Ok(Discovery(None))),
            (Code::POST, "/.well-known/core", Err(Rejection::NotReadable)),
            (Code::GET, "/.well-known", Err(Rejection::NotReadable)),
            (
                Code::GET,
                "/.well-known/other",
                Err(Rejection::NoSuchResource),
            ),
            (Code::GET, "/t", Err(Rejection::MethodNotAllowed)),
            (Code::DELETE, "/e", Err(Rejection::MethodNotAllowed)),
            (Code::FETCH, "/cr/x", Err(Rejection::MethodNotAllowed)),
            (Code::PATCH, "/t", Err(Rejection::MethodNotAllowed)),
            (Code::IPATCH, "/t", Err(Rejection::MethodNotAllowed)),
            (Code::GET, "", Err(Rejection::NoSuchResource)),
            (Code::POST, "/", Err(Rejection::NoSuchResource)),
            (Code::POST, "/c", Err(Rejection::NoSuchResource)),
            (Code::POST, "/command", Err(Rejection::NoSuchResource)),
            (Code::POST, "/T", Err(Rejection::NoSuchResource)),
        ];
        for (code, uri, expected) in rows {
            assert_eq!(operation(&request(code, uri)), expected, "{code} {uri}");
        }
    }

    #[test]
    fn discovery_refuses_what_it_cannot_give() {
        let core = [
            (option::URI_PATH, &b".well-known"[..]),
            (option::URI_PATH, b"core"),
        ];
        let with = |further: &[(u16, &'static [u8])]| {
            operation(&of(
                Code::GET,
                core.iter().chain(further).copied().collect(),
            ))
        };
        assert_eq!(
            with(&[(option::ACCEPT, &[40])]),
            Ok(Operation::Discovery(None))
        );
        assert_eq!(
            with(&[(option::ACCEPT, &[50])]),
            Err(Rejection::NotAcceptable)
        );
        let queries = [(option::URI_QUERY, &b"a"[..]), (option::URI_QUERY, b"b")];
        assert_eq!(with(&queries), Err(Rejection::TooManySearchQueries));
    }
}
