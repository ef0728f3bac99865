//! A small random fleet with what is to run on it, in numbers; as a graph for the planner; and what
//! it means that a placement keeps every constraint.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::action::{NodePort, Protocol};
use berth_engine::plan::graph::{
    Effect, Even, Graph, Intake, Over, Quota, Relation, Rule, Taint, Toleration,
};
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::observation::Requests;
use berth_tests::fleets::Dice;
use berth_tests::project::{ROLLING, fleet, image, node, web};

/// How many replicas each job has on each node.
pub(crate) type Counts = Vec<Vec<u32>>;

/// A fleet and its jobs. CPU is in tenths of a core, memory in quarters of a GiB.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) nodes: Vec<Node>,
    pub(crate) jobs: Vec<Job>,
    /// What all together may ask for of CPU.
    pub(crate) quota: Option<u32>,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    /// How much of CPU is kept, and how much of the rest is promised, in percent.
    pub(crate) reserve: u32,
    pub(crate) overcommit: u32,
    pub(crate) gpus: u32,
    /// Zone, rack and disk, 0 for none.
    pub(crate) labels: [u32; LABELS.len()],
    /// The taint's key, whether it says `yes`, and how much it keeps off.
    pub(crate) taint: Option<(usize, bool, Effect)>,
    pub(crate) intake: Intake,
}

/// A workload.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) replicas: u32,
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    pub(crate) gpus: u32,
    pub(crate) host: Option<u16>,
    pub(crate) even: Vec<(Domain, u32)>,
    /// Whom it is apart from: itself or one before it.
    pub(crate) apart: Vec<(usize, Domain)>,
    /// Whom it is near: itself or one before it.
    pub(crate) near: Vec<(usize, Domain)>,
    /// A disk that the node must have.
    pub(crate) disk: Option<u32>,
    /// Zones that the node must be in, or, if not `true`, must not be in.
    pub(crate) zones: Option<(bool, BTreeSet<u32>)>,
    pub(crate) tolerates: Option<(usize, bool)>,
    /// The only nodes that it may be on, from 0.
    pub(crate) at: BTreeSet<usize>,
    pub(crate) priority: i32,
}

/// What divides the fleet: each node, or a label by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    Node,
    Label(usize),
}

const LABELS: [&str; 3] = ["zone", "rack", "disk"];
const TAINTS: [&str; 2] = ["gpu", "old"];

/// Names a job.
pub(crate) fn name(job: usize) -> WorkloadName {
    WorkloadName::new(format!("w{job}"))
}

impl Instance {
    /// Makes the instance of a number: at most five nodes and eight replicas.
    pub(crate) fn random(number: u64) -> Self {
        let mut dice = Dice::new(number ^ 0x09ac1e);
        let nodes: Vec<Node> =
            (0..dice.pick(&[1, 2, 3, 3, 4, 4, 5, 5])).map(|_| Node::random(&mut dice)).collect();
        let mut left = 2 + dice.below(7) as u32;
        let mut jobs = Vec::new();
        while left > 0 && jobs.len() < 4 {
            let job = Job::random(&mut dice, jobs.len(), nodes.len(), left);
            left -= job.replicas;
            jobs.push(job);
        }
        let quota = dice.one_in(10).then(|| 20 + dice.below(100) as u32);
        Self { nodes, jobs, quota }
    }

