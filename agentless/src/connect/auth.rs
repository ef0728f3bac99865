//! Which keys are offered, and in which order.
//!
//! The agent's, then files: those that are configured, or the usual ones. If one key alone is to be
//! used, the agent is asked for nothing but that. A certificate that lies beside a key goes before it. A key with
//! a passphrase is asked for where somebody can be, once a process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_engine::run::host::Layer;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate,
    load_public_key, load_secret_key,
};
use tokio::sync::Mutex;

use super::dial::Checker;
use super::ssh_config::Route;
use crate::fault::Fault;

/// At most this many of the agent's keys are offered: sshd counts each as an attempt.
const AGENT_KEYS: usize = 5;
/// How often a passphrase is asked for.
const PASSPHRASES: u32 = 3;
/// The files that are tried where none are configured, below `~/.ssh`.
const USUAL: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Asks a person for the passphrase of a key; nothing if there is nobody to ask.
pub type Ask = Arc<dyn Fn(&Path) -> Option<String> + Send + Sync>;

/// Keys that were read, so that nobody is asked twice.
#[derive(Default)]
pub(crate) struct Keys {
    ask: Option<Ask>,
    read: Mutex<HashMap<PathBuf, Result<Arc<PrivateKey>, String>>>,
}

impl Keys {
    pub(crate) fn new(ask: Option<Ask>) -> Self {
        Self { ask, ..Self::default() }
    }

    /// A key of a file, or words why there is none.
    async fn read(&self, path: &Path) -> Result<Arc<PrivateKey>, String> {
        let mut read = self.read.lock().await;
        if let Some(known) = read.get(path) {
            return known.clone();
        }
        let (path, ask) = (path.to_owned(), self.ask.clone());
        let file = path.clone();
        let key = tokio::task::spawn_blocking(move || load(&file, ask));
        let key = key.await.unwrap_or_else(|error| Err(error.to_string())).map(Arc::new);
        read.insert(path, key.clone());
        key
    }
}

fn load(path: &Path, ask: Option<Ask>) -> Result<PrivateKey, String> {
    let encrypted = match load_secret_key(path, None) {
        Ok(key) => return Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => "has a passphrase: add it to ssh-agent",
        Err(error) => return Err(error.to_string()),
    };
    let Some(ask) = ask else { return Err(encrypted.to_owned()) };
    for _ in 0..PASSPHRASES {
        let Some(passphrase) = ask(path) else { return Err(encrypted.to_owned()) };
        if let Ok(key) = load_secret_key(path, Some(&passphrase)) {
            return Ok(key);
        }
    }
    Err("the passphrase is not its".to_owned())
}

/// One attempt to log in.
pub(crate) struct Login<'a> {
    pub(crate) handle: &'a mut Handle<Checker>,
    pub(crate) route: &'a Route,
    pub(crate) keys: &'a Keys,
    pub(crate) timeout: Duration,
}

