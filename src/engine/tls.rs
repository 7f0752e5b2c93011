//! TLS 1.3: certificates of our own, their fingerprints, and who is believed.

use std::path::Path;
use std::sync::Arc;
use std::sync::RwLock;

use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::PrivateKeyDer;
use futures_rustls::pki_types::ServerName;
use futures_rustls::pki_types::UnixTime;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::SignatureScheme;

use super::ctx::Fingerprint;
use super::files;

/// SHA-256 of a DER certificate.
pub fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
    let mut print = [0; 32];
    for (to, from) in print.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    print
}

/// A server's certificate and key, replaceable while the server runs.
#[derive(Debug)]
pub struct Identity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// Reads `certificate` and `key` (PEM). `make`: makes them, self-signed and 0600, if neither is there.
    ///
    /// # Errors
    /// In words, with the file's name.
    pub fn load(certificate: &Path, key: &Path, make: bool) -> Result<Arc<Identity>, String> {
        if make && !certificate.exists() && !key.exists() {
            self_signed(certificate, key)?;
        }
        let current = read(certificate, key)?;
        Ok(Arc::new(Identity { current: RwLock::new(Arc::new(current)) }))
    }

    /// A new self-signed certificate, that nothing remembers.
    ///
    /// # Errors
    /// In words.
    pub fn fresh() -> Result<Arc<Identity>, String> {
        let fail = |error: &dyn std::fmt::Display| format!("cannot make a certificate: {error}");
        let (made, pair) = make()?;
        let private = PrivateKeyDer::try_from(pair.serialize_der()).map_err(|error| fail(&error))?;
        let current = CertifiedKey::from_der(vec![made.der().clone()], private, &aws_lc_rs::default_provider());
        let current = current.map_err(|error| fail(&error))?;
        Ok(Arc::new(Identity { current: RwLock::new(Arc::new(current)) }))
    }

    /// Shows another certificate from now on, as [`read`] gave it.
    pub fn replace(&self, fresh: CertifiedKey) {
        if let Ok(mut current) = self.current.write() {
            *current = Arc::new(fresh);
        }
    }

    /// The fingerprint that peers see.
    pub fn fingerprint(&self) -> Fingerprint {
        match self.current.read() {
            Ok(current) => current.cert.first().map(|certificate| fingerprint(certificate)).unwrap_or_default(),
            Err(_) => Fingerprint::default(),
        }
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().ok().map(|current| Arc::clone(&current))
    }
}

fn make() -> Result<(rcgen::Certificate, rcgen::KeyPair), String> {
    let fail = |error: &dyn std::fmt::Display| format!("cannot make a certificate: {error}");
    let pair = rcgen::KeyPair::generate().map_err(|error| fail(&error))?;
    let mut params = rcgen::CertificateParams::new(vec!["convergia".to_owned()]).map_err(|error| fail(&error))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "convergia");
    // Trust comes from the fingerprint, so the dates only have to be wide.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let made = params.self_signed(&pair).map_err(|error| fail(&error))?;
    Ok((made, pair))
}

fn self_signed(certificate: &Path, key: &Path) -> Result<(), String> {
    let (made, pair) = make()?;
    files::replace(key, pair.serialize_pem().as_bytes(), 0o600)
        .map_err(|error| format!("{}: {error}", key.display()))?;
    files::replace(certificate, made.pem().as_bytes(), 0o600)
        .map_err(|error| format!("{}: {error}", certificate.display()))
}

/// Reads `certificate` and `key` (PEM), and checks that they belong together.
///
/// # Errors
/// In words, with the file's name.
pub fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| format!("{}: {error}", certificate.display()))?
        .collect();
    let chain = chain.map_err(|error| format!("{}: {error}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: holds no certificate", certificate.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let fresh = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?;
    Ok(fresh)
}

/// The TLS side of a listener.
pub fn server(identity: &Arc<Identity>) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(identity) as Arc<dyn ResolvesServerCert>);
    // A resumed connection would skip the look at the certificate, and tickets cost memory.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The TLS side of an opener that looks at the fingerprint itself, after the handshake.
pub fn client_any() -> Result<Arc<ClientConfig>, String> {
    let mut config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The TLS side of an opener that believes public CAs.
pub fn client_public() -> Result<Arc<ClientConfig>, String> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut config = client_builder()?.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn client_builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The name sent to the server: its host, without the port.
pub fn server_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // The interface of an address of the link is not part of its name.
    let host = host.split_once('%').map_or(host, |(host, _)| host).to_owned();
    ServerName::try_from(host).map_err(|_| format!("{address}: no host name"))
}

/// Takes any certificate whose owner proves, by its signature in the handshake, to hold the key. Whether it is the right one, the
/// caller tells by the fingerprint.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