    /// Names the constraints that are in it.
    pub(crate) fn constraints(&self) -> BTreeSet<&'static str> {
        let any = |what: &dyn Fn(&Job) -> bool| self.jobs.iter().any(what);
        let own = |ties: fn(&Job) -> &[(usize, Domain)], own: bool| {
            let mut jobs = self.jobs.iter().enumerate();
            jobs.any(|(number, job)| ties(job).iter().any(|tie| (tie.0 == number) == own))
        };
        let all = [
            ("gpus", any(&|job| job.gpus > 0)),
            ("a port of the node", any(&|job| job.host.is_some())),
            ("even", any(&|job| !job.even.is_empty())),
            ("even over two", any(&|job| job.even.len() > 1)),
            ("apart from itself", own(|job| &job.apart, true)),
            ("apart from another", own(|job| &job.apart, false)),
            ("near itself", own(|job| &job.near, true)),
            ("near another", own(|job| &job.near, false)),
            ("a label", any(&|job| job.disk.is_some())),
            ("a rule", any(&|job| job.zones.is_some())),
            ("nodes named", any(&|job| !job.at.is_empty())),
            ("priority", any(&|job| job.priority > 0)),
            ("a taint", self.nodes.iter().any(|node| node.taint.is_some())),
            ("intake", self.nodes.iter().any(|node| node.intake != Intake::Open)),
            ("quota", self.quota.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    /// Says whether a job may be on a node at all, whoever else is where: `at` aside, what a
    /// domain must have to be counted by `even`.
    pub(crate) fn may(&self, job: usize, node: usize) -> bool {
        let (job, there) = (&self.jobs[job], &self.nodes[node]);
        let kept_off = there.taint.is_some_and(|(key, yes, effect)| {
            let bears = job.tolerates.is_some_and(|(bears, only)| bears == key && (!only || yes));
            effect != Effect::Discourage && !bears
        });
        let zone = there.labels[0];
        there.intake == Intake::Open
            && !kept_off
            && (job.at.is_empty() || job.at.contains(&node))
            && job.disk.is_none_or(|disk| there.labels[2] == disk)
            && job.zones.as_ref().is_none_or(|(among, zones)| *among == zones.contains(&zone))
    }

    /// The domain that a node is in, if it is in any.
    pub(crate) fn domain(&self, over: Domain, node: usize) -> Option<u32> {
        match over {
            Domain::Node => u32::try_from(node).ok(),
            Domain::Label(label) => Some(self.nodes[node].labels[label]).filter(|v| *v != 0),
        }
    }

    /// The domains of the nodes that a job may be on.
    pub(crate) fn domains(&self, job: usize, over: Domain) -> BTreeSet<u32> {
        let nodes = (0..self.nodes.len()).filter(|node| self.may(job, *node));
        nodes.filter_map(|node| self.domain(over, node)).collect()
    }

    /// Says whether everybody is placed and every constraint is kept.
    pub(crate) fn is_kept_by(&self, counts: &Counts) -> bool {
        let jobs = || self.jobs.iter().zip(counts);
        let sum = |of: &dyn Fn(&Job) -> u32, node: usize| -> u32 {
            jobs().map(|(job, on)| of(job) * on[node]).sum()
        };
        let fits = self.nodes.iter().enumerate().all(|(node, there)| {
            let ports = [8000, 8001]
                .iter()
                .all(|port| sum(&|job: &Job| u32::from(job.host == Some(*port)), node) <= 1);
            ports
                && sum(&|job: &Job| job.cpu, node) <= there.room()
                && sum(&|job: &Job| job.memory, node) <= there.memory
                && sum(&|job: &Job| job.gpus, node) <= there.gpus
        });
        let asked: u32 = jobs().map(|(job, _)| job.cpu * job.replicas).sum();
        let all = jobs().all(|(job, on)| on.iter().sum::<u32>() == job.replicas);
        let each = jobs().enumerate().all(|(number, (job, on))| {
            let in_domain = |of: &[u32], over: Domain, domain: u32| -> u32 {
                let nodes = of.iter().enumerate();
                nodes.filter(|(n, _)| self.domain(over, *n) == Some(domain)).map(|(_, c)| *c).sum()
            };
            // Each node with replicas on it, with its domain and how many of a job are there.
            let beside = |other: usize, over: Domain| {
                let nodes = (0..on.len()).filter(|node| on[*node] > 0);
                nodes.map(move |node| {
                    let domain = self.domain(over, node)?;
                    Some(in_domain(&counts[other], over, domain))
                })
            };
            let may = (0..on.len()).all(|node| on[node] == 0 || self.may(number, node));
            let even = job.even.iter().all(|(over, skew)| {
                let domains = self.domains(number, *over);
                let each: Vec<u32> = domains.iter().map(|d| in_domain(on, *over, *d)).collect();
                let (least, most) = (each.iter().min(), each.iter().max());
                let level = least.zip(most).is_some_and(|(least, most)| most - least <= *skew);
                beside(number, *over).all(|beside| beside.is_some()) && level
            });
            let apart = job.apart.iter().all(|(other, over)| {
                let most = u32::from(*other == number);
                beside(*other, *over).all(|beside| beside.is_none_or(|count| count <= most))
            });
            let near = job.near.iter().all(|(other, over)| {
                // Near itself: all of it together.
                let least = if *other == number { job.replicas } else { 1 };
                beside(*other, *over).all(|beside| beside.is_some_and(|count| count >= least))
            });
            may && even && apart && near
        });
        fits && all && each && self.quota.is_none_or(|quota| asked <= quota)
    }

    /// The same for the planner.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = fleet(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        for (number, small) in (1..).zip(&self.nodes) {
            let there = graph.nodes.get_mut(&node(number)).expect("a node");
            let labels = LABELS.iter().zip(small.labels).filter(|(_, value)| *value != 0);
            there.labels = labels.map(|(key, v)| ((*key).to_owned(), v.to_string())).collect();
            there.capacity = Some(requests(small.cpu, small.memory, 0));
            there.reserve = requests(small.reserve, 0, 0);
            there.overcommit.cpu = small.overcommit * 100;
            there.named = requests(0, 0, small.gpus).named;
            there.intake = small.intake;
            there.taints =
                small.taint.map(|(key, yes, effect)| taint(key, yes, effect)).into_iter().collect();
        }
        for (number, job) in self.jobs.iter().enumerate() {
            let mut workload = web(image('a'), job.replicas, ROLLING);
            workload.template.resources = requests(job.cpu, job.memory, job.gpus);
            if let Some(host) = job.host {
                workload.ports[0].host = Some(host);
                let port = NodePort { port: host, protocol: Protocol::Tcp };
                workload.template.publish.insert(port, workload.ports[0].container);
            }
            let place = &mut workload.placement;
            place.even =
                job.even.iter().map(|(d, skew)| Even { over: over(*d), skew: *skew }).collect();
            place.apart = job.apart.iter().map(relation).collect();
            place.near = job.near.iter().map(relation).collect();
            let disk = job.disk.map(|disk| ("disk".to_owned(), disk.to_string()));
            place.require = disk.into_iter().collect();
            if let Some((among, zones)) = &job.zones {
                let (key, zones) = ("zone".to_owned(), zones.iter().map(u32::to_string).collect());
                place.rules.push(if *among {
                    Rule::In(key, zones)
                } else {
                    Rule::NotIn(key, zones)
                });
            }
            place.tolerate =
                job.tolerates.map(|(key, only)| toleration(key, only)).into_iter().collect();
            place.at = job.at.iter().map(|number| node(*number as u32 + 1)).collect();
            place.priority = job.priority;
            graph.workloads.insert(name(number), workload);
        }
        let quota = self.quota.map(|cpu| u64::from(cpu) * 100);
        graph.quota = quota.map(|cpu| Quota { cpu_millis: Some(cpu), ..Quota::default() });
        graph
    }
}

