//! The text's files for a pod's containers: on the node beside the pod's wiring, and gone with it.
//!
//! They are in a folder that only root enters, whose files belong to whom the text says: a container
//! sees each one where the text puts it, and nothing of the others. They are there before anything of the pod
//! starts, and synchronised, so that a pod that a reboot brings back has them. What is secret is in memory
//! instead; where a node may keep it, it does so encrypted with a key of its own (systemd-creds), and the boot reflex opens it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::action::PodSpec;
use berth_engine::plan::canon::sha256;
use berth_engine::plan::content::{AtRest, Contents, File};
use berth_engine::plan::secret::Opened;
use zeroize::Zeroizing;

use super::part::Part;
use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

/// Where a file of a pod's is on its node.
pub(super) fn path(pod: &PodSpec, file: &File, name: &str) -> String {
    let (namespace, id) = (pod.tenant.namespace(), &pod.id);
    match file.at_rest {
        None => format!("/etc/berth/tenants/{namespace}/pods/{id}/files/{name}"),
        Some(_) => format!("/run/berth/secrets/{namespace}/{id}/{name}"),
    }
}

/// Writes all files of a pod, at once.
pub(super) async fn write(
    writer: &Writer<'_>,
    pod: &PodSpec,
    contents: &Contents,
    secrets: &Opened,
) -> Result<(), Fault> {
    let call = |function| Call::new(function).arg(pod.tenant.namespace()).arg(&pod.id);
    let (mut plain, mut secret): (Option<Call>, Option<Call>) = (None, None);
    for part in std::iter::once(Part::own(pod)).chain(Part::beside(pod)) {
        for (path, file, name) in part.named_files() {
            let failed = |why: &str| Fault::failed(&format!("write {path}"), why);
            let text = contents.get(&file.content);
            let text =
                text.ok_or_else(|| failed("the plan does not have what is in it; plan again"))?;
            let (into, function) = match file.at_rest {
                None => (&mut plain, "files_up"),
                Some(_) => (&mut secret, "secrets_up"),
            };
            let filled = if file.sealed.is_empty() {
                Zeroizing::new(text.to_string())
            } else {
                let missing = |name: String| failed(&format!("the secret `{name}` is not open"));
                secrets.fill(text).map_err(missing)?
            };
            let sum = sha256(filled.as_bytes());
            let with = into
                .take()
                .unwrap_or_else(|| call(function))
                .arg(name)
                .arg(format_args!("{:03o}", file.mode))
                .arg(format_args!("{}:{}", file.user, file.group));
            let with = match file.at_rest {
                None => with,
                Some(AtRest::Sealed) => with.arg("sealed"),
                Some(AtRest::Memory) => with.arg("memory"),
            };
            *into = Some(with.data(&sum).data(&Zeroizing::new(STANDARD.encode(filled.as_bytes()))));
        }
    }
    if let Some(call) = plain {
        writer.must("write a pod's files", &call).await?;
    }
    if let Some(call) = secret {
        writer.must("write a pod's secrets", &call).await?;
    }
    Ok(())
}
