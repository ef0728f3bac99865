//! Images of registries: which digest a reference stands for, and its documents and blobs into a
//! folder of this machine.
//!
//! The folder is shaped like an OCI layout, so that what was pulled is sent to a node as an image from
//! beside the project is. The protocol is that of the OCI distribution specification (`oci-client`);
//! who logs in is what `docker login` or `podman login` keep, credential helpers included. Mirrors are
//! asked first, in their order; what the last host says is what is told.
//!
//! Invariants:
//! - Bytes get their name in the folder only if they have its digest. A download that was cut goes on
//!   where it ended, and two engines that want the same blob fetch it once.
//! - Credentials go to the registry that they are kept for, and are in no message and no file of ours.
//!
//! Deliberately absent: what a tag stands for today, once `berth.lock` has pinned it.

mod answer;
mod signed;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_engine::plan::names::ImageDigest;
use berth_engine::plan::registry::Access;
use futures_util::StreamExt as _;
use oci_client::client::{
    BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol,
};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::credentials::{self, CredentialError};
use super::oci::{DOCUMENT_LIMIT, Descriptor, Document, digest_of, is_digest, spell};
use super::signature::KeyError;
use super::source::{Image, Source};
use answer::{told, words};

/// What of manifests and indexes is asked for: OCI's types, and Docker's older ones.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// How often a download that is cut goes on without having got any further.
const TRIES: u32 = 4;
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Why an image of a registry cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The reference is none.
    #[error("`{0}` does not name an image of a registry")]
    Reference(String),
    /// The registry did not answer.
    #[error("{registry} does not answer: {why}")]
    Unreachable {
        /// Which.
        registry: String,
        /// Why.
        why: String,
    },
    /// The registry does not let us read it.
    #[error("{registry} does not let {who} read `{repository}`")]
    Denied {
        /// Which.
        registry: String,
        /// Whom it knew us as.
        who: &'static str,
        /// What was asked for.
        repository: String,
    },
    /// There is no such image.
    #[error("{registry} has no `{name}`")]
    Missing {
        /// Which.
        registry: String,
        /// What was asked for.
        name: String,
    },
    /// The registry answered something else.
    #[error("{registry}: {why}")]
    Answer {
        /// Which.
        registry: String,
        /// What.
        why: String,
    },
    /// What `docker login` keeps cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A file of certificates cannot be used.
    #[error("{path}: {why}")]
    Certificates {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No key that the project names has signed it.
    #[error("`{name}` is not signed by {keys}: {why}")]
    Unsigned {
        /// The image.
        name: String,
        /// The files of the keys.
        keys: String,
        /// What there is instead.
        why: String,
    },
    /// A file holds no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was pulled is no image, or cannot be kept.
    #[error(transparent)]
    Image(#[from] super::ImageError),
}

impl RegistryError {
    /// What a person can do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Reference(_) => "write it as `ghcr.io/acme/web:1.4`".to_owned(),
            Self::Unreachable { .. } => {
                "is its name right? One that speaks plain HTTP, or with certificates of its own, is told of in `project { registries }`".to_owned()
            }
            Self::Denied { registry, .. } => {
                format!("log in with `docker login {registry}` (or `podman login`), as somebody who may read it")
            }
            Self::Missing { .. } => "look at its name and tag, or push it there".to_owned(),
            Self::Answer { .. } => "try again; if it stays, ask whoever runs the registry".to_owned(),
            Self::Credentials(_) => "log in again; $DOCKER_CONFIG names another folder than ~/.docker".to_owned(),
            Self::Certificates { .. } => "write a file of PEM certificates; the path is relative to the project".to_owned(),
            Self::Unsigned { name, .. } => format!("sign it: `cosign sign --key KEY {name}`; if this key is right too, name it in `signed_by`"),
            Self::Key(_) => "write a public key in PEM, such as `cosign.pub`; the path in `signed_by` is relative to the project".to_owned(),
            Self::Image(_) => "if the image is damaged, push it again".to_owned(),
        }
    }
}

