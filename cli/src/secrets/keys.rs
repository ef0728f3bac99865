//! Who may read secrets, and the keys that do: age's, and those of SSH.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::secrecy::{ExposeSecret as _, SecretString};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::secret::Sealed;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{ENTRY, SOPS, WHOLE, hex, sops};

/// The most bytes of what a secret holds.
pub(crate) const MOST_BYTES: usize = 64 * 1024;

/// Somebody whose key opens secrets, as it is written: `age1…`, or a line of an SSH public key.
#[derive(Clone)]
pub(crate) struct Recipient(Arc<dyn age::Recipient + Send + Sync>);

impl Recipient {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
            return Ok(Self(Arc::new(recipient)));
        }
        match text.parse::<age::ssh::Recipient>() {
            Ok(recipient) => Ok(Self(Arc::new(recipient))),
            Err(_) => Err(format!(
                "`{}` is nobody that secrets can be encrypted for: write `age1…`, or the line of an SSH key, `ssh-ed25519 …` or `ssh-rsa …`",
                text.escape_debug()
            )),
        }
    }
}

/// Encrypts what a secret holds.
pub(crate) fn seal(recipients: &[Recipient], held: &str) -> Result<Sealed, String> {
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *key).map_err(|_| "this machine gives no random numbers")?;
    reseal(recipients, &*key, held)
}

/// Encrypts it again with the key of its fingerprint, which stays.
fn reseal(recipients: &[Recipient], key: &[u8], held: &str) -> Result<Sealed, String> {
    let everyone = recipients.iter().map(|one| &*one.0 as &dyn age::Recipient);
    let words = |error: &dyn std::fmt::Display| format!("it cannot be encrypted: {error}");
    let encryptor = age::Encryptor::with_recipients(everyone).map_err(|error| words(&error))?;
    let mut out = Vec::new();
    let mut writer = encryptor.wrap_output(&mut out).map_err(|error| words(&error))?;
    let head = Zeroizing::new(STANDARD.encode(key));
    for part in [head.as_bytes(), b"\n", held.as_bytes()] {
        writer.write_all(part).map_err(|error| words(&error))?;
    }
    writer.finish().map_err(|error| words(&error))?;
    let fingerprint = fingerprint(key, held);
    Ok(Sealed { fingerprint, text: format!("{ENTRY}{}", STANDARD.encode(out)).into() })
}

/// HMAC-SHA-256 (RFC 2104) of what a secret holds, under a key of its own: equal secrets show no likeness.
fn fingerprint(key: &[u8], held: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hex(hmac::sign(&key, held.as_bytes()).as_ref())
}

/// Why a secret stays closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoKey {
    /// There is no key at all.
    #[error(
        "there is no key; Berth looks for one in BERTH_SECRET_KEY, in the file that BERTH_SECRET_KEY_FILE names, in {0}"
    )]
    None(String),
    /// A file that was named cannot be read.
    #[error("{path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
    /// None of the keys is one that it is for.
    #[error(
        "it is not for any of your keys ({0}); somebody who may read it can let you: `berth secret allow`, or `sops updatekeys`"
    )]
    Other(String),
    /// It is no encrypted text, or was changed.
    #[error("what is kept of it is damaged: {0}")]
    Damaged(String),
}

/// The keys of who runs Berth.
pub(crate) struct Keys {
    /// Where each is from, and what it opens.
    found: Vec<(String, Box<dyn age::Identity>)>,
    /// The first that was named and cannot be read.
    fault: Option<(String, String)>,
}

impl Keys {
    /// Looks where keys are: in `BERTH_SECRET_KEY`, or else in the file that `BERTH_SECRET_KEY_FILE` names, or else in Berth's own
    /// and in SSH's usual places.
    pub(crate) fn find() -> Self {
        let mut keys = Self { found: Vec::new(), fault: None };
        if let Some(text) = std::env::var_os("BERTH_SECRET_KEY") {
            let text = Zeroizing::new(text.to_string_lossy().into_owned());
            keys.take("BERTH_SECRET_KEY", &text);
            return keys;
        }
        if let Some(path) = std::env::var_os("BERTH_SECRET_KEY_FILE") {
            keys.read(Path::new(&path), true);
            return keys;
        }
        for path in usual() {
            keys.read(&path, false);
        }
        keys
    }

