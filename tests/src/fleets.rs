//! Random fleets and asks, from a seed: small enough to be looked at, odd enough to meet.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::action::{NodePort, Protocol};
use berth_engine::plan::graph::{
    Effect, Even, Intake, Over, Placement, Preference, Relation, Rule, Taint, Toleration,
};
use berth_engine::plan::names::{ImageDigest, NodeName, VolumeId, WorkloadName};
use berth_engine::plan::observation::{Pressure, Requests};
use berth_engine::plan::place::{Fleet, Slot};

/// Numbers from a seed (xorshift64*, Marsaglia 2003; Vigna 2016).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Throws a number below `sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % sides.max(1)
    }

    /// Says yes once in so many throws.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    /// Picks one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Names node `number`.
pub fn node(number: u32) -> NodeName {
    NodeName::new(format!("n{number:05}"))
}

/// A pod range of its own for node `number`.
pub fn ranges(number: u32) -> (ipnet::Ipv4Net, ipnet::Ipv6Net) {
    let base = std::net::Ipv4Addr::from((10 << 24) + number * 256);
    let range4 = ipnet::Ipv4Net::new(base, 24).expect("a prefix");
    let base = std::net::Ipv6Addr::from((0xfd00_u128 << 112) + (u128::from(number) << 64));
    (range4, ipnet::Ipv6Net::new(base, 64).expect("a prefix"))
}

/// CPU in cores and memory in GiB.
pub fn size(cores: u64, gib: u64) -> Requests {
    Requests { cpu_millis: cores * 1000, memory_bytes: gib << 30, ..Requests::default() }
}

/// An image.
pub fn image(number: u64) -> ImageDigest {
    ImageDigest::new(format!("sha256:{number:064x}"))
}

/// A node with random labels, taints, size, images and mood.
pub fn random_slot(dice: &mut Dice, number: u32) -> Slot {
    let mut room = dice.pick(&[(4, 8), (8, 16), (16, 32), (2, 16)]);
    if dice.one_in(9) {
        room = (0, 0);
    }
    let mut slot = Slot::plain(size(room.0, room.1), ranges(number));
    slot.room.disk_bytes = dice.pick(&[0, 50 << 30]);
    if dice.one_in(3) {
        slot.room.named.insert("gpu".to_owned(), dice.below(3));
    }
    for (key, values) in [("zone", 3), ("rack", 5), ("disk", 2)] {
        if !dice.one_in(6) {
            slot.labels.insert(key.to_owned(), format!("{}", dice.below(values)));
        }
    }
    if dice.one_in(4) {
        slot.taints.push(Taint {
            key: dice.pick(&["gpu", "old"]).to_owned(),
            value: dice.one_in(2).then(|| "yes".to_owned()),
            effect: dice.pick(&[Effect::Discourage, Effect::Refuse, Effect::Evict]),
        });
    }
    slot.intake = match dice.below(12) {
        0 => Intake::Cordoned,
        1 => Intake::Drained,
        2 => Intake::Retired,
        _ => Intake::Open,
    };
    slot.reachable = !dice.one_in(12);
    slot.pressure = dice.pick(&[Pressure::Low, Pressure::Low, Pressure::Some, Pressure::High]);
    slot.images = (0..3).filter(|_| dice.one_in(3)).map(image).collect();
    slot
}

/// What a random replica asks for.
pub fn random_requests(dice: &mut Dice) -> Requests {
    let mut requests = Requests {
        cpu_millis: dice.pick(&[0, 100, 250, 1000, 3000]),
        memory_bytes: dice.pick(&[0, 64 << 20, 500 << 20, 2 << 30, 7 << 30]),
        ..Requests::default()
    };
    if dice.one_in(5) {
        requests.disk_bytes = 10 << 30;
    }
    if dice.one_in(8) {
        requests.named.insert("gpu".to_owned(), 1);
    }
    if dice.one_in(8) {
        let protocol = dice.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp]);
        requests.ports.insert(NodePort { port: 8000 + dice.below(2) as u16, protocol });
    }
    requests
}

