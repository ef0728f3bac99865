//! The texts of random histories: any of them, and those that follow one.

use std::collections::BTreeMap;

use berth_engine::plan::canon::template_digest;
use berth_engine::plan::content::{AtRest, File};
use berth_engine::plan::graph::{
    CanaryStep, Check, Graph, Intake, Metric, Mount, OnUnreachable, Scale, Strategy, Volume,
};
use berth_engine::plan::ledger::Head;
use berth_engine::plan::names::{ImageDigest, VolumeName, WorkloadName};
use berth_engine::plan::observation::{OnDelete, VolumeSpec};
use berth_engine::plan::rollout::is_done;
use berth_engine::plan::unreachable;
use berth_engine::run::twin::{AfterJobs, Twin};

use super::Dice;
use crate::project::{ROLLING, cron, fleet, image, job, node, secret_file, sidecar, web, with};

/// A random text: one or two services, good or bad images, any strategy.
pub fn text(dice: &mut Dice) -> Graph {
    let strategies = [
        ROLLING,
        Strategy::Rolling { surge: 0, unavailable: 1 },
        Strategy::Rolling { surge: 2, unavailable: 1 },
        Strategy::Recreate,
        Strategy::Ordered,
        Strategy::BlueGreen,
        canary(&[1000, 5000], 30_000),
        canary(&[2500], 30_000),
    ];
    let mut graph = fleet(3);
    for name in ["web", "api"] {
        if name == "web" || dice.roll(2) == 0 {
            let letter = dice.pick(&['a', 'b', 'c', 'f', 'e', 'd']);
            let image = image(letter);
            let replicas = 1 + u32::try_from(dice.roll(5)).unwrap_or(0);
            let mut workload = web(image, replicas, dice.pick(&strategies));
            // Without a roll, as below.
            if dice.0.is_multiple_of(3) {
                workload.template.companions.push(sidecar(crate::project::image('s')));
            }
            // Without a roll, as below. What is in it differs from text to text.
            if dice.0.is_multiple_of(5) {
                let content = graph.contents.add(format!("pool = {}\n", dice.0 / 5 % 3));
                workload.template.files.insert("/etc/web.toml".to_owned(), File::of(content));
            }
            // Without a roll, as below. What it holds differs from text to text.
            if dice.0.is_multiple_of(7) {
                let fingerprint = ["a0", "b1", "c2"][(dice.0 / 7 % 3) as usize];
                let file = secret_file(&mut graph.contents, AtRest::Sealed, fingerprint);
                workload.template.files.insert("/run/secrets/db".to_owned(), file);
            }
            // What fails a check, or falls over, is asked and watched: so it is never what stands.
            if dice.roll(3) == 0 || letter == 'd' {
                let run = vec!["/check".to_owned()];
                workload.rollout.checks = vec![Check::Command { run, timeout_ms: 1000 }];
            }
            // Without a roll, so that seeds go on to tell what they told.
            if dice.0.is_multiple_of(4) {
                workload.rollout.checks.push(Check::Metric(Metric {
                    prometheus: "http://10.0.0.5:9090".to_owned(),
                    query: "errors".to_owned(),
                    at_least: None,
                    at_most: Some("0.05".to_owned()),
                }));
            }
            if dice.roll(3) == 0 || letter == 'e' {
                workload.rollout.bake_ms = 20_000;
            }
            if dice.roll(4) == 0 {
                workload.ports.clear();
            }
            if dice.roll(2) == 0 && replicas <= 4 {
                workload.scale = Some(Scale { min: 1, max: 4 });
            }
            let alone = match workload.rollout.strategy {
                Strategy::Rolling { .. } | Strategy::Recreate | Strategy::Ordered => true,
                Strategy::Canary { .. } | Strategy::BlueGreen => false,
            };
            if alone && dice.roll(3) == 0 {
                let own = VolumeName::new(format!("{name}_own"));
                let shared = VolumeName::new("shared");
                let (each_replica, volume) = dice.pick(&[(true, own), (false, shared)]);
                let on_delete = dice.pick(&[OnDelete::Retain, OnDelete::Destroy]);
                let spec = VolumeSpec { on_delete, ..VolumeSpec::default() };
                graph.volumes.insert(volume.clone(), Volume { on: None, each_replica, spec });
                let mount = Mount { volume, each_replica };
                workload.template.mounts.insert("/data".to_owned(), mount);
            }
            graph = with(graph, name, workload);
        }
    }
    graph
}

/// A random text in which a node may be retired; what has its data there would wait for ever.
pub(super) fn retiring(dice: &mut Dice) -> Graph {
    let mut graph = text(dice);
    // Without a roll, as above.
    if dice.0.is_multiple_of(7)
        && graph.volumes.is_empty()
        && let Some(node) = graph.nodes.get_mut(&node(2))
    {
        node.intake = Intake::Retired;
    }
    graph
}

