//! A rollout's moves, each into its place: what earlier waves freed counts, and whoever must yields.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::Case;
use crate::plan::action::PodSpec;
use crate::plan::body::{Blocked, Move, Placed, Wave};
use crate::plan::change;
use crate::plan::graph::{Mount, PodTemplate, Workload};
use crate::plan::names::{NodeName, PodId, SpecDigest, WorkloadName};
use crate::plan::observation::Requests;
use crate::plan::place::{Ask, Fleet, Slot, mend};
use crate::plan::volume::{self, Asks};
use crate::plan::world::Here;

/// The moves of one workload, each with its place.
pub(super) struct Placing<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) wanted: &'a Workload,
    /// The digest of its template.
    pub(super) digest: &'a SpecDigest,
    /// What an undo would restore, with the digest of its template.
    pub(super) before: Option<(&'a Workload, SpecDigest)>,
    /// What earlier waves of this rollout freed.
    pub(super) credit: BTreeMap<NodeName, Requests>,
    /// Whether the text says what it said when the workload was last as it should be.
    pub(super) unchanged: bool,
    pub(super) blocked: Vec<Blocked>,
    /// Who waits for room, for people.
    pub(super) waiting: Vec<String>,
    /// Who was to be placed, with the node of the pod that it replaces.
    pub(super) asked: Vec<(u32, Option<NodeName>)>,
    /// Pods that do not count beside those that replace them.
    pub(super) replaced: Vec<Placed>,
    /// Where pods of which workload have to make room.
    pub(super) evicts: Vec<(NodeName, WorkloadName)>,
    /// Who made room and has no other place, for people.
    pub(super) homeless: Vec<String>,
    /// How many of this wave stop before their successors start, though the rollout would start
    /// those first; and of any wave so far.
    pub(super) stop_first: u32,
    pub(super) most_stop_first: u32,
    /// How many of them an undo could not bring back where they were, since their data is elsewhere.
    pub(super) not_restored: u32,
    /// How many replicas have no place and no pod that serves; for each of them one that is too many
    /// serves on.
    pub(super) missing: usize,
    /// How many may be missing at once, where each stops before its successor starts; and how many go on
    /// for that.
    pub(super) may_miss: Option<usize>,
    pub(super) put_off: usize,
    /// Who serves on for them, for people.
    pub(super) standing_in: Vec<String>,
    /// Those that leave only in a later wave, by its number.
    pub(super) held: BTreeMap<u32, Vec<Placed>>,
    /// Pods that stay, since what would replace them has no place.
    pub(super) stay: Vec<(PodId, Placed)>,
}

impl<'a> Placing<'a> {
    /// Places replicas that nothing restores, as many at once as the waves say.
    pub(super) fn new(case: &'a Case<'a>, wanted: &'a Workload, digest: &'a SpecDigest) -> Self {
        Self {
            case,
            wanted,
            digest,
            before: None,
            credit: BTreeMap::new(),
            unchanged: case.head.reached.get(case.name) == Some(wanted),
            blocked: Vec::new(),
            waiting: Vec::new(),
            asked: Vec::new(),
            replaced: Vec::new(),
            evicts: Vec::new(),
            homeless: Vec::new(),
            stop_first: 0,
            most_stop_first: 0,
            not_restored: 0,
            missing: 0,
            may_miss: None,
            put_off: 0,
            standing_in: Vec::new(),
            stay: Vec::new(),
            held: BTreeMap::new(),
        }
    }
}

