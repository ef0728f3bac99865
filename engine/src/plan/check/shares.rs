//! The checker's judgement of shares: a new release takes at most what its rollout says, until what is
//! watched has been.
//!
//! It reads the strategy, the steps and what comes before which; not what the planner meant by a wave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Violation;
use super::ancestry::Ancestry;
use crate::plan::action::{Action, Endpoint};
use crate::plan::body::{Branch, Gate, Step, Work};
use crate::plan::canon::template_digest;
use crate::plan::graph::{Check, Strategy};
use crate::plan::names::{PodId, WorkloadName};
use crate::plan::observation::{NodeView, Observation};

/// All of the traffic, in hundredths of a percent.
const ALL: u32 = 10_000;

/// The largest share that some table gives to each workload's new release already.
pub(super) fn standing(observation: &Observation) -> BTreeMap<&WorkloadName, u32> {
    let seen = observation.nodes.values().filter_map(|view| match view {
        NodeView::Seen(seen) => Some(seen),
        NodeView::Unknown { .. } => None,
    });
    let mut standing = BTreeMap::new();
    for (workload, table) in seen.flat_map(|seen| &seen.spec.endpoints) {
        if let Some(split) = &table.split {
            let most: &mut u32 = standing.entry(workload).or_default();
            *most = split.share.max(*most);
        }
    }
    standing
}

/// Judges a branch's swaps, given all its steps, what must be done before which, and the share that it has already and may
/// keep.
pub(super) fn shares(
    (workload, branch): (&WorkloadName, &Branch),
    steps: &[&Step],
    (ancestry, stands): (&Ancestry, u32),
    violations: &mut Vec<Violation>,
) {
    let moves = || branch.waves.iter().flat_map(|wave| &wave.moves);
    let old = branch.before.as_ref().map(|before| template_digest(&before.template));
    let comes = moves().filter_map(|one| one.into.as_ref()).map(|(_, spec)| spec);
    let created: BTreeSet<&PodId> =
        comes.filter(|spec| Some(&spec.digest) != old.as_ref()).map(|spec| &spec.id).collect();
    let commands = branch.rollout.checks.iter().filter_map(Check::command).count();
    let before =
        |earlier: &Step, step: &Step| ancestry.is_before(earlier.id.0 as usize, step.id.0 as usize);
    let number = |step: &Step| step.wave.map_or(branch.waves.len(), |wave| wave as usize);
    let watched = |step: &Step, watches: &[&Step], violations: &mut Vec<Violation>| {
        let earlier = |watch: &&&Step| number(watch) < number(step);
        if watches.iter().filter(earlier).any(|watch| !before(watch, step))
            || unwatched(branch, steps, number(step))
        {
            let (workload, step) = (workload.clone(), step.id.0);
            violations.push(Violation::NotWatched { workload, step });
        }
    };
    let mut watches: Vec<&Step> = Vec::new();
    let mut asked: BTreeMap<&PodId, Vec<&Step>> = BTreeMap::new();
    // Tables of many nodes that say the same after the same steps are judged once.
    let mut last: Option<(&Arc<Endpoint>, &Step)> = None;
    for step in steps.iter().copied() {
        let endpoint = match &step.work {
            Work::Ask(Gate::Command { pod, .. }) => {
                asked.entry(pod).or_default().push(step);
                continue;
            }
            Work::Ask(Gate::Steady { .. } | Gate::Metric { .. }) => {
                watches.push(step);
                continue;
            }
            Work::Ask(Gate::Ended { .. }) => continue,
            Work::Act(Action::SwapEndpoint { endpoint, .. }) => endpoint,
            Work::Act(Action::RemovePod { .. }) => {
                watched(step, &watches, violations);
                continue;
            }
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Fence { .. } => continue,
        };
        let again = last.is_some_and(|(same, other)| {
            Arc::ptr_eq(same, endpoint) && ancestry.same(other.id.0 as usize, step.id.0 as usize)
        });
        if again {
            continue;
        }
        last = Some((endpoint, step));
        let backends: BTreeSet<&PodId> = endpoint.backends.iter().map(|b| &b.pod).collect();
        // What some table leads to has been asked before.
        let comes = |pod: &&&PodId| created.contains(**pod) && !branch.backends.contains(**pod);
        for pod in backends.iter().filter(comes) {
            let asked = asked.get(*pod).into_iter().flatten();
            if asked.filter(|earlier| before(earlier, step)).count() < commands {
                let pod = (*pod).clone();
                violations.push(Violation::TrafficBeforeChecks { pod });
            }
        }
        watched(step, &watches, violations);
        let is_new = |pod: &&&PodId| created.contains(**pod) || branch.fresh.contains(**pod);
        let new: BTreeSet<&PodId> = backends.iter().filter(is_new).copied().collect();
        let (share, most) = (share(endpoint, &new), most(branch, number(step)).max(stands));
        // Where nobody of the release before serves, there is nothing to weigh.
        let weighs = branch.backends.iter().any(|pod| !is_new(&&pod));
        if branch.before.is_some() && weighs && share > most {
            let workload = workload.clone();
            violations.push(Violation::MoreThanItsWeight { workload, share, most });
        }
    }
}