impl Node {
    fn random(dice: &mut Dice) -> Self {
        let mut label =
            |values: u64| if dice.one_in(10) { 0 } else { 1 + dice.below(values) as u32 };
        let labels = [label(3), label(3), label(2)];
        let effect =
            |dice: &mut Dice| dice.pick(&[Effect::Discourage, Effect::Refuse, Effect::Evict]);
        Self {
            cpu: 10 + dice.below(50) as u32,
            memory: 4 + dice.below(28) as u32,
            reserve: if dice.one_in(8) { dice.below(9) as u32 } else { 0 },
            overcommit: if dice.one_in(8) { 150 } else { 100 },
            gpus: if dice.one_in(3) { 1 + dice.below(2) as u32 } else { 0 },
            labels,
            taint: dice.one_in(8).then(|| (dice.below(2) as usize, dice.one_in(2), effect(dice))),
            intake: match dice.below(20) {
                0 => Intake::Cordoned,
                1 => Intake::Drained,
                _ => Intake::Open,
            },
        }
    }

    /// What may be promised of its CPU.
    pub(crate) fn room(&self) -> u32 {
        (self.cpu * self.overcommit / 100).saturating_sub(self.reserve)
    }
}

impl Job {
    fn random(dice: &mut Dice, number: usize, nodes: usize, most: u32) -> Self {
        let domain = |dice: &mut Dice| {
            dice.pick(&[
                Domain::Node,
                Domain::Node,
                Domain::Label(0),
                Domain::Label(0),
                Domain::Label(1),
            ])
        };
        // Itself more often than one before it.
        let whom = |dice: &mut Dice| {
            if dice.one_in(2) { number } else { dice.below(number as u64 + 1) as usize }
        };
        let ties = |dice: &mut Dice, rarity: u64| -> Vec<(usize, Domain)> {
            let one = |dice: &mut Dice| (whom(dice), domain(dice));
            if dice.one_in(rarity) { vec![one(dice)] } else { Vec::new() }
        };
        let mut even = Vec::new();
        if dice.one_in(4) {
            even.push((domain(dice), 1 + dice.below(2) as u32));
            if dice.one_in(4) {
                even.push((domain(dice), 1 + dice.below(2) as u32));
            }
        }
        let zones = dice.one_in(14).then(|| {
            let zones = (0..2).map(|_| 1 + dice.below(3) as u32).collect();
            (dice.one_in(2), zones)
        });
        let at = dice.one_in(18);
        Self {
            replicas: (1 + dice.below(4) as u32).min(most),
            cpu: 1 + dice.below(18) as u32,
            memory: 1 + dice.below(7) as u32,
            gpus: u32::from(dice.one_in(12)),
            host: dice.one_in(8).then(|| 8000 + dice.below(2) as u16),
            even,
            apart: ties(dice, 4),
            near: ties(dice, 10),
            disk: dice.one_in(14).then(|| 1 + dice.below(2) as u32),
            zones,
            tolerates: dice.one_in(3).then(|| (dice.below(2) as usize, dice.one_in(2))),
            at: (0..2).filter(|_| at).map(|_| dice.below(nodes as u64) as usize).collect(),
            priority: dice.pick(&[0, 0, 0, 10]),
        }
    }
}

fn requests(cpu: u32, memory: u32, gpus: u32) -> Requests {
    let named = (gpus > 0).then(|| ("gpu".to_owned(), u64::from(gpus)));
    Requests {
        cpu_millis: u64::from(cpu) * 100,
        memory_bytes: u64::from(memory) << 28,
        named: named.into_iter().collect::<BTreeMap<_, _>>(),
        ..Requests::default()
    }
}

fn over(domain: Domain) -> Over {
    match domain {
        Domain::Node => Over::Node,
        Domain::Label(label) => Over::Label(LABELS[label].to_owned()),
    }
}

fn relation((other, domain): &(usize, Domain)) -> Relation {
    Relation { workload: name(*other), over: over(*domain), weight: None }
}

fn taint(key: usize, yes: bool, effect: Effect) -> Taint {
    Taint { key: TAINTS[key].to_owned(), value: yes.then(|| "yes".to_owned()), effect }
}

fn toleration(key: usize, only: bool) -> Toleration {
    Toleration { key: TAINTS[key].to_owned(), value: only.then(|| "yes".to_owned()) }
}