impl Placing<'_> {
    /// Finds places for a wave. Whoever it holds gives room only in the wave in which they leave.
    pub(super) fn place(&mut self, number: u32, wave: Wave, fleet: &mut Fleet) -> Wave {
        let Wave { mut moves, share, bake, held_until } = wave;
        let left = self.held.remove(&number).unwrap_or_default();
        self.free(&left);
        // What starts first stops when the whole wave has started.
        let mut freed_after: Vec<Placed> = Vec::new();
        self.stop_first = 0;
        let mut stopped = 0;
        moves.retain_mut(|one| {
            if self.is_put_off(one, &mut stopped) {
                self.stay.append(&mut one.out);
                self.put_off += 1;
                return false;
            }
            if self.stands_in(one) {
                self.stay.append(&mut one.out);
                return false;
            }
            let yielding = one.out.iter().find_map(|(id, _)| self.case.yielding.get(id));
            // Whoever yields is not counted any more, in nothing.
            let counted = |(id, _): &&(PodId, Placed)| !self.case.yielding.contains_key(id);
            let out: Vec<Placed> =
                one.out.iter().filter(counted).map(|(_, placed)| placed.clone()).collect();
            // A replica does not keep its own successor from anywhere: for spread and the like
            // they are one, even while both run.
            self.replaced.extend(out.iter().cloned());
            for placed in &out {
                fleet.uncount(&placed.node, self.case.name, &placed.requests);
            }
            if !one.start_first {
                self.free(&out);
            }
            if !one.create || self.find(one, &out, fleet, yielding.is_some()) {
                self.restore(one, fleet);
                if one.start_first {
                    freed_after.extend(out);
                }
                return true;
            }
            if let Some(other) = yielding {
                one.create = false;
                one.start_first = false;
                one.why = format!("yields to {other}");
                let leaves = one.out.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
                let leaves = leaves.join(" ");
                self.homeless.push(format!("{leaves} yields to {other}, and has no other place"));
                return true;
            }
            if !one.out.iter().any(|(id, _)| self.serves(id)) {
                self.missing += 1;
            }
            self.stay.append(&mut one.out);
            for placed in &out {
                fleet.recount(&placed.node, self.case.name, &placed.requests);
                if !one.start_first {
                    self.uncredit(&placed.node, &placed.requests);
                }
            }
            false
        });
        match held_until {
            None => self.free(&freed_after),
            Some(until) => self.held.entry(until).or_default().append(&mut freed_after),
        }
        self.most_stop_first = self.most_stop_first.max(self.stop_first);
        Wave { moves, share, bake, held_until }
    }

    /// Says whether a replica is not replaced now, since it would stop first, and as many are missing as
    /// may be.
    fn is_put_off(&self, one: &Move, stopped: &mut usize) -> bool {
        let stops = one.create && !one.start_first && one.out.iter().any(|(id, _)| self.serves(id));
        let Some(may_miss) = self.may_miss.filter(|_| stops) else { return false };
        *stopped += 1;
        self.missing + *stopped > may_miss
    }

    fn serves(&self, id: &PodId) -> bool {
        self.case.world.pods.get(id).is_some_and(Here::may_serve)
    }

    /// Says whether one that is too many serves on for one that has no place. What runs on every node
    /// stands in for nobody elsewhere.
    fn stands_in(&mut self, one: &Move) -> bool {
        let surplus = one.into.is_none() && !one.create && one.ordinal >= self.wanted.replicas;
        if self.standing_in.len() >= self.missing || !surplus || self.wanted.placement.every_node {
            return false;
        }
        let Some((id, _)) = one.out.iter().find(|(id, _)| self.serves(id)) else { return false };
        let words = "serves on until those that should stay have a place";
        self.standing_in.push(format!("{id} is one too many, and {words}"));
        true
    }

    /// Finds a place. A replica that takes a port of its node cannot run beside its successor there:
    /// it gets one on another node, or else it stops first, and then there is one fewer meanwhile.
    /// One that mounts a volume always stops first: data has one writer.
    fn find(&mut self, one: &mut Move, out: &[Placed], fleet: &mut Fleet, may_wait: bool) -> bool {
        if let Some(id) = volume::barred(self.wanted, one.ordinal, &self.case.world.volumes) {
            let (name, ordinal) = (self.case.name, one.ordinal);
            let name = change::resource(name, Some(self.wanted));
            let words = format!("{name} replica {ordinal} waits for its volume {id}");
            self.waiting.push(words);
            return false;
        }
        if let Some(mount) = self.wanted.template.mounts.values().next()
            && one.start_first
            && !out.is_empty()
        {
            let why = format!("volume {} has one user", mount.id(one.ordinal));
            return self.stop_first(one, out, fleet, may_wait, &why);
        }
        let holds = |placed: &Placed| {
            self.wanted.template.publish.keys().find(|port| placed.requests.ports.contains(port))
        };
        let Some(held) = out.iter().find_map(holds).filter(|_| one.start_first) else {
            return self.choose(one, fleet, may_wait);
        };
        let asks = asks(self.case, self.wanted, one.ordinal, fleet);
        if fleet.has_place(&ask(self.case, self.wanted, &self.credit, one, &asks)) {
            return self.choose(one, fleet, may_wait);
        }
        let why = format!("port {held} has one holder");
        self.stop_first(one, out, fleet, may_wait, &why)
    }

    /// Places a replica that stops before its successor starts, though the rollout would have it
    /// the other way round.
    fn stop_first(
        &mut self,
        one: &mut Move,
        out: &[Placed],
        fleet: &mut Fleet,
        may_wait: bool,
        why: &str,
    ) -> bool {
        one.start_first = false;
        self.free(out);
        if self.choose(one, fleet, may_wait) {
            one.why = format!("{}; stops first: {why}", one.why);
            self.stop_first += 1;
            return true;
        }
        one.start_first = true;
        for placed in out {
            self.uncredit(&placed.node, &placed.requests);
        }
        false
    }

    /// Lets later waves have room that somebody leaves.
    pub(super) fn free(&mut self, out: &[Placed]) {
        for placed in out {
            self.credit.entry(placed.node.clone()).or_default().add(&placed.requests);
        }
    }

    /// Takes from a node's credit. A node without any is forgotten, since each that has one is
    /// looked at for every replica.
    fn uncredit(&mut self, node: &NodeName, requests: &Requests) {
        if let Some(credit) = self.credit.get_mut(node) {
            credit.sub(requests);
            if credit.is_nothing() {
                self.credit.remove(node);
            }
        }
    }

    fn choose(&mut self, one: &mut Move, fleet: &mut Fleet, may_wait: bool) -> bool {
        let asks = asks(self.case, self.wanted, one.ordinal, fleet);
        let requests = &asks.requests;
        let ask = ask(self.case, self.wanted, &self.credit, one, &asks);
        self.asked.push((one.ordinal, ask.stay.cloned()));
        let mut chosen = fleet.choose(&ask);
        let mut yielded = String::new();
        if chosen.is_err()
            && let Some(gone) = fleet.make_room(&ask)
        {
            let names: BTreeSet<_> = gone.iter().map(|(_, name)| name.to_string()).collect();
            let names: Vec<_> = names.into_iter().collect();
            yielded = format!("{} makes room, ", names.join(" and "));
            self.evicts.extend(gone);
            chosen = fleet.choose(&ask);
        }
        match chosen {
            Ok(place) => {
                let mut left = requests.clone();
                if let Some(credit) = self.credit.get(&place.node) {
                    left.sub(credit);
                }
                self.uncredit(&place.node, requests);
                fleet.promise(&place.node, self.case.name, &left, place.addresses.0);
                for mount in self.wanted.template.mounts.values() {
                    fleet.house(&mount.id(one.ordinal), &place.node, true);
                }
                let id = self.next_id(one.ordinal);
                one.why = yielded + &place.why;
                one.into = Some((
                    place.node,
                    pod_spec(self.case, id, (&self.wanted.template, self.digest), place.addresses),
                ));
                true
            }
            Err(_) if may_wait => false,
            Err(nodes) => {
                let mends = mend::mends(fleet, &ask, 1);
                let mend = match mends.first() {
                    Some(mend) => mend.to_string(),
                    None => "no single change was found that would help".to_owned(),
                };
                // Nobody asked for this now: room went to somebody else, or a node left. It waits,
                // and the rest goes on.
                if self.unchanged && one.out.is_empty() {
                    let (name, ordinal) = (self.case.name, one.ordinal);
                    let name = change::resource(name, Some(self.wanted));
                    self.waiting.push(format!(
                        "{name} replica {ordinal} waits for room: no node takes it; {mend}"
                    ));
                    return false;
                }
                self.blocked.push(Blocked::NoRoom {
                    workload: self.case.name.clone(),
                    ordinal: one.ordinal,
                    nodes,
                    mend,
                });
                false
            }
        }
    }

    /// Fixes, now, the pod that would stand in if the release is turned down.
    fn restore(&mut self, one: &mut Move, fleet: &mut Fleet) {
        let (Some((before, digest)), Some((_, into))) = (&self.before, &one.into) else { return };
        let Some((_, out)) = one.out.iter().max_by_key(|(id, _)| id.generation) else { return };
        // Where its data is, or not at all: the next plan brings it to its data then.
        let is_here = |mount: &Mount| {
            let home = self.case.world.volumes.get(&mount.id(one.ordinal));
            home.is_some_and(|home| home.is_sure() && home.node() == Some(&out.node))
        };
        if !before.template.mounts.values().all(is_here) {
            self.not_restored += 1;
            return;
        }
        // The address is new, so that no connection of the old pod's can reach the wrong one.
        let Some(addresses) = fleet.slot(&out.node).and_then(Slot::next_addresses) else {
            return;
        };
        fleet.take(&out.node, addresses.0);
        let next = self.next_id(one.ordinal).generation;
        let id = PodId { generation: next.max(into.id.generation + 1), ..into.id.clone() };
        let pod = pod_spec(self.case, id, (&before.template, digest), addresses);
        one.restore = Some((out.node.clone(), pod));
    }

    /// The next generation: above everything seen, assumed, or ever planned.
    fn next_id(&self, ordinal: u32) -> PodId {
        let mut id = PodId { workload: self.case.name.slug(), ordinal, generation: 0 };
        let head = self.case.head;
        let planned = head.generations.get(&id.replica()).copied().unwrap_or(0);
        let planned = planned.max(head.least_generation);
        let seen = self.case.world.of_replica(self.case.name, ordinal);
        id.generation = seen.map(|i| i.generation).fold(planned, u64::max) + 1;
        id
    }
}

