//! TCP, then SSH with a host key that is verified before anything is authenticated, then a login.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_engine::run::host::Layer;
use russh::client::{Config, Handle, Handler};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Preferred, cipher};

use super::known_hosts::{KnownHosts, Verdict};
use super::{auth, tcp};
use crate::fault::Fault;
use crate::image::Registries;

/// Where a node listens, and as whom to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node's name, for words that tell what to do.
    pub name: String,
    /// A host name or an address.
    pub host: String,
    /// The login.
    pub user: String,
    /// sshd's port.
    pub port: u16,
    /// The one private key to offer; the agent's and the usual files otherwise.
    pub identity: Option<PathBuf>,
}

/// How all nodes are talked to.
#[derive(Clone)]
pub struct Options {
    /// Image paths are relative to it.
    pub project_root: PathBuf,
    /// Where images come from that are not beside the project.
    pub registries: Arc<Registries>,
    /// Files of trusted host keys; those that are not there are skipped.
    pub known_hosts: Vec<PathBuf>,
    /// How long name lookup, TCP, and SSH with its login may take, each.
    pub connect_timeout: Duration,
    /// How long a read of a node may take.
    pub read_timeout: Duration,
}

impl Options {
    /// The usual known_hosts files and time-outs, for a project and its registries.
    pub fn for_project(project_root: PathBuf, registries: Arc<Registries>) -> Self {
        let mut known_hosts = vec![PathBuf::from("/etc/ssh/ssh_known_hosts")];
        if let Some(home) = std::env::var_os("HOME") {
            known_hosts.insert(0, PathBuf::from(home).join(".ssh/known_hosts"));
        }
        Self {
            project_root,
            registries,
            known_hosts,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// russh's callbacks: only the host key's is ours.
pub(crate) struct Checker {
    target: Target,
    known: Arc<KnownHosts>,
    verdict: Arc<Mutex<Option<String>>>,
}

impl Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let why = match shown {
            PublicKeyOrCertificate::Certificate(_) => {
                Some("the host showed a certificate, which was not asked for".to_owned())
            }
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let verdict = self.known.judge(&self.target.host, self.target.port, key);
                let fingerprint = key.fingerprint(HashAlg::Sha256);
                explain(&verdict, &format!("{} {fingerprint}", key.algorithm()), &self.target.name)
            }
        };
        let trusted = why.is_none();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = why;
        Ok(trusted)
    }
}

fn explain(verdict: &Verdict, shown: &str, node: &str) -> Option<String> {
    let plain = node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let node = if plain { node.to_owned() } else { format!("'{node}'") };
    Some(match verdict {
        Verdict::Trusted => return None,
        Verdict::Unknown => format!(
            "the host showed {shown}, which no known_hosts file has; compare it with the node's console, then run `berth trust {node}`"
        ),
        Verdict::Differs(place) => format!(
            "the host showed {shown}, but {place} has another key for it: someone may be in between; if the node was reinstalled, remove that line and run `berth trust {node}`"
        ),
        Verdict::OtherAlgorithm(place) => format!(
            "the host showed {shown}, but is known by a key of another algorithm only ({place}); compare, then run `berth trust {node}`"
        ),
        Verdict::Revoked(place) => {
            format!("the host showed {shown}, which {place} revokes: do not trust it")
        }
        Verdict::AuthorityOnly(place) => format!(
            "the host showed {shown}; {place} trusts a certificate authority for it, and host certificates are not supported yet: run `berth trust {node}` for its plain key"
        ),
    })
}

/// Settings of every SSH connection. russh's own defaults have no keepalive, no inactivity
/// time-out and not the fastest cipher; see "Speed of one SSH connection" in the lab's notes.
pub(crate) fn config(preferred: Preferred) -> Config {
    Config {
        preferred,
        nodelay: true,
        keepalive_interval: Some(Duration::from_secs(5)),
        keepalive_max: 3,
        inactivity_timeout: Some(Duration::from_secs(60)),
        ..Config::default()
    }
}

pub(crate) fn preferred(algorithms: Vec<russh::keys::Algorithm>) -> Preferred {
    Preferred {
        key: Cow::Owned(algorithms),
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
        ]),
        ..Preferred::default()
    }
}

/// Connects and logs in. Returns the address that was reached, too.
pub(crate) async fn dial(
    target: &Target,
    known: Arc<KnownHosts>,
    timeout: Duration,
) -> Result<(Handle<Checker>, std::net::IpAddr), Fault> {
    let (stream, address) = tcp::connect(&target.host, target.port, timeout).await?;
    let verdict = Arc::new(Mutex::new(None));
    let preferred = preferred(known.algorithms(&target.host, target.port));
    let checker = Checker { target: target.clone(), known, verdict: verdict.clone() };
    let connect = russh::client::connect_stream(Arc::new(config(preferred)), stream, checker);
    let mut handle = match tokio::time::timeout(timeout, connect).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            let refused = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(match refused {
                Some(why) => Fault::Unreachable { layer: Layer::HostKey, why },
                None => {
                    Fault::Unreachable { layer: Layer::Ssh, why: format!("{address}: {error}") }
                }
            });
        }
        Err(_) => {
            return Err(Fault::Unreachable {
                layer: Layer::Ssh,
                why: format!("{address}: no SSH greeting or key exchange in {timeout:?}"),
            });
        }
    };
    let login = auth::authenticate(&mut handle, &target.user, target.identity.as_deref());
    match tokio::time::timeout(timeout, login).await {
        Ok(done) => done?,
        Err(_) => {
            return Err(Fault::Unreachable {
                layer: Layer::Auth,
                why: format!("no answer in {timeout:?}"),
            });
        }
    }
    Ok((handle, address.ip()))
}