/// Where a random replica may go, among workloads `w0` to `w<others>`.
pub fn random_placement(dice: &mut Dice, nodes: u32, others: u64) -> Placement {
    let mut place = Placement::default();
    let over = |dice: &mut Dice| match dice.below(3) {
        0 => Over::Node,
        1 => Over::Label("zone".to_owned()),
        _ => Over::Label("rack".to_owned()),
    };
    let rule = |dice: &mut Dice| {
        let key = dice.pick(&["zone", "rack", "disk"]).to_owned();
        let values: BTreeSet<String> = (0..2).map(|_| format!("{}", dice.below(4))).collect();
        match dice.below(6) {
            0 => Rule::In(key, values),
            1 => Rule::NotIn(key, values),
            2 => Rule::Exists(key),
            3 => Rule::Missing(key),
            4 => Rule::Above(key, 0),
            _ => Rule::Below(key, 2),
        }
    };
    if dice.one_in(3) {
        place.spread = Some(dice.pick(&["zone", "rack"]).to_owned());
    }
    if dice.one_in(6) {
        place.require = BTreeMap::from([("disk".to_owned(), format!("{}", dice.below(2)))]);
    }
    if dice.one_in(5) {
        place.rules.push(rule(dice));
    }
    for _ in 0..dice.below(3) {
        let weight = 1 + dice.below(3) as u32;
        place.prefer.push(Preference { rule: rule(dice), weight });
    }
    for _ in 0..dice.below(6).saturating_sub(3) {
        place.even.push(Even { over: over(dice), skew: 1 + dice.below(2) as u32 });
    }
    for list in [0, 1] {
        for _ in 0..dice.below(5).saturating_sub(2) {
            let relation = Relation {
                workload: WorkloadName::new(format!("w{}", dice.below(others))),
                over: over(dice),
                weight: dice.one_in(2).then(|| 1 + dice.below(3) as u32),
            };
            if list == 0 { &mut place.near } else { &mut place.apart }.push(relation);
        }
    }
    if dice.one_in(3) {
        let value = dice.one_in(2).then(|| "yes".to_owned());
        place.tolerate.push(Toleration { key: dice.pick(&["gpu", "old"]).to_owned(), value });
    }
    if dice.one_in(12) {
        place.at = (0..3).map(|_| node(dice.below(u64::from(nodes)) as u32)).collect();
    }
    for volume in ["a", "b"] {
        if dice.one_in(16) {
            let home = node(dice.below(u64::from(nodes)) as u32);
            place.held.insert(VolumeId::new(volume), home);
        }
    }
    place.priority = dice.pick(&[0, 0, 0, 10, 20]);
    place
}

/// A workload of a random fleet.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: WorkloadName,
    /// What a replica asks for.
    pub requests: Requests,
    /// Bytes of disk among that which are for volumes that are made with it.
    pub volumes_bytes: u64,
    /// Where it may go.
    pub placement: Placement,
    /// Its image.
    pub image: Option<ImageDigest>,
}

/// Random nodes.
pub fn random_fleet(dice: &mut Dice, nodes: u32) -> Fleet {
    let mut fleet = Fleet::default();
    for number in 0..nodes {
        fleet.add(node(number), random_slot(dice, number));
    }
    fleet
}

/// Random workloads, all of which the fleet knows.
pub fn random_jobs(dice: &mut Dice, fleet: &mut Fleet, nodes: u32, jobs: u64) -> Vec<Job> {
    let job = |number: u64, dice: &mut Dice| {
        let mut requests = random_requests(dice);
        let volumes_bytes = if dice.one_in(6) { 20 << 30 } else { 0 };
        requests.disk_bytes += volumes_bytes;
        Job {
            name: WorkloadName::new(format!("w{number}")),
            requests,
            volumes_bytes,
            placement: random_placement(dice, nodes, jobs),
            image: dice.one_in(2).then(|| image(dice.below(3))),
        }
    };
    let jobs: Vec<Job> = (0..jobs).map(|number| job(number, dice)).collect();
    for job in &jobs {
        let free = Placement { held: BTreeMap::new(), ..job.placement.clone() };
        fleet.learn(&job.name, &free, None);
    }
    jobs
}
