//! Berth's file of secrets: who they are for, and each one encrypted, a line for each.
//!
//! It is TOML, sorted, and written the same way every time, so that a change of one secret is a change of its lines. To add one or
//! change it takes no key, only the names of who may read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_engine::plan::secret::Sealed;
use serde::{Deserialize, Serialize};

use super::ENTRY;
use super::keys::{Keys, NoKey, Recipient, seal};

/// The format that this Berth writes.
const VERSION: u32 = 1;
/// What a person sees first.
const HEADER: &str =
    "# Secrets, encrypted with age; `berth secret` reads and writes them. Commit this file.\n";
/// The most bytes of a file of secrets.
const MOST_BYTES: u64 = 4 << 20;

/// A file of secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    version: u32,
    /// Who may read: lines of public keys.
    pub(crate) recipients: Vec<String>,
    /// Fingerprints of what may not come back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) revoked: BTreeSet<String>,
    #[serde(default)]
    secrets: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    fingerprint: String,
    sealed: String,
}

/// A file of secrets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is none.
    #[error("there is no {0}")]
    None(String),
    /// It is not inside the project.
    #[error("{0} is not in the project's folder")]
    Outside(String),
    /// It is not what Berth writes.
    #[error("{path} cannot be used: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// The parser's words.
        why: String,
    },
    /// The system does not let it be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// The system's words.
        error: std::io::Error,
    },
}

/// Reads a file that the text names, from inside the project and nowhere else.
pub(super) fn bytes(root: &Path, path: &str) -> Result<Vec<u8>, StoreError> {
    let whole = inside(root, path)?;
    let file = |error| StoreError::File { path: path.to_owned(), error };
    match whole.metadata() {
        Ok(facts) if facts.len() > MOST_BYTES || !facts.is_file() => Err(StoreError::Unreadable {
            path: path.to_owned(),
            why: "this is no file of secrets".to_owned(),
        }),
        Ok(_) => std::fs::read(whole).map_err(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::None(path.to_owned()))
        }
        Err(error) => Err(file(error)),
    }
}

/// Where it is, if neither the path nor a link on it leads out of the project.
fn inside(root: &Path, path: &str) -> Result<PathBuf, StoreError> {
    use std::path::Component;
    let outside = || StoreError::Outside(path.to_owned());
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || !Path::new(path).components().all(plain) {
        return Err(outside());
    }
    let whole = root.join(path);
    let file = |error| StoreError::File { path: path.to_owned(), error };
    let root = root.canonicalize().map_err(file)?;
    match whole.canonicalize() {
        Ok(real) if !real.starts_with(&root) => Err(outside()),
        Ok(real) => Ok(real),
        // What is to be written is not there yet; its folder's links are looked at.
        Err(_) => match whole.parent().and_then(|folder| folder.canonicalize().ok()) {
            Some(folder) if !folder.starts_with(&root) => Err(outside()),
            Some(_) | None => Ok(whole),
        },
    }
}

impl Store {
    /// An empty one, for these.
    pub(crate) fn new(recipients: Vec<String>) -> Self {
        let (revoked, secrets) = (BTreeSet::new(), BTreeMap::new());
        Self { version: VERSION, recipients, revoked, secrets }
    }

    /// Reads one.
    pub(crate) fn read(root: &Path, path: &str) -> Result<Self, StoreError> {
        let unreadable = |why: String| StoreError::Unreadable { path: path.to_owned(), why };
        let bytes = bytes(root, path)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let store: Self = toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| before.lines().count().max(1));
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            unreadable(format!("{line}{}", error.message()))
        })?;
        if store.version > VERSION {
            return Err(unreadable(format!(
                "it is of version {}: use a newer Berth",
                store.version
            )));
        }
        Ok(store)
    }

    /// Writes it, all or nothing.
    pub(crate) fn write(&self, root: &Path, path: &str) -> Result<(), StoreError> {
        let whole = inside(root, path)?;
        let file = |error| StoreError::File { path: path.to_owned(), error };
        let text = toml::to_string_pretty(self).map_err(|error| StoreError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let folder = whole.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).map_err(file)?;
        let name = whole.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder.join(format!(".{name}.{}", std::process::id()));
        let written = std::fs::write(&beside, format!("{HEADER}{text}"))
            .and_then(|()| std::fs::File::open(&beside)?.sync_all())
            .and_then(|()| std::fs::rename(&beside, &whole));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            file(error)
        })
    }

    /// A secret as it is kept.
    pub(crate) fn sealed(&self, key: &str) -> Option<Sealed> {
        let Kept { fingerprint, sealed } = self.secrets.get(key)?;
        let text: Arc<str> = format!("{ENTRY}{sealed}").into();
        Some(Sealed { fingerprint: fingerprint.clone(), text })
    }

    /// The keys of its secrets, with their fingerprints.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets.iter().map(|(key, kept)| (key.as_str(), kept.fingerprint.as_str()))
    }

    fn everyone(&self) -> Result<Vec<Recipient>, String> {
        self.recipients.iter().map(|line| Recipient::parse(line)).collect()
    }

    fn keep(&mut self, key: &str, sealed: Sealed) {
        let Sealed { fingerprint, text } = sealed;
        let sealed = text.strip_prefix(ENTRY).unwrap_or_default().to_owned();
        self.secrets.insert(key.to_owned(), Kept { fingerprint, sealed });
    }

    /// Puts a secret in. Says whether that changes what it holds, where a key tells.
    pub(crate) fn set(&mut self, key: &str, held: &str, keys: &Keys) -> Result<bool, String> {
        let before = self.sealed(key).and_then(|sealed| keys.open(&sealed).ok());
        if before.is_some_and(|before| *before == held) {
            return Ok(false);
        }
        let sealed = seal(&self.everyone()?, held)?;
        self.keep(key, sealed);
        Ok(true)
    }

    /// Has what a secret holds come back nowhere, once it holds something else. Says whether it holds anything.
    pub(crate) fn revoke(&mut self, key: &str) -> bool {
        let print = self.secrets.get(key).map(|kept| kept.fingerprint.clone());
        let holds = print.is_some();
        self.revoked.extend(print);
        holds
    }

    /// Takes a secret out.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        self.secrets.remove(key).is_some()
    }

    /// Encrypts all of it again for whom it is for now; no fingerprint changes.
    pub(crate) fn share(&mut self, keys: &Keys) -> Result<(), String> {
        let everyone = self.everyone()?;
        let all: Vec<String> = self.secrets.keys().cloned().collect();
        for key in all {
            let Some(sealed) = self.sealed(&key) else { continue };
            let again = keys.share(&sealed, &everyone);
            let words = |why: NoKey| format!("the secret `{key}` cannot be opened: {why}");
            self.keep(&key, again.map_err(words)?);
        }
        Ok(())
    }
}
