//! Whether a registry's image is signed as the text wants it.

use berth_engine::plan::names::ImageDigest;
use oci_client::Reference;

use super::{Registries, RegistryError, io};
use crate::image::signature::{self, Key, KeyError, Signatures};

impl Registries {
    /// Looks whether a key that the text names has signed an image, where it names any.
    pub(super) async fn signed(
        &self,
        reference: &Reference,
        digest: &ImageDigest,
    ) -> Result<(), RegistryError> {
        let signed_by = self.access(reference).signed_by;
        let repository = reference.repository();
        let name = format!("{}/{repository}@{digest}", reference.registry());
        if signed_by.is_empty() || self.signed.lock().await.contains(&name) {
            return Ok(());
        }
        let keys: Result<Vec<Key>, KeyError> =
            signed_by.iter().map(|path| Key::read(&self.root.join(path))).collect();
        let keys = keys?;
        let unsigned = |why: String| {
            let (name, keys) = (name.clone(), signed_by.join(" or "));
            RegistryError::Unsigned { name, keys, why }
        };
        let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
        let (registry, repository) = (reference.registry().to_owned(), repository.to_owned());
        let beside = Reference::with_tag(registry, repository, tag);
        let bytes = match self.manifest(&beside).await {
            Err(RegistryError::Missing { .. }) => {
                return Err(unsigned("the registry has no signature of it".to_owned()));
            }
            other => other?,
        };
        let listed = serde_json::from_slice(&bytes).map(Signatures::listed).unwrap_or_default();
        let mut why = "the registry has no signature of it".to_owned();
        for (blob, signature) in listed {
            self.blob(reference, &blob).await?;
            let path = self.path(&blob.digest);
            let payload = std::fs::read(&path).map_err(io(&path))?;
            match signature::verify(&payload, &signature, &keys, digest.as_str()) {
                Ok(()) => {
                    self.signed.lock().await.insert(name);
                    return Ok(());
                }
                Err(other) => why = other,
            }
        }
        Err(unsigned(why))
    }
}
