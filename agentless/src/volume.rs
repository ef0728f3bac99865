//! A volume's folder on its node, `/var/lib/berth/volumes/NAMESPACE/ID`: `data` is what pods mount,
//! `note.json` says what the volume is. A folder without a note was being made, and is no volume yet.

use berth_engine::plan::names::{Tenant, VolumeId};
use berth_engine::plan::observation::VolumeSpec;

use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

/// Where the tenants' volumes are.
const ROOT: &str = "/var/lib/berth/volumes";

/// The folder that a pod mounts.
pub(crate) fn data(namespace: &str, volume: &VolumeId) -> String {
    format!("{ROOT}/{namespace}/{volume}/data")
}

/// Makes the folder, or changes whose it is and what is noted of it; its data is left alone.
pub(crate) async fn ensure(
    writer: &Writer<'_>,
    tenant: &Tenant,
    volume: &VolumeId,
    spec: &VolumeSpec,
) -> Result<(), Fault> {
    let note = serde_json::to_string(spec)
        .map_err(|error| Fault::failed("note a volume", &error.to_string()))?;
    let call = Call::new("volume_up").arg(tenant.namespace()).arg(volume);
    let call = call.arg(spec.user).arg(spec.group).arg(note);
    writer.must(&format!("make volume {volume}"), &call).await.map(drop)
}

/// Removes the folder with all its data.
pub(crate) async fn remove(
    writer: &Writer<'_>,
    tenant: &Tenant,
    volume: &VolumeId,
) -> Result<(), Fault> {
    let call = Call::new("volume_down").arg(tenant.namespace()).arg(volume);
    writer.must(&format!("remove volume {volume}"), &call).await.map(drop)
}
