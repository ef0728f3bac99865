//! A way to the host, then SSH with a host key that is verified before anything is authenticated, then
//! a login.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_engine::run::host::Layer;
use russh::client::{Config, Handle, Handler};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Preferred, cipher};

use super::auth::{Ask, Keys, Login};
use super::known_hosts::{KnownHosts, Verdict};
use super::ssh_config::{self, Route, SshConfig};
use super::way::{self, Gates, Way};
use crate::fault::Fault;
use crate::image::Registries;

/// Where a node listens, and as whom to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The node's name, for words that tell what to do; none if it is a jump host.
    pub name: String,
    /// A host name or an address, or a name that this login's ssh configuration knows.
    pub host: String,
    /// The login; the configuration's, or root, unless said.
    pub user: Option<String>,
    /// sshd's port; the configuration's, or 22, unless said.
    pub port: Option<u16>,
    /// The one private key to offer; the agent's and the usual files otherwise.
    pub identity: Option<PathBuf>,
    /// Hosts to go through, in order, as `[USER@]HOST[:PORT]`; the configuration's unless said.
    pub jumps: Vec<String>,
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
    /// Which ssh configuration says more of hosts.
    pub ssh_config: SshConfig,
    /// The one private key to offer to hosts that name none, jump hosts included.
    pub identity: Option<PathBuf>,
    /// Asks for the passphrase of a key.
    pub ask: Option<Ask>,
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
            ssh_config: SshConfig::Usual,
            identity: None,
            ask: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// What all connections of a process share.
pub(crate) struct Dialer {
    files: Vec<PathBuf>,
    known: Arc<KnownHosts>,
    config: SshConfig,
    identity: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) gates: Gates,
    keys: Keys,
}

impl Dialer {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            files: options.known_hosts.clone(),
            known: Arc::new(KnownHosts::read(&options.known_hosts)),
            config: options.ssh_config.clone(),
            identity: options.identity.clone(),
            timeout: options.connect_timeout,
            gates: Gates::default(),
            keys: Keys::new(options.ask.clone()),
        }
    }

    /// How a target is reached.
    pub(crate) async fn route(&self, target: &Target) -> Result<Route, Fault> {
        let identity = target.identity.clone().or_else(|| self.identity.clone());
        ssh_config::resolve(&Target { identity, ..target.clone() }, &self.config).await
    }

    /// The trusted host keys for a route: everybody's, and those of the files that it names.
    pub(crate) fn known(&self, route: &Route) -> Arc<KnownHosts> {
        let more = route.known_hosts.iter().filter(|file| !self.files.contains(file));
        let more: Vec<PathBuf> = more.filter(|file| file.exists()).cloned().collect();
        if more.is_empty() {
            return self.known.clone();
        }
        Arc::new(KnownHosts::read(&[more, self.files.clone()].concat()))
    }
}

/// A connection that is logged in.
pub(crate) struct Dialed {
    pub(crate) handle: Handle<Checker>,
    /// The address that was reached, where this machine knows it.
    pub(crate) address: Option<IpAddr>,
    /// As whom.
    pub(crate) user: String,
}

/// russh's callbacks: only the host key's is ours.
pub(crate) struct Checker {
    /// The node's name; empty for a jump host.
    node: String,
    /// The name and port that known_hosts files have it under.
    host: (String, u16),
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
                let verdict = self.known.judge(&self.host.0, self.host.1, key);
                let fingerprint = key.fingerprint(HashAlg::Sha256);
                let trust = match self.node.as_str() {
                    "" => format!("connect to it once with `ssh {}`", self.host.0),
                    node => format!("run `berth trust {}`", quoted(node)),
                };
                explain(&verdict, &format!("{} {fingerprint}", key.algorithm()), &trust)
            }
        };
        let trusted = why.is_none();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = why;
        Ok(trusted)
    }
}

/// A node's name as a shell takes it.
fn quoted(node: &str) -> String {
    let plain = node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { node.to_owned() } else { format!("'{node}'") }
}

fn explain(verdict: &Verdict, shown: &str, trust: &str) -> Option<String> {
    Some(match verdict {
        Verdict::Trusted => return None,
        Verdict::Unknown => format!(
            "the host showed {shown}, which no known_hosts file has; compare it with the node's console, then {trust}"
        ),
        Verdict::Differs(place) => format!(
            "the host showed {shown}, but {place} has another key for it: someone may be in between; if the node was reinstalled, remove that line and {trust}"
        ),
        Verdict::OtherAlgorithm(place) => format!(
            "the host showed {shown}, but is known by a key of another algorithm only ({place}); compare, then {trust}"
        ),
        Verdict::Revoked(place) => {
            format!("the host showed {shown}, which {place} revokes: do not trust it")
        }
        Verdict::AuthorityOnly(place) => format!(
            "the host showed {shown}; {place} trusts a certificate authority for it, and host certificates are not supported yet: {trust} for its plain key"
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

/// Connects and logs in.
pub(crate) async fn dial(dialer: &Dialer, target: &Target) -> Result<Dialed, Fault> {
    let route = dialer.route(target).await?;
    let way = way::open(dialer, target, &route).await?;
    let address = way.address;
    let handle = handshake(dialer, target, &route, way).await?;
    Ok(Dialed { handle, address, user: route.user })
}

/// The name and port that known_hosts files have a host under.
pub(crate) fn known_name(route: &Route) -> (String, u16) {
    match &route.alias {
        Some(alias) => (alias.clone(), 22),
        None => (route.host.clone(), route.port),
    }
}

/// Speaks SSH over an open way, and logs in.
pub(crate) async fn handshake(
    dialer: &Dialer,
    target: &Target,
    route: &Route,
    way: Way,
) -> Result<Handle<Checker>, Fault> {
    let Way { stream, shown, turn, address: _ } = way;
    let timeout = dialer.timeout;
    let (known, host) = (dialer.known(route), known_name(route));
    let verdict = Arc::new(Mutex::new(None));
    let preferred = preferred(known.algorithms(&host.0, host.1));
    let checker = Checker { node: target.name.clone(), host, known, verdict: verdict.clone() };
    let connect = russh::client::connect_stream(Arc::new(config(preferred)), stream, checker);
    let mut handle = match tokio::time::timeout(timeout, connect).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            let refused = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(match refused {
                Some(why) => Fault::Unreachable { layer: Layer::HostKey, why },
                None => Fault::Unreachable { layer: Layer::Ssh, why: format!("{shown}: {error}") },
            });
        }
        Err(_) => {
            return Err(Fault::Unreachable {
                layer: Layer::Ssh,
                why: format!("{shown}: no SSH greeting or key exchange in {timeout:?}"),
            });
        }
    };
    Login { handle: &mut handle, route, keys: &dialer.keys, timeout }.run().await?;
    drop(turn);
    Ok(handle)
}
