//! What `berth.lock` pins against what is there: images, packages, and the standard library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_agentless::image::{self, Registries};
use berth_engine::plan::lockfile::{LibraryPin, Lockfile, PackagePin, file_digest, files_digest};
use berth_engine::plan::lower::{self, ImageName};
use berth_engine::plan::names::ImageDigest;
use berth_engine::plan::secret;
use berth_lang::{Diagnostic, NeededPackage, Program, Severity, Span};

use crate::packages::Digests;
use crate::project::ProjectError;

/// What should happen to pins of images that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pins {
    /// They stand; an image that has changed behind its pin is a mistake.
    Keep,
    /// They are taken anew, from the images beside the project and from registries.
    Refresh,
}

/// A lock file that is compared with what is there.
pub(crate) struct Pinning {
    path: PathBuf,
    locked: bool,
    old: Lockfile,
    /// What should stand there.
    pub(crate) new: Lockfile,
    /// What is worth saying, and no mistake.
    pub(crate) notes: Vec<String>,
}

/// A lock file to be written.
pub(crate) struct NewLock {
    path: PathBuf,
    text: String,
    /// Whether it pins what was not pinned; else only the standard library is another.
    matters: bool,
}

impl NewLock {
    /// Writes it. Where only the standard library is another, a folder that cannot be written is no
    /// reason to stop.
    pub(crate) fn write(self) -> Result<(), ProjectError> {
        let Self { path, text, matters } = self;
        match std::fs::write(&path, text) {
            Err(error) if matters => Err(ProjectError::File { path, error }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Pinning {
    /// Reads the lock file of a project; one that is not there pins nothing.
    pub(crate) fn open(root: &Path, locked: bool) -> Result<Self, ProjectError> {
        let path = root.join("berth.lock");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ProjectError::File { path, error }),
        };
        let old = if text.is_empty() { Lockfile::default() } else { Lockfile::parse(&text)? };
        Ok(Self { path, locked, old, new: Lockfile::default(), notes: Vec::new() })
    }

    /// The pin of a package as it was.
    pub(crate) fn pinned(&self, folder: &str) -> Option<&PackagePin> {
        self.old.packages.get(folder)
    }

    /// Judges every package: one that is not pinned is pinned, one that has changed is a mistake.
    pub(crate) fn packages(
        &mut self,
        needed: &[NeededPackage],
        files: &BTreeMap<String, Digests>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for package in needed {
            let Some((pin, digests)) = pin(package, files) else { continue };
            if let Some(old) = self.old.packages.get(&package.folder) {
                let changes = old.changes(digests);
                if let Some((first, change)) = changes.iter().next() {
                    let more = match changes.len() - 1 {
                        0 => String::new(),
                        1 => ", and 1 more file is another".to_owned(),
                        more => format!(", and {more} more files are others"),
                    };
                    let NeededPackage { name, folder, span, .. } = package;
                    diagnostics.push(lower::mistake(
                        "E0514",
                        span.clone(),
                        format!(
                            "the package `{name}` is not the one that berth.lock pins: \
                             `{folder}/{first}` {change}{more}"
                        ),
                        format!("to accept it, run `berth package update {name}`; else restore it"),
                    ));
                }
            }
            self.new.packages.insert(package.folder.clone(), pin);
        }
    }

    /// Compares the standard library; another one comes with another Berth, and is no mistake.
    pub(crate) fn library(&mut self) {
        let here = library();
        let kept = match &self.old.stdlib {
            None => None,
            Some(there) if there.digest == here.digest => None,
            Some(there) if numbers(&there.version) > numbers(&here.version) => {
                self.notes.push(format!(
                    "berth.lock was written by a newer Berth, whose standard library is {}; this one \
                     has {}",
                    there.version, here.version
                ));
                Some(there.clone())
            }
            Some(there) => {
                let then = if self.locked {
                    "run `berth check` without --locked to pin it, and commit berth.lock"
                } else {
                    "`berth plan` shows what that changes, and berth.lock now pins it"
                };
                self.notes.push(format!(
                    "the standard library is another than berth.lock pins ({} there, {} here, with \
                     this Berth): {then}",
                    there.version, here.version
                ));
                None
            }
        };
        self.new.stdlib = Some(kept.unwrap_or(here));
    }

    /// Finds every image's digest: its pin, checked against the image beside the project if that is
    /// there; without a pin, the image's own. Only for what is not pinned is a registry asked.
    pub(crate) fn images(
        &mut self,
        root: &Path,
        registries: &Arc<Registries>,
        (program, environment): (&Program, &str),
        pins: Pins,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> BTreeMap<ImageName, ImageDigest> {
        let mut digests = BTreeMap::new();
        let mut of_registries = BTreeMap::new();
        for (name, span) in lower::images(program) {
            let pinned = self.old.get(&name).filter(|_| pins == Pins::Keep);
            // What is pinned anew is read to its last byte; what is pinned only has to be the same.
            let read = match (&name, pinned) {
                (ImageName::Registry(reference), pinned) => {
                    of_registries.insert(reference.clone(), (span, pinned.cloned()));
                    continue;
                }
                (ImageName::Layout(path), Some(_)) => image::read_layout(&root.join(path)),
                (ImageName::Layout(path), None) => image::verify_layout(&root.join(path)),
                (ImageName::Archive(path), Some(_)) => image::read_archive(&root.join(path)),
                (ImageName::Archive(path), None) => image::verify_archive(&root.join(path)),
            };
            let digest = match (pinned, read) {
                (Some(pinned), Ok(facts)) if !facts.has(pinned) => {
                    diagnostics.push(lower::mistake(
                        "E0512",
                        span,
                        format!(
                            "this image is not the one that berth.lock pins ({} there, {} here)",
                            pinned.short(),
                            facts.digest.short()
                        ),
                        "if it was built anew, run `berth image update`; else restore it",
                    ));
                    continue;
                }
                // The bytes may be gone from here: the nodes may have them, and the pin still names them.
                (Some(pinned), _) => pinned.clone(),
                (None, Ok(facts)) => facts.digest,
                (None, Err(error)) => {
                    diagnostics.push(lower::mistake(
                        "E0512",
                        span,
                        format!("this image cannot be read: {error}"),
                        "look at the path: it is relative to the project; if the image is damaged, build it again",
                    ));
                    continue;
                }
            };
            self.new.images.insert(name.to_string(), digest.clone());
            digests.insert(name, digest);
        }
        let mut unknown = BTreeMap::new();
        for (reference, (span, pinned)) in of_registries {
            let own = reference.split_once('@').map(|(_, digest)| ImageDigest::new(digest));
            match own.or(pinned) {
                Some(digest) => self.pin(&mut digests, reference, digest),
                None if self.locked => diagnostics.push(lower::mistake(
                    "E0511",
                    span,
                    "berth.lock does not pin this image",
                    "run without --locked, and commit berth.lock",
                )),
                None => {
                    unknown.insert(reference, span);
                }
            }
        }
        // Nobody waits for a registry to hear of a mistake that is in the text.
        let mut as_if = digests.clone();
        let any = ImageDigest::new(file_digest(b""));
        as_if.extend(unknown.keys().map(|name| (ImageName::Registry(name.clone()), any.clone())));
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        let vault = secret::as_if(program);
        if diagnostics.iter().any(is_error)
            || lower::lower(program, environment, &as_if, &vault).is_err()
        {
            return as_if;
        }
        for (reference, digest) in asked(registries, unknown, diagnostics) {
            self.pin(&mut digests, reference, digest);
        }
        digests
    }

    fn pin(
        &mut self,
        digests: &mut BTreeMap<ImageName, ImageDigest>,
        reference: String,
        digest: ImageDigest,
    ) {
        let name = ImageName::Registry(reference);
        self.new.images.insert(name.to_string(), digest.clone());
        digests.insert(name, digest);
    }

    /// Takes over the pins of what is not looked at.
    pub(crate) fn keep_images(&mut self) {
        self.new.images.clone_from(&self.old.images);
    }

    /// Takes over the pin of a package as it was.
    pub(crate) fn keep_package(&mut self, folder: &str) {
        if let Some(old) = self.old.packages.get(folder) {
            self.new.packages.insert(folder.to_owned(), old.clone());
        }
    }

    /// The file to write, if anything in it changes.
    ///
    /// # Errors
    /// If it would change in more than the standard library, and must not.
    pub(crate) fn finish(self) -> Result<Option<NewLock>, ProjectError> {
        let Self { path, locked, old, new, notes: _ } = self;
        let matters = new.images != old.images || new.packages != old.packages;
        if matters && locked {
            let images = new.images.iter();
            let image = images.filter(|(name, digest)| old.images.get(*name) != Some(digest));
            let packages = new.packages.iter();
            let package = packages.filter(|(path, pin)| old.packages.get(*path) != Some(pin));
            let names = package.map(|(path, _)| path).chain(image.map(|(name, _)| name));
            let name = names.map(String::as_str).next().unwrap_or("what the text has");
            return Err(ProjectError::Locked(name.to_owned()));
        }
        let changes = !locked && new != old;
        Ok(changes.then(|| NewLock { path, text: new.print(), matters }))
    }
}

/// Asks registries, all at once, what references stand for.
fn asked(
    registries: &Arc<Registries>,
    mut unknown: BTreeMap<String, Span>,
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeMap<String, ImageDigest> {
    let mut found = BTreeMap::new();
    if unknown.is_empty() {
        return found;
    }
    let answers = crate::fleet::block_on(async {
        let mut asked = tokio::task::JoinSet::new();
        for reference in unknown.keys().cloned() {
            let registries = registries.clone();
            asked.spawn(async move { (registries.resolve(&reference).await, reference) });
        }
        asked.join_all().await
    });
    let mut wrong = BTreeMap::new();
    for (answer, reference) in answers.into_iter().flatten() {
        match answer {
            Ok(digest) => {
                found.insert(reference, digest);
            }
            Err(error) => {
                wrong.insert(reference, error);
            }
        }
    }
    for (reference, error) in wrong {
        let Some(span) = unknown.remove(&reference) else { continue };
        let words = format!("this image cannot be pinned: {error}");
        diagnostics.push(lower::mistake("E0511", span, words, error.mend()));
    }
    found
}

/// What a package would be pinned as; nothing where it is not there.
pub(crate) fn pin<'a>(
    package: &NeededPackage,
    files: &'a BTreeMap<String, Digests>,
) -> Option<(PackagePin, &'a Digests)> {
    let digests = files.get(&package.folder)?;
    let version = package.version.clone()?;
    Some((PackagePin::new(package.name.clone(), version, digests.clone()), digests))
}

/// The standard library of this Berth.
fn library() -> LibraryPin {
    let files = berth_lang::library().iter();
    let files = files.map(|(path, text)| ((*path).to_owned(), file_digest(text.as_bytes())));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    LibraryPin { version, digest: files_digest(&files.collect()) }
}

/// A version's numbers, which compare as people read them.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn ten_is_newer_than_nine() {
        assert!(numbers("0.10.0") > numbers("0.9.9"));
        assert!(numbers("1.0.0") > numbers("0.10.0"));
        assert_eq!(numbers("1.2.3-dev"), numbers("1.2.3"));
    }
}
