//! Compensations: what a failed gate sets off, as steps.
//!
//! A pure function of the plan's body, the workload and the wave whose gate failed, so that it
//! can be read and checked before anything happens. The failed wave goes first, then the waves
//! done, latest first. What was there before comes back under generations that the plan fixed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action::Backend;
use super::body::{Branch, Move, Placed, PlanBody, Step, StepId, Wave};
use super::canon::template_digest;
use super::graph::Rollout;
use super::names::{PodId, WorkloadName};
use super::steps::{Builder, Track, backend, shared};

/// Spells out the steps that undo a workload's waves when the gate of wave `failed` fails, numbered
/// from `first` on: after the plan's own steps, and after those of the undos that began before it.
/// Empty if the branch is not undone.
pub fn undo_steps(
    body: &PlanBody,
    workload: &WorkloadName,
    failed: u32,
    first: StepId,
) -> Vec<Step> {
    let Some(branch) = body.branches.get(workload).filter(|branch| branch.undo) else {
        return Vec::new();
    };
    let done = failed as usize;
    let Some(wave) = branch.waves.get(done) else { return Vec::new() };
    let mut builder = Builder::starting_at(first);
    let (serving, fresh) = serving_at(branch, done);
    // What a table says of shares it says since its last swap: of this wave only if somebody left
    // before the gate, or if an apply before this one had come so far.
    let leaves_first = |one: &Move| !one.start_first && !one.out.is_empty();
    let swapped = wave.moves.iter().any(leaves_first)
        || branch.waves.iter().any(|earlier| earlier.held_until == Some(failed));
    let said = done.checked_sub(1).and_then(|earlier| branch.waves.get(earlier));
    let said = said.filter(|_| !swapped).unwrap_or(wave);
    let share = said.share;
    // Before the first wave has swapped anything, tables say what an apply before this one made them say: if that rolled
    // out otherwise, whoever of the new release serves does so like any other.
    let said = share.filter(|_| done > 0 || swapped);
    let now =
        branch.endpoint.as_ref().map(|endpoint| Arc::new(shared(endpoint, &serving, &fresh, said)));
    let tables = branch.tables.iter().map(|node| (node.clone(), now.clone())).collect();
    let after = branch.endpoint_before.clone();
    let mut track = Track::new(&mut builder, &body.tenant, workload, after, tables, serving);
    // Where they were weighed, all of the old release is there still: it takes all traffic at once. If
    // some of it is gone, since an apply before this one was stopped in the midst of that, what stands
    // instead serves on.
    let some_left = share == Some(10_000) && branch.remain() > 0;
    let weight = share.map(|_| 0).filter(|_| !some_left);
    track.going_back(fresh, weight);
    // The tables may have the endpoint already: from the waves done, or from an apply that was killed.
    let may_have = branch.endpoint.is_some() && (done > 0 || !branch.backends.is_empty());
    let has_endpoint = if may_have { &branch.tables[..] } else { &[] };
    let leftover = leftover(branch, done);
    let Some(before) = &branch.before else {
        let mut all: Vec<Move> = branch.waves.iter().take(done + 1).flat_map(gone).collect();
        all.extend(leftover);
        track.remove(failed, &all, has_endpoint);
        return builder.finish();
    };
    if branch.endpoint_before.is_none() {
        track.drop_endpoint(has_endpoint);
    }
    let none = |_: &_| Vec::new();
    let ready = Rollout { checks: Vec::new(), ..before.rollout.clone() };
    let ready = (before.health.as_ref(), &ready);
    let moves = wave.moves.iter().filter_map(|one| back(one, !one.start_first));
    let moves = moves.chain(leftover).collect();
    track.wave(failed, &Wave { share: weight, ..Wave::of(moves) }, &[], ready, &none);
    for (number, wave) in branch.waves.iter().enumerate().take(done).rev() {
        // Those that were held are there still.
        let left = wave.held_until.is_none_or(|until| until <= failed);
        let moves: Vec<Move> =
            wave.moves.iter().filter_map(|one| back(one, left || !one.start_first)).collect();
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        track.wave(number, &Wave { share: weight, ..Wave::of(moves) }, &[], ready, &none);
    }
    track.settle();
    builder.finish()
}

/// What an engine that died left half-made of a release that is not to be: it never served, and a pod of the
/// release before stands in its replica's place. The waves that are done have taken theirs away.
fn leftover(branch: &Branch, failed: usize) -> Vec<Move> {
    let digest = branch.before.as_ref().map(|before| template_digest(&before.template));
    let waves = branch.waves.iter().enumerate().skip(failed);
    let moves = waves.flat_map(|(number, wave)| wave.moves.iter().map(move |one| (number, one)));
    let there = moves.filter(|(number, one)| *number > failed || one.start_first);
    let left = there.filter_map(|(_, one)| {
        let of_before = |at: &Placed| digest.as_ref() == Some(&at.digest);
        let is_covered = digest.is_none() || one.out.iter().any(|(_, at)| of_before(at));
        let stale = |(pod, at): &&(PodId, Placed)| {
            is_covered && !of_before(at) && branch.never_served.contains(pod)
        };
        let out: Vec<(PodId, Placed)> = one.out.iter().filter(stale).cloned().collect();
        (!out.is_empty()).then(|| Move {
            ordinal: one.ordinal,
            out,
            into: None,
            create: false,
            restore: None,
            start_first: false,
            why: "was never done".to_owned(),
        })
    });
    left.collect()
}

/// Who may serve when wave `failed` waits for its gate, and who of them is of the new release.
fn serving_at(branch: &Branch, failed: usize) -> (BTreeMap<PodId, Backend>, BTreeSet<PodId>) {
    let mut fresh: BTreeSet<PodId> = branch.fresh.clone();
    let outs = branch.waves.iter().flat_map(|wave| &wave.moves).flat_map(|one| &one.out);
    let mut serving: BTreeMap<PodId, Backend> = outs
        .filter(|(pod, _)| branch.backends.contains(pod))
        .map(|(pod, at)| (pod.clone(), Backend { pod: pod.clone(), ip4: at.ip4, ip6: at.ip6 }))
        .collect();
    serving.extend(branch.stays.iter().map(|one| (one.pod.clone(), one.clone())));
    for (number, wave) in branch.waves.iter().enumerate().take(failed + 1) {
        let left = match wave.held_until {
            Some(until) => until as usize <= failed,
            None => number < failed,
        };
        for one in &wave.moves {
            if left || !one.start_first {
                for (pod, _) in &one.out {
                    serving.remove(pod);
                }
            }
            if number < failed
                && let Some((_, pod)) = &one.into
            {
                serving.insert(pod.id.clone(), backend(pod));
                fresh.insert(pod.id.clone());
            }
        }
    }
    (serving, fresh)
}

/// The way back of one move: what came goes; what went comes back if it `returns`.
fn back(one: &Move, returns: bool) -> Option<Move> {
    let (node, pod) = one.into.as_ref()?;
    let restore = one.restore.clone().filter(|_| returns);
    Some(Move {
        ordinal: one.ordinal,
        out: vec![(pod.id.clone(), Placed::of(node, pod))],
        start_first: restore.is_some() && one.start_first,
        create: restore.is_some(),
        into: restore,
        restore: None,
        why: "goes back".to_owned(),
    })
}

fn gone(wave: &Wave) -> Vec<Move> {
    wave.moves.iter().filter_map(|one| back(one, false)).collect()
}
