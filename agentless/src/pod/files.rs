//! The text's files for a pod's containers: on the node beside the pod's wiring, and gone with it.
//!
//! They are in a folder that only root enters, whose files belong to whom the text says: a container
//! sees each one where the text puts it, and nothing of the others. They are there before anything of the pod
//! starts, and synchronised, so that a pod that a reboot brings back has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::action::PodSpec;
use berth_engine::plan::content::Contents;

use super::part::Part;
use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

/// Where a pod's files are on its node.
pub(super) fn folder(pod: &PodSpec) -> String {
    format!("/etc/berth/tenants/{}/pods/{}/files", pod.tenant.namespace(), pod.id)
}

/// Writes all files of a pod, at once.
pub(super) async fn write(
    writer: &Writer<'_>,
    pod: &PodSpec,
    contents: &Contents,
) -> Result<(), Fault> {
    let mut call = Call::new("files_up").arg(pod.tenant.namespace()).arg(&pod.id);
    let mut any = false;
    for part in std::iter::once(Part::own(pod)).chain(Part::beside(pod)) {
        for (path, file, name) in part.named_files() {
            let Some(text) = contents.get(&file.content) else {
                let why = "the plan does not have what is in it; plan again";
                return Err(Fault::failed(&format!("write {path}"), why));
            };
            call = call
                .arg(name)
                .arg(format_args!("{:03o}", file.mode))
                .arg(format_args!("{}:{}", file.user, file.group))
                .arg(file.content.as_str())
                .data(&STANDARD.encode(text.as_bytes()));
            any = true;
        }
    }
    if !any {
        return Ok(());
    }
    writer.must("write a pod's files", &call).await.map(drop)
}
