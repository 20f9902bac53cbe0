//! Settings for DTLS sessions that survive address changes, pauses and restarts. Hono has none of
//! these, so all are off by default.

use std::{path::PathBuf, time::Duration};

use super::{
    chosen::Chosen,
    kind::Kind,
    setting::{COAP as PREFIX, settings},
};

/// How long-lived DTLS sessions are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionsConfig {
    /// Bytes of the connection ids that devices get if they offer to use one (RFC 9146); none: ids are not used.
    pub connection_id_length: Option<u8>,
    /// The number of this process in the ids it gives out.
    pub connection_id_node: u8,
    /// How many sessions may be resumed by their ids (RFC 5246 §7.4.1.2); 0 for none.
    pub resumption_cache_size: usize,
    /// How long they may be.
    pub resumption_lifetime: Duration,
    /// The file with the keys of tickets (RFC 5077); none: there are no tickets.
    pub ticket_keys: Option<PathBuf>,
    /// Where sessions are kept from one process to the next; none: they end with the process.
    pub store: Option<StoreConfig>,
    /// Maximum time to complete in-flight requests at shutdown.
    pub drain_timeout: Duration,
}

/// A file of sessions, and the key it is sealed with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The file; it is there only while there is no process.
    pub path: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self::new(SessionSettings::take(&Chosen::default(), PREFIX))
    }
}

impl SessionsConfig {
    pub(super) fn from_chosen(chosen: &mut Chosen) -> Self {
        let settings = SessionSettings::take(chosen, PREFIX);
        if (1..MIN_ID_LENGTH).contains(&settings.connection_id_length) {
            chosen.refuse(
                PREFIX,
                &["connectionIdLength"],
                "ids of 1 to 5 bytes have no room for what they must carry; -1, 0, or 6 to 20 are possible",
            );
        }
        if settings.session_store_path.is_some() != settings.session_store_key_path.is_some() {
            chosen.refuse(
                PREFIX,
                &["sessionStorePath", "sessionStoreKeyPath"],
                "one of `sessionStorePath` and `sessionStoreKeyPath` is set; sessions are kept under a key only",
            );
        }
        Self::new(settings)
    }

    fn new(settings: SessionSettings) -> Self {
        Self {
            connection_id_length: u8::try_from(settings.connection_id_length).ok(),
            connection_id_node: u8::try_from(settings.connection_id_node).unwrap_or(u8::MAX),
            resumption_cache_size: settings.resumption_cache_size,
            resumption_lifetime: settings.resumption_lifetime,
            ticket_keys: settings.ticket_key_path,
            store: settings
                .session_store_path
                .zip(settings.session_store_key_path)
                .map(|(path, key)| StoreConfig { path, key }),
            drain_timeout: settings.drain_timeout,
        }
    }
}

/// Version, node, shard, and three bytes of chance.
const MIN_ID_LENGTH: i64 = 6;

settings! {
    /// What `hono.coap` says of sessions, as it is written.
    pub(super) struct SessionSettings {
        /// Length of the connection ids assigned to devices that support them (RFC 9146): 6 to 20. 0 assigns none, but uses those that devices request; -1 disables connection ids.
        connection_id_length: i64 = Kind::Number { min: -1, max: 20, unit: "bytes" }, "connectionIdLength", Some("-1");
        /// Node number of this process in its connection ids, for load balancers that route by it.
        connection_id_node: u32 = Kind::Number { min: 0, max: 255, unit: "" }, "connectionIdNode", Some("0");
        /// Maximum number of DTLS sessions that can be resumed by session id; 0 disables this resumption.
        resumption_cache_size: usize = Kind::Number { min: 0, max: u32::MAX as i64, unit: "" }, "resumptionCacheSize", Some("0");
        /// How long a DTLS session can be resumed by session id.
        resumption_lifetime: Duration = Kind::Iso8601, "resumptionLifetime", Some("PT24H");
        /// File with the keys of session tickets (RFC 5077), which replicas may share: one key per line, 32 random bytes in base64 or hex, the current key first, then the previous one. Without it, tickets are disabled.
        ticket_key_path: Option<PathBuf> = Kind::Path, "ticketKeyPath", None;
        /// File in which DTLS sessions and their recent responses survive a restart; needs `sessionStoreKeyPath`. Without it, sessions end with the process.
        session_store_path: Option<PathBuf> = Kind::WrittenPath, "sessionStorePath", None;
        /// File with the key that encrypts `sessionStorePath`: 32 random bytes in base64 or hex.
        session_store_key_path: Option<PathBuf> = Kind::Path, "sessionStoreKeyPath", None;
        /// Maximum time to complete in-flight requests at shutdown.
        drain_timeout: Duration = Kind::Millis { min: 0 }, "drainTimeout", Some("5000");
    }
}
