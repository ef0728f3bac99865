//! A way to the host, then SSH with a host key that is verified before anything is authenticated, then
//! a login.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_engine::plan::etcd::Etcd;
use berth_engine::run::host::Layer;
use russh::client::{Config, Handle, Handler, Session};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Names, Preferred, cipher};

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
    /// Whether nodes give each other large layers.
    pub fan_out: bool,
    /// The cluster that keeps the ledger, if no node does, and how this machine logs in there.
    pub etcd: Option<(Etcd, crate::etcd::Login)>,
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
            fan_out: true,
            etcd: None,
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

/// russh's callbacks, where a host may be refused before anything is authenticated.
pub(crate) struct Checker {
    /// The node's name; empty for a jump host.
    node: String,
    /// The name and port that known_hosts files have it under.
    host: (String, u16),
    known: Arc<KnownHosts>,
    refused: Arc<Mutex<Option<Fault>>>,
}

impl Checker {
    fn refuse(&self, layer: Layer, why: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Some(Fault::Unreachable { layer, why });
    }
}

impl Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let verdict = self.known.judge(&self.host.0, self.host.1, shown, now);
        let trust = match self.node.as_str() {
            "" => format!("connect to it once with `ssh {}`", self.host.0),
            node => format!("run `berth trust {}`", quoted(node)),
        };
        let key = shown.public_key();
        let key = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let Some(why) = explain(&verdict, &key, &trust) else { return Ok(true) };
        self.refuse(Layer::HostKey, why);
        Ok(false)
    }

    /// Without the strict key exchange somebody in between can drop what is said first (CVE-2023-48795).
    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if names.strict_kex() {
            return Ok(());
        }
        let why = "its SSH server does not know the strict key exchange (CVE-2023-48795): update it, such as by `apt-get install openssh-server`";
        self.refuse(Layer::Ssh, why.to_owned());
        Err(russh::Error::KexInit)
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
            "the host showed {shown} and no certificate, but {place} trusts it by a certificate authority only; compare, then {trust}"
        ),
        Verdict::NotVouched(place, why) => format!(
            "the host showed a certificate for {shown} that does not hold: {why}; {place} trusts certificates of an authority for it"
        ),
    })
}

/// Pause between two signs of life. A connection has ended when four of them were not answered: after 16 s, a second after its
/// node has given it up.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// Settings of every SSH connection. russh's own defaults have no keepalive, no inactivity
/// time-out and not the fastest cipher; see "Speed of one SSH connection" in the lab's notes.
pub(crate) fn config(preferred: Preferred) -> Config {
    Config {
        preferred,
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        inactivity_timeout: Some(Duration::from_secs(60)),
        ..Config::default()
    }
}

