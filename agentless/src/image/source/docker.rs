//! What `docker save` and `podman save` write, read as the OCI image that it holds.
//!
//! Such an archive has a `manifest.json` that names a configuration and plain layers by path. The
//! configuration's bytes are kept; the manifest, which it lacks, is made of them, always the same for the
//! same image. Layers get the digests that the configuration says, and are hashed on their way like any
//! others. Source: moby's image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
//! Archives of Docker 25 and later are OCI layouts too, and read as those.

use serde::Deserialize;

use super::{Kind, Source};
use crate::image::oci::{ImageConfig, ImageError, LAYER_LIMIT, digest_of, is_digest, or_default};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

impl Source {
    /// Gives an archive of Docker's the documents that an OCI layout has; leaves others alone.
    pub(super) fn adopt_docker(&mut self) -> Result<(), ImageError> {
        if self.open_file("index.json")?.is_some() {
            return Ok(());
        }
        let Some(list) = self.open_file("manifest.json")? else {
            return Ok(());
        };
        let saved: Vec<Saved> = self.json(&self.small(list, "manifest.json")?, "manifest.json")?;
        let [saved] = saved.as_slice() else {
            let count = saved.len();
            return Err(self.bad(format!("it holds {count} images; save the one that is meant")));
        };
        let (config, config_size) = self.config(&saved.config)?;
        let image: ImageConfig = self.json(&config, &saved.config)?;
        let diff_ids = &image.rootfs.diff_ids;
        if diff_ids.len() != saved.layers.len() {
            return Err(self.bad("manifest and configuration disagree on the layers".to_owned()));
        }
        if diff_ids.len() > LAYER_LIMIT {
            return Err(self.bad(format!("more than {LAYER_LIMIT} layers")));
        }
        let mut layers = Vec::new();
        for (path, digest) in saved.layers.iter().zip(diff_ids) {
            if !is_digest(digest) {
                return Err(self.bad(format!("`{digest}` is not a sha256 digest")));
            }
            let size = self.rename(path, digest)?;
            layers.push(format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}"#
            ));
        }
        let digest = digest_of(&config);
        self.rename(&saved.config, &digest)?;
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{config_size}}},"layers":[{}]}}"#,
            layers.join(",")
        );
        let (digest, size) = (digest_of(manifest.as_bytes()), manifest.len());
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size}}}]}}"#
        );
        if let Kind::Archive { made, .. } = &mut self.kind {
            made.insert(super::path_of(&digest), manifest.into_bytes());
            made.insert("index.json".to_owned(), index.into_bytes());
        }
        Ok(())
    }

    /// Reads the configuration, whose name says its digest.
    fn config(&self, path: &str) -> Result<(Vec<u8>, usize), ImageError> {
        let file = self.open_file(path)?.ok_or_else(|| self.lacks(path))?;
        let bytes = self.small(file, path)?;
        let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".json");
        let (said, actual) = (format!("sha256:{name}"), digest_of(&bytes));
        if is_digest(&said) && said != actual {
            let why = format!("has the digest {actual}");
            return Err(ImageError::BadBlob { path: self.path.clone(), digest: said, why });
        }
        let size = bytes.len();
        Ok((bytes, size))
    }

    /// Lets a file of the archive be found by its digest; tells its bytes.
    fn rename(&mut self, path: &str, digest: &str) -> Result<u64, ImageError> {
        let Kind::Archive { files, .. } = &mut self.kind else {
            return Err(self.lacks(path));
        };
        let Some(extent) = files.get(path).copied() else {
            return Err(self.lacks(path));
        };
        files.insert(super::path_of(digest), extent);
        Ok(extent.size)
    }

    fn lacks(&self, path: &str) -> ImageError {
        self.bad(format!("`{}` is missing, which its manifest.json names", path.escape_debug()))
    }
}
