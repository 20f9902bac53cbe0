//! Hello extensions (RFC 5246 §7.4.1.4): the few this crate answers; all others are passed over.

use crate::codec::alert::AlertDescription;
use crate::codec::{Malformed, Reader, put_vector8, put_vector16};

/// The number of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionType(pub u16);

impl ExtensionType {
    /// The host the client believes to talk to (RFC 6066 §3).
    pub const SERVER_NAME: Self = Self(0);
    /// Smaller records for small devices (RFC 6066 §4).
    pub const MAX_FRAGMENT_LENGTH: Self = Self(1);
    /// The curves a client can use, its favourite first (RFC 8422 §5.1.1).
    pub const SUPPORTED_GROUPS: Self = Self(10);
    /// How points may be written (RFC 8422 §5.1.2); today only uncompressed.
    pub const EC_POINT_FORMATS: Self = Self(11);
    /// The signatures a client can check, its favourite first (RFC 5246 §7.4.1.4.1).
    pub const SIGNATURE_ALGORITHMS: Self = Self(13);
    /// What a client may prove itself with (RFC 7250 §3).
    pub const CLIENT_CERTIFICATE_TYPE: Self = Self(19);
    /// What a server may prove itself with (RFC 7250 §3).
    pub const SERVER_CERTIFICATE_TYPE: Self = Self(20);
    /// The master secret is bound to the whole handshake (RFC 7627).
    pub const EXTENDED_MASTER_SECRET: Self = Self(23);
    /// The most that its sender takes in one record (RFC 8449).
    pub const RECORD_SIZE_LIMIT: Self = Self(28);
    /// What the client came back with; empty if it would like to have one (RFC 5077 §3.2).
    pub const SESSION_TICKET: Self = Self(35);
    /// Records are known by an id, whatever address they come from (RFC 9146 §3).
    pub const CONNECTION_ID: Self = Self(54);
    /// Addresses are proved by messages of their own (RFC 9853).
    pub const RRC: Self = Self(61);
    /// Secure renegotiation (RFC 5746); here: "never".
    pub const RENEGOTIATION_INFO: Self = Self(0xff01);
}

/// What of a hello's extensions this crate understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HelloExtensions<'a> {
    /// The host name; an answering server sends the extension empty, which reads as `Some("")`.
    pub server_name: Option<&'a str>,
    /// The wanted limit of a record's plaintext.
    pub max_fragment_length: Option<MaxFragmentLength>,
    /// The most plaintext that the sender of this hello takes in one record.
    pub record_size_limit: Option<RecordSizeLimit>,
    /// The codes of the curves a client can use, its favourite first; each two bytes.
    pub supported_groups: Option<&'a [[u8; 2]]>,
    /// The ways in which points may be written, a byte each.
    pub ec_point_formats: Option<&'a [u8]>,
    /// The signatures a client can check, its favourite first; each two bytes.
    pub signature_algorithms: Option<&'a [[u8; 2]]>,
    /// The kinds of certificates the client can show; from a server the one it wants.
    pub client_certificate_types: Option<&'a [u8]>,
    /// The kinds of certificates the client can check; from a server the one it shows.
    pub server_certificate_types: Option<&'a [u8]>,
    /// Whether the extended master secret is offered or accepted.
    pub extended_master_secret: bool,
    /// The ticket; empty if one is wanted, or will be given.
    pub session_ticket: Option<&'a [u8]>,
    /// The id by which the sender of this hello wants to know records; empty if it needs none in what it receives.
    pub connection_id: Option<&'a [u8]>,
    /// Whether proving an address is offered or accepted.
    pub return_routability: bool,
    /// The content of `renegotiation_info`: empty in a first handshake.
    pub renegotiation_info: Option<&'a [u8]>,
}

/// A limit of a record's plaintext: a code of 1 to 4 for 512 to 4,096 bytes (RFC 6066 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxFragmentLength(u8);

impl MaxFragmentLength {
    /// The limit with this code; `None` for a code the standard doesn't know.
    #[must_use]
    pub fn new(code: u8) -> Option<Self> {
        (1..=4).contains(&code).then_some(Self(code))
    }

    /// The limit in bytes.
    #[must_use]
    pub fn bytes(self) -> u16 {
        256_u16.wrapping_shl(u32::from(self.0))
    }
}

/// A limit of a record's plaintext in bytes, at least [`RecordSizeLimit::MIN`] (RFC 8449 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSizeLimit(u16);

impl RecordSizeLimit {
    /// The smallest limit there is.
    pub const MIN: u16 = 64;

    /// The largest that DTLS 1.2 has a meaning for: all of a record.
    pub const MAX: Self = Self(1 << 14);

    /// The limit of so many bytes; `None` below [`RecordSizeLimit::MIN`].
    #[must_use]
    pub fn new(bytes: u16) -> Option<Self> {
        (bytes >= Self::MIN).then_some(Self(bytes))
    }

    /// The limit in bytes; a peer may name one beyond what a record can carry.
    #[must_use]
    pub fn bytes(self) -> u16 {
        self.0
    }
}

