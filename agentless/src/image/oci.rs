//! The parts of the OCI image format that Berth reads, and their limits.
//!
//! Source: image-spec v1.1, `descriptor.md`, `manifest.md`, `image-index.md`, `config.md`.

use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The longest manifest, index or configuration that is read.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// The most layers that an image may have; overlayfs takes some 128.
pub(crate) const LAYER_LIMIT: usize = 127;
/// The most manifests that an index may list.
pub(crate) const MANIFEST_LIMIT: usize = 256;

/// Why an image beside the project is not one, or not what its digest says.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file could not be read.
    #[error("{path}: not readable")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A document is not what the OCI image format asks for.
    #[error("{path}: {what} is not an OCI document")]
    Json {
        /// Which layout or archive.
        path: PathBuf,
        /// Which document in it.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A blob that a document names is not there.
    #[error("{path}: blob {digest} is missing")]
    MissingBlob {
        /// Which layout or archive.
        path: PathBuf,
        /// Which blob.
        digest: String,
    },
    /// A blob's bytes are not what its digest or size says.
    #[error("{path}: blob {digest} {why}")]
    BadBlob {
        /// Which layout or archive.
        path: PathBuf,
        /// Which blob.
        digest: String,
        /// What is wrong.
        why: String,
    },
    /// The structure is wrong, or a limit is passed.
    #[error("{path}: {why}")]
    Bad {
        /// Which layout or archive.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A reference to content by digest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// `index.json`, or a nested index.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

impl Descriptor {
    /// Whether it is an image for Linux: what says nothing is.
    pub(crate) fn runs_on_linux(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os == "linux")
    }
}

impl Index {
    /// What it lists.
    ///
    /// # Errors
    /// Words: it passes a limit.
    pub(crate) fn listed(&self) -> Result<&[Descriptor], String> {
        if self.manifests.len() > MANIFEST_LIMIT {
            return Err("the index lists too many manifests".to_owned());
        }
        Ok(&self.manifests)
    }

    /// Chooses the image for an architecture; where one alone is listed, that one.
    ///
    /// # Errors
    /// Words: there is none, or the index passes a limit.
    pub(crate) fn choose(self, architecture: &str) -> Result<Descriptor, String> {
        let listed: Vec<String> = self
            .listed()?
            .iter()
            .filter_map(|d| d.platform.as_ref().map(|p| format!("{}/{}", p.os, p.architecture)))
            .collect();
        if let [_] = self.manifests.as_slice() {
            let only = self.manifests.into_iter().next();
            return only.ok_or_else(|| "the index is empty".to_owned());
        }
        let fits = |d: &Descriptor| {
            d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture)
        };
        let chosen = self.manifests.into_iter().find(fits);
        chosen.ok_or_else(|| {
            format!("no linux/{architecture} image; it lists [{}]", listed.join(", "))
        })
    }
}

/// What a digest may stand for: one image, or several for different machines.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Document {
    /// Several.
    Index(Index),
    /// One.
    Manifest(Manifest),
}

/// An image's manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An image's configuration.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ImageConfig {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) config: RunConfig,
    pub(crate) rootfs: RootFs,
}

/// How an image's author wants it to be run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    #[serde(deserialize_with = "or_default")]
    pub(crate) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) stop_signal: String,
}

/// An image's layers, by the digests of their plain tar files.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RootFs {
    pub(crate) diff_ids: Vec<String>,
}

/// Docker writes `null` where it means nothing.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Whether a media type is an index's.
pub(crate) fn is_index(media_type: &str) -> bool {
    media_type == "application/vnd.oci.image.index.v1+json"
        || media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// Whether a text is `sha256:` and 64 lower-case hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Spells the SHA-256 of some bytes as a digest.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    spell(&Sha256::digest(bytes))
}

/// Spells a finished SHA-256 as a digest.
pub(crate) fn spell(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("sha256:");
    for byte in hash {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Names the snapshots that layers become, lowest first: each is a digest over the one below and
/// the layer's own (`config.md`, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for id in diff_ids {
        let next = match chain.last() {
            None => id.clone(),
            Some(below) => digest_of(format!("{below} {id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_strict() {
        assert!(is_digest(&digest_of(b"")));
        assert!(!is_digest("sha256:AB"));
        assert!(!is_digest(&digest_of(b"").to_uppercase()));
        assert!(!is_digest("sha512:00"));
    }

    #[test]
    fn chains_follow_the_specification() {
        let ids = vec![digest_of(b"a"), digest_of(b"b")];
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0]);
        assert_eq!(chain[1], digest_of(format!("{} {}", ids[0], ids[1]).as_bytes()));
    }

    #[test]
    fn nulls_are_nothing() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Env":["A=b"]},"rootfs":{"diff_ids":[]}}"#;
        let config: ImageConfig = serde_json::from_str(text).expect("config");
        assert!(config.config.cmd.is_empty());
        assert_eq!(config.config.env, ["A=b"]);
    }
}
