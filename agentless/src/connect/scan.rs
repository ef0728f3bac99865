//! Reads a host's key without trusting or authenticating anything: what `berth trust` shows.

use std::sync::{Arc, Mutex, PoisonError};

use berth_engine::run::host::Layer;
use russh::client::Handler;
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};

use super::dial::{Dialer, Options, Target, config, known_name, preferred};
use super::known_hosts::{KnownHosts, known_as};
use super::way;
use crate::fault::Fault;

/// A host's key, for people and for known_hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// Such as `ssh-ed25519`.
    pub algorithm: String,
    /// Such as `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint_sha256: String,
    /// The line that trusts it.
    pub known_hosts_line: String,
    /// Where it was seen.
    pub shown: String,
}

/// Why a host's key could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {why}")]
pub struct ScanError {
    /// Where it ended.
    pub layer: Layer,
    /// What to know.
    pub why: String,
}

struct Reader(Arc<Mutex<Option<PublicKey>>>);

impl Handler for Reader {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        }
        Ok(false)
    }
}

/// Reads the key that a host shows first, and hangs up before authentication.
///
/// # Errors
/// The layer where the way to the host ended.
pub async fn scan_host_key(target: &Target, options: &Options) -> Result<HostKey, ScanError> {
    let ended = |layer, why| ScanError { layer, why };
    let told = |fault| match fault {
        Fault::Unreachable { layer, why } => ended(layer, why),
        other => ended(Layer::Tcp, format!("{other:?}")),
    };
    let (dialer, timeout) = (Dialer::new(options), options.connect_timeout);
    let route = dialer.route(target).await.map_err(told)?;
    let way = way::open(&dialer, target, &route).await.map_err(told)?;
    let (stream, address) = (way.stream, way.shown);
    let seen = Arc::new(Mutex::new(None));
    let host = known_name(&route);
    let config = Arc::new(config(preferred(&KnownHosts::default(), &host)));
    let connect = russh::client::connect_stream(config, stream, Reader(seen.clone()));
    let why = match tokio::time::timeout(timeout, connect).await {
        Ok(Ok(_)) => "the key exchange ended without a key".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no key exchange in {timeout:?}"),
    };
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let key = seen.ok_or_else(|| ended(Layer::Ssh, format!("{address}: {why}")))?;
    let spelled = key.to_openssh().map_err(|error| ended(Layer::Ssh, error.to_string()))?;
    let mut words = spelled.split(' ');
    let (algorithm, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(HostKey {
        algorithm: algorithm.to_owned(),
        fingerprint_sha256: key.fingerprint(HashAlg::Sha256).to_string(),
        known_hosts_line: format!("{} {algorithm} {data}", known_as(&host.0, host.1)),
        shown: address,
    })
}
