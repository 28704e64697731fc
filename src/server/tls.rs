//! TLS from files, for both doors.

use crate::error::{Error, Place, Result};
use pgwire::tokio::TlsAcceptor;
use pgwire::tokio::tokio_rustls::rustls::ServerConfig;
use pgwire::tokio::tokio_rustls::rustls::pki_types::pem::PemObject;
use pgwire::tokio::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Identity, ServerTlsConfig};

/// How long a client may take to agree on a key.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A certificate and its key, as PEM.
pub(super) struct Tls {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// # Errors
    /// A file cannot be read, or is no PEM of its kind.
    pub fn read((certificate, key): &(PathBuf, PathBuf)) -> Result<Self> {
        let tls = Self { certificate: read(certificate)?, key: read(key)? };
        tls.acceptor().map_err(|e| e.at(place(certificate)))?;
        Ok(tls)
    }

    pub fn of_flight(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(Identity::from_pem(&self.certificate, &self.key)).timeout(HANDSHAKE_WITHIN)
    }

    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let failed = |e: &dyn std::fmt::Display| Error::new(format!("the certificate or its key cannot be used: {e}"));
        let certificates = CertificateDer::pem_slice_iter(&self.certificate).collect::<std::result::Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|e| failed(&e))?;
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(certificates.map_err(|e| failed(&e))?, key).map_err(|e| failed(&e))?;
        // As IANA registers the protocol.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn place(path: &Path) -> Place {
    Place::File { path: path.display().to_string(), line: None, column: None }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::new(format!("cannot be read: {e}")).at(place(path)))
}
