//! Searches: `pageSize`, `pageOffset`, `filterJson`, `sortJson` (spec: registry-apis part C).

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::failure::Failure;

/// What is looked for, read from a query string.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Search {
    page_size: usize,
    page_offset: usize,
    filters: Vec<Filter>,
    orders: Vec<Order>,
    /// Only gateways, or only others.
    pub(super) is_gateway: Option<bool>,
}

#[derive(Debug, PartialEq)]
struct Filter {
    field: String,
    value: Value,
}

#[derive(Debug, PartialEq)]
struct Order {
    field: String,
    descending: bool,
}

impl Search {
    pub(super) fn parse(query: &str) -> Result<Self, Failure> {
        let mut search = Self {
            page_size: 30,
            ..Self::default()
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "pageSize" => {
                    let size = value.parse().ok().filter(|size| *size <= 200);
                    search.page_size = size.ok_or_else(|| wrong("pageSize"))?;
                }
                "pageOffset" => {
                    search.page_offset = value.parse().map_err(|_| wrong("pageOffset"))?;
                }
                "filterJson" => search.filters.push(filter(&value)?),
                "sortJson" => search.orders.push(order(&value)?),
                "isGateway" => {
                    let wanted = value.parse().map_err(|_| wrong("isGateway"))?;
                    search.is_gateway = Some(wanted);
                }
                _ => {}
            }
        }
        Ok(search)
    }

    /// The page of what fits, each with its id; 404 if nothing fits.
    pub(super) fn run(&self, all: impl Iterator<Item = Value>) -> Result<Value, Failure> {
        let mut found: Vec<Value> = all
            .filter(|item| self.filters.iter().all(|filter| filter.fits(item)))
            .collect();
        if found.is_empty() {
            return Err(Failure::not_found("nothing matches the search"));
        }
        found.sort_by(|one, other| self.compare(one, other));
        let total = found.len();
        let start = self.page_offset.saturating_mul(self.page_size);
        let page: Vec<Value> = found.into_iter().skip(start).take(self.page_size).collect();
        Ok(json!({"total": total, "result": page}))
    }

    fn compare(&self, one: &Value, other: &Value) -> Ordering {
        let ordered = |order: &Order| {
            let ordering = compare(one.pointer(&order.field), other.pointer(&order.field));
            if order.descending {
                ordering.reverse()
            } else {
                ordering
            }
        };
        self.orders
            .iter()
            .map(ordered)
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl Filter {
    fn fits(&self, item: &Value) -> bool {
        match (item.pointer(&self.field), &self.value) {
            (Some(Value::String(text)), Value::String(pattern)) => {
                let text: Vec<char> = text.chars().collect();
                let pattern: Vec<char> = pattern.chars().collect();
                is_like(&text, &pattern)
            }
            (Some(value), wanted) => value == wanted,
            (None, _) => false,
        }
    }
}

fn filter(text: &str) -> Result<Filter, Failure> {
    let json: Value = serde_json::from_str(text).map_err(|_| wrong("filterJson"))?;
    let field = field(&json).ok_or_else(|| wrong("filterJson"))?;
    let is_equal = json.get("op").is_none_or(|op| op == "eq");
    match json.get("value") {
        Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) if is_equal => {
            let value = value.clone();
            Ok(Filter { field, value })
        }
        _ => Err(wrong("filterJson")),
    }
}

fn order(text: &str) -> Result<Order, Failure> {
    let json: Value = serde_json::from_str(text).map_err(|_| wrong("sortJson"))?;
    let field = field(&json).ok_or_else(|| wrong("sortJson"))?;
    let descending = match json.get("direction").map(|value| value.as_str()) {
        None | Some(Some("asc")) => false,
        Some(Some("desc")) => true,
        Some(_) => return Err(wrong("sortJson")),
    };
    Ok(Order { field, descending })
}

fn field(json: &Value) -> Option<String> {
    let field = json.get("field")?.as_str()?;
    field.starts_with('/').then(|| field.to_owned())
}

fn wrong(parameter: &str) -> Failure {
    Failure::bad_request(format!("invalid query parameter [{parameter}]"))
}