fn asks(case: &Case<'_>, wanted: &Workload, ordinal: u32, fleet: &Fleet) -> Asks {
    volume::asks(wanted, ordinal, case.volumes, fleet)
}

/// What a move's new pod asks for.
fn ask<'a>(
    case: &'a Case<'_>,
    wanted: &'a Workload,
    credit: &'a BTreeMap<NodeName, Requests>,
    one: &'a Move,
    asks: &'a Asks,
) -> Ask<'a> {
    let stay = one.out.iter().map(|(id, placed)| (id.generation, &placed.node)).max();
    Ask {
        workload: case.name,
        requests: &asks.requests,
        volumes_bytes: asks.volumes_bytes,
        placement: asks.tied.as_ref().unwrap_or(&wanted.placement),
        image: Some(&wanted.template.image),
        stay: stay.map(|(_, node)| node),
        credit,
    }
}

pub(super) fn pod_spec(
    case: &Case<'_>,
    id: PodId,
    (template, digest): (&PodTemplate, &SpecDigest),
    (ip4, ip6): (Ipv4Addr, Ipv6Addr),
) -> Arc<PodSpec> {
    let PodTemplate {
        image,
        source: _,
        command,
        args,
        env,
        files,
        resources: _,
        overhead: _,
        limits: _,
        publish,
        mounts,
        settings,
        scratch,
        companions,
        liveness,
        ends,
        cron,
        grace_ms,
    } = template;
    let ordinal = id.ordinal;
    let (cpu_millis, memory_bytes) = (template.cpu_limit(), template.memory_limit());
    let limits = Requests { cpu_millis, memory_bytes, ..Requests::default() };
    Arc::new(PodSpec {
        id,
        tenant: case.tenant.clone(),
        workload: case.name.clone(),
        digest: digest.clone(),
        image: image.clone(),
        command: command.clone(),
        args: args.clone(),
        env: env.clone(),
        files: files.clone(),
        cpu_millis,
        memory_bytes,
        asks: Some(template.asks()).filter(|asks| *asks != limits).map(Box::new),
        publish: publish.clone(),
        mounts: mounts.iter().map(|(path, mount)| (path.clone(), mount.id(ordinal))).collect(),
        ip4,
        ip6,
        settings: settings.clone(),
        scratch: scratch.clone(),
        companions: companions.clone(),
        liveness: liveness.clone(),
        ends: *ends,
        cron: cron.clone(),
        grace_ms: *grace_ms,
        revision: case.revision,
    })
}

pub(super) fn spec_of(
    case: &Case<'_>,
    id: &PodId,
    placed: &Placed,
    template: (&PodTemplate, &SpecDigest),
) -> Arc<PodSpec> {
    pod_spec(case, id.clone(), template, (placed.ip4, placed.ip6))
}
