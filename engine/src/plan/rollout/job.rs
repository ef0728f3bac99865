//! Decisions about a job: which of its replicas have run to their ends, which run, and which are to run now.
//!
//! A replica of a job runs once for each template. That it has is known from its node, and, once an apply has seen it,
//! from the ledger; a node forgets it when it boots. So what ended while no engine looked, on a node that booted
//! then, runs again: at least once is promised, and twice at once never. A replica on a node that does not answer is
//! waited for, unless the ledger says that it has ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::placing::{Placing, spec_of};
use super::waves::without_empty;
use super::{Case, Decision, by_ordinal, owned};
use crate::plan::body::{Branch, Move, Placed, Wave};
use crate::plan::canon::{release_digest, template_digest};
use crate::plan::graph::{Once, Workload};
use crate::plan::names::PodId;
use crate::plan::place::Fleet;
use crate::plan::world::{Here, State};

/// How many replicas of a job were done when the ledger last heard of it: those that were made from the template that it has.
fn done(reached: Option<&Workload>, wanted: &Workload) -> u32 {
    let of_it = reached.filter(|reached| {
        let same = || template_digest(&reached.template) == template_digest(&wanted.template);
        reached.once.is_some() && same()
    });
    of_it.map_or(0, |reached| reached.replicas)
}

/// Says whether a job was done when the ledger last heard of it.
pub fn is_done(reached: Option<&Workload>, wanted: &Workload) -> bool {
    let of_a_job = reached.is_some_and(|reached| reached.once.is_some());
    of_a_job && done(reached, wanted) >= wanted.replicas
}

/// Decides what a job's replicas do.
pub(super) fn decide(
    case: &Case<'_>,
    (wanted, once): (&Workload, &Once),
    fleet: &mut Fleet,
) -> Decision {
    let digest = template_digest(&wanted.template);
    let done = done(case.head.reached.get(case.name), wanted);
    let mut decision = Decision::default();
    let (mut leave, mut run) = (Vec::new(), Vec::new());
    let by_ordinal = by_ordinal(case);
    for ordinal in 0..wanted.replicas {
        let here = by_ordinal.get(&ordinal).map(Vec::as_slice).unwrap_or_default();
        let is_done = ordinal < done;
        let again = here.iter().find_map(|(id, _)| case.restarted(id));
        let ours =
            |id: &PodId, pod: &Here| pod.placed.digest == digest && case.restarted(id).is_none();
        let of = |state: &dyn Fn(&Here) -> bool| {
            let these = here.iter().filter(|(id, pod)| ours(id, pod) && state(pod));
            these.max_by_key(|(id, _)| id.generation).copied()
        };
        let ended = of(&Here::has_ended);
        let runs = of(&|pod| pod.state == State::Running).filter(|_| ended.is_none());
        let unseen = here.iter().find(|(_, pod)| !pod.is_known() && !pod.has_ended());
        for (id, pod) in here.iter().filter(|(_, pod)| !pod.is_known()) {
            decision.kept.insert((*id).clone(), pod.placed.clone());
        }
        let stays = ended.or(runs).filter(|(id, pod)| {
            // What has ended is of use as long as its node may keep it.
            let leaves = is_done && pod.has_ended() && case.leaves(id, pod, wanted).is_some();
            pod.is_known() && !leaves
        });
        if let Some((id, pod)) = stays {
            decision.kept.insert(id.clone(), pod.placed.clone());
        }
        let others = here
            .iter()
            .filter(|(id, pod)| pod.is_known() && stays.is_none_or(|(stays, _)| stays != *id));
        let out: Vec<_> = others.copied().collect();
        let goes = |into, create, why: &str| Move {
            into,
            create,
            ..Move::leaving(ordinal, owned(&out), why)
        };
        if ended.is_some() || is_done && again.is_none() && runs.is_none() {
            if !out.is_empty() {
                leave.push(goes(None, false, "has ended"));
            }
        } else if let Some((id, pod)) = runs {
            let template = (&wanted.template, &digest);
            let into = (pod.node().clone(), spec_of(case, id, &pod.placed, template));
            run.push(goes(Some(into), false, "runs"));
        } else if let Some((id, pod)) = unseen {
            decision.incomplete = true;
            let words = format!(
                "{id} on {} may run still: nothing runs in its place until that node answers",
                pod.node()
            );
            decision.deferred.push(words);
            decision.kept.extend(owned(&out));
        } else {
            decision.causes.extend(cause(ordinal, here, &digest, again.as_deref()));
            run.push(goes(None, true, ""));
        }
    }
    surplus(case, wanted, &mut decision, &mut leave);
    place(case, (wanted, once), (leave, run), &mut decision, fleet);
    decision
}