    fn read(&mut self, path: &Path, must: bool) {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.take(&name, &Zeroizing::new(text)),
            Err(error) if must => self.fault = Some((name, error.to_string())),
            Err(_) => {}
        }
    }

    /// Takes an SSH private key, or a file as `age-keygen` writes it.
    fn take(&mut self, name: &str, text: &str) {
        if text.contains("-----BEGIN") {
            match age::ssh::Identity::from_buffer(text.as_bytes(), Some(name.to_owned())) {
                Ok(key) => {
                    let key =
                        key.with_callbacks(Asks { of: name.to_owned(), said: Arc::default() });
                    self.found.push((name.to_owned(), Box::new(key)));
                }
                Err(error) => self.fault = Some((name.to_owned(), error.to_string())),
            }
            return;
        }
        let before = self.found.len();
        for line in text.lines().map(str::trim) {
            if let Ok(key) = line.parse::<age::x25519::Identity>() {
                self.found.push((name.to_owned(), Box::new(key)));
            }
        }
        if self.found.len() == before {
            let why = "this is neither an age key, AGE-SECRET-KEY-1…, nor a private SSH key";
            self.fault = Some((name.to_owned(), why.to_owned()));
        }
    }

    /// Opens a secret.
    ///
    /// # Errors
    /// No key that fits, or a text that is not what its fingerprint says.
    pub(crate) fn open(&self, sealed: &Sealed) -> Result<Zeroizing<String>, NoKey> {
        self.open_with_key(sealed).map(|(held, _)| held)
    }

    /// Encrypts a secret for others, without changing its fingerprint.
    pub(crate) fn share(&self, sealed: &Sealed, recipients: &[Recipient]) -> Result<Sealed, NoKey> {
        let (held, key) = self.open_with_key(sealed)?;
        reseal(recipients, &key, &held).map_err(NoKey::Damaged)
    }

    fn open_with_key(
        &self,
        sealed: &Sealed,
    ) -> Result<(Zeroizing<String>, Zeroizing<Vec<u8>>), NoKey> {
        let damaged = |what: &str| NoKey::Damaged(what.to_owned());
        if let Some(entry) = sealed.text.strip_prefix(SOPS) {
            let entry: sops::Entry =
                serde_json::from_str(entry).map_err(|error| damaged(&error.to_string()))?;
            return Ok((self.open_sops(&entry)?, Zeroizing::default()));
        }
        let whole = sealed.text.strip_prefix(WHOLE);
        let coded = whole.or_else(|| sealed.text.strip_prefix(ENTRY));
        let coded = coded.ok_or_else(|| damaged("it is nothing that Berth wrote"))?;
        let bytes = STANDARD.decode(coded).map_err(|error| damaged(&error.to_string()))?;
        let plain = self.decrypt(&bytes)?;
        let text = std::str::from_utf8(&plain).map_err(|_| damaged("it holds no text"))?;
        if whole.is_some() {
            return Ok((Zeroizing::new(text.to_owned()), Zeroizing::default()));
        }
        let (key, held) = text.split_once('\n').ok_or_else(|| damaged("it lacks its key"))?;
        let key = STANDARD.decode(key).map_err(|error| damaged(&error.to_string()))?;
        if fingerprint(&key, held) != sealed.fingerprint {
            return Err(damaged("it is not what its fingerprint says"));
        }
        Ok((Zeroizing::new(held.to_owned()), Zeroizing::new(key)))
    }

    fn open_sops(&self, entry: &sops::Entry) -> Result<Zeroizing<String>, NoKey> {
        let mut closed = NoKey::Damaged("it is for nobody".to_owned());
        for key in &entry.keys {
            match self.decrypt(key.as_bytes()) {
                Ok(key) => {
                    let damaged = |why: &str| NoKey::Damaged(why.to_owned());
                    let plain = entry.open(&key).map_err(damaged)?;
                    let text =
                        std::str::from_utf8(&plain).map_err(|_| damaged("it holds no text"))?;
                    return Ok(Zeroizing::new(text.to_owned()));
                }
                Err(why) => closed = why,
            }
        }
        Err(closed)
    }

    fn decrypt(&self, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, NoKey> {
        if self.found.is_empty() {
            return Err(match &self.fault {
                Some((path, why)) => NoKey::Unreadable { path: path.clone(), why: why.clone() },
                None => {
                    let usual: Vec<_> = usual().iter().map(|p| p.display().to_string()).collect();
                    NoKey::None(usual.join(", "))
                }
            });
        }
        let damaged = |error: &dyn std::fmt::Display| NoKey::Damaged(error.to_string());
        let armored = age::armor::ArmoredReader::new(bytes);
        let decryptor = age::Decryptor::new_buffered(armored).map_err(|error| damaged(&error))?;
        let keys = self.found.iter().map(|(_, key)| &**key);
        let reader = match decryptor.decrypt(keys) {
            Ok(reader) => reader,
            Err(age::DecryptError::NoMatchingKeys | age::DecryptError::KeyDecryptionFailed) => {
                let mut names: Vec<&str> = self.found.iter().map(|(name, _)| &**name).collect();
                names.dedup();
                return Err(NoKey::Other(names.join(", ")));
            }
            Err(error) => return Err(damaged(&error)),
        };
        // Room for all of it at once: what grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
        reader
            .take(2 * MOST_BYTES as u64)
            .read_to_end(&mut plain)
            .map_err(|error| damaged(&error))?;
        Ok(plain)
    }
}