/// One host that has a registry's images: the registry itself, or a mirror.
#[derive(Clone)]
struct Site {
    host: String,
    client: Client,
    auth: RegistryAuth,
}

/// How a node reads a registry: in the form that containerd's `hosts.toml` has.
pub(crate) struct HostsFile {
    /// The text; `@FOLDER@` stands for where its folder is.
    pub(crate) text: String,
    /// Certificates, to be written beside it as `ca`.
    pub(crate) certificates: String,
}

/// The registries that a project reads.
pub struct Registries {
    root: PathBuf,
    folder: PathBuf,
    access: BTreeMap<String, Access>,
    sites: Mutex<HashMap<String, Site>>,
    /// Images whose signature was found right.
    signed: Mutex<BTreeSet<String>>,
}

impl Registries {
    /// Keeps what is pulled in `.berth/images` of a project's folder; asks nobody yet.
    pub fn new(root: PathBuf, access: BTreeMap<String, Access>) -> Self {
        let folder = root.join(".berth/images");
        let (sites, signed) = (Mutex::default(), Mutex::default());
        Self { root, folder, access, sites, signed }
    }

    /// How a reference's registry is read.
    pub(crate) fn access(&self, reference: &Reference) -> Access {
        self.access.get(reference.registry()).cloned().unwrap_or_default()
    }

    /// What was pulled, as blobs by digest.
    pub(crate) fn source(&self) -> Source {
        Source::layout(&self.folder)
    }

    /// Asks which digest a reference stands for: that of an image, or of an index of images.
    ///
    /// # Errors
    /// [`RegistryError`]: the registry cannot be asked, or has no such image.
    pub async fn resolve(&self, reference: &str) -> Result<ImageDigest, RegistryError> {
        let reference = parse(reference)?;
        let bytes = self.manifest(&reference).await?;
        let digest = ImageDigest::new(digest_of(&bytes));
        self.signed(&reference, &digest).await?;
        Ok(digest)
    }

    /// Finds the image for an architecture behind a pinned digest, by its documents, once it is known to
    /// be signed where that is asked for; no layer is fetched.
    pub(crate) async fn image(
        &self,
        reference: &Reference,
        digest: &ImageDigest,
        architecture: &str,
    ) -> Result<Image, RegistryError> {
        let source = self.source();
        let at = |digest: &str| reference.clone_with_digest(digest.to_owned());
        self.signed(reference, digest).await?;
        if !self.path(digest.as_str()).exists() {
            self.manifest(&at(digest.as_str())).await?;
        }
        let index = source.index(digest.as_str(), architecture)?;
        let manifest = index.as_ref().map_or(digest.as_str(), |(_, chosen)| &chosen.digest);
        if !self.path(manifest).exists() {
            self.manifest(&at(manifest)).await?;
        }
        let config = source.manifest(manifest)?.1.config;
        self.blob(reference, &config).await?;
        let mut image = source.documents(manifest)?;
        image.index = index.map(|(index, _)| index);
        Ok(image)
    }

