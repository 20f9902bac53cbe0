//! The fields of a certificate that are asked for here (RFC 5280 §4.1).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dtls_proto::codec::{
    Malformed, Reader,
    der::{Tag, element, expect, optional, whole},
};
use time::{Date, Month, OffsetDateTime, Time};

use super::Certificate;
use super::signature::Signed;
use crate::name::DistinguishedName;

pub(super) fn read(der: &[u8]) -> Result<Certificate, Malformed> {
    let signed = Signed::read(der)?;
    let mut tbs = Reader::new(signed.message);
    let mut tbs = Reader::new(expect(&mut tbs, Tag::SEQUENCE)?);
    let version = version(&mut tbs)?;
    let serial = expect(&mut tbs, Tag::INTEGER)?.to_vec();
    // What it says of its signature must be what stands beside the signature (RFC 5280 §4.1.1.2).
    if expect(&mut tbs, Tag::SEQUENCE)? != signed.algorithm {
        return Err(Malformed);
    }
    let issuer = DistinguishedName::from_der(whole(&mut tbs, Tag::SEQUENCE)?)?;
    let mut validity = Reader::new(expect(&mut tbs, Tag::SEQUENCE)?);
    let (not_before, not_after) = (moment(&mut validity)?, moment(&mut validity)?);
    validity.end()?;
    let subject = DistinguishedName::from_der(whole(&mut tbs, Tag::SEQUENCE)?)?;
    let public_key = whole(&mut tbs, Tag::SEQUENCE)?.to_vec();
    let mut extensions = Extensions::default();
    if version > 1 {
        optional(&mut tbs, ISSUER_UNIQUE_ID)?;
        optional(&mut tbs, SUBJECT_UNIQUE_ID)?;
    }
    if version > 2
        && let Some(list) = optional(&mut tbs, Tag::context(3))?
    {
        extensions.read(list)?;
    }
    tbs.end()?;
    Ok(Certificate {
        der: der.to_vec(),
        version,
        serial,
        issuer,
        not_before,
        not_after,
        subject,
        public_key,
        extensions,
    })
}

/// The version, which DER leaves out where it is the first.
fn version(tbs: &mut Reader<'_>) -> Result<u8, Malformed> {
    let Some(content) = optional(tbs, Tag::context(0))? else {
        return Ok(1);
    };
    let mut content = Reader::new(content);
    let number = expect(&mut content, Tag::INTEGER)?;
    content.end()?;
    match number {
        [number @ 0..=2] => Ok(number + 1),
        _ => Err(Malformed),
    }
}

/// What the extensions say, where they are there (RFC 5280 §4.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// Whether the key may sign.
    pub(super) signs: Option<bool>,
    /// What the key may be used for, as object identifiers.
    pub(super) purposes: Option<Vec<Vec<u8>>>,
    /// Where a responder for OCSP is.
    pub(super) ocsp: Option<String>,
    /// Whether one is critical that nobody here knows.
    pub(super) unknown: bool,
}

impl Extensions {
    fn read(&mut self, der: &[u8]) -> Result<(), Malformed> {
        let mut list = Reader::new(der);
        let mut list = Reader::new(expect(&mut list, Tag::SEQUENCE)?);
        let mut kinds = BTreeSet::new();
        while !list.is_empty() {
            let mut extension = Reader::new(expect(&mut list, Tag::SEQUENCE)?);
            let kind = expect(&mut extension, Tag::OBJECT_IDENTIFIER)?;
            // No extension may stand there twice (RFC 5280 §4.2): which one would count?
            if !kinds.insert(kind) {
                return Err(Malformed);
            }
            let critical = optional(&mut extension, Tag::BOOLEAN)?;
            let mut value = Reader::new(expect(&mut extension, Tag::OCTET_STRING)?);
            match kind {
                KEY_USAGE => {
                    let bits = expect(&mut value, Tag::BIT_STRING)?;
                    // The first byte tells how many bits are unused, the first bit is digitalSignature.
                    self.signs = Some(bits.get(1).is_some_and(|bits| bits & 0x80 != 0));
                }
                EXTENDED_KEY_USAGE => {
                    let mut purposes = Reader::new(expect(&mut value, Tag::SEQUENCE)?);
                    let mut found = Vec::new();
                    while !purposes.is_empty() {
                        found.push(expect(&mut purposes, Tag::OBJECT_IDENTIFIER)?.to_vec());
                    }
                    self.purposes = Some(found);
                }
                AUTHORITY_INFORMATION => self.ocsp = responder(&mut value)?,
                _ => {
                    let critical = critical.is_some_and(|value| value != [0]);
                    self.unknown |= critical && !WITHOUT_EFFECT.contains(&kind);
                }
            }
        }
        Ok(())
    }
}

