//! TLS comes from rustls with ring, chosen once per process.

/// Installs the crypto provider; later calls change nothing.
pub fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
