//! TLS for signalling: who we are, whom we trust.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A peer that has not finished its handshake by then is gone.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Where distributions keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is wrong with certificates or keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate in the text.
    #[error(
        "no certificate found: expected PEM with BEGIN CERTIFICATE, our own first, then those that signed it"
    )]
    NoCertificate,
    /// There is no private key in the text, or it is encrypted.
    #[error("no private key found: expected PEM with an unencrypted PRIVATE KEY")]
    NoKey,
    /// The PEM text is damaged.
    #[error("damaged pem: {0}")]
    Pem(String),
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("key and certificate do not fit: {0}")]
    Mismatch(rustls::Error),
    /// The trusted certificates cannot be used.
    #[error("trusted certificates: {0}")]
    Trust(String),
    /// The file of the system's trusted certificates cannot be read.
    #[error("no trusted certificates of the system: none of {SYSTEM_ROOTS:?} can be read")]
    NoSystemRoots,
    /// TLS cannot be set up with what is given.
    #[error("tls set-up: {0}")]
    Setup(rustls::Error),
}

/// A certificate chain and its key, for listeners and for peers that want to know who calls. It can be replaced while
/// in use: the next handshake shows the new one.
pub struct TlsIdentity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl TlsIdentity {
    /// Reads a chain, our own certificate first, and the key that belongs to it.
    ///
    /// # Errors
    /// If one of them is missing or damaged, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self { current: RwLock::new(certified(chain, key)?) }))
    }

    /// Replaces both. Connections that stand are not touched.
    ///
    /// # Errors
    /// As [`TlsIdentity::from_pem`]; what was there before stays in use then.
    pub fn reload(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let fresh = certified(chain, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(..)")
    }
}

impl ResolvesServerCert for TlsIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for TlsIdentity {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Whom we believe to be who they say.
#[derive(Clone, Default)]
pub struct TlsTrust {
    roots: Roots,
    verify: Unverified,
}

#[derive(Clone, Default)]
enum Roots {
    /// Read when first needed, so that an agent without TLS needs none.
    #[default]
    System,
    Given(Arc<RootCertStore>),
}

#[derive(Clone, Default)]
enum Unverified {
    #[default]
    Nobody,
    Hosts(HashSet<String>),
    Everybody,
}

impl TlsTrust {
    /// Whom the operating system trusts.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Who shows a certificate signed by one of these (PEM).
    ///
    /// # Errors
    /// If there is none, or one cannot be used.
    pub fn roots(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        add(&mut roots, pem)?;
        Ok(Self { roots: Roots::Given(Arc::new(roots)), verify: Unverified::Nobody })
    }

    /// Whom the operating system trusts, and who shows a certificate signed by one of these (PEM).
    ///
    /// # Errors
    /// As [`TlsTrust::roots`], and if those of the system cannot be read.
    pub fn system_and(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = system_roots()?.as_ref().clone();
        add(&mut roots, pem)?;
        Ok(Self { roots: Roots::Given(Arc::new(roots)), verify: Unverified::Nobody })
    }

    /// Everybody, unverified: the talk is encrypted, but whoever sits in the line can read it.
    #[must_use]
    pub fn everybody() -> Self {
        Self { roots: Roots::System, verify: Unverified::Everybody }
    }

    /// As before, and this host, as it is written in the address called, unverified.
    #[must_use]
    pub fn and_unverified(mut self, host: &str) -> Self {
        match &mut self.verify {
            Unverified::Nobody => self.verify = Unverified::Hosts(HashSet::from([host.to_ascii_lowercase()])),
            Unverified::Hosts(hosts) => {
                hosts.insert(host.to_ascii_lowercase());
            }
            Unverified::Everybody => {}
        }
        self
    }

    fn believes(&self, host: &str) -> bool {
        match &self.verify {
            Unverified::Nobody => false,
            Unverified::Hosts(hosts) => hosts.contains(&host.to_ascii_lowercase()),
            Unverified::Everybody => true,
        }
    }