/// What is negotiated with a host, certificates only if one could vouch for it.
pub(crate) fn preferred(known: &KnownHosts, host: &(String, u16)) -> Preferred {
    let algorithms = known.algorithms(&host.0, host.1);
    let has_authority = known.has_authority(&host.0, host.1);
    Preferred {
        host_key_certificates: Cow::Owned(if has_authority {
            algorithms.clone()
        } else {
            Vec::new()
        }),
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
    let refused = Arc::new(Mutex::new(None));
    let preferred = preferred(&known, &host);
    let checker = Checker { node: target.name.clone(), host, known, refused: refused.clone() };
    let connect = russh::client::connect_stream(Arc::new(config(preferred)), stream, checker);
    let mut handle = match tokio::time::timeout(timeout, connect).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
            let why = format!("{shown}: {error}");
            return Err(refused.unwrap_or(Fault::Unreachable { layer: Layer::Ssh, why }));
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use russh::keys::ssh_key::certificate::{Builder, CertType};
    use russh::keys::ssh_key::private::Ed25519Keypair;
    use russh::keys::{PrivateKey, ssh_key};
    use russh::server::{self, Auth, PublicKeyOffer, VerifiedPublicKey};
    use russh::{MethodKind, MethodSet, kex};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that lets everybody in, and counts the calls of those who try.
    struct Door(Arc<AtomicUsize>);

    impl server::Handler for Door {
        type Error = russh::Error;

        async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Auth::reject())
        }

        async fn auth_publickey_offered(
            &mut self,
            _: &str,
            _: PublicKeyOffer<'_>,
        ) -> Result<Auth, Self::Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Auth::Accept)
        }

        async fn auth_publickey(
            &mut self,
            _: &str,
            _: VerifiedPublicKey<'_>,
        ) -> Result<Auth, Self::Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Auth::Accept)
        }
    }

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new(Ed25519Keypair::from_seed(&[seed; 32]).into(), "").expect("a key")
    }

    fn line(key: &PrivateKey) -> String {
        key.public_key().to_openssh().expect("a line")
    }

    /// How a dial ends at a server of this configuration, and how many calls of a login it saw.
    async fn dialed(config: server::Config, known: &str) -> (Result<(), Fault>, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let identity = key(9).to_openssh(ssh_key::LineEnding::LF).expect("a file");
        std::fs::write(file("id"), identity.as_bytes()).expect("written");
        std::fs::write(file("known"), known).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let calls = Arc::new(AtomicUsize::new(0));
        let door = Door(calls.clone());
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            if let Ok(session) = server::run_stream(Arc::new(config), stream, door).await {
                let _ = session.await;
            }
        });
        let registries = Registries::new(folder.path().to_owned(), Default::default());
        let mut options = Options::for_project(folder.path().to_owned(), Arc::new(registries));
        options.ssh_config = SshConfig::Nothing;
        options.known_hosts = vec![file("known")];
        options.identity = Some(file("id"));
        let target = Target {
            name: "n1".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            ..Target::default()
        };
        let ended = dial(&Dialer::new(&options), &target).await.map(drop);
        serving.await.expect("its end");
        (ended, calls.load(Ordering::SeqCst))
    }

    fn host() -> server::Config {
        server::Config {
            keys: vec![key(3)],
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            ..server::Config::default()
        }
    }

    /// Its certificate is valid until a moment, in seconds since 1970.
    fn vouched(until: u64) -> server::Config {
        let mut builder = Builder::new([7; 16], key(3).public_key(), 0, until).expect("times");
        builder.cert_type(CertType::Host).expect("a type");
        builder.valid_principal("127.0.0.1").expect("a name");
        server::Config { certificates: vec![builder.sign(&key(1)).expect("signed")], ..host() }
    }

    #[tokio::test]
    async fn a_host_that_is_known_is_logged_in_to() {
        let plain = format!("127.0.0.1 {}", line(&key(3)));
        let authority = format!("@cert-authority 127.* {}", line(&key(1)));
        for (config, known) in [(host(), &plain), (vouched(u64::MAX), &authority)] {
            let (ended, calls) = dialed(config, known).await;
            assert!(ended.is_ok() && calls > 0, "{known}: {:?}", ended.err());
        }
    }

    #[tokio::test]
    async fn a_host_that_is_refused_is_asked_for_no_login() {
        let (trusted, other) = (line(&key(3)), line(&key(2)));
        let authority = format!("@cert-authority [127.*]:* {}", line(&key(1)));
        let mut lax = host();
        let kexes = lax.preferred.kex.iter().copied();
        lax.preferred.kex =
            kexes.filter(|one| *one != kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER).collect();
        let cases = [
            (host(), String::new(), Layer::HostKey, "no known_hosts file has"),
            (host(), format!("[127.0.0.1]:* {other}"), Layer::HostKey, "another key for it"),
            (
                host(),
                format!("127.0.0.1 {trusted}\n@revoked * {trusted}"),
                Layer::HostKey,
                "known line 2 revokes",
            ),
            (host(), authority.clone(), Layer::HostKey, "no certificate"),
            (vouched(1_000_000_000), authority, Layer::HostKey, "it was valid until 2001-09-09"),
            (lax, format!("127.0.0.1 {trusted}"), Layer::Ssh, "strict key exchange"),
        ];
        for (config, known, at, expected) in cases {
            let (ended, calls) = dialed(config, &known).await;
            match ended {
                Err(Fault::Unreachable { layer, why }) => {
                    assert!(layer == at && why.contains(expected), "{known}: {layer}: {why}");
                }
                other => panic!("{known}: {:?}", other.err()),
            }
            assert_eq!(calls, 0, "{known}");
        }
    }
}
