//! `berth.lock`: which digest each image of the text stands for.
//!
//! Committed beside the text, so that a revert restores the digests and not only the names. The
//! file is TOML, sorted, and written the same way every time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lower::ImageName;
use super::names::ImageDigest;

/// The format that this Berth writes.
const VERSION: u32 = 1;
/// What a person sees first.
const HEADER: &str = "# Written by Berth: the digest that each image stands for. Commit it.\n";

/// Pins, by image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockfile {
    /// The digest of each image.
    pub images: BTreeMap<String, ImageDigest>,
}

/// A lock file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// It is not what Berth writes.
    #[error(
        "berth.lock line {line} cannot be read: {why}; settle a merge's conflict there, or delete the file and run `berth plan`"
    )]
    Unreadable {
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        why: String,
    },
    /// A newer Berth wrote it.
    #[error("berth.lock is of version {0}, and this Berth knows {VERSION}: use a newer Berth")]
    Newer(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default, rename = "image")]
    images: Vec<Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    source: String,
    digest: ImageDigest,
}

impl Lockfile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// If it is not a lock file, or of a newer format.
    pub fn parse(text: &str) -> Result<Self, LockfileError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            LockfileError::Unreadable { line, why: error.message().to_owned() }
        })?;
        if file.version > VERSION {
            return Err(LockfileError::Newer(file.version));
        }
        let images = file.images.into_iter().map(|pin| (pin.source, pin.digest)).collect();
        Ok(Self { images })
    }

    /// Spells the file; the same pins give the same bytes.
    pub fn print(&self) -> String {
        let pins = self.images.iter();
        let images = pins
            .map(|(source, digest)| Pin { source: source.clone(), digest: digest.clone() })
            .collect();
        let body = toml::to_string(&File { version: VERSION, images }).unwrap_or_default();
        format!("{HEADER}{body}")
    }

    /// Looks an image up.
    pub fn get(&self, name: &ImageName) -> Option<&ImageDigest> {
        self.images.get(&name.to_string())
    }
}
