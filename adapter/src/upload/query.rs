//! The query arguments and the time option of a request (spec: coap-adapter §3).

use coap_proto::{Request, option};

use crate::tenant::Piggy;

/// What the queries of a request say; unknown ones are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// `hono-ttd`: how many seconds the device waits for a command; `None` also where it is no number.
    pub ttd: Option<i32>,
    /// `empty`, or a body: what the body is.
    pub notification: Notification,
    /// Whether the device wants to know the time.
    pub time: TimeRequest,
    /// `piggy`.
    pub piggy: Piggy,
    /// `hono-cmd-status`: the outcome of a command; `None` also where it is no number.
    pub command_status: Option<i32>,
}

/// A query of several arguments in one option, joined by `&`, of which one is known here. Only a
/// hint: an option is one argument, whatever it contains (RFC 7252 §5.10.1).
#[must_use]
pub fn unsplit(request: &Request) -> Option<&str> {
    let queries = request.uri_query().iter().map(String::as_str);
    let mut joined = queries.filter(|query| query.contains('&'));
    joined.find(|query| {
        let mut arguments = query.split('&');
        arguments.any(|argument| NAMES.iter().any(|name| value(argument, name).is_some()))
    })
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification {
    /// That the device is there, and nothing else (query `empty`).
    Empty,
    /// What its body says.
    Body,
}

/// Whether the device asked for the server's time (spec: coap-adapter §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeRequest {
    /// By option 65000 or the query `hono-time`.
    Wanted,
    /// Not at all.
    None,
}

impl Query {
    /// Reads the queries of a request. The last of several with one name counts.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let last = |name: &str| {
            request
                .uri_query()
                .iter()
                .rev()
                .find_map(|query| value(query, name))
        };
        let number = |name| last(name).and_then(|value| value.parse().ok());
        let wants_time =
            request.options().first(option::HONO_TIME).is_some() || last("hono-time").is_some();
        Self {
            ttd: number("hono-ttd"),
            notification: if last("empty").is_some() {
                Notification::Empty
            } else {
                Notification::Body
            },
            time: if wants_time {
                TimeRequest::Wanted
            } else {
                TimeRequest::None
            },
            piggy: if last("piggy").is_some() {
                Piggy::Asked
            } else {
                Piggy::Unasked
            },
            command_status: number("hono-cmd-status"),
        }
    }
}

/// Every argument that is known.
const NAMES: [&str; 5] = ["hono-ttd", "empty", "hono-time", "piggy", "hono-cmd-status"];

/// The value of a query argument of this name, empty if it has none.
fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = query.split_once('=').unwrap_or((query, ""));
    (found == name).then_some(value)
}

#[cfg(test)]
mod tests {
    use coap_proto::message::{Message, MessageId, Type};
    use coap_proto::{Code, Options, Token};

    use super::*;

    fn query(queries: &[&str], time_option: Option<&[u8]>) -> Query {
        Query::of(&request(queries, time_option))
    }

    fn request(queries: &[&str], time_option: Option<&[u8]>) -> Request {
        let mut options = Options::default();
        for query in queries {
            options.push(option::URI_QUERY, query.as_bytes());
        }
        if let Some(value) = time_option {
            options.push(option::HONO_TIME, value);
        }
        Request::of(Message {
            kind: Type::Confirmable,
            code: Code::POST,
            id: MessageId(1),
            token: Token::default(),
            options,
            payload: Vec::new(),
        })
        .unwrap()
    }

    /// `hono-ttd=2&empty` in one option means nothing, and nobody could see why.
    #[test]
    fn a_query_that_is_not_split_is_noticed_and_means_nothing() {
        for (queries, expected) in [
            (&["hono-ttd=2&empty"][..], Some("hono-ttd=2&empty")),
            (&["x=1&hono-ttd=1"], Some("x=1&hono-ttd=1")),
            (&["hono-time&x"], Some("hono-time&x")),
            (&["&piggy"], Some("&piggy")),
            (
                &["a=1", "x=1&hono-cmd-status=200"],
                Some("x=1&hono-cmd-status=200"),
            ),
            (&["hono-ttd=2", "empty"], None),
            (&["x=a&b", "hono-ttd=2"], None),
            (&["emptyx&xhono-ttd=2"], None),
            (&["&"], None),
            (&[], None),
        ] {
            assert_eq!(unsplit(&request(queries, None)), expected, "{queries:?}");
        }
        let joined = query(&["hono-ttd=2&empty"], None);
        assert_eq!(
            (joined.ttd, joined.notification),
            (None, Notification::Body)
        );
    }

    #[test]
    fn ttd_and_status_are_decimal_numbers_of_32_bits_or_absent() {
        let rows = [
            ("5", Some(5)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("4294967296", None),
            ("abc", None),
            ("", None),
            (" 5", None),
            ("5=6", None),
        ];
        for (value, expected) in rows {
            assert_eq!(
                query(&[&format!("hono-ttd={value}")], None).ttd,
                expected,
                "{value}"
            );
            let status = query(&[&format!("hono-cmd-status={value}")], None).command_status;
            assert_eq!(status, expected, "{value}");
        }
        assert_eq!(query(&["hono-ttd"], None).ttd, None);
    }

    #[test]
    fn of_several_queries_of_one_name_the_last_counts() {
        assert_eq!(query(&["hono-ttd=abc", "hono-ttd=4"], None).ttd, Some(4));
        assert_eq!(query(&["hono-ttd=4", "hono-ttd=abc"], None).ttd, None);
    }

    #[test]
    fn presence_counts_whatever_the_value() {
        for given in ["empty", "empty=", "empty=false"] {
            assert_eq!(
                query(&[given], None).notification,
                Notification::Empty,
                "{given}"
            );
        }
        for given in ["hono-time", "hono-time=x", "hono-time=x=y"] {
            assert_eq!(query(&[given], None).time, TimeRequest::Wanted, "{given}");
        }
        for value in [&[][..], &[0xff; 9]] {
            assert_eq!(
                query(&[], Some(value)).time,
                TimeRequest::Wanted,
                "{value:?}"
            );
        }
        assert_eq!(query(&["piggy"], None).piggy, Piggy::Asked);
        let none = query(&["Empty", "hono-timex", "emptyx=1", "x=piggy"], None);
        assert_eq!(
            (none.notification, none.time),
            (Notification::Body, TimeRequest::None)
        );
        assert_eq!(none.piggy, Piggy::Unasked);
    }
}