impl<'a> HelloExtensions<'a> {
    /// Reads the extensions block of a ClientHello (without its length), and is strict about what
    /// this crate has no use for, too.
    ///
    /// # Errors
    /// As [`HelloExtensions::decode`]; also if any extension stands there twice (RFC 5246 §7.4.1.4),
    /// or a list of server names is empty (RFC 6066 §3).
    pub fn decode_offer(block: &'a [u8]) -> Result<Self, AlertDescription> {
        let mut types = Vec::new();
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let extension = ExtensionType(reader.u16()?);
            // Only a server acknowledges a name by an empty extension.
            if reader.vector16()?.is_empty() && extension == ExtensionType::SERVER_NAME {
                return Err(AlertDescription::DECODE_ERROR);
            }
            types.push(extension.0);
        }
        types.sort_unstable();
        if types.array_windows().any(|[one, next]| one == next) {
            return Err(AlertDescription::DECODE_ERROR);
        }
        Self::decode(block)
    }

    /// Reads a hello's extensions block (without its length).
    ///
    /// # Errors
    /// The alert that answers it: `decode_error` if the block or an extension understood here is not
    /// well-formed, or one of these stands there twice; `illegal_parameter` if a limit has a value
    /// that its standard forbids.
    pub fn decode(block: &'a [u8]) -> Result<Self, AlertDescription> {
        let mut found = Self::default();
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let extension = ExtensionType(reader.u16()?);
            let content = reader.vector16()?;
            match extension {
                ExtensionType::SERVER_NAME => {
                    once(found.server_name.is_none())?;
                    found.server_name = Some(host_name(content)?);
                }
                ExtensionType::MAX_FRAGMENT_LENGTH => {
                    once(found.max_fragment_length.is_none())?;
                    let &[code] = content else {
                        return Err(Malformed.into());
                    };
                    let limit = MaxFragmentLength::new(code);
                    // RFC 6066 §4.
                    let limit = limit.ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
                    found.max_fragment_length = Some(limit);
                }
                ExtensionType::RECORD_SIZE_LIMIT => {
                    once(found.record_size_limit.is_none())?;
                    let bytes = content.try_into().map_err(|_| Malformed)?;
                    let limit = RecordSizeLimit::new(u16::from_be_bytes(bytes));
                    // RFC 8449 §4.
                    let limit = limit.ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
                    found.record_size_limit = Some(limit);
                }
                ExtensionType::SUPPORTED_GROUPS => {
                    once(found.supported_groups.is_none())?;
                    found.supported_groups = Some(code_list(content)?);
                }
                ExtensionType::EC_POINT_FORMATS => {
                    once(found.ec_point_formats.is_none())?;
                    let mut content = Reader::new(content);
                    found.ec_point_formats = Some(content.vector8()?);
                    content.end()?;
                }
                ExtensionType::SIGNATURE_ALGORITHMS => {
                    once(found.signature_algorithms.is_none())?;
                    found.signature_algorithms = Some(code_list(content)?);
                }
                ExtensionType::CLIENT_CERTIFICATE_TYPE => {
                    once(found.client_certificate_types.is_none())?;
                    found.client_certificate_types = Some(kinds(content)?);
                }
                ExtensionType::SERVER_CERTIFICATE_TYPE => {
                    once(found.server_certificate_types.is_none())?;
                    found.server_certificate_types = Some(kinds(content)?);
                }
                ExtensionType::EXTENDED_MASTER_SECRET => {
                    once(!found.extended_master_secret && content.is_empty())?;
                    found.extended_master_secret = true;
                }
                ExtensionType::SESSION_TICKET => {
                    once(found.session_ticket.is_none())?;
                    found.session_ticket = Some(content);
                }
                ExtensionType::CONNECTION_ID => {
                    once(found.connection_id.is_none())?;
                    let mut content = Reader::new(content);
                    found.connection_id = Some(content.vector8()?);
                    content.end()?;
                }
                ExtensionType::RRC => {
                    once(!found.return_routability && content.is_empty())?;
                    found.return_routability = true;
                }
                ExtensionType::RENEGOTIATION_INFO => {
                    once(found.renegotiation_info.is_none())?;
                    let mut content = Reader::new(content);
                    found.renegotiation_info = Some(content.vector8()?);
                    content.end()?;
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Appends what is set, as a client offers it.
    pub fn encode_offer(&self, out: &mut Vec<u8>) {
        if let Some(name) = self.server_name {
            let mut entry = vec![HOST_NAME];
            put_vector16(&mut entry, name.as_bytes());
            let mut list = Vec::new();
            put_vector16(&mut list, &entry);
            put_extension(out, ExtensionType::SERVER_NAME, &list);
        }
        for (extension, kinds) in [
            (
                ExtensionType::CLIENT_CERTIFICATE_TYPE,
                self.client_certificate_types,
            ),
            (
                ExtensionType::SERVER_CERTIFICATE_TYPE,
                self.server_certificate_types,
            ),
        ] {
            if let Some(kinds) = kinds {
                let mut content = Vec::new();
                put_vector8(&mut content, kinds);
                put_extension(out, extension, &content);
            }
        }
        self.encode_others(out);
    }

    /// Appends what is set, as a server answers it: a server name is acknowledged empty (RFC 6066 §3).
    pub fn encode_answer(&self, out: &mut Vec<u8>) {
        if self.server_name.is_some() {
            put_extension(out, ExtensionType::SERVER_NAME, &[]);
        }
        // Here a server tells its choice, without a length.
        if let Some(kind) = self.client_certificate_types {
            put_extension(out, ExtensionType::CLIENT_CERTIFICATE_TYPE, kind);
        }
        if let Some(kind) = self.server_certificate_types {
            put_extension(out, ExtensionType::SERVER_CERTIFICATE_TYPE, kind);
        }
        self.encode_others(out);
    }

    fn encode_others(&self, out: &mut Vec<u8>) {
        if let Some(limit) = self.max_fragment_length {
            put_extension(out, ExtensionType::MAX_FRAGMENT_LENGTH, &[limit.0]);
        }
        if let Some(limit) = self.record_size_limit {
            let content = limit.0.to_be_bytes();
            put_extension(out, ExtensionType::RECORD_SIZE_LIMIT, &content);
        }
        if let Some(groups) = self.supported_groups {
            let mut content = Vec::new();
            put_vector16(&mut content, groups.as_flattened());
            put_extension(out, ExtensionType::SUPPORTED_GROUPS, &content);
        }
        if let Some(formats) = self.ec_point_formats {
            let mut content = Vec::new();
            put_vector8(&mut content, formats);
            put_extension(out, ExtensionType::EC_POINT_FORMATS, &content);
        }
        if let Some(schemes) = self.signature_algorithms {
            let mut content = Vec::new();
            put_vector16(&mut content, schemes.as_flattened());
            put_extension(out, ExtensionType::SIGNATURE_ALGORITHMS, &content);
        }
        if self.extended_master_secret {
            put_extension(out, ExtensionType::EXTENDED_MASTER_SECRET, &[]);
        }
        if let Some(ticket) = self.session_ticket {
            put_extension(out, ExtensionType::SESSION_TICKET, ticket);
        }
        if let Some(id) = self.connection_id {
            let mut content = Vec::new();
            put_vector8(&mut content, id);
            put_extension(out, ExtensionType::CONNECTION_ID, &content);
        }
        if self.return_routability {
            put_extension(out, ExtensionType::RRC, &[]);
        }
        if let Some(info) = self.renegotiation_info {
            let mut content = Vec::new();
            put_vector8(&mut content, info);
            put_extension(out, ExtensionType::RENEGOTIATION_INFO, &content);
        }
    }
}

/// Appends one extension.
pub fn put_extension(out: &mut Vec<u8>, extension: ExtensionType, content: &[u8]) {
    out.extend_from_slice(&extension.0.to_be_bytes());
    put_vector16(out, content);
}

fn once(first_time: bool) -> Result<(), Malformed> {
    if first_time { Ok(()) } else { Err(Malformed) }
}

/// Kinds of certificates: a list behind its length, or from a server the one it chose.
fn kinds(content: &[u8]) -> Result<&[u8], Malformed> {
    if content.len() == 1 {
        return Ok(content);
    }
    let mut content = Reader::new(content);
    let kinds = content.vector8()?;
    content.end()?;
    if kinds.is_empty() {
        return Err(Malformed);
    }
    Ok(kinds)
}

/// A list of codes of two bytes, behind its length; never empty.
fn code_list(content: &[u8]) -> Result<&[[u8; 2]], Malformed> {
    let mut content = Reader::new(content);
    let (codes, rest) = content.vector16()?.as_chunks();
    content.end()?;
    if codes.is_empty() || !rest.is_empty() {
        return Err(Malformed);
    }
    Ok(codes)
}

/// The host name in the list, which has one at most and is not empty (RFC 6066 §3); an empty extension
/// is a server's answer.
fn host_name(content: &[u8]) -> Result<&str, Malformed> {
    if content.is_empty() {
        return Ok("");
    }
    let mut reader = Reader::new(content);
    let mut list = Reader::new(reader.vector16()?);
    reader.end()?;
    let mut found = None;
    loop {
        let kind = list.u8()?;
        let name = list.vector16()?;
        if kind == HOST_NAME {
            once(found.is_none())?;
            let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
            if !name.is_ascii() || name.is_empty() || name.len() > MAX_HOST_NAME {
                return Err(Malformed);
            }
            found = Some(name);
        }
        if list.is_empty() {
            return Ok(found.unwrap_or_default());
        }
    }
}

const HOST_NAME: u8 = 0;

/// The only way to write points that is still in use (RFC 8422 §5.1.2).
pub const UNCOMPRESSED: u8 = 0;

/// The longest DNS name (RFC 1035 §2.3.4).
const MAX_HOST_NAME: usize = 255;