/// The first address of a responder for OCSP among the ways to learn of the issuer (RFC 5280 §4.2.2.1).
fn responder(value: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut ways = Reader::new(expect(value, Tag::SEQUENCE)?);
    while !ways.is_empty() {
        let mut way = Reader::new(expect(&mut ways, Tag::SEQUENCE)?);
        let method = expect(&mut way, Tag::OBJECT_IDENTIFIER)?;
        let (kind, place) = element(&mut way)?;
        if method == OCSP && kind == UNIFORM_RESOURCE_IDENTIFIER {
            return Ok(String::from_utf8(place.to_vec()).ok());
        }
    }
    Ok(None)
}

/// A `Time`: two digits of the year mean 1950 to 2049 (RFC 5280 §4.1.2.5).
fn moment(reader: &mut Reader<'_>) -> Result<SystemTime, Malformed> {
    let (tag, content) = element(reader)?;
    let digits = content.strip_suffix(b"Z").ok_or(Malformed)?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2).ok_or(Malformed)?;
            let year = number(year)?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4).ok_or(Malformed)?;
            (number(year)?, rest)
        }
        _ => return Err(Malformed),
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let &[month, day, hour, minute, second] = pairs else {
        return Err(Malformed);
    };
    let byte = |pair: [u8; 2]| number(&pair).and_then(|it| u8::try_from(it).map_err(|_| Malformed));
    let month = Month::try_from(byte(month)?).map_err(|_| Malformed)?;
    let date = Date::from_calendar_date(year, month, byte(day)?).map_err(|_| Malformed)?;
    let time = Time::from_hms(byte(hour)?, byte(minute)?, byte(second)?).map_err(|_| Malformed)?;
    let seconds = OffsetDateTime::new_utc(date, time).unix_timestamp();
    let since = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        UNIX_EPOCH.checked_sub(since)
    } else {
        UNIX_EPOCH.checked_add(since)
    };
    moment.filter(|_| odd.is_empty()).ok_or(Malformed)
}

fn number(digits: &[u8]) -> Result<i32, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        text.parse().map_err(|_| Malformed)
    } else {
        Err(Malformed)
    }
}

const ISSUER_UNIQUE_ID: Tag = Tag(0x81);
const SUBJECT_UNIQUE_ID: Tag = Tag(0x82);
const UTC_TIME: Tag = Tag(0x17);
const GENERALIZED_TIME: Tag = Tag(0x18);
const UNIFORM_RESOURCE_IDENTIFIER: Tag = Tag(0x86);

/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];

/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

/// 1.3.6.1.5.5.7.1.1
const AUTHORITY_INFORMATION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

/// 1.3.6.1.5.5.7.48.1
const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];

/// What may be critical and changes nothing for a certificate that an anchor has issued itself: other names of the subject, whether
/// it may issue certificates, and policies, any of which is welcome (RFC 5280 §4.2.1.6, §4.2.1.9, §4.2.1.4).
const WITHOUT_EFFECT: [&[u8]; 3] = [&[0x55, 0x1d, 17], &[0x55, 0x1d, 19], &[0x55, 0x1d, 32]];
