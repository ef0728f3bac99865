//! A rollout as a table: a row a replica, wave by wave, with what the new release gets of the traffic
//! and for how long it is watched.

use std::fmt::Write as _;

use crate::plan::body::{Bake, Branch, Move, Wave};
use crate::plan::change::{self, millis, percent, strategy_words};
use crate::plan::graph::OnFail;
use crate::plan::names::NodeName;

/// Columns of the table that hold pods.
const POD_COLUMN: usize = 22;

/// The waves of a workload, and what goes back if they fail; what runs to its end says how elsewhere.
pub(super) fn branch(out: &mut String, branch: &Branch, says_how: bool) {
    if branch.waves.is_empty() {
        return;
    }
    if branch.release.is_some() && !says_how {
        let ready = branch.health.as_ref().map_or_else(|| "running".to_owned(), change::probe);
        let commands = branch.rollout.checks.iter().filter(|check| check.command().is_some());
        let gate: Vec<_> = std::iter::once(ready).chain(commands.map(change::check)).collect();
        let _ = writeln!(
            out,
            "  {}, floor {}, gate {}, deadline {}",
            strategy_words(&branch.rollout.strategy),
            branch.floor,
            gate.join(" and "),
            millis(branch.rollout.deadline_ms)
        );
    }
    let _ = writeln!(out, "  {:5} {:POD_COLUMN$} {:POD_COLUMN$} why", "wave", "stop", "start");
    let mut share = None;
    for (number, wave) in branch.waves.iter().enumerate() {
        let mut label = number.to_string();
        let mut put = |out: &mut String, stop: &str, start: &str, why: &str| {
            let label = std::mem::take(&mut label);
            let _ = writeln!(out, "  {label:5} {stop:POD_COLUMN$} {start:POD_COLUMN$} {why}");
        };
        for one in &wave.moves {
            let (stop, start, why) = row(one, wave.held_until.is_some());
            put(out, &stop, &start, &why);
        }
        let ends = |earlier: &&Wave| earlier.held_until.map(|until| until as usize) == Some(number);
        for one in branch.waves.iter().filter(ends).flat_map(|earlier| &earlier.moves) {
            if one.start_first && !one.out.is_empty() {
                put(out, &stops(one), "-", "the new release serves");
            }
        }
        // When all traffic has gone over, it is all that there is.
        if wave.share != share && (wave.share, share) != (None, Some(10_000)) {
            put(out, "", "", &traffic(wave.share));
        }
        share = wave.share;
        if let Some(bake) = &wave.bake {
            put(out, "", "", &watched(bake));
        }
    }
    on_failure(out, branch);
}

/// What the new release has of the traffic.
fn traffic(share: Option<u32>) -> String {
    match share {
        Some(0) => "no traffic for the new release".to_owned(),
        Some(10_000) => "all traffic to the new release".to_owned(),
        Some(share) => format!("{} of the traffic to the new release", percent(share)),
        None => "traffic to every replica alike".to_owned(),
    }
}

fn watched(bake: &Bake) -> String {
    let Bake { for_ms, metrics } = bake;
    let mut what: Vec<_> = metrics.iter().map(change::metric).collect();
    if *for_ms == 0 {
        return format!("asked: {}", what.join("; "));
    }
    what.insert(0, "ready, not restarted".to_owned());
    format!("watched for {}: {}", millis(*for_ms), what.join("; "))
}

fn on_failure(out: &mut String, branch: &Branch) {
    let mut moves = branch.waves.iter().flat_map(|wave| &wave.moves);
    let Some((_, comes)) = moves.find_map(|one| one.into.as_ref()).filter(|_| branch.undo) else {
        return;
    };
    match (&branch.before, branch.rollout.on_fail) {
        (_, OnFail::Stop) => {}
        (Some(before), OnFail::Rollback) => {
            let (new, old) = (comes.image.short(), before.template.image.short());
            let images = if new == old { String::new() } else { format!(" {new}→{old}") };
            let _ = writeln!(
                out,
                "  on failure: waves done go back{images}, and the text's release is held"
            );
        }
        (None, OnFail::Rollback) => {
            let _ = writeln!(
                out,
                "  on failure: what was started is removed, and the text's release is held"
            );
        }
    }
}

fn stops(one: &Move) -> String {
    let stop: Vec<_> =
        one.out.iter().map(|(pod, placed)| format!("{pod}@{}", placed.node)).collect();
    if stop.is_empty() { "-".to_owned() } else { stop.join(" ") }
}

fn row(one: &Move, holds: bool) -> (String, String, String) {
    let Move { ordinal: _, out, into, create, restore: _, start_first, why } = one;
    let at = |pod: &dyn std::fmt::Display, node: &NodeName| format!("{pod}@{node}");
    let moved = match (into, out.first()) {
        (Some((node, _)), Some((_, placed))) if &placed.node != node => "MOVED ",
        _ => "",
    };
    let start = match into {
        None => "-".to_owned(),
        Some((node, pod)) if *create => at(&pod.id, node),
        Some((node, pod)) => format!("({})", at(&pod.id, node)),
    };
    let stop = if holds && *start_first { "-".to_owned() } else { stops(one) };
    (stop, start, format!("{moved}{why}"))
}
