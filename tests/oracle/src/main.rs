//! Whole plans of small fleets against an integer program: a plan has a place for everybody exactly
//! when the solver says that there is one.
//!
//! `./dev oracle` looks at 1,000 random instances, `./dev oracle 5000..9000` at those of these
//! numbers. An instance ([`instance`]) becomes a graph, which the planner plans, and a program
//! ([`program`]), which `microlp` solves. Neither is believed: whatever place for everybody one of
//! the two finds is counted over again, in integers, by [`instance::Instance::is_kept_by`]. So a
//! disagreement says who is wrong, unless both are.
//!
//! Deliberately absent: what is there already, preferences, who yields. Only "all have a place" is
//! compared, in a fresh fleet, not how good it is.

mod instance;
mod program;

use std::collections::BTreeMap;
use std::process::ExitCode;

use berth_engine::plan::body::Goal;
use berth_tests::drive::{plan, simulate};
use berth_tests::project::{node, world};

use crate::instance::{Counts, Instance};

fn main() -> ExitCode {
    let text = std::env::args().nth(1).unwrap_or_else(|| "1000".to_owned());
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else {
        eprintln!("which instances? a number of them, or two numbers with `..` between");
        return ExitCode::from(2);
    };
    let (mut possible, mut impossible, mut wrong) = (0, 0, 0);
    // How many instances each constraint is in, and how many of these have no solution.
    let mut seen: BTreeMap<&'static str, (u32, u32)> = BTreeMap::new();
    for number in from..to {
        let instance = Instance::random(number);
        let found = (planned(&instance), program::solve(&instance));
        let kept = |counts: &Option<Counts>| counts.as_ref().map(|c| instance.is_kept_by(c));
        let solvable = match (kept(&found.0), kept(&found.1)) {
            (Some(true), Some(true)) => true,
            (None, None) => false,
            (planner, solver) => {
                wrong += 1;
                println!("instance {number}: {instance:#?}");
                println!("  the planner {}: {:?}", said(planner), found.0);
                println!("  the solver {}: {:?}", said(solver), found.1);
                continue;
            }
        };
        if solvable {
            possible += 1
        } else {
            impossible += 1
        }
        for constraint in instance.constraints() {
            let (all, without) = seen.entry(constraint).or_default();
            *all += 1;
            *without += u32::from(!solvable);
        }
    }
    println!("{possible} possible, {impossible} impossible, {wrong} disagreed on");
    for (constraint, (all, without)) in seen {
        println!("  {constraint}: in {all}, {without} of them impossible");
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What to make of an answer, once it was counted over.
fn said(kept: Option<bool>) -> &'static str {
    match kept {
        Some(true) => "has a place for everybody, and it is one",
        Some(false) => "has a place for everybody, and IT IS NONE",
        None => "has none",
    }
}

/// How many replicas a whole plan has on each node; nothing if somebody has no place.
fn planned(instance: &Instance) -> Option<Counts> {
    let graph = instance.graph();
    let twin = world(&graph);
    let (_, body) = simulate(plan(&twin, &graph, Goal::Converge));
    if !body.blocked.is_empty() {
        return None;
    }
    let mut counts = vec![vec![0; instance.nodes.len()]; instance.jobs.len()];
    for placed in body.expected.values() {
        let job = (0..).map(instance::name).position(|name| name == placed.workload)?;
        let on = (1..).map(node).position(|name| name == placed.node)?;
        counts[job][on] += 1;
    }
    Some(counts)
}
