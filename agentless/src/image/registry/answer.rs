//! What a registry's answer comes to, in words.

use oci_client::Reference;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;

use super::{RegistryError, Site};

/// An error with what caused it.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        let more = below.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = below.source();
    }
    text
}

/// What a registry's answer comes to.
pub(super) fn told(site: &Site, at: &Reference, error: &OciDistributionError) -> RegistryError {
    let registry = site.host.clone();
    let name = match (at.tag(), at.digest()) {
        (_, Some(digest)) => format!("{}@{digest}", at.repository()),
        (tag, None) => format!("{}:{}", at.repository(), tag.unwrap_or("latest")),
    };
    let who = match site.auth {
        RegistryAuth::Anonymous => "anybody without a login",
        RegistryAuth::Basic(..) | RegistryAuth::Bearer(_) => "this login",
    };
    let denied = || RegistryError::Denied {
        registry: registry.clone(),
        who,
        repository: at.repository().to_owned(),
    };
    let missing = || RegistryError::Missing { registry: registry.clone(), name: name.clone() };
    match error {
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. } => denied(),
        OciDistributionError::ImageManifestNotFoundError(_) => missing(),
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|error| &error.code) {
                Some(OciErrorCode::Denied | OciErrorCode::Unauthorized) => denied(),
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown,
                ) => missing(),
                _ => RegistryError::Answer { registry, why: words(error) },
            }
        }
        OciDistributionError::ServerError { code: 401 | 403, .. } => denied(),
        OciDistributionError::ServerError { code: 404, .. } => missing(),
        OciDistributionError::RequestError(error) => {
            // The address that was asked may hold what only the registry should see.
            let mut causes = Vec::new();
            let mut cause = std::error::Error::source(error);
            while let Some(below) = cause {
                causes.push(below.to_string());
                cause = below.source();
            }
            let why = causes.last().cloned().unwrap_or_else(|| "the request failed".to_owned());
            let why = match why.contains("CaUsedAsEndEntity") {
                true => "its certificate is an authority's own; it needs one that an authority has signed".to_owned(),
                false => why,
            };
            RegistryError::Unreachable { registry, why }
        }
        other => RegistryError::Answer { registry, why: words(other) },
    }
}