/// Judges the swaps of an undo: the release that goes has never more of the traffic than it had.
pub(super) fn shares_of_undo(
    (workload, branch): (&WorkloadName, &Branch),
    failed: u32,
    undo: &[Step],
    violations: &mut Vec<Violation>,
) {
    let had = branch.waves.iter().take(failed as usize + 1).filter_map(|wave| wave.share).max();
    let Some(most) =
        had.filter(|_| branch.waves.iter().skip(failed as usize).any(|w| w.share.is_some()))
    else {
        return;
    };
    let moves = branch.waves.iter().flat_map(|wave| &wave.moves);
    let comes: BTreeSet<&PodId> =
        moves.filter_map(|one| one.into.as_ref()).map(|(_, spec)| &spec.id).collect();
    for step in undo {
        let Work::Act(Action::SwapEndpoint { endpoint, .. }) = &step.work else { continue };
        let backends = endpoint.backends.iter().map(|backend| &backend.pod);
        let new: BTreeSet<&PodId> =
            backends.filter(|pod| comes.contains(pod) || branch.fresh.contains(*pod)).collect();
        let share = share(endpoint, &new);
        let is_old = |pod: &&PodId| !comes.contains(*pod) && !branch.fresh.contains(*pod);
        if share > most && branch.backends.iter().any(|pod| is_old(&pod)) {
            let workload = workload.clone();
            violations.push(Violation::MoreThanItsWeight { workload, share, most });
        }
    }
}

/// Whether an earlier wave was to be watched for a while and nothing does.
fn unwatched(branch: &Branch, steps: &[&Step], number: usize) -> bool {
    let to_watch = branch.waves.iter().enumerate().take(number).filter_map(|(wave, said)| {
        let bake = said.bake.as_ref()?;
        Some((u32::try_from(wave).ok()?, bake))
    });
    let mut missing = to_watch.filter(|(wave, bake)| {
        let of = |step: &&&Step| step.wave == Some(*wave);
        let watched = |step: &Step| match &step.work {
            Work::Ask(Gate::Steady { for_ms, .. }) => *for_ms >= bake.for_ms,
            Work::Ask(Gate::Metric { for_ms, .. }) => *for_ms >= bake.for_ms,
            Work::Ask(Gate::Command { .. } | Gate::Ended { .. })
            | Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Fence { .. } => false,
        };
        !steps.iter().filter(of).any(|step| watched(step))
    });
    missing.next().is_some()
}

/// What the new release may have of the traffic in a wave.
fn most(branch: &Branch, number: usize) -> u32 {
    // Where nothing of the old release is left to share with, there is nothing to weigh.
    let weighs = branch.waves.iter().any(|wave| wave.share.is_some());
    let said = branch.waves.get(number).and_then(|wave| wave.share);
    // Without a share it is all, once nothing is to be weighed any more.
    let later = branch.waves.iter().skip(number).any(|wave| wave.share.is_some());
    match &branch.rollout.strategy {
        Strategy::Rolling { .. } | Strategy::Recreate | Strategy::Ordered => ALL,
        Strategy::Canary { .. } | Strategy::BlueGreen if !weighs => ALL,
        Strategy::Canary { steps, surge: _ } => match said {
            Some(share) if steps.iter().any(|step| step.weight == share) => share,
            None if !later => ALL,
            Some(_) | None => 0,
        },
        Strategy::BlueGreen => match said {
            Some(share) => share,
            None if !later => ALL,
            None => 0,
        },
    }
}

/// What the new release gets by a table.
fn share(endpoint: &Endpoint, new: &BTreeSet<&PodId>) -> u32 {
    let all = endpoint.backends.len();
    match &endpoint.split {
        _ if new.is_empty() => 0,
        _ if new.len() == all => ALL,
        Some(split) => {
            let meant = new.iter().all(|pod| split.to.contains(*pod));
            if meant { split.share } else { ALL }
        }
        None => u32::try_from(new.len() * ALL as usize / all).unwrap_or(ALL),
    }
}
