//! The text's secrets: where they are kept, encrypted, and what they hold while an apply needs it.
//!
//! A plan is made of the encrypted texts and their fingerprints alone; nobody needs a key for it. Only [`open`] asks for one,
//! for the secrets that a plan brings to nodes, before anything of it is done.

mod keys;
mod sops;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::body::PlanBody;
use berth_engine::plan::lower::mistake;
use berth_engine::plan::secret::{self, Opened, Sealed, Vault};
use berth_lang::{Diagnostic, Program, Value};
use ring::digest;

pub(crate) use keys::{Keys, MOST_BYTES, NoKey, Recipient, new_key, own_recipient};
pub(crate) use store::{Store, StoreError};

/// Where a secret of the text is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file of Berth's, under a key.
    Store { path: String, key: String },
    /// In a file that age has encrypted as a whole.
    File { path: String },
    /// In a file of sops, at a path of keys.
    Sops { path: String, key: String },
}

/// Where a secret is kept, by the text.
pub(crate) fn place(secret: &berth_lang::Secret) -> Place {
    let text = |field: &str| match secret.source.get(field) {
        Some(Value::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    let path = text("path").unwrap_or_default();
    match (&secret.source, text("key")) {
        (Value::Case { name, .. }, key) if &**name == "sops" => {
            // What sops encrypts as a whole it keeps so.
            Place::Sops { path, key: key.unwrap_or_else(|| "data".to_owned()) }
        }
        (_, Some(key)) => Place::Store { path, key },
        (_, None) => Place::File { path },
    }
}

/// The files beside the text that its secrets are kept in.
pub(crate) fn files(program: &Program) -> impl Iterator<Item = String> {
    program.secrets.iter().map(|secret| match place(secret) {
        Place::Store { path, .. } | Place::File { path } | Place::Sops { path, .. } => path,
    })
}

/// Reads the secrets of a program as they are kept. What cannot be read is a mistake at the secret that names it.
pub(crate) fn vault(root: &Path, program: &Program, mistakes: &mut Vec<Diagnostic>) -> Vault {
    let (mut vault, mut stores) = (Vault::new(), Stores::new());
    for secret in &program.secrets {
        match read(root, &place(secret), &mut stores) {
            Ok(sealed) => {
                vault.insert(secret.name.clone(), sealed);
            }
            Err((what, help)) => {
                let what = format!("the secret `{}` cannot be read: {what}", secret.name);
                let help = help.replace("NAME", &secret.name);
                mistakes.push(mistake("E0563", secret.span.clone(), what, help));
            }
        }
    }
    vault
}

/// The fingerprints of secrets that may not come back, as the files beside the text say. What cannot be read has been said.
pub(crate) fn revoked(root: &Path, program: &Program) -> BTreeSet<String> {
    let stores: BTreeSet<String> = program
        .secrets
        .iter()
        .filter_map(|secret| match place(secret) {
            Place::Store { path, .. } => Some(path),
            Place::File { .. } | Place::Sops { .. } => None,
        })
        .collect();
    let stores = stores.iter().filter_map(|path| Store::read(root, path).ok());
    stores.flat_map(|store| store.revoked).collect()
}

/// What is wrong with a secret, and what to do.
type Mistake = (String, &'static str);
/// The files of secrets that were read, or why not.
type Stores = BTreeMap<String, Result<Store, Mistake>>;

fn read(root: &Path, place: &Place, stores: &mut Stores) -> Result<Sealed, Mistake> {
    const SET: &str = "`berth secret set NAME` puts it there";
    const MERGE: &str = "settle a merge's conflict there, or take the file from an earlier commit";
    const LOOK: &str = "it is a file beside the text, in the project's folder";
    match place {
        Place::Store { path, key } => {
            let store = stores.entry(path.clone()).or_insert_with(|| {
                Store::read(root, path).map_err(|error| {
                    let help = match error {
                        StoreError::None(_) => SET,
                        StoreError::Unreadable { .. } => MERGE,
                        StoreError::Outside(_) | StoreError::File { .. } => LOOK,
                    };
                    (error.to_string(), help)
                })
            });
            let sealed = store.as_ref().map_err(Clone::clone)?.sealed(key);
            sealed.ok_or_else(|| (format!("{path} has no `{key}`"), SET))
        }
        Place::File { path } => {
            let bytes = store::bytes(root, path).map_err(|error| (error.to_string(), LOOK))?;
            let sum = digest::digest(&digest::SHA256, &bytes);
            Ok(Sealed {
                fingerprint: hex(sum.as_ref()),
                text: format!("{WHOLE}{}", STANDARD.encode(&bytes)).into(),
            })
        }
        Place::Sops { path, key } => {
            let bytes = store::bytes(root, path).map_err(|error| (error.to_string(), LOOK))?;
            let text = String::from_utf8_lossy(&bytes);
            let edit = "`sops FILE` shows and changes what is in it";
            sops::find(&text, key).map_err(|why| (format!("{path}: {why}"), edit))
        }
    }
}

/// Comes before what age encrypted as a whole.
const WHOLE: &str = "age ";
/// Comes before a value of sops, as JSON.
const SOPS: &str = "sops ";
/// Comes before what Berth encrypted, with the key of its fingerprint.
const ENTRY: &str = "berth ";

/// A fingerprint as it is written: 128 bits.
fn hex(sum: &[u8]) -> String {
    sum.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Why a secret that a plan needs cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("nothing was done: the secret `{name}` cannot be opened: {why}")]
pub(crate) struct Closed {
    name: String,
    why: NoKey,
}

/// Opens the secrets that a plan and its undo bring to nodes.
pub(crate) fn open(body: &PlanBody) -> Result<Opened, Closed> {
    let mut opened = Opened::default();
    let needed = secret::needed(body);
    if needed.is_empty() {
        return Ok(opened);
    }
    let keys = Keys::find();
    for (digest, name) in needed {
        let text: Option<&Arc<str>> = body.contents.get(digest);
        let fingerprint = digest.fingerprint().unwrap_or_default();
        let sealed = Sealed {
            fingerprint: fingerprint.to_owned(),
            text: text.cloned().unwrap_or_else(|| "".into()),
        };
        let held = keys.open(&sealed).map_err(|why| Closed { name: name.to_owned(), why })?;
        opened.insert(digest.clone(), held);
    }
    Ok(opened)
}
