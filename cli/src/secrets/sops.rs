//! Files of sops, for those who have them: read, and never written.
//!
//! Each value of such a file is encrypted by itself, `ENC[AES256_GCM,data:…,iv:…,tag:…,type:str]`, bound to its path, under one key that the file
//! has encrypted for each recipient. Of these, age's are known here. The file's own MAC over all values is not looked at, since a plan has
//! but one of them.
//!
//! Source: the format as getsops.io describes it, version 3.

use std::sync::Arc;

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::secret::Sealed;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{SOPS, hex};

/// A value of such a file, and what it takes to open it.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its path, as it is bound to: `db:password:`.
    path: String,
    /// `ENC[…]`.
    value: String,
    /// The file's key, encrypted with age for each recipient.
    pub(super) keys: Vec<String>,
}

/// Finds a value, as it is kept.
///
/// # Errors
/// In words, what of the file is not as sops writes it, or that it does not have the value.
pub(super) fn find(text: &str, key: &str) -> Result<Sealed, String> {
    let file: Value = serde_saphyr::from_str(text).map_err(|error| {
        format!(
            "this is not YAML or JSON: {}",
            error.to_string().lines().next().unwrap_or_default()
        )
    })?;
    let about = file.get("sops").ok_or("sops has not encrypted it: it has no `sops`")?;
    if about.get("shamir_threshold").and_then(Value::as_u64).is_some_and(|least| least > 1) {
        return Err(
            "its key is shared among several groups, which this Berth does not put together"
                .to_owned(),
        );
    }
    let recipients = about.get("age").and_then(Value::as_array).into_iter().flatten();
    let keys = recipients.filter_map(|one| Some(one.get("enc")?.as_str()?.to_owned()));
    let keys: Vec<String> = keys.collect();
    if keys.is_empty() {
        return Err(
            "it is for nobody with an age or SSH key, and this Berth knows no others".to_owned()
        );
    }
    let (mut at, mut rest, mut path) = (&file, key, String::new());
    while !rest.is_empty() {
        // A key may have dots of its own.
        let whole = at.get(rest).map(|found| (found, rest, ""));
        let (found, name, after) = match whole {
            Some(whole) => whole,
            None => {
                let (name, after) = rest.split_once('.').unwrap_or((rest, ""));
                let found = match at {
                    Value::Array(list) => name.parse().ok().and_then(|at: usize| list.get(at)),
                    other => other.get(name),
                };
                (found.ok_or_else(|| format!("it has no `{key}`"))?, name, after)
            }
        };
        if !at.is_array() {
            path.push_str(name);
            path.push(':');
        }
        (at, rest) = (found, after);
    }
    let value = at.as_str().filter(|value| value.starts_with("ENC["));
    let value =
        value.ok_or_else(|| format!("`{key}` is not one value that is encrypted"))?.to_owned();
    let sum = digest::digest(&digest::SHA256, value.as_bytes());
    let entry = Entry { path, value, keys };
    let text = serde_json::to_string(&entry).map_err(|error| error.to_string())?;
    Ok(Sealed { fingerprint: hex(sum.as_ref()), text: Arc::from(format!("{SOPS}{text}")) })
}

impl Entry {
    /// Opens it with the file's key.
    pub(super) fn open(&self, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        const NOT: &str = "it is no value that sops has encrypted";
        if key.len() != 32 {
            return Err(NOT);
        }
        let inner = self.value.strip_prefix("ENC[AES256_GCM,").and_then(|v| v.strip_suffix(']'));
        let part = |name: &str| {
            let mut parts = inner.ok_or(NOT)?.split(',');
            let coded = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix(':'));
            STANDARD.decode(coded.ok_or(NOT)?).map_err(|_| NOT)
        };
        let (mut data, iv, tag) = (part("data")?, part("iv")?, part("tag")?);
        if (iv.len(), tag.len()) != (32, 16) {
            return Err(NOT);
        }
        data.extend(tag);
        // sops has nonces of 256 bits.
        let cipher = AesGcm::<Aes256, U32>::new(Key::<AesGcm<Aes256, U32>>::from_slice(key));
        let payload = Payload { msg: &data, aad: self.path.as_bytes() };
        let plain = cipher.decrypt(Nonce::<U32>::from_slice(&iv), payload);
        plain.map(Zeroizing::new).map_err(|_| "it was changed, or is another value's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as sops writes it: one value, under a key of so many equal bytes, for nobody in particular.
    fn file(held: &str) -> String {
        let cipher = AesGcm::<Aes256, U32>::new(Key::<AesGcm<Aes256, U32>>::from_slice(&[7; 32]));
        let payload = Payload { msg: held.as_bytes(), aad: b"db:pass.word:" };
        let mut data =
            cipher.encrypt(Nonce::<U32>::from_slice(&[9; 32]), payload).expect("encrypted");
        let tag = data.split_off(data.len() - 16);
        let [data, iv, tag] = [&data[..], &[9; 32], &tag].map(|bytes| STANDARD.encode(bytes));
        format!(
            "db:\n    pass.word: ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:str]\n    plain: x\n\
             sops:\n    age:\n        - recipient: age1\n          enc: |\n            -----BEGIN AGE ENCRYPTED FILE-----\n    version: 3.7.1\n"
        )
    }

    fn entry(sealed: &Sealed) -> Entry {
        serde_json::from_str(sealed.text.strip_prefix(SOPS).expect("of sops")).expect("JSON")
    }

    #[test]
    fn a_value_opens_with_the_key_of_its_file() {
        let sealed = find(&file("hush"), "db.pass.word").expect("it is there");
        let mut entry = entry(&sealed);
        assert_eq!(entry.keys.len(), 1);
        assert_eq!(entry.open(&[7; 32]).expect("it opens").as_slice(), b"hush");
        assert!(entry.open(&[8; 32]).is_err() && entry.open(&[7; 31]).is_err());
        entry.path = "db:other:".to_owned();
        assert!(entry.open(&[7; 32]).is_err(), "it is bound to its path");
        assert_ne!(
            find(&file("other"), "db.pass.word").expect("it is there").fingerprint,
            sealed.fingerprint
        );
    }

    #[test]
    fn what_is_not_there_is_said() {
        let whole = file("hush");
        let not = |text: &str, key: &str| find(text, key).expect_err("it is not there");
        assert!(not(&whole, "db.none").contains("has no `db.none`"));
        assert!(not(&whole, "db").contains("not one value"));
        assert!(not(&whole, "db.plain").contains("not one value"));
        assert!(not("a: 1", "a").contains("no `sops`"));
        assert!(not("a: [", "a").contains("not YAML"));
        assert!(not(&whole.replace("age:", "pgp:"), "db.pass.word").contains("for nobody"));
    }
}
