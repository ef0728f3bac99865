//! An OCI layout or archive as blobs by digest, validated.
//!
//! Manifest and configuration are hashed when they are read; layers must be there with the size
//! that the manifest says, and are hashed while they are sent.

mod docker;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use berth_engine::plan::names::ImageDigest;

use super::archive::{self, Extent, TarError};
use super::oci::{
    DOCUMENT_LIMIT, Descriptor, Document, ImageConfig, ImageError, Index, LAYER_LIMIT, Manifest,
    digest_of, is_digest, is_index,
};
use super::unpack;

/// What the CLI needs to know of an image beside the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// The digest of its manifest, or of the index of its manifests: what the graph and the plan pin.
    pub digest: ImageDigest,
    /// The digests of the manifests that are there.
    pub manifests: Vec<ImageDigest>,
    /// What they run on, as OCI names it: `amd64`.
    pub architectures: Vec<String>,
}

impl ImageFacts {
    /// Whether a digest names it, or what it has for one kind of machine.
    pub fn has(&self, digest: &ImageDigest) -> bool {
        self.digest == *digest || self.manifests.contains(digest)
    }
}

/// Reads an OCI layout folder.
///
/// # Errors
/// [`ImageError`] if it is not a complete image within limits.
pub fn read_layout(path: &Path) -> Result<ImageFacts, ImageError> {
    facts(&Source::layout(path))
}

/// Reads an archive: a tar of an OCI layout, or what `docker save` and `podman save` write. Nothing is
/// extracted.
///
/// # Errors
/// [`ImageError`] if it is not a complete image within limits.
pub fn read_archive(path: &Path) -> Result<ImageFacts, ImageError> {
    facts(&Source::archive(path)?)
}

/// Reads every byte of an OCI layout's image, and checks each blob's digest and what each layer unpacks to.
///
/// # Errors
/// As [`read_layout`], and the first blob whose bytes are not what its digest says.
pub fn verify_layout(path: &Path) -> Result<ImageFacts, ImageError> {
    Source::layout(path).verify()
}

/// The same of an archive's image.
///
/// # Errors
/// As [`read_archive`], and the first blob whose bytes are not what its digest says.
pub fn verify_archive(path: &Path) -> Result<ImageFacts, ImageError> {
    Source::archive(path)?.verify()
}

/// Where blobs come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Layout,
    Archive {
        /// Where its files lie.
        files: BTreeMap<String, Extent>,
        /// Documents that it has not, and that were made of what it has.
        made: BTreeMap<String, Vec<u8>>,
    },
}

/// A complete image: its documents, and descriptors whose blobs are there.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The index that it was chosen from, where the pin is the index's digest.
    pub(crate) index: Option<Descriptor>,
    pub(crate) descriptor: Descriptor,
    pub(crate) manifest: Manifest,
    pub(crate) config: ImageConfig,
}

/// An open blob, and its size.
pub(crate) struct Blob {
    file: Box<dyn Read + Send>,
    pub(crate) size: u64,
}

impl Blob {
    /// The blob's bytes and no more of its file.
    pub(crate) fn limited(self) -> std::io::Take<Box<dyn Read + Send>> {
        self.file.take(self.size)
    }
}

/// Where a layout has a blob.
fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Layout => "an OCI layout",
            Self::Archive { .. } => "an archive of an OCI layout, nor of `docker save`",
        }
    }
}

