//! Which keys are offered, and in which order.
//!
//! If a key is configured, it alone. Else the agent's, then the usual files. A key with a
//! passphrase is the agent's business: the file is skipped, and the message says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_engine::run::host::Layer;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, load_secret_key};

use super::dial::Checker;
use crate::fault::Fault;

/// At most this many of the agent's keys are offered: sshd counts each as an attempt.
const AGENT_KEYS: usize = 5;

/// Authenticates, or says every key that was tried.
pub(crate) async fn authenticate(
    handle: &mut Handle<Checker>,
    user: &str,
    identity: Option<&Path>,
) -> Result<(), Fault> {
    let mut tried = Vec::new();
    if let Some(path) = identity {
        if file(handle, user, path, &mut tried).await? {
            return Ok(());
        }
        return Err(refused(user, &tried));
    }
    if agent(handle, user, &mut tried).await? {
        return Ok(());
    }
    if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
        for name in ["id_ed25519", "id_ecdsa", "id_rsa"] {
            let path = home.join(".ssh").join(name);
            if path.exists() && file(handle, user, &path, &mut tried).await? {
                return Ok(());
            }
        }
    }
    Err(refused(user, &tried))
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

fn broken(error: &russh::Error) -> Fault {
    Fault::Unreachable { layer: Layer::Auth, why: error.to_string() }
}

/// RSA keys are signed with SHA-2; the name of the hash does not concern the others.
fn hash(algorithm: russh::keys::Algorithm) -> Option<HashAlg> {
    algorithm.is_rsa().then_some(HashAlg::Sha512)
}

async fn file(
    handle: &mut Handle<Checker>,
    user: &str,
    path: &Path,
    tried: &mut Vec<String>,
) -> Result<bool, Fault> {
    let key = match load_secret_key(path, None) {
        Ok(key) => key,
        Err(russh::keys::Error::KeyIsEncrypted) => {
            tried.push(format!("{} (has a passphrase: add it to ssh-agent)", path.display()));
            return Ok(false);
        }
        Err(error) => {
            tried.push(format!("{} ({error})", path.display()));
            return Ok(false);
        }
    };
    let hash = hash(key.algorithm());
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
    let result = handle.authenticate_publickey(user, key).await.map_err(|error| broken(&error))?;
    tried.push(path.display().to_string());
    Ok(matches!(result, AuthResult::Success))
}

async fn agent(
    handle: &mut Handle<Checker>,
    user: &str,
    tried: &mut Vec<String>,
) -> Result<bool, Fault> {
    if std::env::var_os("SSH_AUTH_SOCK").is_none() {
        return Ok(false);
    }
    let mut agent = match AgentClient::connect_env().await {
        Ok(agent) => agent,
        Err(error) => {
            tried.push(format!("ssh-agent ({error})"));
            return Ok(false);
        }
    };
    let identities = match agent.request_identities().await {
        Ok(identities) => identities,
        Err(error) => {
            tried.push(format!("ssh-agent ({error})"));
            return Ok(false);
        }
    };
    for identity in identities.into_iter().take(AGENT_KEYS) {
        let (result, comment) = match identity {
            AgentIdentity::PublicKey { key, comment } => {
                let hash = hash(key.algorithm());
                (handle.authenticate_publickey_with(user, key, hash, &mut agent).await, comment)
            }
            AgentIdentity::Certificate { certificate, comment } => {
                let hash = hash(certificate.algorithm());
                let result =
                    handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await;
                (result, comment)
            }
        };
        tried.push(format!("{comment} of ssh-agent"));
        match result {
            Ok(AuthResult::Success) => return Ok(true),
            Ok(AuthResult::Failure { .. }) => {}
            Err(error) => tried.push(format!("ssh-agent ({error})")),
        }
    }
    Ok(false)
}
