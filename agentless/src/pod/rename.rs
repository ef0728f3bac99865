//! A pod under another workload's name: labels, and nothing that runs.

use berth_engine::plan::names::WorkloadName;

use super::ensure::update;
use super::labels;
use super::remove::{beside, find};
use crate::fault::Fault;
use crate::link::Writer;

/// Makes every container of a pod say what its workload is called now. The pod's own is the last: it is what
/// the pod is known by.
pub(crate) async fn rename(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    workload: &WorkloadName,
) -> Result<(), Fault> {
    let found = find(writer, namespace, id).await?;
    let beside = beside(writer, namespace, id, found.container.as_ref()).await?;
    for mut container in beside.into_iter().chain(found.container) {
        if labels::rename(&mut container, workload) {
            // These alone: the restart monitor counts in others meanwhile.
            update(writer, namespace, container, &labels::RENAMED).await?;
        }
    }
    Ok(())
}
