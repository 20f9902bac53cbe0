//! JSON with keys in it, read without copies: texts are borrowed from the message they came in, which
//! is wiped as a whole.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A JSON value that borrows its texts. Numbers are of no use here and not kept.
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number,
    Text(Text<'a>),
    Array(Vec<Self>),
    Object(Object<'a>),
}

/// A text; one with escapes had to be copied, and is wiped when dropped.
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Copied(Zeroizing<String>),
}

/// The members of an object; of equal names the last one counts.
pub(super) struct Object<'a>(Vec<(Text<'a>, Json<'a>)>);

impl<'a> Object<'a> {
    /// Reads an object; `None` if it is none.
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        match serde_json::from_slice(json) {
            Ok(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let mut members = self.0.iter().rev();
        let found = members.find(|(member, _)| member.as_str() == name);
        found.map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Json::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Json::Bool(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Copied(text) => text,
        }
    }
}

/// The same JSON with each escaped slash written as a plain one, which means the same. The parser
/// copies a text with escapes into memory of its own that nobody wipes, and a slash is the only
/// character of a key in base64 that writers escape.
pub(super) fn without_escaped_slashes(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.windows(2).any(|pair| pair == ESCAPED_SLASH) {
        return Cow::Borrowed(json);
    }
    let mut plain = Vec::with_capacity(json.len());
    let mut bytes = json.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'/') => plain.push(b'/'),
            escaped => {
                plain.push(byte);
                plain.extend(escaped);
            }
        }
    }
    Cow::Owned(plain)
}

const ESCAPED_SLASH: &[u8] = br"\/";

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AnyText)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text::Copied(Zeroizing::new(text.to_owned())))
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        AnyText.visit_borrowed_str(text).map(Json::Text)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json<'de>, E> {
        AnyText.visit_str(text).map(Json::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: keys stayed in memory that was given back. Cause: each text of an answer was copied.
    #[test]
    fn texts_are_borrowed_from_the_message() {
        let json = br#"{"a":{"key":"c2VjcmV0"},"key":"old","key":"new","b":[1,-1,1.5,null,true]}"#;
        let object = Object::parse(json).unwrap();
        let Some(Json::Object(inner)) = object.get("a") else {
            panic!("that is an object");
        };
        let key = inner.text("key").unwrap();
        assert!(json.as_ptr_range().contains(&key.as_ptr()), "it was copied");
        assert_eq!(object.text("key"), Some("new"));
        assert!(matches!(object.get("b"), Some(Json::Array(items)) if items.len() == 5));
        for bad in ["", "[]", "{", "{} x", r#""text""#, r#"{"a":}"#] {
            assert!(Object::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn escaped_slashes_are_written_plainly_and_nothing_else_changes() {
        for (json, expected) in [
            (r#"{"k":"a\/b\/"}"#, r#"{"k":"a/b/"}"#),
            (r#"{"k":"a\\/b"}"#, r#"{"k":"a\\/b"}"#),
            (r#"{"k":"a\\\/b"}"#, r#"{"k":"a\\/b"}"#),
            (r#"{"k":"\"\/\u0041"}"#, r#"{"k":"\"/\u0041"}"#),
            (r#"{"k":"a/b"}"#, r#"{"k":"a/b"}"#),
        ] {
            let plain = without_escaped_slashes(json.as_bytes());
            assert_eq!(std::str::from_utf8(&plain), Ok(expected), "{json}");
        }
    }
}
