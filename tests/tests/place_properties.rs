//! Placement's laws, over random fleets.
//!
//! `FLEETS=1000000 cargo nextest run --release place_properties` runs as many as one likes, and
//! `FLEETS=200000..400000` a part of them: a fleet is its number, whoever makes it.

use std::collections::BTreeMap;
use std::ops::Range;

use berth_engine::plan::graph::{Fill, Intake, Toleration};
use berth_engine::plan::names::NodeName;
use berth_engine::plan::observation::Requests;
use berth_engine::plan::place::mend::{self, Part};
use berth_engine::plan::place::price::Foresight;
use berth_engine::plan::place::{Ask, Fleet, naive};
use berth_tests::fleets::{Dice, Job, node, random_fleet, random_jobs};

/// Which random fleets a property looks at, by number.
fn fleets(usual: u64) -> Range<u64> {
    let Ok(text) = std::env::var("FLEETS") else { return 0..usual };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| text.parse().expect("FLEETS is a number, or two with `..` between");
    number(from)..number(to)
}

fn ask<'a>(job: &'a Job, credit: &'a BTreeMap<NodeName, Requests>) -> Ask<'a> {
    Ask {
        workload: &job.name,
        requests: &job.requests,
        volumes_bytes: job.volumes_bytes,
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
    for seed in fleets(3_000) {
        let mut dice = Dice::new(seed);
        let nodes = 1 + dice.below(if seed % 50 == 0 { 150 } else { 14 }) as u32;
        let mut fleet = random_fleet(&mut dice, nodes);
        if dice.one_in(2) {
            fleet.set_fill(Fill::Dense);
        }
        let jobs = 1 + dice.below(5);
        let jobs = random_jobs(&mut dice, &mut fleet, nodes, jobs);
        if dice.one_in(40) {
            let demand = jobs.iter().map(|job| (job.requests.clone(), 3)).collect();
            let foresight = dice.pick(&[Foresight::Likely, Foresight::Certain]);
            fleet.set_demand(demand, foresight);
        }
        let mut placed: Vec<(NodeName, usize)> = Vec::new();
        // In a large fleet, there may be many already.
        for _ in 0..if nodes > 20 && dice.one_in(2) { 200 } else { 0 } {
            let which = dice.below(jobs.len() as u64) as usize;
            let (node, job) = (node(dice.below(u64::from(nodes)) as u32), &jobs[which]);
            fleet.count(&node, &job.name, &job.requests, std::net::Ipv4Addr::UNSPECIFIED);
            placed.push((node, which));
        }
        for step in 0..40 {
            let which = dice.below(jobs.len() as u64) as usize;
            let job = &jobs[which];
            if dice.one_in(6) && !placed.is_empty() {
                let (node, which) = placed.swap_remove(dice.below(placed.len() as u64) as usize);
                fleet.remove(&node, &jobs[which].name, &jobs[which].requests, None);
                continue;
            }
            if dice.one_in(12) {
                // It comes to wherever somebody else put it.
                let node = node(dice.below(u64::from(nodes)) as u32);
                fleet.count(&node, &job.name, &job.requests, std::net::Ipv4Addr::UNSPECIFIED);
                placed.push((node, which));
                continue;
            }
            if dice.one_in(8) {
                fleet.has_place(&ask(job, &none));
            }
            let ticket = fleet.ticket(&ask(job, &none));
            let expected = naive::search(&fleet, ticket);
            let found = fleet.place(ticket);
            assert_eq!(found, expected, "seed {seed} step {step} job {job:#?}");
            if let Some(node) = found {
                placed.push((fleet.name(node).expect("a node").clone(), which));
            }
        }
    }
}

/// A replica that had a place has one on a fleet with more room, and the same fleet chooses the
/// same node again.
#[test]
fn more_room_never_blocks_and_choices_repeat() {
    let none = BTreeMap::new();
    for seed in fleets(1_000) {
        let mut dice = Dice::new(seed ^ 0x0b0e);
        let nodes = 1 + dice.below(10) as u32;
        let mut fleet = random_fleet(&mut dice, nodes);
        let jobs = random_jobs(&mut dice, &mut fleet, nodes, 3);
        for _ in 0..12 {
            let job = &jobs[dice.below(3) as usize];
            let before = fleet.clone();
            let chosen = fleet.choose(&ask(job, &none)).ok();
            assert_eq!(before.clone().choose(&ask(job, &none)).ok(), chosen, "seed {seed}");
            let Some(place) = chosen else { continue };
            let mut larger = Fleet::default();
            let lucky = dice.below(u64::from(nodes));
            for (number, (name, slot)) in (0..).zip(before.nodes()) {
                let mut slot = slot.clone();
                if number == lucky {
                    slot.room = slot.room.times(2);
                    slot.room.cpu_millis += 1000;
                }
                larger.add(name.clone(), slot);
            }
            for job in &jobs {
                larger.learn(&job.name, &job.placement, None);
            }
            for (number, node) in &counted(&before, &jobs) {
                let job = &jobs[*number];
                larger.count(node, &job.name, &job.requests, std::net::Ipv4Addr::UNSPECIFIED);
            }
            assert!(larger.choose(&ask(job, &none)).is_ok(), "seed {seed}: {job:?}");
            fleet.count(&place.node, &job.name, &job.requests, place.addresses.0);
        }
    }
}

/// Which job has a replica on which node, one entry a replica.
fn counted(fleet: &Fleet, jobs: &[Job]) -> Vec<(usize, NodeName)> {
    let on =
        |number: usize| fleet.replicas(&jobs[number].name).into_iter().map(move |n| (number, n));
    (0..jobs.len()).flat_map(on).collect()
}

/// What is told to help, helps: each mend, carried out by hand on a fleet of the same nodes.
#[test]
fn every_mend_works() {
    let none = BTreeMap::new();
    let mut told = 0;
    for seed in fleets(1_500) {
        let mut dice = Dice::new(seed ^ 0x3e2d);
        let nodes = 1 + dice.below(6) as u32;
        let mut fleet = random_fleet(&mut dice, nodes);
        let jobs = random_jobs(&mut dice, &mut fleet, nodes, 3);
        for _ in 0..10 {
            let job = &jobs[dice.below(3) as usize];
            if let Ok(place) = fleet.choose(&ask(job, &none)) {
                fleet.count(&place.node, &job.name, &job.requests, place.addresses.0);
                continue;
            }
            for mend in mend::mends(&fleet, &ask(job, &none), 3) {
                told += 1;
                let mut job = job.clone();
                let mut mended = fleet.clone();
                let Some(node) = &mend.node else { continue };
                for part in &mend.parts {
                    by_hand(part, node, &mut mended, &mut job);
                }
                let verdict = mended.judge(&ask(&job, &none)).remove(node).expect("the node");
                assert!(verdict.is_ok(), "seed {seed}: {mend}: {verdict:?}");
            }
        }
    }
    assert!(told > 100, "only {told} mends were told");
}

fn by_hand(part: &Part, node: &NodeName, fleet: &mut Fleet, job: &mut Job) {
    match part {
        Part::AskLess { resource, most, overhead: _ } => match resource.as_str() {
            "cpu" => job.requests.cpu_millis = *most,
            "memory" => job.requests.memory_bytes = *most,
            "disk" => job.requests.disk_bytes = *most,
            name => *job.requests.named.get_mut(name).expect("it asks for it") = *most,
        },
        Part::SmallerVolumes { most, now } => {
            job.requests.disk_bytes = job.requests.disk_bytes - now + most;
        }
        Part::Label { key, value: Some(value) } => fleet.alter(node, |slot| {
            slot.labels.insert(key.clone(), value.clone());
        }),
        Part::Label { key, value: None } => fleet.alter(node, |slot| {
            slot.labels.remove(key);
        }),
        Part::Tolerate(taint) => job
            .placement
            .tolerate
            .push(Toleration { key: taint.key.clone(), value: taint.value.clone() }),
        Part::Open => fleet.alter(node, |slot| slot.intake = Intake::Open),
        Part::AlsoAt => {
            job.placement.at.insert(node.clone());
        }
        Part::Skew { over, skew } => {
            for even in job.placement.even.iter_mut().filter(|even| even.over == *over) {
                even.skew = even.skew.max(*skew);
            }
        }
        Part::NotNear(workload, over) => {
            job.placement.near.retain(|near| !(near.workload == *workload && near.over == *over))
        }
        Part::NotApart { workload, over, theirs: false } => job
            .placement
            .apart
            .retain(|apart| !(apart.workload == *workload && apart.over == *over)),
        Part::NotApart { workload, over, theirs: true } => {
            let mut theirs = fleet.placement_of(workload).expect("it is known").clone();
            theirs.apart.retain(|apart| !(apart.workload == job.name && apart.over == *over));
            fleet.learn(workload, &theirs, None);
        }
        Part::FreePort { port, by: _ } => fleet.free_port(node, *port),
        Part::Quota { .. } | Part::AddNode { .. } => unreachable!("no quota, and a node is named"),
    }
}
