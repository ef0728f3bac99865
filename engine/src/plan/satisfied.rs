//! Read-back: whether a node already is what an action would make it.
//!
//! When the answer to a write was lost, the node is read again and this decides whether the write
//! happened. It compares what the action promises with what the observation says, and nothing
//! else; an action that is not satisfied may safely be performed again.

use super::action::Action;
use super::observation::{NodeObservation, PodStatus};

/// Says whether the action's promise holds on the node.
pub fn is_satisfied(action: &Action, node: &NodeObservation) -> bool {
    let spec = &node.spec;
    match action {
        Action::EnsureNetwork { network } => spec.network.as_ref() == Some(network),
        Action::InstallReflex { reflex, version } => spec.reflexes.get(reflex) == Some(version),
        Action::EnsureTenant { tenant: _ } => spec.tenant,
        Action::EnsureImage { tenant: _, image, source: _ } => spec.images.contains(image),
        Action::EnsureVolume { tenant: _, volume, spec: wanted } => {
            spec.volumes.get(volume) == Some(wanted)
        }
        Action::RemoveVolume { tenant: _, volume } => !spec.volumes.contains_key(volume),
        Action::EnsurePod { pod } => {
            let made = spec.pods.get(&pod.id).is_some_and(|p| p.intact && p.digest == pod.digest);
            made && match node.status.pods.get(&pod.id) {
                Some(PodStatus::Running { .. } | PodStatus::Waiting { .. }) => true,
                // It has started, and a job may end before anybody looks.
                Some(PodStatus::Stopped { .. }) => pod.ends,
                Some(PodStatus::Created) | None => false,
            }
        }
        Action::SwapEndpoint { tenant: _, endpoint } => {
            spec.endpoints.get(&endpoint.workload) == Some(endpoint)
        }
        Action::RemovePod { tenant: _, pod, grace_ms: _ } => {
            !spec.pods.contains_key(pod) && !node.status.pods.contains_key(pod)
        }
        Action::RemoveEndpoint { tenant: _, endpoint } => !spec.endpoints.contains_key(endpoint),
        Action::RenamePod { tenant: _, pod, workload } => {
            spec.pods.get(pod).is_none_or(|seen| &seen.workload == workload)
        }
        Action::RenameEndpoint { tenant: _, endpoint, workload: _ } => {
            !spec.endpoints.contains_key(&endpoint.workload)
        }
        Action::RemoveImage { tenant: _, image } => !spec.images.contains(image),
        Action::RemoveTenant { tenant: _ } => !spec.tenant && !spec.tenant_remains,
        Action::RemoveReflex { reflex } => !spec.reflexes.contains_key(reflex),
        Action::RemoveNetwork => spec.network.is_none(),
    }
}