impl Login<'_> {
    /// Authenticates, or says every key that was tried.
    pub(crate) async fn run(&mut self) -> Result<(), Fault> {
        let mut tried = Vec::new();
        let files = self.files();
        if self.agent(&files, &mut tried).await? {
            return Ok(());
        }
        for path in &files {
            if self.file(path, &mut tried).await? {
                return Ok(());
            }
        }
        Err(refused(&self.route.user, &tried))
    }

    /// The files of keys to offer.
    fn files(&self) -> Vec<PathBuf> {
        let configured = &self.route.keys;
        if self.route.keys_only && !configured.is_empty() {
            return configured.clone();
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let usual =
            home.into_iter().flat_map(|home| USUAL.map(|name| home.join(".ssh").join(name)));
        let files = if configured.is_empty() { usual.collect() } else { configured.clone() };
        files.into_iter().filter(|path| path.exists()).collect()
    }

    async fn file(&mut self, path: &Path, tried: &mut Vec<String>) -> Result<bool, Fault> {
        let key = match self.keys.read(path).await {
            Ok(key) => key,
            Err(why) => {
                tried.push(format!("{} ({why})", path.display()));
                return Ok(false);
            }
        };
        for (named, certificate) in self.certificates(path, key.public_key()) {
            let (user, key) = (self.route.user.clone(), key.clone());
            let asked = self.handle.authenticate_openssh_cert(user, key, certificate);
            let result = answered(self.timeout, asked).await?;
            tried.push(named.display().to_string());
            if matches!(result, AuthResult::Success) {
                return Ok(true);
            }
        }
        let hash = hash(key.algorithm());
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let asked = self.handle.authenticate_publickey(self.route.user.clone(), key);
        let result = answered(self.timeout, asked).await?;
        tried.push(path.display().to_string());
        Ok(matches!(result, AuthResult::Success))
    }

    /// The certificates for a key: the one beside it, and those that are configured.
    fn certificates(&self, path: &Path, key: &PublicKey) -> Vec<(PathBuf, Certificate)> {
        let mut beside = path.as_os_str().to_owned();
        beside.push("-cert.pub");
        let files = [PathBuf::from(beside)].into_iter().chain(self.route.certificates.clone());
        let read = files.filter_map(|file| {
            let certificate = load_openssh_certificate(&file).ok()?;
            (certificate.public_key() == key.key_data()).then_some((file, certificate))
        });
        read.collect()
    }

    async fn agent(&mut self, files: &[PathBuf], tried: &mut Vec<String>) -> Result<bool, Fault> {
        let connected = match self.route.agent.as_deref() {
            Some("") => return Ok(false),
            Some(socket) => AgentClient::connect_uds(socket).await,
            None if std::env::var_os("SSH_AUTH_SOCK").is_none() => return Ok(false),
            None => AgentClient::connect_env().await,
        };
        let identities = match connected {
            Ok(mut agent) => match agent.request_identities().await {
                Ok(identities) => Ok((agent, identities)),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let (mut agent, identities) = match identities {
            Ok(both) => both,
            Err(error) => {
                tried.push(format!("ssh-agent ({error})"));
                return Ok(false);
            }
        };
        let only = self.route.keys_only.then(|| publics(files));
        let wanted = |identity: &AgentIdentity| match (&only, identity) {
            (None, _) => true,
            (Some(only), AgentIdentity::PublicKey { key, .. }) => {
                only.iter().any(|public| public.key_data() == key.key_data())
            }
            (Some(only), AgentIdentity::Certificate { certificate, .. }) => {
                only.iter().any(|public| public.key_data() == certificate.public_key())
            }
        };
        for identity in identities.into_iter().filter(wanted).take(AGENT_KEYS) {
            let user = self.route.user.clone();
            let (result, comment) = match identity {
                AgentIdentity::PublicKey { key, comment } => {
                    let hash = hash(key.algorithm());
                    let asked =
                        self.handle.authenticate_publickey_with(user, key, hash, &mut agent);
                    (tokio::time::timeout(self.timeout, asked).await, comment)
                }
                AgentIdentity::Certificate { certificate, comment } => {
                    let hash = hash(certificate.algorithm());
                    let asked = self.handle.authenticate_certificate_with(
                        user,
                        certificate,
                        hash,
                        &mut agent,
                    );
                    (tokio::time::timeout(self.timeout, asked).await, comment)
                }
            };
            tried.push(format!("{comment} of ssh-agent"));
            match result {
                Ok(Ok(AuthResult::Success)) => return Ok(true),
                Ok(Ok(AuthResult::Failure { .. })) => {}
                Ok(Err(error)) => tried.push(format!("ssh-agent ({error})")),
                Err(_) => return Err(silent(self.timeout)),
            }
        }
        Ok(false)
    }
}

/// The public halves of keys, where they lie beside them or the keys can be read without asking.
fn publics(files: &[PathBuf]) -> Vec<PublicKey> {
    let public = |path: &PathBuf| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        let beside = load_public_key(PathBuf::from(beside)).ok();
        beside.or_else(|| Some(load_secret_key(path, None).ok()?.public_key().clone()))
    };
    files.iter().filter_map(public).collect()
}

async fn answered(
    timeout: Duration,
    asked: impl Future<Output = Result<AuthResult, russh::Error>>,
) -> Result<AuthResult, Fault> {
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(Fault::Unreachable { layer: Layer::Auth, why: error.to_string() }),
        Err(_) => Err(silent(timeout)),
    }
}

fn silent(timeout: Duration) -> Fault {
    Fault::Unreachable { layer: Layer::Auth, why: format!("no answer in {timeout:?}") }
}

fn refused(user: &str, tried: &[String]) -> Fault {
    let why = if tried.is_empty() {
        format!(
            "no key to offer for `{user}`: set `ssh: {{ identity: … }}`, start ssh-agent, or make ~/.ssh/id_ed25519"
        )
    } else {
        format!(
            "no key was accepted for `{user}`; tried {}; add its public half to that login's ~/.ssh/authorized_keys, or name another with `ssh: {{ identity: … }}`",
            tried.join(", ")
        )
    };
    Fault::Unreachable { layer: Layer::Auth, why }
}

/// RSA keys are signed with SHA-2; the name of the hash does not concern the others.
fn hash(algorithm: russh::keys::Algorithm) -> Option<HashAlg> {
    algorithm.is_rsa().then_some(HashAlg::Sha512)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Makes a key with a passphrase; nothing where this machine has no `ssh-keygen`.
    fn encrypted(folder: &Path) -> Option<PathBuf> {
        let path = folder.join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "open sesame", "-f"])
            .arg(&path)
            .output();
        made.is_ok_and(|made| made.status.success()).then_some(path)
    }

    #[tokio::test]
    async fn a_passphrase_is_asked_for_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(path) = encrypted(folder.path()) else { return };
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let ask: Ask = Arc::new(move |_| {
            let before = count.fetch_add(1, Ordering::Relaxed);
            Some(if before == 0 { "a typo" } else { "open sesame" }.to_owned())
        });
        let keys = Keys::new(Some(ask));
        let (one, two) = tokio::join!(keys.read(&path), keys.read(&path));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2, "a typo, and once right");
    }

    #[tokio::test]
    async fn a_key_with_a_passphrase_and_nobody_to_ask_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(path) = encrypted(folder.path()) else { return };
        let nobody = Keys::default().read(&path).await.expect_err("no passphrase");
        assert!(nobody.contains("add it to ssh-agent"), "{nobody}");
        let ask: Ask = Arc::new(|_| Some("wrong".to_owned()));
        let keys = Keys::new(Some(ask));
        assert_eq!(keys.read(&path).await.expect_err("wrong"), "the passphrase is not its");
        // Its public half is enough to find it in an agent.
        assert_eq!(publics(&[path]).len(), 1);
    }
}
