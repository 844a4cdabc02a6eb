//! A certificate of our own for SIP over TLS.

use std::path::PathBuf;

use tempfile::TempDir;

/// A self-signed certificate for loopback, with its key.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
    dir: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = ["localhost", "127.0.0.1", "127.0.0.3"].map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).expect("valid names");
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("trust.pem"), &pem).expect("written");
        Self { pem, key, dir }
    }

    /// A file with the certificate, for those who are to trust it.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("trust.pem")
    }
}
