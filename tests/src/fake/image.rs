//! Small images beside a project, as OCI layouts.

use std::path::Path;

use berth_engine::plan::names::ImageDigest;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How a container of an image behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Whether it answers a probe well.
    pub ready: bool,
    /// Whether it ends at once, and with which exit code.
    pub ends: Option<u32>,
}

impl Behaviour {
    /// It runs and is ready.
    pub const GOOD: Self = Self { ready: true, ends: None };
    /// It runs and is never ready.
    pub const BAD: Self = Self { ready: false, ends: None };
}

/// The digest of bytes, as OCI writes it.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Writes an image whose one layer nobody unpacks.
pub(super) fn layout(folder: &Path, name: &str) -> ImageDigest {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a folder");
    let put = |bytes: &[u8]| {
        let digest = digest_of(bytes);
        let file = digest.trim_start_matches("sha256:");
        std::fs::write(blobs.join(file), bytes).expect("a file");
        digest
    };
    let mut layer = vec![0_u8; 4096];
    layer.extend_from_slice(name.as_bytes());
    let layer_digest = put(&layer);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Entrypoint": ["/web"], "User": "1000:1000" },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    });
    let config = config.to_string();
    let config_digest = put(config.as_bytes());
    let oci = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
        "config": { "mediaType": oci("config.v1+json"), "digest": config_digest, "size": config.len() },
        "layers": [{ "mediaType": oci("layer.v1.tar"), "digest": layer_digest, "size": layer.len() }],
    });
    let manifest = manifest.to_string();
    let manifest_digest = put(manifest.as_bytes());
    let index = json!({
        "schemaVersion": 2, "mediaType": oci("index.v1+json"),
        "manifests": [{ "mediaType": oci("manifest.v1+json"), "digest": manifest_digest,
            "size": manifest.len(), "platform": { "os": "linux", "architecture": "amd64" } }],
    });
    std::fs::write(folder.join("index.json"), index.to_string()).expect("a file");
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
    ImageDigest::new(manifest_digest)
}
