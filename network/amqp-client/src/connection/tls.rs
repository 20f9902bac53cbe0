//! The stream below AMQP: TCP, and TLS if it is configured.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{ConfigError, HostnameVerification, TlsConfig, TlsVersion};

/// A stream of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Knows how to reach a server, for AMQP or anything else.
pub struct Connector {
    host: String,
    port: u16,
    tls: Option<Tls>,
}

/// What TLS goes by; its files may be read again.
struct Tls {
    name: ServerName<'static>,
    settings: TlsConfig,
    connector: RwLock<TlsConnector>,
}

impl Connector {
    /// Reads the files of `tls`; without it, TCP is all.
    ///
    /// # Errors
    /// A file cannot be read or used, or TLS is wanted with a host that no certificate can name.
    pub fn new(host: &str, port: u16, tls: Option<&TlsConfig>) -> Result<Self, ConfigError> {
        let tls = match tls {
            None => None,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| ConfigError::HostName(host.to_owned()))?;
                Some(Tls {
                    name,
                    settings: tls.clone(),
                    connector: RwLock::new(connector(tls)?),
                })
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// Connects, and makes the handshake of TLS. Waits as long as the network does: set a deadline.
    ///
    /// # Errors
    /// Nobody is there, or not the right one.
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let handshake = tls.connector().connect(tls.name.clone(), stream);
                Ok(Box::new(handshake.await?))
            }
        }
    }

    /// Reads the files of TLS again, for connections that are made from now on.
    ///
    /// # Errors
    /// A file cannot be read or used: all stays as it was.
    pub fn reload(&self) -> Result<(), ConfigError> {
        if let Some(tls) = &self.tls {
            let new = connector(&tls.settings)?;
            *tls.connector
                .write()
                .unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// The files that [`Connector::reload`] reads.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(settings) = self.tls.as_ref().map(|tls| &tls.settings) else {
            return Vec::new();
        };
        let identity = settings.identity.iter();
        let own = identity.flat_map(|own| [&own.certificate, &own.key]);
        settings.trust_store.iter().chain(own).cloned().collect()
    }
}

impl Tls {
    fn connector(&self) -> TlsConnector {
        let connector = self.connector.read();
        connector.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connector")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

fn connector(tls: &TlsConfig) -> Result<TlsConnector, ConfigError> {
    Ok(TlsConnector::from(Arc::new(client_config(tls)?)))
}

fn client_config(tls: &TlsConfig) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(provider(tls)?);
    let versions: Vec<&SupportedProtocolVersion> = tls
        .versions
        .iter()
        .map(|version| match version {
            TlsVersion::Tls12 => &TLS12,
            TlsVersion::Tls13 => &TLS13,
        })
        .collect();
    let roots = Arc::new(roots(tls.trust_store.as_deref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(unusable)?;
    let verifier: Arc<dyn ServerCertVerifier> = match tls.hostname_verification {
        HostnameVerification::Required => verifier,
        HostnameVerification::Skipped => Arc::new(AnyName(verifier)),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(identity) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&identity.certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(&identity.key)?).map_err(|_| ConfigError::Pem {
            path: identity.key.clone(),
            expected: "private key",
        })?;
    builder.with_client_auth_cert(chain, key).map_err(unusable)
}

/// All suites, or those that are named.
fn provider(tls: &TlsConfig) -> Result<CryptoProvider, ConfigError> {
    let mut provider = ring::default_provider();
    if tls.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let plain = |name: &str| name.replace("TLS13_", "TLS_");
    let wanted: Vec<String> = tls.cipher_suites.iter().map(|name| plain(name)).collect();
    provider.cipher_suites.retain(|suite| {
        let name = suite.suite().as_str().map(plain);
        name.is_some_and(|name| wanted.contains(&name))
    });
    if provider.cipher_suites.is_empty() {
        return Err(ConfigError::Tls {
            reason: "none of the cipher suites is known".into(),
        });
    }
    Ok(provider)
}

fn roots(trust_store: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    match trust_store {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(unusable)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let nothing = || ConfigError::Pem {
        path: path.to_owned(),
        expected: "certificate",
    };
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(nothing)
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::File {
        path: path.to_owned(),
        source,
    })
}

fn unusable(error: impl fmt::Display) -> ConfigError {
    ConfigError::Tls {
        reason: error.to_string().into(),
    }
}

/// Trusts a certificate of the trust store's whatever name it has.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self
            .0
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)
        {
            // The name is looked at last, after the path to the trust store.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
