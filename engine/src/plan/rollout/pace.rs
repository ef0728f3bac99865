//! What a strategy allows: who starts first, how many are replaced at once, and how many have to serve.

use crate::plan::graph::{Rollout, Strategy, Workload};

/// Says whether a replica's successor starts before it stops.
pub(super) fn starts_first(strategy: &Strategy) -> bool {
    match strategy {
        Strategy::Rolling { surge, unavailable: _ } => *surge > 0,
        Strategy::Canary { .. } | Strategy::BlueGreen => true,
        Strategy::Recreate | Strategy::Ordered => false,
    }
}

/// Says whether the old and the new release run side by side for a while.
pub fn shares(strategy: &Strategy) -> bool {
    match strategy {
        Strategy::Canary { .. } | Strategy::BlueGreen => true,
        Strategy::Rolling { .. } | Strategy::Recreate | Strategy::Ordered => false,
    }
}

/// Says whether a new release is watched before it counts as reached; the steps of a canary are only where
/// it runs beside an older one.
pub(super) fn watched(rollout: &Rollout, beside: bool) -> bool {
    let steps = match &rollout.strategy {
        Strategy::Canary { steps, surge: _ } => beside && steps.iter().any(|s| s.bake_ms > 0),
        Strategy::Rolling { .. } | Strategy::Recreate | Strategy::Ordered | Strategy::BlueGreen => {
            false
        }
    };
    rollout.bake_ms > 0 || !rollout.checks.is_empty() || steps
}

/// How many replicas may be replaced at once: the surge if there is one; else as many as can be
/// missed below those that are available.
pub(super) fn spare(wanted: &Workload, available: usize) -> usize {
    match wanted.rollout.strategy {
        Strategy::Recreate => usize::MAX,
        Strategy::Canary { steps: _, surge } => surge.max(1) as usize,
        Strategy::BlueGreen => 1,
        Strategy::Ordered => {
            let floor = wanted.replicas.saturating_sub(1) as usize;
            available.saturating_sub(floor).min(1)
        }
        Strategy::Rolling { surge: 0, unavailable } => {
            let floor = wanted.replicas.saturating_sub(unavailable) as usize;
            available.saturating_sub(floor).min(unavailable as usize)
        }
        Strategy::Rolling { surge, unavailable: _ } => surge as usize,
    }
}

/// How many may be missing at once, where each stops before its successor starts.
pub(super) fn may_miss(strategy: &Strategy) -> Option<usize> {
    match strategy {
        Strategy::Rolling { surge: 0, unavailable } => Some(*unavailable as usize),
        Strategy::Ordered => Some(1),
        Strategy::Rolling { .. }
        | Strategy::Recreate
        | Strategy::Canary { .. }
        | Strategy::BlueGreen => None,
    }
}

/// How many replicas have to serve at every moment, of those that are available to begin with.
pub(super) fn floor(wanted: &Workload, available: u32) -> u32 {
    // Without ports nobody serves: an endpoint that was there goes first.
    if wanted.ports.is_empty() {
        return 0;
    }
    let missed = match wanted.rollout.strategy {
        Strategy::Rolling { surge: _, unavailable } => unavailable,
        Strategy::Ordered => 1,
        Strategy::Canary { .. } | Strategy::BlueGreen => 0,
        Strategy::Recreate => return 0,
    };
    wanted.replicas.saturating_sub(missed).min(available)
}
