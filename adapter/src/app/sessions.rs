//! What DTLS sessions are kept by: keys from files, and the file between two processes.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coap_proto::Endpoint;
use dtls_server::{
    AssociationId, ConnectionIds, Listener, LoadError, Resumption, SaveKey, SessionStore, Shards,
    StoreError, TicketKeys,
};
use zeroize::Zeroizing;

use super::StartError;
use crate::authn::DeviceStore;
use crate::config::{SessionsConfig, StoreConfig};
use crate::exchange::AdmissionControl;
use crate::serve::Kept;

/// What the settings make of a DTLS configuration.
pub(super) fn configure(
    dtls: &mut dtls_server::Config,
    config: &SessionsConfig,
) -> Result<(), StartError> {
    // The settings allow possible lengths only.
    dtls.connection_ids = config
        .connection_id_length
        .and_then(|length| ConnectionIds::new(length, config.connection_id_node, FIRST).ok());
    let mut resumption = Resumption::default();
    resumption.cached_sessions = config.resumption_cache_size;
    resumption.cache_lifetime = config.resumption_lifetime;
    resumption.tickets = config.ticket_keys.as_deref().map(ticket_keys).transpose()?;
    dtls.resumption = resumption;
    Ok(())
}

/// The keys of tickets in a file: the current one, and below it the previous one.
pub(super) fn ticket_keys(path: &Path) -> Result<TicketKeys, StartError> {
    match keys(path)?.as_slice() {
        [current] => Ok(TicketKeys::new(**current, None)),
        [current, previous] => Ok(TicketKeys::new(**current, Some(**previous))),
        _ => Err(unusable(path, KeyError::Count { most: 2 })),
    }
}

/// Where sessions are kept, known to be writable.
pub(super) fn store(config: &StoreConfig) -> Result<SessionStore, StartError> {
    let store = SessionStore::new(config.path.clone(), save_key(&config.key)?);
    store.check()?;
    Ok(store)
}

/// The key in a file with which sessions are sealed.
pub(super) fn save_key(path: &Path) -> Result<SaveKey, StartError> {
    match keys(path)?.as_slice() {
        [key] => Ok(SaveKey::new(**key)),
        _ => Err(unusable(path, KeyError::Count { most: 1 })),
    }
}

/// Takes sessions in from where they were kept. A file of ours that cannot be used costs devices a handshake, and the start goes on; one
/// that is somebody else's is a mistake in the settings.
pub(super) fn load(
    store: &SessionStore,
    shards: &mut Shards<DeviceStore>,
    endpoints: &mut [Endpoint<AssociationId>],
    admission: &AdmissionControl,
) -> Result<(), StartError> {
    let saved = match store.take() {
        Ok(None) => return Ok(()),
        Ok(Some(saved)) => saved,
        Err(
            error @ StoreError::Refused {
                source: LoadError::Foreign,
                ..
            },
        ) => return Err(error.into()),
        Err(StoreError::Refused { path, source }) => {
            let path = path.display();
            tracing::error!(%path, error = %source, "saved sessions cannot be used: devices must make new handshakes");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (now, wall) = (Instant::now(), SystemTime::now());
    let loaded = shards.load(&saved, |shard, association, owner| {
        let kept = Kept::decode(owner, wall)?;
        let endpoint = endpoints.get_mut(shard)?;
        let unspecified = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let holder = admission
            .source(Some(&kept.principal), unspecified)
            .holder();
        for answered in kept.answered {
            endpoint.remember(now, &association, Some(holder), answered);
        }
        Some(kept.principal)
    });
    if let Err(error) = loaded {
        tracing::error!(%error, "saved sessions cannot be used: devices must make new handshakes");
    }
    Ok(())
}

/// Ends the shards of a port and keeps their sessions.
pub(super) fn save(
    store: &SessionStore,
    shards: Vec<(Listener<DeviceStore>, Endpoint<AssociationId>)>,
) {
    let (listeners, endpoints): (Vec<_>, Vec<_>) = shards.into_iter().unzip();
    let sessions: usize = listeners.iter().map(Listener::established).sum();
    let (now, wall) = (Instant::now(), SystemTime::now());
    let saved = Shards::save(listeners, |shard, association, principal| {
        let endpoint = endpoints.get(shard);
        let answered = endpoint.map(|endpoint| endpoint.answered(now, &association));
        Kept::encode(principal, answered.into_iter().flatten(), wall)
    });
    match store.put(saved) {
        Ok(()) => tracing::info!(sessions, "saved DTLS sessions"),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "DTLS sessions were not saved: devices must make new handshakes"
            );
        }
    }
}

/// Each line of a file as a key.
fn keys(path: &Path) -> Result<Vec<Zeroizing<[u8; KEY_LENGTH]>>, StartError> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| unusable(path, KeyError::Unreadable(source)))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| key(line).ok_or_else(|| unusable(path, KeyError::Form)))
        .collect()
}

/// 32 bytes in hex or base64.
fn key(text: &str) -> Option<Zeroizing<[u8; KEY_LENGTH]>> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    if text.len() == 2 * KEY_LENGTH && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let digits = text.as_bytes().as_chunks::<2>().0;
        for (byte, digits) in key.iter_mut().zip(digits) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    if bytes.len() != KEY_LENGTH {
        return None;
    }
    key.copy_from_slice(&bytes);
    Some(key)
}

fn unusable(path: &Path, source: KeyError) -> StartError {
    StartError::Key {
        path: PathBuf::from(path),
        source,
    }
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// A line is no key.
    #[error("each line should be 32 random bytes in base64 or hex")]
    Form,
    /// There are none, or too many.
    #[error("it should have one key, or at most {most}, each on a line of its own")]
    Count {
        /// How many there may be.
        most: usize,
    },
}

const KEY_LENGTH: usize = 32;

/// The listeners of a port count from here.
const FIRST: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_hex_or_base64() {
        let rows = [
            ("0a".repeat(32), true),
            ("0A".repeat(32), true),
            (STANDARD.encode([10; 32]), true),
            ("0a".repeat(31), false),
            ("0g".repeat(32), false),
            ("+a".repeat(32), false),
            ("ä".repeat(32), false),
            (STANDARD.encode([10; 31]), false),
            (STANDARD.encode([10; 33]), false),
            ("secret".to_owned(), false),
            (String::new(), false),
        ];
        for (text, good) in rows {
            let expected = good.then_some([10; 32]);
            assert_eq!(key(&text).map(|key| *key), expected, "{text}");
        }
    }
}