/// Whether a text fits a pattern in which `*` stands for any letters and `?` for one. Linear in both but for going back to the
/// last `*`.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(at) {
        match (pattern.get(of), star) {
            (Some('*'), _) => {
                star = Some((at, of));
                of += 1;
            }
            (Some(wanted), _) if *wanted == '?' || wanted == letter => {
                at += 1;
                of += 1;
            }
            (_, Some((from, before))) => {
                star = Some((from + 1, before));
                at = from + 1;
                of = before + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(of).all(|letter| *letter == '*')
}

/// Nothing, then false and true, numbers, texts, and the rest.
fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None | Some(Value::Null) => 0,
        Some(Value::Bool(_)) => 1,
        Some(Value::Number(_)) => 2,
        Some(Value::String(_)) => 3,
        Some(_) => 4,
    };
    match (one, other) {
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (Some(Value::Number(one)), Some(Value::Number(other))) => one
            .as_f64()
            .unwrap_or(0.0)
            .total_cmp(&other.as_f64().unwrap_or(0.0)),
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        _ => rank(one).cmp(&rank(other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Search, is_like};

    fn items() -> Vec<Value> {
        vec![
            json!({"id": "a", "enabled": true, "ext": {"floor": 2, "room": "A1"}}),
            json!({"id": "b", "enabled": false, "ext": {"floor": 10, "room": "A2"}}),
            json!({"id": "c", "enabled": true, "ext": {"room": "B1"}}),
        ]
    }

    fn ids(query: &str) -> Option<String> {
        let found = Search::parse(query)
            .unwrap()
            .run(items().into_iter())
            .ok()?;
        let ids = found["result"].as_array().unwrap().iter();
        let ids: String = ids.map(|item| item["id"].as_str().unwrap()).collect();
        Some(format!("{}:{ids}", found["total"]))
    }

    #[test]
    fn what_fits_is_found_in_the_order_and_on_the_page_asked_for() {
        for (query, expected) in [
            ("", "3:abc"),
            ("pageSize=2", "3:ab"),
            ("pageSize=2&pageOffset=1", "3:c"),
            ("pageSize=0", "3:"),
            (
                r#"filterJson={"field":"/enabled","op":"eq","value":true}"#,
                "2:ac",
            ),
            (r#"filterJson={"field":"/ext/room","value":"A*"}"#, "2:ab"),
            (r#"filterJson={"field":"/ext/room","value":"?1"}"#, "2:ac"),
            (
                r#"filterJson={"field":"/enabled","value":true}&filterJson={"field":"/ext/floor","value":2}"#,
                "1:a",
            ),
            (r#"sortJson={"field":"/ext/floor"}"#, "3:cab"),
            (
                r#"sortJson={"field":"/ext/floor","direction":"desc"}"#,
                "3:bac",
            ),
            (
                r#"sortJson={"field":"/enabled","direction":"asc"}&sortJson={"field":"/id","direction":"desc"}"#,
                "3:bca",
            ),
        ] {
            assert_eq!(ids(query).as_deref(), Some(expected), "{query}");
        }
        assert_eq!(ids(r#"filterJson={"field":"/id","value":"x"}"#), None);
    }

    #[test]
    fn a_wrong_query_is_told() {
        for query in [
            "pageSize=201",
            "pageSize=-1",
            "pageOffset=x",
            "isGateway=maybe",
            "filterJson=x",
            r#"filterJson={"field":"id","value":1}"#,
            r#"filterJson={"field":"/id","op":"gt","value":1}"#,
            r#"filterJson={"field":"/id"}"#,
            r#"sortJson={"field":"/id","direction":"up"}"#,
        ] {
            assert!(Search::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_star_is_any_letters_and_a_question_mark_is_one() {
        let fits = |text: &str, pattern: &str| {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            is_like(&letters(text), &letters(pattern))
        };
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "*", true),
            ("abc", "a*c", true),
            ("abcbc", "a*bc", true),
            ("abc", "a?c", true),
            ("ac", "a?c", false),
            ("abc", "ab", false),
            ("abc", "*b", false),
        ] {
            assert_eq!(fits(text, pattern), expected, "{text} {pattern}");
        }
    }
}