/// In which histories the service that is in every text may get another name with each.
pub(super) fn is_renamed(seed: u64) -> bool {
    [2, 5, 9, 12].contains(&(seed % 17))
}

/// The next text, in which the service is called as it was, or otherwise and says so, or is another one of another
/// name; its volumes too. Without a roll, as above.
pub(super) fn renamed(before: &Graph, mut next: Graph, dice: &Dice) -> Graph {
    let (web, www) = (WorkloadName::new("web"), WorkloadName::new("www"));
    let was = if before.workloads.contains_key(&www) { &www } else { &web };
    let other = if *was == www { &web } else { &www };
    let way = dice.0 % 5;
    let now = if way < 3 { other } else { was };
    let workload = next.workloads.remove(&web).expect("in every text");
    next.workloads.insert(now.clone(), workload);
    // A volume that another service left behind would be mounted by both for a moment.
    let says = way != 2 || !before.volumes.is_empty() || !next.volumes.is_empty();
    if now != was && says {
        next.moved.workloads.insert(now.clone(), was.clone());
    }
    // Whether the text before was ever applied nobody knows here, so what it says stays.
    if now == was
        && let Some(older) = before.moved.workloads.get(was)
    {
        next.moved.workloads.insert(was.clone(), older.clone());
    }
    for (one, two) in [("shared", "common"), ("web_own", "own")] {
        let (one, two) = (VolumeName::new(one), VolumeName::new(two));
        let had = if before.volumes.contains_key(&two) { &two } else { &one };
        let Some(volume) = next.volumes.remove(&one) else { continue };
        let has = match (had == &one, dice.0.rotate_left(7) % 3) {
            (_, 0) | (true, 1) => &two,
            (false, 1) | (_, _) => &one,
        };
        next.volumes.insert(has.clone(), volume);
        if has != had {
            next.moved.volumes.insert(has.clone(), had.clone());
        } else if let Some(older) = before.moved.volumes.get(had) {
            next.moved.volumes.insert(had.clone(), older.clone());
        }
        let mounts = next.workloads.values_mut().flat_map(|w| w.template.mounts.values_mut());
        mounts.filter(|mount| mount.volume == one).for_each(|mount| mount.volume = has.clone());
    }
    next
}

/// Which of the services that a history had has which name, for the twin: it believes no engine in this.
#[derive(Debug, Default)]
pub(super) struct Lineages {
    now: BTreeMap<WorkloadName, u64>,
    next: u64,
}

impl Lineages {
    /// Names the services of the first text.
    pub(super) fn begin(&mut self, twin: &Twin, graph: &Graph) {
        for name in graph.workloads.keys() {
            self.now.insert(name.clone(), self.next);
            twin.world().called(name, self.next);
            self.next += 1;
        }
    }

    /// Goes on to the text that follows one. What left a text and comes again is what it was: a text that was
    /// never applied changes nothing, and nobody tells the twin which was.
    pub(super) fn renamed(&mut self, twin: &Twin, before: &Graph, next: Graph) -> Graph {
        for (new, old) in &next.moved.workloads {
            if let Some(lineage) = self.now.get(old).copied() {
                self.now.insert(new.clone(), lineage);
                twin.world().called(new, lineage);
            }
        }
        let anew = next.workloads.keys().filter(|name| {
            let says = next.moved.workloads.contains_key(*name);
            !says && !before.workloads.contains_key(*name) && name.as_str() != "api"
        });
        for name in anew {
            self.now.insert(name.clone(), self.next);
            twin.world().called(name, self.next);
            self.next += 1;
        }
        next
    }
}

/// A canary by weights in hundredths of a percent, each watched for so long.
pub fn canary(weights: &[u32], bake_ms: u64) -> Strategy {
    let step = |weight: &u32| CanaryStep { weight: *weight, bake_ms };
    Strategy::Canary { steps: weights.iter().map(step).collect(), surge: 1 }
}

/// Whether replicas on silent nodes are replaced at once in a history, and may run twice.
pub(super) fn is_replaced(seed: u64) -> bool {
    seed % 7 == 2
}

/// Whether nodes that are gone are switched off in a history, and a person says so.
pub(super) fn is_switched_off(seed: u64) -> bool {
    seed % 7 == 4 && seed % 5 != 3
}

/// Whether silent nodes are switched off at once in a history, by plans.
pub(super) fn is_fenced(seed: u64) -> bool {
    [3, 6, 9].contains(&(seed % 18))
}