/// Where keys are if nobody says otherwise: Berth's own, and SSH's.
fn usual() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let ssh = |name: &str| home.join(".ssh").join(name);
    vec![own_path(), ssh("id_ed25519"), ssh("id_rsa")]
}

fn own_path() -> PathBuf {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".config");
    config.unwrap_or_else(home).join("berth/secret.key")
}

/// Who runs Berth, as somebody that secrets are encrypted for: by Berth's own key, or SSH's.
pub(crate) fn own_recipient() -> Option<String> {
    let own = std::fs::read_to_string(own_path()).ok().map(Zeroizing::new);
    let own = own.and_then(|text| {
        let mut keys = text.lines().filter_map(|line| line.trim().parse().ok());
        keys.next().map(|key: age::x25519::Identity| key.to_public().to_string())
    });
    own.or_else(|| {
        let public = usual().into_iter().skip(1).map(|path| path.with_extension("pub"));
        let lines = public.filter_map(|path| std::fs::read_to_string(path).ok());
        let mut lines = lines.map(|line| line.trim().to_owned());
        lines.find(|line| Recipient::parse(line).is_ok())
    })
}

/// Makes a key, in a file that only its owner may read, and gives its public half.
pub(crate) fn new_key() -> Result<(PathBuf, String), String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = own_path();
    let words = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(words)?;
    }
    let key = age::x25519::Identity::generate();
    let public = key.to_public().to_string();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(words)?;
    let text = Zeroizing::new(format!(
        "# Opens secrets that Berth keeps for {public}.\n{}\n",
        key.to_string().expose_secret()
    ));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(words)?;
    Ok((path, public))
}

/// Asks for the passphrase of an SSH key, once.
#[derive(Clone)]
struct Asks {
    of: String,
    said: Arc<Mutex<Option<SecretString>>>,
}

impl age::Callbacks for Asks {
    fn display_message(&self, message: &str) {
        hint!("{message}");
    }

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, _: &str) -> Option<SecretString> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none() {
            let asked = rpassword::prompt_password(format!("Passphrase for {}: ", self.of));
            *said = asked.ok().map(SecretString::from);
        }
        said.clone()
    }
}
