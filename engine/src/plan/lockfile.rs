//! `berth.lock`: which digest each image of the text stands for, and which bytes each package and the
//! standard library are.
//!
//! Committed beside the text, so that a revert restores the digests and not only the names. The
//! file is TOML, sorted, and written the same way every time.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::canon::digest_of;
use super::lower::ImageName;
use super::names::ImageDigest;

/// The format that this Berth writes. Version 1 had images only.
const VERSION: u32 = 2;
/// What a person sees first.
const HEADER: &str =
    "# Written by Berth: the bytes that images, packages and the library stand for. Commit it.\n";

/// Pins: what names in the text stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockfile {
    /// The standard library that the text was last used with.
    pub stdlib: Option<LibraryPin>,
    /// Each package, by its folder from the project's root.
    pub packages: BTreeMap<String, PackagePin>,
    /// The digest of each image.
    pub images: BTreeMap<String, ImageDigest>,
}

/// The standard library of one Berth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryPin {
    /// The version of the Berth that it came with.
    pub version: String,
    /// The digest of its files, `sha256:…`.
    pub digest: String,
}

/// A package as it was when somebody accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePin {
    /// Its name.
    pub name: String,
    /// Its version, by its manifest.
    pub version: String,
    /// The digest over its files' paths and contents, `sha256:…`.
    pub digest: String,
    /// The digest of each file, by its path in the package.
    pub files: BTreeMap<String, String>,
}

/// How a file of a package differs from what is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileChange {
    /// It is new.
    Added,
    /// It has other contents.
    Changed,
    /// It is gone.
    Removed,
}

impl FileChange {
    /// The sign that stands before it in a list.
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Changed => '~',
            Self::Removed => '-',
        }
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "is new",
            Self::Changed => "has changed",
            Self::Removed => "is gone",
        })
    }
}

impl PackagePin {
    /// Pins a package by the digests of its files.
    pub fn new(name: String, version: String, files: BTreeMap<String, String>) -> Self {
        let digest = files_digest(&files);
        Self { name, version, digest, files }
    }

    /// Lists what another state of the package has otherwise, by path.
    pub fn changes(&self, now: &BTreeMap<String, String>) -> BTreeMap<String, FileChange> {
        let gone = self.files.keys().filter(|path| !now.contains_key(*path));
        let gone = gone.map(|path| (path.clone(), FileChange::Removed));
        let there = now.iter().filter_map(|(path, digest)| match self.files.get(path) {
            None => Some((path.clone(), FileChange::Added)),
            Some(pinned) if pinned != digest => Some((path.clone(), FileChange::Changed)),
            Some(_) => None,
        });
        there.chain(gone).collect()
    }
}

/// The digest of one file's contents.
pub fn file_digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// The digest of files together: of their paths, sorted, and their digests.
pub fn files_digest(files: &BTreeMap<String, String>) -> String {
    format!("sha256:{}", digest_of("berth-package/1", files))
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

/// What every version of the file says first.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdlib: Option<LibraryPin>,
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    packages: Vec<Package>,
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    images: Vec<Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    version: String,
    path: String,
    digest: String,
    files: BTreeMap<String, String>,
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
        let unreadable = |error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            LockfileError::Unreadable { line, why: error.message().to_owned() }
        };
        // A newer file may say what this Berth does not know, so its version is looked at first.
        let Versioned { version } = toml::from_str(text).map_err(unreadable)?;
        if version > VERSION {
            return Err(LockfileError::Newer(version));
        }
        let File { version: _, stdlib, packages, images } =
            toml::from_str(text).map_err(unreadable)?;
        let images = images.into_iter().map(|pin| (pin.source, pin.digest)).collect();
        let packages = packages.into_iter().map(|package| {
            let Package { name, version, path, digest, files } = package;
            (path, PackagePin { name, version, digest, files })
        });
        Ok(Self { stdlib, packages: packages.collect(), images })
    }

    /// Spells the file; the same pins give the same bytes.
    pub fn print(&self) -> String {
        let Self { stdlib, packages, images } = self;
        let images = images
            .iter()
            .map(|(source, digest)| Pin { source: source.clone(), digest: digest.clone() })
            .collect();
        let packages = packages
            .iter()
            .map(|(path, pin)| {
                let PackagePin { name, version, digest, files } = pin.clone();
                Package { name, version, path: path.clone(), digest, files }
            })
            .collect();
        let file = File { version: VERSION, stdlib: stdlib.clone(), packages, images };
        let body = toml::to_string(&file).unwrap_or_default();
        format!("{HEADER}{body}")
    }

    /// Looks an image up.
    pub fn get(&self, name: &ImageName) -> Option<&ImageDigest> {
        self.images.get(&name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{FileChange, LibraryPin, Lockfile, LockfileError, PackagePin, file_digest};
    use std::collections::BTreeMap;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(path, text)| ((*path).into(), file_digest(text.as_bytes()))).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let pin = PackagePin::new("acme".into(), "1.0.0".into(), files(&[("a.berth", "1")]));
        let lock = Lockfile {
            stdlib: Some(LibraryPin { version: "0.1.0".into(), digest: "sha256:0".into() }),
            packages: BTreeMap::from([("vendor/acme".into(), pin)]),
            images: BTreeMap::new(),
        };
        assert_eq!(Lockfile::parse(&lock.print()), Ok(lock));
    }

    #[test]
    fn old_files_are_read_and_newer_ones_refused() {
        assert_eq!(Lockfile::parse("version = 1\n"), Ok(Lockfile::default()));
        let newer = Lockfile::parse("version = 3\n[moon]\nphase = \"full\"\n");
        assert_eq!(newer, Err(LockfileError::Newer(3)));
    }

    #[test]
    fn every_kind_of_change_is_seen_and_changes_the_digest() {
        let old = files(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let new = files(&[("a", "1"), ("b", "2"), ("d", "1")]);
        let pin = PackagePin::new("x".into(), "1.0.0".into(), old.clone());
        let found: Vec<_> = pin.changes(&new).into_iter().collect();
        let expected = [
            ("b".to_owned(), FileChange::Changed),
            ("c".to_owned(), FileChange::Removed),
            ("d".to_owned(), FileChange::Added),
        ];
        assert_eq!(found, expected);
        assert!(pin.changes(&old).is_empty());
        let digest = |files| PackagePin::new("x".into(), "1.0.0".into(), files).digest;
        assert_ne!(digest(old.clone()), digest(new));
        // A file that is renamed is another package, though no byte of it changed.
        assert_ne!(digest(files(&[("a", "1")])), digest(files(&[("b", "1")])));
    }
}
