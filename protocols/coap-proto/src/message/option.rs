//! Options: their numbers, the table of what is known about each, and the list a message carries (RFC 7252 §3.1, §5.4, §5.10).

/// RFC 7252 §5.10.8.
pub const IF_MATCH: u16 = 1;
/// RFC 7252 §5.10.1.
pub const URI_HOST: u16 = 3;
/// RFC 7252 §5.10.6.
pub const ETAG: u16 = 4;
/// RFC 7252 §5.10.8.
pub const IF_NONE_MATCH: u16 = 5;
/// RFC 7641 §2.
pub const OBSERVE: u16 = 6;
/// RFC 7252 §5.10.1.
pub const URI_PORT: u16 = 7;
/// RFC 7252 §5.10.7.
pub const LOCATION_PATH: u16 = 8;
/// RFC 7252 §5.10.1.
pub const URI_PATH: u16 = 11;
/// RFC 7252 §5.10.3.
pub const CONTENT_FORMAT: u16 = 12;
/// RFC 7252 §5.10.5.
pub const MAX_AGE: u16 = 14;
/// RFC 7252 §5.10.1.
pub const URI_QUERY: u16 = 15;
/// RFC 7252 §5.10.4.
pub const ACCEPT: u16 = 17;
/// RFC 7252 §5.10.7.
pub const LOCATION_QUERY: u16 = 20;
/// RFC 7959 §2.1.
pub const BLOCK2: u16 = 23;
/// RFC 7959 §2.1.
pub const BLOCK1: u16 = 27;
/// RFC 7959 §4.
pub const SIZE2: u16 = 28;
/// RFC 7252 §5.10.2.
pub const PROXY_URI: u16 = 35;
/// RFC 7252 §5.10.2.
pub const PROXY_SCHEME: u16 = 39;
/// RFC 7252 §5.10.9.
pub const SIZE1: u16 = 60;
/// RFC 9175 §2.2.
pub const ECHO: u16 = 252;
/// RFC 7967 §2.
pub const NO_RESPONSE: u16 = 258;
/// RFC 9175 §3.2.
pub const REQUEST_TAG: u16 = 292;
/// The device asks for, or is told, the server's time (Hono; experimental range of RFC 7252 §12.2).
pub const HONO_TIME: u16 = 65_000;

/// Whether a message must be refused if this option is not understood (RFC 7252 §5.4.6: odd numbers).
#[must_use]
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

/// What the standards say of a known option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Definition {
    /// Fewest and most bytes of its value.
    min: usize,
    max: usize,
    pub(crate) occurrence: Occurrence,
}

/// How often an option may come in one message (RFC 7252 §5.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occurrence {
    Once,
    Repeatable,
}

impl Definition {
    /// `None` for an option not known here.
    pub(crate) const fn of(number: u16) -> Option<Self> {
        use Occurrence::{Once, Repeatable};
        let (min, max, occurrence) = match number {
            IF_MATCH => (0, 8, Repeatable),
            URI_HOST => (1, 255, Once),
            ETAG => (1, 8, Repeatable),
            IF_NONE_MATCH => (0, 0, Once),
            OBSERVE => (0, 3, Once),
            URI_PORT | CONTENT_FORMAT | ACCEPT => (0, 2, Once),
            LOCATION_PATH | URI_PATH | URI_QUERY | LOCATION_QUERY => (0, 255, Repeatable),
            MAX_AGE | SIZE1 | SIZE2 => (0, 4, Once),
            BLOCK1 | BLOCK2 => (0, 3, Once),
            PROXY_URI => (1, 1034, Once),
            PROXY_SCHEME => (1, 255, Once),
            ECHO => (1, 40, Once),
            NO_RESPONSE => (0, 1, Once),
            REQUEST_TAG => (0, 8, Repeatable),
            // presence counts, whatever the value
            HONO_TIME => (0, usize::MAX, Repeatable),
            _ => return None,
        };
        Some(Self {
            min,
            max,
            occurrence,
        })
    }

    pub(crate) const fn allows_length(self, length: usize) -> bool {
        self.min <= length && length <= self.max
    }
}

/// The options of one message, in the order they were added.
///
/// Values share one buffer, so that a message with five options takes two allocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Number, and where its value ends in `values`.
    entries: Vec<(u16, usize)>,
    values: Vec<u8>,
}

impl Options {
    /// None yet, with room for so many bytes of values.
    pub(crate) fn with_room(values: usize) -> Self {
        Self {
            entries: Vec::new(),
            values: Vec::with_capacity(values),
        }
    }

    /// Adds one occurrence after those present.
    pub fn push(&mut self, number: u16, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.entries.push((number, self.values.len()));
    }

    /// Every occurrence as (number, value).
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.entries.iter().scan(0, |start, &(number, end)| {
            let value = self.values.get(*start..end).unwrap_or_default();
            *start = end;
            Some((number, value))
        })
    }

    /// The values of every occurrence of `number`.
    pub fn values(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |(found, _)| *found == number)
            .map(|(_, value)| value)
    }

    /// The value of the first occurrence of `number`.
    #[must_use]
    pub fn first(&self, number: u16) -> Option<&[u8]> {
        self.values(number).next()
    }

    /// The first occurrence of `number` as a number; `None` also if it does not fit.
    #[must_use]
    pub fn uint(&self, number: u16) -> Option<u64> {
        super::uint::decode(self.first(number)?)
    }

    /// How many occurrences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The memory the list takes.
    pub(crate) fn size(&self) -> usize {
        let entries = self
            .entries
            .capacity()
            .saturating_mul(size_of::<(u16, usize)>());
        entries.saturating_add(self.values.capacity())
    }

    /// At most so many bytes take the options of a message that has these.
    pub(crate) fn max_encoded_length(&self) -> usize {
        let headers = self.entries.len().saturating_mul(MAX_OPTION_HEADER);
        headers.saturating_add(self.values.len())
    }

    pub(crate) fn is_sorted(&self) -> bool {
        self.entries.is_sorted_by_key(|(number, _)| *number)
    }
}

/// One byte, and up to two each of delta and length.
const MAX_OPTION_HEADER: usize = 5;

impl<'a> FromIterator<(u16, &'a [u8])> for Options {
    fn from_iter<I: IntoIterator<Item = (u16, &'a [u8])>>(occurrences: I) -> Self {
        let mut options = Self::default();
        for (number, value) in occurrences {
            options.push(number, value);
        }
        options
    }
}
