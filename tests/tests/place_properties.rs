//! Placement's laws, over random fleets.
//!
//! `FLEETS=1000000 cargo nextest run --release place_properties` runs as many as one likes.

use std::collections::BTreeMap;

use berth_engine::plan::graph::Fill;
use berth_engine::plan::names::NodeName;
use berth_engine::plan::observation::Requests;
use berth_engine::plan::place::{Ask, naive};
use berth_tests::fleets::{Dice, Job, random_fleet, random_jobs};

/// How many random fleets a property looks at.
fn fleets(usual: u64) -> u64 {
    std::env::var("FLEETS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn ask<'a>(job: &'a Job, credit: &'a BTreeMap<NodeName, Requests>) -> Ask<'a> {
    Ask {
        workload: &job.name,
        requests: &job.requests,
        placement: &job.placement,
        image: job.image.as_ref(),
        stay: None,
        credit,
    }
}

/// The index finds the node that a look at every node finds, whatever was placed and removed.
#[test]
fn the_index_agrees_with_the_scan() {
    let none = BTreeMap::new();
    for seed in 0..fleets(3_000) {
        let mut dice = Dice::new(seed);
        let nodes = 1 + dice.below(if seed % 50 == 0 { 150 } else { 14 }) as u32;
        let mut fleet = random_fleet(&mut dice, nodes);
        if dice.one_in(2) {
            fleet.set_fill(Fill::Dense);
        }
        let jobs = 1 + dice.below(5);
        let jobs = random_jobs(&mut dice, &mut fleet, nodes, jobs);
        if dice.one_in(40) {
            fleet.set_demand(jobs.iter().map(|job| (job.requests.clone(), 3)).collect());
        }
        let mut placed: Vec<(NodeName, usize)> = Vec::new();
        for step in 0..40 {
            let which = dice.below(jobs.len() as u64) as usize;
            let job = &jobs[which];
            if dice.one_in(6) && !placed.is_empty() {
                let (node, which) = placed.swap_remove(dice.below(placed.len() as u64) as usize);
                fleet.remove(&node, &jobs[which].name, &jobs[which].requests, None);
                continue;
            }
            let ticket = fleet.ticket(&ask(job, &none));
            let expected = naive::search(&fleet, ticket);
            let judged = fleet.judge(&ask(job, &none));
            let found = fleet.place(ticket);
            let show = |node: Option<usize>| node.and_then(|n| fleet.name(n)).map(|n| &judged[n]);
            assert_eq!(
                found,
                expected,
                "seed {seed} step {step}: {:?} or {:?}",
                show(found),
                show(expected)
            );
            assert_eq!(found, expected, "seed {seed} step {step} job {job:#?}");
            if let Some(node) = found {
                placed.push((fleet.name(node).expect("a node").clone(), which));
            }
        }
    }
}
