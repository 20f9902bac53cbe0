//! Where the data volume of a tenant is asked for (spec: configuration §3, resource-limits).

use std::{path::PathBuf, time::Duration};

use amqp_client::{TlsConfig, UserCredentials};

use super::{Secret, chosen::Chosen, kind::Kind, properties, setting::settings, tls};

/// The Prometheus server that knows how much a tenant has sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResourceLimitsConfig {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How many tenants' answers are kept.
    pub cache_max_size: u64,
    /// Lifetime of a cached response.
    pub cache_timeout: Duration,
    /// A cached response is refreshed in the background after `cache_timeout` divided by this
    /// number.
    pub cache_refresh_divisor: u32,
    /// Time-out for establishing a connection.
    pub connect_timeout: Duration,
    /// How long to wait for an answer; none for ever.
    pub query_timeout: Option<Duration>,
    /// User and password for Basic authentication.
    pub credentials: Option<UserCredentials>,
    /// TLS, if it is spoken.
    pub tls: Option<TlsConfig>,
}

pub(super) fn from_chosen(chosen: &mut Chosen) -> Option<ResourceLimitsConfig> {
    let settings = LimitSettings::take(chosen, PREFIX);
    let host = settings.host?;
    Some(ResourceLimitsConfig {
        host,
        port: settings.port,
        cache_max_size: settings.cache_max_size.max(settings.cache_min_size).into(),
        cache_timeout: settings.cache_timeout,
        cache_refresh_divisor: settings.cache_refresh_divisor,
        connect_timeout: settings.connect_timeout,
        query_timeout: u64::try_from(settings.query_timeout)
            .ok()
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis),
        credentials: properties::credentials(
            chosen,
            PREFIX,
            (
                settings.username,
                settings.password,
                settings.credentials_path,
            ),
        ),
        tls: tls::tls(chosen, PREFIX),
    })
}

pub(super) const PREFIX: &str = "hono.resourceLimits.prometheusBased";

const COUNT: Kind = Kind::Number {
    min: 0,
    max: i32::MAX as i64,
    unit: "",
};

settings! {
    /// `hono.resourceLimits.prometheusBased` as it is written.
    pub(super) struct LimitSettings {
        /// Host name or address of the Prometheus server; without one, data volume limits are disabled.
        host: Option<String> = Kind::Text, "host", None;
        /// Port of the Prometheus server.
        port: u16 = Kind::Number { min: 1, max: 65_535, unit: "" }, "port", Some("9090");
        /// Initial capacity of the cache.
        cache_min_size: u32 = COUNT, "cacheMinSize", Some("20");
        /// Maximum number of cached responses.
        cache_max_size: u32 = COUNT, "cacheMaxSize", Some("1000");
        /// Lifetime of a cached response.
        cache_timeout: Duration = Kind::Seconds, "cacheTimeout", Some("60");
        /// A cached response is refreshed in the background after `cacheTimeout` divided by this number.
        cache_refresh_divisor: u32 = Kind::Number { min: 1, max: i32::MAX as i64, unit: "" }, "cacheRefreshDivisor", Some("2");
        /// Time-out for establishing a connection.
        connect_timeout: Duration = Kind::Millis { min: 1 }, "connectTimeout", Some("1000");
        /// Maximum time to wait for a query's response; 0 or less is unlimited.
        query_timeout: i64 = Kind::Number { min: i32::MIN as i64, max: i32::MAX as i64, unit: "ms" }, "queryTimeout", Some("500");
        /// User name for Basic authentication.
        username: Option<String> = Kind::Text, "username", None;
        /// Password for Basic authentication.
        password: Option<Secret> = Kind::Password, "password", None;
        /// Property file with `username` and `password`.
        credentials_path: Option<PathBuf> = Kind::Path, "credentialsPath", None;
    }
}