/// Why a replica runs, where the text has not changed what it is made from.
fn cause(
    ordinal: u32,
    here: &[(&PodId, &Here)],
    digest: &crate::plan::names::SpecDigest,
    again: Option<&str>,
) -> Option<String> {
    if let Some(again) = again {
        return Some(format!("replica {ordinal} runs again, asked for {again}"));
    }
    let (id, pod) = here.iter().max_by_key(|(id, _)| id.generation)?;
    let is_same = &pod.placed.digest == digest;
    is_same.then(|| format!("replica {ordinal}: {id} on {} has not ended well", pod.node()))
}

/// Takes away what is of a replica that there is none of any more.
fn surplus(case: &Case<'_>, wanted: &Workload, decision: &mut Decision, leave: &mut Vec<Move>) {
    for (ordinal, here) in by_ordinal(case) {
        if ordinal < wanted.replicas {
            continue;
        }
        for (id, unknown) in here.iter().filter(|(_, pod)| !pod.is_known()) {
            decision.kept.insert((*id).clone(), unknown.placed.clone());
        }
        let out: Vec<_> = here.iter().filter(|(_, pod)| pod.is_known()).copied().collect();
        if !out.is_empty() {
            leave.push(Move::leaving(ordinal, owned(&out), "one too many"));
        }
    }
}

/// Finds places for what is to run, so many at once as the text says, and says what goes if it fails.
fn place(
    case: &Case<'_>,
    (wanted, once): (&Workload, &Once),
    (leave, run): (Vec<Move>, Vec<Move>),
    decision: &mut Decision,
    fleet: &mut Fleet,
) {
    let digest = template_digest(&wanted.template);
    let parallel = usize::try_from(once.parallel.max(1)).unwrap_or(1);
    let mut waves: Vec<Wave> = run.chunks(parallel).map(|moves| Wave::of(moves.to_vec())).collect();
    if waves.is_empty() {
        waves.push(Wave::of(Vec::new()));
    }
    if let Some(first) = waves.first_mut() {
        first.moves.splice(0..0, leave);
    }
    let mut placing = Placing::new(case, wanted, &digest);
    let mut placed = Vec::with_capacity(waves.len());
    for (number, wave) in waves.into_iter().enumerate() {
        let wave = placing.place(u32::try_from(number).unwrap_or(u32::MAX), wave, fleet);
        // The next wave comes when these have ended.
        let runs = wave.moves.iter().filter_map(|one| one.into.as_ref());
        let runs: Vec<Placed> = runs.map(|(node, pod)| Placed::of(node, pod)).collect();
        placing.free(&runs);
        placed.push(wave);
    }
    let waves = without_empty(placed, false);
    decision.incomplete |= !placing.blocked.is_empty() || !placing.waiting.is_empty();
    decision.blocked = placing.blocked;
    decision.waiting = placing.waiting.len();
    decision.deferred.extend(placing.waiting);
    decision.asked = placing.asked;
    decision.replaced = placing.replaced;
    decision.evicts = placing.evicts;
    decision.kept.extend(placing.stay);
    if waves.is_empty() {
        return;
    }
    let serving = case.world.of_workload(case.name).filter(|(_, here)| here.may_serve());
    let backends: BTreeSet<PodId> = serving.map(|(id, _)| id.clone()).collect();
    decision.branch = Some(Branch {
        rollout: wanted.rollout.clone(),
        health: None,
        release: Some(release_digest(wanted)),
        // What ran to its end before is not run again, whatever comes of this.
        before: None,
        floor: 0,
        endpoint: None,
        endpoint_before: None,
        tables: Arc::default(),
        stays: Vec::new(),
        backends,
        fresh: BTreeSet::new(),
        never_served: BTreeSet::new(),
        waves,
        undo: true,
    });
}