/// A text as a history has it.
pub(super) fn waits(seed: u64, mut graph: Graph) -> Graph {
    if is_fenced(seed) {
        for (name, node) in &mut graph.nodes {
            node.fence = vec!["power-off".to_owned(), name.to_string()];
        }
        for workload in graph.workloads.values_mut() {
            let before = std::mem::replace(
                &mut workload.on_unreachable,
                OnUnreachable::FenceAfter { ms: 0 },
            );
            if unreachable::bound(workload).is_some() {
                workload.on_unreachable = before;
            }
        }
        return graph;
    }
    for workload in graph.workloads.values_mut().filter(|_| is_replaced(seed)) {
        if unreachable::bound(workload).is_none() {
            workload.on_unreachable = OnUnreachable::ReplaceAfter { ms: 0 };
        }
    }
    graph
}

/// In which histories there are jobs: none of those that were kept before there were any.
pub(super) fn has_jobs(seed: u64) -> bool {
    [4, 6, 22, 30, 34, 39, 40, 42, 52, 57, 58, 61].contains(&(seed % 72))
}

/// A text with a job or two, which services are after. Without a roll, as above.
pub(super) fn with_jobs(seed: u64, mut graph: Graph, dice: &Dice) -> Graph {
    let by = |turn: u32, sides: u64| dice.0.rotate_left(turn) % sides;
    if !has_jobs(seed) || by(11, 5) == 0 {
        return graph;
    }
    let letters = ['a', 'b', 'c', 'a', 'e', 'b', 'f', 'd'];
    let letter = |turn: u32| letters[by(turn, 8) as usize];
    let number = |turn: u32, sides: u64| u32::try_from(by(turn, sides)).unwrap_or(0);
    let (migrate, seed_data) = (WorkloadName::new("migrate"), WorkloadName::new("seed"));
    let mut first = job(image(letter(17)), 1 + number(23, 3), number(29, 3));
    if let Some(once) = &mut first.once {
        once.parallel = once.parallel.min(1 + number(31, 2));
    }
    for (turn, workload) in (37..).zip(graph.workloads.values_mut()) {
        if by(turn, 3) > 0 {
            workload.after.insert(migrate.clone());
        }
    }
    graph.workloads.insert(migrate.clone(), first);
    if by(41, 3) == 0 {
        let mut second = job(image(letter(43)), 1, number(47, 3));
        second.after.insert(migrate);
        if let Some(web) = graph.workloads.get_mut(&WorkloadName::new("web")) {
            web.after.insert(seed_data.clone());
        }
        graph.workloads.insert(seed_data, second);
    }
    graph
}

/// In which histories there is a cron: none of those that were kept before there was any.
pub(super) fn has_cron(seed: u64) -> bool {
    [1, 2, 9, 11, 15, 17, 20, 31, 44, 51, 60, 67].contains(&(seed % 72))
}

/// A text with a cron, which may be suspended. Without a roll, as above.
pub(super) fn with_cron(seed: u64, mut graph: Graph, dice: &Dice) -> Graph {
    let by = |turn: u32, sides: u64| dice.0.rotate_left(turn) % sides;
    if !has_cron(seed) || by(13, 6) == 0 {
        return graph;
    }
    let mut nightly = cron(image(['a', 'b', 'c'][by(19, 3) as usize]));
    nightly.replicas = u32::from(by(27, 6) > 0);
    if let Some(cron) = &mut nightly.template.cron {
        cron.retries = u32::from(by(33, 2) > 0);
    }
    graph.workloads.insert(WorkloadName::new("nightly"), nightly);
    graph
}

/// Which jobs come before a pod of each workload and its template that the ledger does not have as reached: those that it does not
/// have as done.
pub(super) fn after_jobs(graph: &Graph, head: &Head) -> AfterJobs {
    let mut after = AfterJobs::new();
    for (name, workload) in &graph.workloads {
        let digest = template_digest(&workload.template);
        let reached = head.reached.get(name).map(|reached| template_digest(&reached.template));
        // Who goes back to an earlier release waits for nothing.
        if reached.as_ref() == Some(&digest) || head.held(name, workload).is_some() {
            continue;
        }
        let jobs = workload.after.iter().filter_map(|job| Some((job, graph.workloads.get(job)?)));
        let undone = jobs.filter(|(job, text)| !is_done(head.reached.get(*job), text));
        let undone =
            undone.map(|(job, text)| (job.clone(), template_digest(&text.template), text.replicas));
        after.insert((name.clone(), digest), undone.collect());
    }
    after
}

/// By another strategy, watched for a moment.
pub fn shop_by(image: ImageDigest, strategy: Strategy) -> Graph {
    let mut workload = web(image, 3, strategy);
    workload.rollout.bake_ms = 3000;
    with(fleet(3), "web", workload)
}
