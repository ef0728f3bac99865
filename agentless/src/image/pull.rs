//! A node pulls an image's blobs by itself: with its own `ctr`, which comes with containerd.
//!
//! The node gets the documents' digests pinned, and for the moment of the pull, in a folder in memory
//! that only root reads, a header for the registry where this machine has a login. What is pulled
//! becomes content and nothing more: naming and unpacking is the same as for what is sent.

use berth_engine::plan::names::ImageDigest;
use berth_engine::run::host::Refusal;
use containerd_client::services::v1 as api;
use oci_client::Reference;
use tonic::Code;

use super::blob::chain;
use super::registry::Registries;
use super::source::Image;
use crate::containerd::within;
use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

/// A token may end in the middle of a large image; what is there already is not pulled again.
const TRIES: u32 = 3;

/// The name under which a node keeps what it pulled, until the image has its own.
fn name(reference: &Reference, digest: &ImageDigest) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}

/// Lets the node pull what it lacks of an image.
pub(super) async fn on_node(
    writer: &Writer<'_>,
    namespace: &str,
    registries: &Registries,
    (reference, digest): (&Reference, &ImageDigest),
    image: &Image,
) -> Result<(), Fault> {
    if !lacks(writer, namespace, image).await? {
        return Ok(());
    }
    let bad = |why: String| Fault::from(Refusal::BadImage { image: digest.to_string(), why });
    let name = name(reference, digest);
    let mut tries = 0;
    loop {
        tries += 1;
        let file = registries.hosts_file(reference).await.map_err(|error| bad(chain(&error)))?;
        let call = Call::new("image_pull")
            .arg(namespace)
            .arg(&name)
            .arg(format!("linux/{}", image.config.architecture))
            .data(&file.text)
            .data(&file.certificates);
        let output = writer.run(&call).await?;
        match output.status {
            0 => return Ok(()),
            127 => {
                return Err(Refusal::Missing {
                    what: "ctr".to_owned(),
                    mend: "install it (it comes with containerd), or let this machine pull: `registries: { \"HOST\": { pulled_by: engine } }`".to_owned(),
                }
                .into());
            }
            _ if tries < TRIES => {}
            _ => {
                let registry = reference.registry();
                let said = output.text.trim();
                let said = said.lines().last().unwrap_or("no word why");
                let said = said.strip_prefix("ctr: ").unwrap_or(said);
                return Err(bad(format!(
                    "the node cannot pull it from {registry}: {said}; if only this machine reaches the registry, say `registries: {{ \"{registry}\": {{ pulled_by: engine }} }}`"
                )));
            }
        }
    }
}

/// Drops the name that a pull gave, this one or one that was killed; the image has its own by now, or
/// is given up.
pub(super) async fn forget(
    writer: &Writer<'_>,
    namespace: &str,
    (reference, digest): (&Reference, &ImageDigest),
) -> Result<(), Fault> {
    writer.note("containerd: images.delete")?;
    let name = name(reference, digest);
    let request = api::DeleteImageRequest { name, sync: false, target: None };
    match writer.containerd().images().delete(within(namespace, request)).await {
        Err(status) if status.code() != Code::NotFound => {
            Err(Fault::grpc("containerd: delete an image", &status))
        }
        _ => Ok(()),
    }
}

/// Whether a blob of an image is not on the node.
async fn lacks(writer: &Writer<'_>, namespace: &str, image: &Image) -> Result<bool, Fault> {
    for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
        let info = api::InfoRequest { digest: blob.digest.clone() };
        match writer.containerd().content().info(within(namespace, info)).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::NotFound => return Ok(true),
            Err(status) => return Err(Fault::read("containerd: look at content", &status)),
        }
    }
    Ok(false)
}
