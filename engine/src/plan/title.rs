//! What a step does, in a few words, for plans and for whoever watches an apply.

use super::action::Action;
use super::body::{Gate, Work};
use super::change::{metric, millis};
use super::names::{NodeName, PodId};

impl Work {
    /// How long it takes at least if all is well, in milliseconds, where that is said.
    pub fn takes_ms(&self) -> u64 {
        match self {
            Self::Ask(Gate::Steady { for_ms, .. } | Gate::Metric { for_ms, .. }) => *for_ms,
            Self::Ask(Gate::Command { .. })
            | Self::Ask(Gate::Ended { .. })
            | Self::Act(_)
            | Self::Fence { .. }
            | Self::AwaitReady { .. }
            | Self::AwaitDrained { .. } => 0,
        }
    }

    /// Says whether it only looks, for a while: nobody is kept waiting by it.
    pub fn only_watches(&self) -> bool {
        self.takes_ms() > 0 || matches!(self, Self::Ask(Gate::Ended { .. }))
    }

    /// Names the one pod that the work is about, if there is one.
    pub fn pod(&self) -> Option<PodId> {
        match self {
            Self::AwaitReady { pod, .. } | Self::AwaitDrained { pod, .. } => Some(pod.clone()),
            Self::Ask(gate) => Some(gate.pod().clone()),
            Self::Fence { .. } => None,
            Self::Act(Action::EnsurePod { pod }) => Some(pod.id.clone()),
            Self::Act(Action::RemovePod { pod, .. } | Action::RenamePod { pod, .. }) => {
                Some(pod.clone())
            }
            Self::Act(
                Action::EnsureNetwork { .. }
                | Action::InstallReflex { .. }
                | Action::EnsureTenant { .. }
                | Action::EnsureImage { .. }
                | Action::EnsureVolume { .. }
                | Action::RemoveVolume { .. }
                | Action::SwapEndpoint { .. }
                | Action::RemoveEndpoint { .. }
                | Action::RenameEndpoint { .. }
                | Action::RemoveImage { .. }
                | Action::RemoveTenant { .. }
                | Action::RemoveReflex { .. }
                | Action::RemoveNetwork,
            ) => None,
        }
    }

    /// Says in a few words what the work is: `start web-0.g2 on n1`.
    pub fn title(&self, node: &NodeName) -> String {
        match self {
            Self::AwaitReady { pod, .. } => format!("{pod} on {node} ready"),
            Self::AwaitDrained { pod, .. } => format!("{pod} on {node} drained"),
            Self::Ask(gate) => match gate {
                Gate::Steady { pod, for_ms, .. } => {
                    format!("{pod} on {node} steady for {}", millis(*for_ms))
                }
                Gate::Command { pod, run, .. } => format!("`{}` in {pod}", run.join(" ")),
                Gate::Ended { pod, .. } => format!("{pod} on {node} ends"),
                Gate::Metric { metric, for_ms: 0, .. } => self::metric(metric),
                Gate::Metric { metric, for_ms, .. } => {
                    format!("{} for {}", self::metric(metric), millis(*for_ms))
                }
            },
            Self::Fence { command, since_ms: _ } => {
                format!("switch {node} off by `{}`", command.join(" "))
            }
            Self::Act(action) => match action {
                Action::EnsureNetwork { .. } => format!("network on {node}"),
                Action::InstallReflex { reflex, .. } => {
                    format!("reflex {} on {node}", reflex.name())
                }
                Action::EnsureTenant { tenant } => format!("{} on {node}", tenant.namespace()),
                Action::EnsureImage { image, .. } => format!("image {} to {node}", image.short()),
                Action::EnsureVolume { volume, .. } => format!("volume {volume} on {node}"),
                Action::RemoveVolume { volume, .. } => format!("volume {volume} off {node}"),
                Action::EnsurePod { pod } => format!("start {} on {node}", pod.id),
                Action::SwapEndpoint { endpoint, .. } => format!(
                    "endpoint {} on {node} → {}",
                    endpoint.workload,
                    if endpoint.backends.is_empty() {
                        "nobody".to_owned()
                    } else {
                        let names: Vec<_> =
                            endpoint.backends.iter().map(|b| b.pod.to_string()).collect();
                        names.join(" ")
                    }
                ),
                Action::RemovePod { pod, .. } => format!("stop {pod} on {node}"),
                Action::RemoveEndpoint { endpoint, .. } => {
                    format!("endpoint {endpoint} off {node}")
                }
                Action::RenamePod { pod, workload, .. } => {
                    format!("{pod} becomes one of {workload} on {node}")
                }
                Action::RenameEndpoint { endpoint, workload, .. } => {
                    format!("endpoint {} becomes {workload} on {node}", endpoint.workload)
                }
                Action::RemoveImage { image, .. } => format!("image {} off {node}", image.short()),
                Action::RemoveTenant { tenant } => format!("{} off {node}", tenant.namespace()),
                Action::RemoveReflex { reflex } => format!("reflex {} off {node}", reflex.name()),
                Action::RemoveNetwork => format!("network off {node}"),
            },
        }
    }
}
