//! By what the doctor proves who it is: a pre-shared key, or a certificate.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use dtls_client::{Config, Identity};
use zeroize::Zeroizing;

use super::super::Error;
use super::{DoctorOptions, KeyFormat};

/// What the device has.
#[derive(Debug)]
pub(super) enum Credentials {
    Psk { identity: String, key: Key },
    Certificate(Arc<Identity>),
}

/// A pre-shared key, and how it looked.
pub(super) struct Key {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// It was taken as text, but could be meant as another form of key.
    pub(super) looks_like: Option<KeyFormat>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

impl Credentials {
    pub(super) fn of(options: &DoctorOptions) -> Result<Self, Error> {
        if let (Some(certificate), Some(key)) = (&options.cert, &options.key_file) {
            let identity = Identity::from_pem(&read(certificate)?, &read(key)?);
            let unusable = |error| {
                Error::Wrong(format!(
                    "--cert {} and --key-file {} cannot be used: {error}",
                    certificate.display(),
                    key.display()
                ))
            };
            return Ok(Self::Certificate(Arc::new(identity.map_err(unusable)?)));
        }
        let Some(identity) = options.identity.clone() else {
            return Err(Error::Wrong(
                "coaps needs credentials: -u IDENTITY with a key, or --cert and --key-file"
                    .to_owned(),
            ));
        };
        let written = match (&options.key, &options.psk_file) {
            (Some(key), _) => Zeroizing::new(key.clone().into_bytes()),
            (None, Some(file)) => {
                let mut bytes = read(file)?;
                let length = bytes.trim_ascii_end().len();
                bytes.truncate(length);
                bytes
            }
            (None, None) => match env::var(VARIABLE) {
                Ok(key) => Zeroizing::new(key.into_bytes()),
                Err(_) => {
                    return Err(Error::Wrong(format!(
                        "-u needs a key: --psk-file FILE, the variable {VARIABLE}, or -k KEY"
                    )));
                }
            },
        };
        let key = Key::of(&written, options.key_format)?;
        Ok(Self::Psk { identity, key })
    }

    pub(super) fn config(&self) -> Config {
        match self {
            Self::Psk { identity, key } => Config::new(identity, &key.bytes),
            Self::Certificate(identity) => Config::with_certificate(Arc::clone(identity)),
        }
    }
}

impl Key {
    fn of(written: &[u8], format: KeyFormat) -> Result<Self, Error> {
        let bytes = match format {
            KeyFormat::Text => Some(written.to_vec()),
            KeyFormat::Hex => hex(written),
            KeyFormat::Base64 => BASE64_STANDARD.decode(written).ok(),
        };
        let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            Error::Wrong(format!(
                "the key is empty, or not written as {format:?}: see --key-format"
            ))
        })?;
        let looks_like = match format {
            KeyFormat::Text if hex(written).is_some_and(|bytes| bytes.len() >= 8) => {
                Some(KeyFormat::Hex)
            }
            KeyFormat::Text if looks_like_base64(written) => Some(KeyFormat::Base64),
            _ => None,
        };
        Ok(Self {
            bytes: Zeroizing::new(bytes),
            looks_like,
        })
    }
}

/// Most words can be read as Base64; those with padding or both cases and digits are likely to be it.
fn looks_like_base64(written: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| written.iter().any(test);
    let mixed =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    let padded = written.ends_with(b"=");
    written.len() >= 8 && (padded || mixed) && BASE64_STANDARD.decode(written).is_ok()
}

fn hex(written: &[u8]) -> Option<Vec<u8>> {
    if !written.len().is_multiple_of(2) {
        return None;
    }
    written
        .chunks_exact(2)
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            let plain = pair.iter().all(u8::is_ascii_hexdigit);
            u8::from_str_radix(text, 16).ok().filter(|_| plain)
        })
        .collect()
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| Error::Wrong(format!("{} cannot be read: {error}", path.display())))
}

const VARIABLE: &str = "COAP_PSK";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_as_it_is_written() {
        for (written, format, bytes, looks_like) in [
            (&b"secret"[..], KeyFormat::Text, Some(&b"secret"[..]), None),
            (b"736563", KeyFormat::Hex, Some(b"sec"), None),
            (b"c2VjcmV0", KeyFormat::Base64, Some(b"secret"), None),
            (
                b"c2VjcmV0",
                KeyFormat::Text,
                Some(b"c2VjcmV0"),
                Some(KeyFormat::Base64),
            ),
            (
                b"0001020304050607",
                KeyFormat::Text,
                Some(b"0001020304050607"),
                Some(KeyFormat::Hex),
            ),
            (b"7365+3", KeyFormat::Hex, None, None),
            (b"736", KeyFormat::Hex, None, None),
            (b"", KeyFormat::Text, None, None),
            (b"?", KeyFormat::Base64, None, None),
        ] {
            let key = Key::of(written, format).ok();
            let found = key.as_ref().map(|key| key.bytes.as_slice());
            assert_eq!(found, bytes, "{written:?}");
            assert_eq!(key.and_then(|key| key.looks_like), looks_like);
        }
    }
}