    fn store(&self) -> Result<Arc<RootCertStore>, TlsError> {
        match &self.roots {
            Roots::System => system_roots(),
            Roots::Given(roots) => Ok(Arc::clone(roots)),
        }
    }
}

impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = match &self.roots {
            Roots::System => None,
            Roots::Given(roots) => Some(roots.len()),
        };
        f.debug_struct("TlsTrust").field("roots", &roots).finish_non_exhaustive()
    }
}

/// Makes the acceptor of listeners. With `clients`, who connects has to show a certificate signed by one of them.
pub(crate) fn acceptor(
    identity: &Arc<TlsIdentity>,
    clients: Option<&TlsTrust>,
) -> Result<TlsAcceptor, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = match clients {
        Some(trust) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(trust.store()?, provider())
                .build()
                .map_err(|error| TlsError::Trust(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(identity) as _;
    Ok(TlsAcceptor::from(Arc::new(builder.with_cert_resolver(resolver))))
}

/// Shakes hands as the side that connected.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    trust: &TlsTrust,
    identity: Option<&Arc<TlsIdentity>>,
) -> io::Result<tokio_rustls::client::TlsStream<S>> {
    let connector = connector(host, trust, identity).map_err(io::Error::other)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no host name a certificate could carry"))?;
    timeout(HANDSHAKE_LIMIT, connector.connect(name, stream)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

fn connector(
    host: &str,
    trust: &TlsTrust,
    identity: Option<&Arc<TlsIdentity>>,
) -> Result<TlsConnector, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let verifier: Arc<dyn ServerCertVerifier> = if trust.believes(host) {
        Arc::new(Believer(provider()))
    } else {
        WebPkiServerVerifier::builder_with_provider(trust.store()?, provider())
            .build()
            .map_err(|error| TlsError::Trust(error.to_string()))?
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity) as _),
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey,
        other => TlsError::Pem(other.to_string()),
    })?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Mismatch)?;
    Ok(Arc::new(certified))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| TlsError::Pem(error.to_string()))?;
    if read.is_empty() { Err(TlsError::NoCertificate) } else { Ok(read) }
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsError> {
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| TlsError::Trust(error.to_string()))?;
    }
    Ok(())
}

fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let pem = named
        .into_iter()
        .chain(SYSTEM_ROOTS.into_iter().map(Into::into))
        .find_map(|path| std::fs::read(path).ok())
        .ok_or(TlsError::NoSystemRoots)?;
    let mut roots = RootCertStore::empty();
    // A few of them are always too odd for one library or the other.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// Believes every certificate whose owner has its key.
#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let (chain, key) = own("a.test");
        let (_, other) = own("b.test");
        TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let wrong = |chain: &str, key: &str| {
            TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string()
        };
        assert!(wrong("", &key).contains("no certificate"));
        assert!(wrong(&chain, "").contains("no private key"));
        assert!(wrong(&chain, &other).contains("do not fit"));
        assert!(wrong(&chain.replace('M', "!"), &key).contains("damaged"));
        assert!(TlsTrust::roots(b"").is_err());
    }

    #[test]
    fn a_bad_reload_leaves_what_was_there() {
        let (chain, key) = own("a.test");
        let identity = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let before = identity.current();
        identity.reload(b"", key.as_bytes()).unwrap_err();
        assert!(Arc::ptr_eq(&before, &identity.current()));
        let (chain, key) = own("b.test");
        identity.reload(chain.as_bytes(), key.as_bytes()).unwrap();
        assert!(!Arc::ptr_eq(&before, &identity.current()));
    }

    #[test]
    fn single_hosts_go_unverified() {
        let trust = TlsTrust::system().and_unverified("PBX.test").and_unverified("192.0.2.1");
        assert!(trust.believes("pbx.test") && trust.believes("192.0.2.1") && !trust.believes("other.test"));
        assert!(TlsTrust::everybody().believes("other.test"));
    }
}