impl Source {
    pub(crate) fn layout(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: Kind::Layout }
    }

    pub(crate) fn archive(path: &Path) -> Result<Self, ImageError> {
        let io = |source| ImageError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let files = archive::index(&mut file).map_err(|error| match error {
            TarError::Io(source) => io(source),
            TarError::Bad(why) => {
                ImageError::Bad { path: path.to_owned(), why: format!("not a tar archive: {why}") }
            }
        })?;
        let kind = Kind::Archive { files, made: BTreeMap::new() };
        let mut source = Self { path: path.to_owned(), kind };
        source.adopt_docker()?;
        Ok(source)
    }

    fn verify(&self) -> Result<ImageFacts, ImageError> {
        let found = self.find()?;
        let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for image in &found.images {
            for (layer, named) in image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
                let bad = |why| ImageError::BadBlob {
                    path: self.path.clone(),
                    digest: layer.digest.clone(),
                    why,
                };
                let unpacked = match known.get(layer.digest.as_str()) {
                    Some(unpacked) => unpacked.clone(),
                    None => {
                        let io = |source| ImageError::Io { path: self.path.clone(), source };
                        let found =
                            unpack::look(self.open(&layer.digest)?.limited()).map_err(io)?;
                        if found.digest != layer.digest {
                            let actual = found.digest;
                            let why = format!("is damaged: its bytes have the digest {actual}");
                            return Err(bad(why));
                        }
                        let unpacked = found.unpacked.map_err(bad)?;
                        known.insert(&layer.digest, unpacked.clone());
                        unpacked
                    }
                };
                if let Some(unpacked) = unpacked.filter(|unpacked| unpacked != named) {
                    let words = "unpacks to what its configuration does not name";
                    return Err(bad(format!("{words}: {unpacked}, and not {named}")));
                }
            }
        }
        Ok(found.facts())
    }

    /// Opens a blob.
    pub(crate) fn open(&self, digest: &str) -> Result<Blob, ImageError> {
        let missing =
            || ImageError::MissingBlob { path: self.path.clone(), digest: digest.to_owned() };
        if !is_digest(digest) {
            return Err(self.bad(format!("`{digest}` is not a sha256 digest")));
        }
        self.open_file(&path_of(digest))?.ok_or_else(missing)
    }

    fn open_file(&self, inner: &str) -> Result<Option<Blob>, ImageError> {
        match &self.kind {
            Kind::Layout => {
                let path = self.path.join(inner);
                match File::open(&path) {
                    Ok(file) => {
                        let meta =
                            file.metadata().map_err(|source| ImageError::Io { path, source })?;
                        let blob = Blob { file: Box::new(file), size: meta.len() };
                        Ok(meta.is_file().then_some(blob))
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(ImageError::Io { path, source }),
                }
            }
            Kind::Archive { files, made } => {
                if let Some(bytes) = made.get(inner) {
                    let (size, file) = (bytes.len() as u64, Box::new(Cursor::new(bytes.clone())));
                    return Ok(Some(Blob { file, size }));
                }
                let Some(extent) = files.get(inner) else {
                    return Ok(None);
                };
                let io = |source| ImageError::Io { path: self.path.clone(), source };
                let mut file = File::open(&self.path).map_err(io)?;
                file.seek(SeekFrom::Start(extent.offset)).map_err(io)?;
                Ok(Some(Blob { file: Box::new(file), size: extent.size }))
            }
        }
    }

    /// Finds what the layout's index leads to.
    fn find(&self) -> Result<Found, ImageError> {
        let index = self
            .open_file("index.json")?
            .ok_or_else(|| self.bad(format!("no index.json: not {}", self.kind.name())))?;
        let bytes = self.small(index, "index.json")?;
        let index: Index = self.json(&bytes, "index.json")?;
        let nested = match index.listed().map_err(|why| self.bad(why))? {
            [one] if is_index(&one.media_type) => Some(one.clone()),
            _ => None,
        };
        let Some(nested) = nested else {
            let chosen = index.choose("amd64").map_err(|why| self.bad(why))?;
            let image = self.image(&chosen.digest)?;
            self.sized(&chosen, image.descriptor.size)?;
            return Ok(Found { digest: chosen.digest, images: vec![image] });
        };
        // An index in an index is how images for several machines are written; deeper is nobody's.
        let bytes = self.document(&nested.digest)?;
        self.sized(&nested, bytes.len() as u64)?;
        let index: Index = self.json(&bytes, &nested.digest)?;
        let listed = index.listed().map_err(|why| self.bad(why))?.iter();
        let there = listed.filter(|one| one.runs_on_linux()).filter_map(|one| self.listed(one));
        let images = there.collect::<Result<Vec<_>, _>>()?;
        if images.is_empty() {
            return Err(self.bad("its index lists no linux image that is there".to_owned()));
        }
        Ok(Found { digest: nested.digest, images })
    }

    /// One of the images that an index lists; nothing if it was left out, as tools do that copy for one
    /// machine.
    fn listed(&self, listed: &Descriptor) -> Option<Result<Image, ImageError>> {
        let image = match self.image(&listed.digest) {
            Err(ImageError::MissingBlob { digest, .. }) if digest == listed.digest => return None,
            Err(error) => return Some(Err(error)),
            Ok(image) => image,
        };
        Some(self.sized(listed, image.descriptor.size).map(|()| image))
    }

    /// The image for an architecture behind a digest, which is an image's or an index's.
    pub(crate) fn image_for(&self, digest: &str, architecture: &str) -> Result<Image, ImageError> {
        let Some((index, chosen)) = self.index(digest, architecture)? else {
            return self.image(digest);
        };
        let mut image = self.image(&chosen.digest)?;
        self.sized(&chosen, image.descriptor.size)?;
        image.index = Some(index);
        Ok(image)
    }

    /// Reads the index that a digest names, with the image for an architecture that it lists; nothing
    /// if the digest is an image's.
    pub(crate) fn index(
        &self,
        digest: &str,
        architecture: &str,
    ) -> Result<Option<(Descriptor, Descriptor)>, ImageError> {
        let bytes = self.document(digest)?;
        let Document::Index(index) = self.json(&bytes, digest)? else {
            return Ok(None);
        };
        let chosen = index.choose(architecture).map_err(|why| self.bad(why))?;
        if is_index(&chosen.media_type) {
            return Err(self.bad("an index lists an index".to_owned()));
        }
        Ok(Some((own(&bytes, digest, "application/vnd.oci.image.index.v1+json"), chosen)))
    }

    /// Reads a manifest, with its own descriptor.
    pub(crate) fn manifest(&self, digest: &str) -> Result<(Descriptor, Manifest), ImageError> {
        let bytes = self.document(digest)?;
        let manifest: Manifest = self.json(&bytes, digest)?;
        if manifest.layers.len() > LAYER_LIMIT {
            return Err(self.bad(format!("more than {LAYER_LIMIT} layers")));
        }
        Ok((own(&bytes, digest, "application/vnd.oci.image.manifest.v1+json"), manifest))
    }

    /// Reads the documents of a manifest's image.
    pub(crate) fn documents(&self, digest: &str) -> Result<Image, ImageError> {
        let (descriptor, manifest) = self.manifest(digest)?;
        let config: ImageConfig =
            self.json(&self.document(&manifest.config.digest)?, &manifest.config.digest)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(self.bad("manifest and configuration disagree on the layers".to_owned()));
        }
        if let Some(bad) = config.rootfs.diff_ids.iter().find(|id| !is_digest(id)) {
            return Err(self.bad(format!("`{bad}` is not a sha256 digest")));
        }
        Ok(Image { index: None, descriptor, manifest, config })
    }

    /// Reads the image of a manifest, and checks that everything it names is there.
    pub(crate) fn image(&self, digest: &str) -> Result<Image, ImageError> {
        let image = self.documents(digest)?;
        for layer in image.manifest.layers.iter().chain([&image.manifest.config]) {
            self.sized(layer, self.open(&layer.digest)?.size)?;
        }
        Ok(image)
    }

    /// Whether a blob is as long as is said.
    fn sized(&self, said: &Descriptor, size: u64) -> Result<(), ImageError> {
        if size == said.size {
            return Ok(());
        }
        Err(ImageError::BadBlob {
            path: self.path.clone(),
            digest: said.digest.clone(),
            why: format!("has {size} bytes, not {}", said.size),
        })
    }

    /// Reads a document and checks its digest.
    fn document(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        let bytes = self.small(self.open(digest)?, digest)?;
        let actual = digest_of(&bytes);
        if actual == digest {
            return Ok(bytes);
        }
        Err(ImageError::BadBlob {
            path: self.path.clone(),
            digest: digest.to_owned(),
            why: format!("has the digest {actual}"),
        })
    }

    fn small(&self, blob: Blob, what: &str) -> Result<Vec<u8>, ImageError> {
        if blob.size > DOCUMENT_LIMIT {
            return Err(self.bad(format!("{what} is longer than {DOCUMENT_LIMIT} bytes")));
        }
        let mut bytes = Vec::new();
        blob.limited()
            .read_to_end(&mut bytes)
            .map_err(|source| ImageError::Io { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        bytes: &[u8],
        what: &str,
    ) -> Result<T, ImageError> {
        serde_json::from_slice(bytes).map_err(|source| ImageError::Json {
            path: self.path.clone(),
            what: what.to_owned(),
            source,
        })
    }

    fn bad(&self, why: String) -> ImageError {
        ImageError::Bad { path: self.path.clone(), why }
    }
}

/// The descriptor of a document by its bytes; documents that name no media type have the usual one.
fn own(bytes: &[u8], digest: &str, usual: &str) -> Descriptor {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    let typed = serde_json::from_slice::<Typed>(bytes).ok();
    let named = typed.map(|typed| typed.media_type).filter(|named| !named.is_empty());
    Descriptor {
        media_type: named.unwrap_or_else(|| usual.to_owned()),
        digest: digest.to_owned(),
        size: bytes.len() as u64,
        platform: None,
    }
}

/// What a layout's index leads to.
struct Found {
    /// Of the image, or of an index that lists several.
    digest: String,
    /// Those that are there, at least one.
    images: Vec<Image>,
}

impl Found {
    fn facts(self) -> ImageFacts {
        let manifests = self.images.iter().map(|image| ImageDigest::new(&*image.descriptor.digest));
        ImageFacts {
            digest: ImageDigest::new(&*self.digest),
            manifests: manifests.collect(),
            architectures: self.images.into_iter().map(|image| image.config.architecture).collect(),
        }
    }
}

fn facts(source: &Source) -> Result<ImageFacts, ImageError> {
    source.find().map(Found::facts)
}

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Made {
        dir: tempfile::TempDir,
        layer: String,
        manifest: String,
    }

    fn blob(dir: &Path, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let folder = dir.join("blobs/sha256");
        fs::create_dir_all(&folder).expect("mkdir");
        fs::write(folder.join(&digest["sha256:".len()..]), bytes).expect("write");
        digest
    }

    fn make() -> Made {
        let dir = tempfile::tempdir().expect("tempdir");
        let layer = blob(dir.path(), b"layer");
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config_digest = blob(dir.path(), config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"l","digest":"{layer}","size":5}}]}}"#,
            config.len()
        );
        let digest = blob(dir.path(), manifest.as_bytes());
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{digest}","size":{}}}]}}"#,
            manifest.len()
        );
        fs::write(dir.path().join("index.json"), index).expect("write");
        Made { dir, layer, manifest: digest }
    }

    fn file_of(made: &Made, digest: &str) -> PathBuf {
        made.dir.path().join("blobs").join(digest.replace(':', "/"))
    }

    #[test]
    fn a_layout_and_its_archive_agree() {
        let made = make();
        let facts = read_layout(made.dir.path()).expect("layout");
        assert_eq!(facts.digest.as_str(), made.manifest);
        assert_eq!(facts.architectures, ["amd64"]);
        let archive = made.dir.path().join("a.tar");
        let tar = std::process::Command::new("tar")
            .arg("-C")
            .arg(made.dir.path())
            .arg("-cf")
            .arg(&archive)
            .args(["./index.json", "./blobs"])
            .status()
            .expect("tar");
        assert!(tar.success());
        assert_eq!(read_archive(&archive).expect("archive"), facts);
    }

    /// An image for two kinds of machines, as tools write it: an index in the layout's index.
    fn for_two(made: &Made) -> (String, String) {
        let read = |digest: &str| fs::read_to_string(file_of(made, digest)).expect("read");
        let manifest = read(&made.manifest);
        let amd64: serde_json::Value = serde_json::from_str(&manifest).expect("json");
        let config = amd64["config"]["digest"].as_str().expect("digest");
        let config = read(config).replace("amd64", "arm64");
        let config_digest = blob(made.dir.path(), config.as_bytes());
        let mut arm64 = amd64.clone();
        arm64["config"]["digest"] = config_digest.into();
        let arm64 = arm64.to_string();
        let arm64_digest = blob(made.dir.path(), arm64.as_bytes());
        let entry = |digest: &str, size: usize, os: &str, architecture: &str| {
            serde_json::json!({ "mediaType": "m", "digest": digest, "size": size,
                "platform": { "os": os, "architecture": architecture } })
        };
        let entries = [
            entry(&made.manifest, manifest.len(), "linux", "amd64"),
            entry(&arm64_digest, arm64.len(), "linux", "arm64"),
            entry(&digest_of(b"what attests it"), 1, "unknown", "unknown"),
        ];
        let index = serde_json::json!({ "manifests": entries }).to_string();
        let digest = blob(made.dir.path(), index.as_bytes());
        let media_type = "application/vnd.oci.image.index.v1+json";
        let top = serde_json::json!({ "manifests": [{ "mediaType": media_type, "digest": digest, "size": index.len() }] });
        fs::write(made.dir.path().join("index.json"), top.to_string()).expect("write");
        (digest, arm64_digest)
    }

    #[test]
    fn an_image_for_several_machines_is_pinned_as_a_whole() {
        let made = make();
        let (index, arm64) = for_two(&made);
        let facts = verify_layout(made.dir.path()).expect("layout");
        assert_eq!(facts.digest.as_str(), index);
        assert_eq!(facts.architectures, ["amd64", "arm64"]);
        // What was pinned before is the same image.
        assert!(
            facts.has(&ImageDigest::new(&*made.manifest)) && facts.has(&ImageDigest::new(&*index))
        );
        assert!(!facts.has(&ImageDigest::new(&*made.layer)));
        let source = Source::layout(made.dir.path());
        let image = |digest: &str, architecture| source.image_for(digest, architecture);
        assert_eq!(image(&index, "arm64").expect("image").descriptor.digest, arm64);
        assert_eq!(image(&index, "amd64").expect("image").index.expect("index").digest, index);
        assert!(image(&made.manifest, "amd64").expect("image").index.is_none());
        let none = image(&index, "riscv64").expect_err("none").to_string();
        assert!(
            none.contains("no linux/riscv64 image; it lists [linux/amd64, linux/arm64"),
            "{none}"
        );
        // Copied for one machine alone.
        fs::remove_file(file_of(&made, &arm64)).expect("rm");
        let facts = verify_layout(made.dir.path()).expect("layout");
        assert_eq!(
            (facts.digest.as_str(), facts.architectures),
            (&*index, vec!["amd64".to_owned()])
        );
        assert!(matches!(source.image_for(&index, "arm64"), Err(ImageError::MissingBlob { .. })));
        fs::remove_file(file_of(&made, &made.manifest)).expect("rm");
        assert!(matches!(verify_layout(made.dir.path()), Err(ImageError::Bad { .. })));
    }

    #[test]
    fn a_missing_layer_is_named() {
        let made = make();
        fs::remove_file(file_of(&made, &made.layer)).expect("rm");
        let error = read_layout(made.dir.path()).expect_err("missing");
        assert!(matches!(error, ImageError::MissingBlob { digest, .. } if digest == made.layer));
    }

    #[test]
    fn a_short_layer_and_a_changed_manifest_are_named() {
        let made = make();
        fs::write(file_of(&made, &made.layer), b"lay").expect("write");
        assert!(matches!(read_layout(made.dir.path()), Err(ImageError::BadBlob { .. })));
        let made = make();
        let path = file_of(&made, &made.manifest);
        let mut text = fs::read_to_string(&path).expect("read");
        text.push(' ');
        fs::write(&path, text).expect("write");
        assert!(matches!(read_layout(made.dir.path()), Err(ImageError::BadBlob { .. })));
    }

    #[test]
    fn neither_an_empty_folder_nor_a_text_is_an_image() {
        let dir = tempfile::tempdir().expect("tempdir");
        assert!(matches!(read_layout(dir.path()), Err(ImageError::Bad { .. })));
        let file = dir.path().join("x.tar");
        fs::write(&file, "hello").expect("write");
        assert!(matches!(read_archive(&file), Err(ImageError::Bad { .. })));
        assert!(matches!(read_archive(&dir.path().join("y")), Err(ImageError::Io { .. })));
    }

    #[test]
    fn a_path_is_no_digest() {
        let made = make();
        let error = Source::layout(made.dir.path()).image("sha256:../../index.json");
        assert!(matches!(error, Err(ImageError::Bad { .. })));
    }
}