    /// Brings a blob into the folder, if it is not there.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
    ) -> Result<(), RegistryError> {
        if !is_digest(&blob.digest) {
            let why = format!("`{}` is not a sha256 digest", blob.digest);
            return Err(RegistryError::Answer { registry: reference.registry().to_owned(), why });
        }
        if self.path(&blob.digest).exists() {
            return Ok(());
        }
        let partial = self.partial(&blob.digest).await?;
        // Another engine may have brought it while we waited for the file.
        if self.path(&blob.digest).exists() {
            return Ok(());
        }
        self.asked(reference, |site, at| {
            let partial = partial.try_clone();
            async move { self.download(&site, &at, blob, partial).await }
        })
        .await?;
        let path = self.path(&blob.digest);
        let from = self.partial_path(&blob.digest);
        partial.sync_all().and_then(|()| std::fs::rename(from, &path)).map_err(io(&path))
    }

    /// The file that a download grows in, locked against others.
    async fn partial(&self, digest: &str) -> Result<File, RegistryError> {
        let path = self.partial_path(digest);
        let open = move || {
            let opened = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
                let mut options = File::options();
                let file = options.create(true).read(true).append(true).open(&path)?;
                file.lock()?;
                Ok(file)
            });
            opened.map_err(io(&path))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        opened.map_err(|error| RegistryError::Answer {
            registry: "this machine".to_owned(),
            why: error.to_string(),
        })?
    }

    async fn download(
        &self,
        site: &Site,
        at: &Reference,
        blob: &Descriptor,
        partial: std::io::Result<File>,
    ) -> Result<(), RegistryError> {
        let path = self.partial_path(&blob.digest);
        let io = io(&path);
        let file = partial.map_err(&io)?;
        if file.metadata().is_ok_and(|meta| meta.len() > blob.size) {
            file.set_len(0).map_err(&io)?;
        }
        let read = tokio::task::spawn_blocking(move || hashed(file)).await;
        let (mut file, mut hash, mut have) =
            read.map_err(std::io::Error::other).flatten().map_err(&io)?;
        let resumed = have > 0;
        let mut tries = 0;
        while have < blob.size || tries == 0 {
            let before = have;
            let cut = match self.part(site, at, blob, (&mut file, &mut hash, &mut have)).await {
                Ok(()) => None,
                Err(error @ (RegistryError::Unreachable { .. } | RegistryError::Answer { .. })) => {
                    Some(error)
                }
                Err(error) => return Err(error),
            };
            tries = if have > before { 1 } else { tries + 1 };
            match cut {
                Some(error) if tries > TRIES => return Err(error),
                Some(_) => tokio::time::sleep(Duration::from_millis(250) * tries).await,
                None => break,
            }
        }
        let actual = spell(&hash.finalize());
        if actual == blob.digest && have == blob.size {
            return Ok(());
        }
        file.set_len(0).map_err(&io)?;
        if resumed {
            // What was there may be what was wrong: a mirror's, or of a machine that lost its power.
            return Box::pin(self.download(site, at, blob, Ok(file))).await;
        }
        Err(RegistryError::Answer {
            registry: site.host.clone(),
            why: format!(
                "blob {} came with the digest {actual} and {have} bytes, of {}",
                blob.digest, blob.size
            ),
        })
    }

    /// Reads on from where a download is.
    async fn part(
        &self,
        site: &Site,
        at: &Reference,
        blob: &Descriptor,
        (file, hash, have): (&mut File, &mut Sha256, &mut u64),
    ) -> Result<(), RegistryError> {
        let failed = |error: OciDistributionError| told(site, at, &error);
        let client = &site.client;
        let answer = if *have == 0 {
            client.pull_blob_stream(at, blob.digest.as_str()).await.map(BlobResponse::Full)
        } else {
            client.pull_blob_stream_partial(at, blob.digest.as_str(), *have, None).await
        };
        let path = self.partial_path(&blob.digest);
        let io = io(&path);
        let mut stream = match answer.map_err(failed)? {
            BlobResponse::Full(stream) => {
                file.set_len(0).map_err(&io)?;
                (*hash, *have) = (Sha256::new(), 0);
                stream
            }
            BlobResponse::Partial(stream) => stream,
        };
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| RegistryError::Unreachable {
                registry: site.host.clone(),
                why: words(&error),
            })?;
            *have += bytes.len() as u64;
            if *have > blob.size {
                let why = format!("is longer than its {} bytes", blob.size);
                let (path, digest) = (path.clone(), blob.digest.clone());
                return Err(super::ImageError::BadBlob { path, digest, why }.into());
            }
            hash.update(&bytes);
            file.write_all(&bytes).map_err(&io)?;
        }
        Ok(())
    }

    /// Reads a manifest or an index, keeps it in the folder, and checks its digest where it is named.
    async fn manifest(&self, reference: &Reference) -> Result<Vec<u8>, RegistryError> {
        let bytes = self
            .asked(reference, |site, at| async move {
                let pulled = site.client.pull_manifest_raw(&at, &site.auth, &MANIFESTS).await;
                let (bytes, _) = pulled.map_err(|error| told(&site, &at, &error))?;
                let actual = digest_of(&bytes);
                if at.digest().is_some_and(|digest| digest != actual) {
                    let why = format!("{at} came with the digest {actual}");
                    return Err(RegistryError::Answer { registry: site.host, why });
                }
                if bytes.len() as u64 > DOCUMENT_LIMIT {
                    let why = format!("{at} is longer than {DOCUMENT_LIMIT} bytes");
                    return Err(RegistryError::Answer { registry: site.host, why });
                }
                Ok(bytes.to_vec())
            })
            .await?;
        let path = self.path(&digest_of(&bytes));
        put(&path, &bytes).map_err(io(&path))?;
        Ok(bytes)
    }

    /// Asks every host that has a registry's images, until one answers.
    async fn asked<T, F>(
        &self,
        reference: &Reference,
        ask: impl Fn(Site, Reference) -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let registry = reference.registry().to_owned();
        for mirror in self.access(reference).mirrors {
            let mut at = reference.clone();
            at.set_mirror_registry(mirror.clone());
            let answer = match self.site(&mirror, &at).await {
                Ok(site) => ask(site, at).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(found) => return Ok(found),
                Err(error) => tracing::info!("mirror {mirror} of {registry}: {error}"),
            }
        }
        ask(self.site(&registry, reference).await?, reference.clone()).await
    }

    /// A host that is ready to be asked, once a process.
    async fn site(&self, host: &str, at: &Reference) -> Result<Site, RegistryError> {
        let mut sites = self.sites.lock().await;
        if let Some(site) = sites.get(host) {
            return Ok(site.clone());
        }
        let access = self.access.get(host).cloned().unwrap_or_default();
        let extra_root_certificates = match &access.ca {
            Some(path) => certificates(&self.root.join(path))?,
            None => Vec::new(),
        };
        let protocol = if access.http { ClientProtocol::Http } else { ClientProtocol::Https };
        // Refused only if there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientConfig {
            protocol,
            extra_root_certificates,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("berth/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        let auth = credentials::find(host).await?;
        client.store_auth_if_needed(at.resolve_registry(), &auth).await;
        let site = Site { host: host.to_owned(), client, auth };
        sites.insert(host.to_owned(), site.clone());
        Ok(site)
    }

    /// What a node needs in order to pull from a registry, with a token of the shortest life that the
    /// registry gives, where this machine has credentials.
    pub(crate) async fn hosts_file(
        &self,
        reference: &Reference,
    ) -> Result<HostsFile, RegistryError> {
        let registry = reference.registry();
        let mut file = HostsFile { text: String::new(), certificates: String::new() };
        let mut hosts = self.access(reference).mirrors;
        hosts.push(registry.to_owned());
        let last = self.address(registry);
        file.text.push_str(&format!("server = {}\n", quoted(&last)));
        for host in hosts {
            let access = self.access.get(&host).cloned().unwrap_or_default();
            let mut at = reference.clone();
            if host != registry {
                at.set_mirror_registry(host.clone());
            }
            let header = match self.header(&host, &at).await {
                Ok(header) => header,
                // The node may reach what this machine does not.
                Err(RegistryError::Unreachable { .. }) => None,
                Err(error) if host == registry => return Err(error),
                Err(_) => continue,
            };
            let address = quoted(&self.address(&host));
            file.text
                .push_str(&format!("[host.{address}]\n  capabilities = [\"pull\", \"resolve\"]\n"));
            if let Some(path) = &access.ca {
                let path = self.root.join(path);
                let read = std::fs::read_to_string(&path);
                file.certificates.push_str(&read.map_err(|error| RegistryError::Certificates {
                    path,
                    why: error.to_string(),
                })?);
                file.text.push_str("  ca = \"@FOLDER@/ca\"\n");
            }
            if let Some(header) = header {
                let header = quoted(&header);
                file.text.push_str(&format!(
                    "  [host.{address}.header]\n    authorization = {header}\n"
                ));
            }
        }
        Ok(file)
    }

    async fn header(&self, host: &str, at: &Reference) -> Result<Option<String>, RegistryError> {
        use base64::Engine as _;
        let site = self.site(host, at).await?;
        let RegistryAuth::Basic(user, password) = &site.auth else {
            return Ok(None);
        };
        let token = site.client.auth(at, &site.auth, RegistryOperation::Pull).await;
        Ok(Some(match token.map_err(|error| told(&site, at, &error))? {
            Some(token) => format!("Bearer {token}"),
            None => {
                let both = format!("{user}:{password}");
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
            }
        }))
    }

    /// Removes from the folder what none of some images needs, and says how many files and bytes that
    /// was. All of it can be pulled again.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn tidy(&self, keep: &BTreeSet<ImageDigest>) -> Result<(usize, u64), RegistryError> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<String> = keep.iter().map(ToString::to_string).collect();
        while let Some(digest) = open.pop() {
            if !is_digest(&digest) || !needed.insert(digest.clone()) {
                continue;
            }
            let path = self.path(&digest);
            if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > DOCUMENT_LIMIT) {
                continue;
            }
            let bytes = std::fs::read(path).unwrap_or_default();
            match serde_json::from_slice(&bytes) {
                Ok(Document::Index(index)) => {
                    open.extend(index.manifests.into_iter().map(|manifest| manifest.digest));
                }
                Ok(Document::Manifest(manifest)) => {
                    open.push(manifest.config.digest);
                    open.extend(manifest.layers.into_iter().map(|layer| layer.digest));
                }
                Err(_) => {}
            }
        }
        let needed: BTreeSet<PathBuf> = needed.iter().map(|digest| self.path(digest)).collect();
        let (mut files, mut bytes) = (0, 0);
        for folder in [self.folder.join("blobs/sha256"), self.folder.join("partial")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if needed.contains(&path) {
                    continue;
                }
                bytes += entry.metadata().map_or(0, |meta| meta.len());
                files += 1;
                std::fs::remove_file(&path).map_err(io(&path))?;
            }
        }
        Ok((files, bytes))
    }

    fn address(&self, host: &str) -> String {
        let http = self.access.get(host).is_some_and(|access| access.http);
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        format!("{}://{host}", if http { "http" } else { "https" })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "/"))
    }

    fn partial_path(&self, digest: &str) -> PathBuf {
        self.folder.join("partial").join(digest.replace(':', "-"))
    }
}

/// Reads a reference; `web` is Docker Hub's `docker.io/library/web:latest`.
pub(crate) fn parse(reference: &str) -> Result<Reference, RegistryError> {
    reference.parse().map_err(|_| RegistryError::Reference(reference.to_owned()))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The hash of what a file holds already, and how many bytes that is.
fn hashed(mut file: File) -> std::io::Result<(File, Sha256, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let have = std::io::copy(&mut file, &mut hash)?;
    Ok((file, hash, have))
}

/// Writes a file at once or not at all.
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&new, bytes)?;
    std::fs::rename(new, path)
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> RegistryError + '_ {
    |source| super::ImageError::Io { path: path.to_owned(), source }.into()
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate>, RegistryError> {
    let bad = |why: String| RegistryError::Certificates { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let parts = text.split(BEGIN).skip(1);
    let found: Vec<Certificate> = parts
        .map(|part| Certificate {
            encoding: CertificateEncoding::Pem,
            data: format!("{BEGIN}{part}").into_bytes(),
        })
        .collect();
    if found.is_empty() {
        return Err(bad("it holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
