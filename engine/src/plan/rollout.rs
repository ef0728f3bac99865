//! Rollout decisions: for one workload, which replicas change, in which waves, and where to.
//!
//! Level-triggered: it looks at what is there, whatever led to it, so that an apply that was
//! killed anywhere is gone on with by planning again. Per ordinal it keeps the best sound pod and
//! moves the others out; what passed its gate before (a table leads to it) is not gated again.

mod cron;
mod job;
mod pace;
mod placing;
mod waves;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub use self::job::is_done;
pub use self::pace::shares;
use self::pace::{floor, may_miss, spare, starts_first, watched};
use self::placing::{Placing, spec_of};
use self::waves::{Moves, Stage, waves, without_empty};
use super::action::{Backend, Endpoint, EndpointPort};
use super::body::{Blocked, Branch, Move, Placed, Wave};
use super::canon::{release_digest, template_digest};
use super::graph::{Node, OnFail, Port, Rollout, Strategy, Volume, Workload};
use super::ledger::Head;
use super::moment::utc;
use super::names::{ContentDigest, NodeName, PodId, SpecDigest, Tenant, VolumeName, WorkloadName};
use super::overrides::Restart;
use super::place::Fleet;
use super::unreachable::GivenUp;
use super::world::{Here, State, World};

/// What one workload's decisions are made from.
pub struct Case<'a> {
    /// Whose.
    pub tenant: &'a Tenant,
    /// Its name.
    pub name: &'a WorkloadName,
    /// What is there.
    pub world: &'a World,
    /// What the ledger remembers.
    pub head: &'a Head,
    /// The revision that is being planned.
    pub revision: u64,
    /// The nodes that hold endpoint tables.
    pub tables: &'a Arc<[NodeName]>,
    /// The endpoint's addresses, if the pools have them.
    pub addresses: Option<(Ipv4Addr, Ipv6Addr)>,
    /// The nodes, as the text says them.
    pub nodes: &'a BTreeMap<NodeName, Node>,
    /// Pods that make room for a workload of a higher priority.
    pub yielding: &'a BTreeMap<PodId, WorkloadName>,
    /// What the text says of volumes.
    pub volumes: &'a BTreeMap<VolumeName, Volume>,
    /// Secrets that may not come back.
    pub revoked: &'a BTreeSet<ContentDigest>,
    /// Another release that replicas may stay at once they have passed their gate: the workload is
    /// paused in the midst of its rollout.
    pub bears: Option<SpecDigest>,
    /// What its tables say, each once.
    pub say: Vec<&'a Endpoint>,
}

impl Case<'_> {
    /// Why a sound pod leaves its node, if it does.
    fn leaves(&self, id: &PodId, here: &Here, wanted: &Workload) -> Option<String> {
        let leaves = |why: String| format!("leaves {}: {why}", here.node());
        if let Some(other) = self.yielding.get(id) {
            return Some(leaves(format!("yields to {other}")));
        }
        let node = self.nodes.get(here.node()).filter(|_| here.is_known())?;
        let unwelcome = wanted.placement.unwelcome(here.node(), node).map(leaves);
        unwelcome.or_else(|| self.restarted(id).map(|words| format!("is restarted {words}")))
    }

    /// By whom and why a pod is replaced though nothing has changed, if it is.
    fn restarted(&self, id: &PodId) -> Option<String> {
        let Restart { who, why, up_to } = self.head.restarts.get(self.name)?;
        up_to.get(&id.replica()).filter(|up_to| id.generation <= **up_to)?;
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Some(format!("by {who}{why}"))
    }

    /// Says whether a pod may stay although it is not of the release that is wanted.
    fn bears(&self, here: &Here) -> bool {
        self.bears.as_ref().is_some_and(|other| here.is_sound(other) && (here.led || here.proven))
    }

    /// Says whether a pod stays beside another one of its ordinal: the rollout in which it takes a part
    /// of the traffic is paused.
    fn stays_beside(&self, id: &PodId, pod: &Here, digest: &SpecDigest, wanted: &Workload) -> bool {
        self.bears.is_some()
            && (pod.is_sound(digest) && pod.is_known() || self.bears(pod))
            && (pod.stood || self.say.iter().any(|table| table.split.is_some()))
            && self.leaves(id, pod, wanted).is_none()
    }

    /// The nodes that hold the tables of an endpoint that is there, or was.
    fn tables_of(&self, ports: &[Port], before: Option<&Workload>) -> Arc<[NodeName]> {
        if ports.is_empty() && before.is_none_or(|before| before.ports.is_empty()) {
            return Arc::default();
        }
        Arc::clone(self.tables)
    }

    /// The workload's endpoint, without backends; `None` without ports.
    pub fn endpoint(&self, ports: &[Port]) -> Option<Endpoint> {
        let (address4, address6) = self.addresses.filter(|_| !ports.is_empty())?;
        let port =
            |p: &Port| EndpointPort { protocol: p.protocol, port: p.port, target: p.container };
        Some(Endpoint {
            workload: self.name.clone(),
            address4,
            address6,
            ports: ports.iter().map(port).collect(),
            backends: Vec::new(),
            split: None,
        })
    }
}

/// What was decided.
#[derive(Debug, Default)]
pub struct Decision {
    /// The rollout; `None` if no replica changes.
    pub branch: Option<Branch>,
    /// Replicas that have no place.
    pub blocked: Vec<Blocked>,
    /// How many replicas wait for room that nothing in the text has changed.
    pub waiting: usize,
    /// The replicas that were to be placed, each with the node of the pod that it replaces.
    pub asked: Vec<(u32, Option<NodeName>)>,
    /// Pods that do not count beside those that replace them.
    pub replaced: Vec<Placed>,
    /// What is put off, for people.
    pub deferred: Vec<String>,
    /// Whether some replica keeps an older release after this plan, since it cannot be replaced
    /// now. The release then does not count as reached.
    pub incomplete: bool,
    /// Why replicas change that the text did not change, for people.
    pub causes: Vec<String>,
    /// Whether the tables go on saying which part of the traffic the new release gets: nobody of it can be
    /// watched now, so it gets no more.
    pub holds_share: bool,
    /// Pods of the release before that take no traffic any more, and would take it back.
    pub behind: BTreeSet<PodId>,
    /// Pods that stay.
    pub kept: BTreeMap<PodId, Placed>,
    /// Where pods of which workload have to make room.
    pub evicts: Vec<(NodeName, WorkloadName)>,
}

impl Decision {
    fn put_off(&mut self, name: &WorkloadName, replicas: usize) {
        self.incomplete = true;
        self.deferred.push(format!(
            "{replicas} replicas of {name} wait to be replaced: too few are available, and the rollout starts none first"
        ));
    }
}

/// Decides the rollout of a workload that should be there.
pub fn decide(case: &Case<'_>, wanted: &Workload, fleet: &mut Fleet) -> Decision {
    if let Some(once) = &wanted.once {
        return job::decide(case, (wanted, once), fleet);
    }
    if let Some(waits) = cron::waits(case, wanted) {
        return waits;
    }
    let digest = template_digest(&wanted.template);
    let mut decision = Decision::default();
    let mut moves = Moves::default();
    let before = case.head.reached.get(case.name);
    let release = release_digest(wanted);
    let is_new_release = before.is_none_or(|before| release_digest(before) != release);
    // Two releases run side by side only where there are two, and both may run at once.
    let beside = shares(&wanted.rollout.strategy)
        && before.is_some_and(|before| template_digest(&before.template) != digest);
    let is_new_template = before.is_none_or(|before| template_digest(&before.template) != digest);
    let is_watched = watched(&wanted.rollout, beside);
    let old = before.filter(|_| beside).map(|before| template_digest(&before.template));
    let old = old.as_ref();
    let mut fresh = BTreeSet::new();
    // New ones on nodes that did not answer: nobody there gives the traffic back.
    let mut unseen = 0;
    let by_ordinal = by_ordinal(case);
    if beside {
        moves.stage = stage(case, &digest);
        if moves.stage == Stage::Passed {
            decision.behind = behind(&by_ordinal, &digest);
        }
    }
    for (id, pod) in by_ordinal.values().flatten() {
        if case.stays_beside(id, pod, &digest, wanted) {
            decision.incomplete = true;
            decision.kept.insert((*id).clone(), pod.placed.clone());
        }
    }

    let later = |id: &PodId| {
        let at = case.world.later.get(id).map(|at| utc(*at));
        at.map(|at| format!(", and is replaced at {at} if it is silent until then"))
            .unwrap_or_default()
    };
    let ordinals = ordinals(case, wanted, &by_ordinal, &mut decision);
    for ordinal in ordinals.iter().copied() {
        let here = by_ordinal.get(&ordinal).map(Vec::as_slice).unwrap_or_default();
        let sound = |pod: &Here| pod.is_sound(&digest) || case.bears(pod);
        let keeper = keeper(here, sound, |id, pod| case.leaves(id, pod, wanted).is_none());
        let others = || {
            let others = here.iter().filter(|(id, _)| Some(*id) != keeper.map(|(id, _)| id));
            others.filter(|(id, pod)| !case.stays_beside(id, pod, &digest, wanted))
        };
        let mut out: Vec<_> = others().filter(|(_, h)| h.is_known()).copied().collect();
        // What is of neither release leaves at once, where one of them stands in for it; and so does what
        // does not run, where another runs: an undo would leave it there.
        let stands = |pod: &Here| {
            pod.state == State::Running && (!beside || Some(&pod.placed.digest) == old)
        };
        if out.iter().any(|(_, pod)| stands(pod)) {
            let is_stray = |pod: &Here| match beside {
                true => pod.placed.digest != digest && !stands(pod),
                false => pod.state == State::Dead,
            };
            let strays: Vec<_> = out.extract_if(.., |(_, pod)| is_stray(pod)).collect();
            if !strays.is_empty() {
                let why = if beside { "of a release that was given up" } else { "does not run" };
                moves.yields.push(Move::leaving(ordinal, owned(&strays), why));
            }
        }
        for (id, unknown) in others().filter(|(_, h)| !h.is_known()) {
            decision.kept.insert((*id).clone(), unknown.placed.clone());
            decision.deferred.push(format!(
                "{id} on {} is left alone: the node is not reachable",
                unknown.node()
            ));
        }
        if let Some((id, pod)) = keeper {
            decision.kept.insert(id.clone(), pod.placed.clone());
            decision.incomplete |= pod.placed.digest != digest;
            // Only what goes into a table has to have been led to by one: traffic waits for a gate.
            let gated = if wanted.ports.is_empty() { pod.proven } else { pod.led };
            if !pod.is_known() {
                unseen += u32::from(beside && pod.placed.digest == digest);
                let waits = if wanted.ports.is_empty() {
                    (!pod.proven).then_some("is not known to be ready until that node answers")
                } else {
                    let words = "takes no traffic from the other nodes until that node answers";
                    (!pod.may_serve()).then_some(words)
                };
                if !wanted.template.mounts.is_empty() {
                    let words = format!("{id} waits for {}: its data is there", pod.node());
                    decision.deferred.push(words);
                }
                // A release counts as reached only when somebody has watched it to the end: that it passed its gate once is
                // not that.
                let waits = waits.or_else(|| {
                    let words = "was not watched to the end, which waits until that node answers";
                    (is_new_template && is_watched).then_some(words)
                });
                if let Some(words) = waits {
                    decision.incomplete = true;
                    decision.deferred.push(format!("{id} on {} {words}{}", pod.node(), later(id)));
                }
                // Whoever it stands in for serves on until that is known to be there.
                for (other, there) in &out {
                    decision.incomplete = true;
                    decision.kept.insert((*other).clone(), there.placed.clone());
                    decision
                        .deferred
                        .push(format!("{other} stays until {} is reachable", pod.node()));
                }
                continue;
            }
            let begun = beside && out.iter().any(|(_, h)| h.state == State::Running);
            if is_new_template && pod.placed.digest == digest {
                fresh.insert(id.clone());
                moves.done += usize::from(gated && !begun);
            }
            if gated && out.is_empty() {
                continue;
            }
            let into = (begun || !gated).then(|| {
                let template = (&wanted.template, &digest);
                (pod.node().clone(), spec_of(case, id, &pod.placed, template))
            });
            let class = if into.is_none() {
                &mut moves.removals
            } else if begun {
                &mut moves.begun
            } else if out.iter().any(|(_, h)| h.available) {
                &mut moves.replacements
            } else {
                &mut moves.fills
            };
            let leaving = Move::leaving(ordinal, owned(&out), "is there");
            class.push(Move { into, start_first: true, ..leaving });
            continue;
        }
        if let Some((id, pod)) = here.iter().find(|(_, h)| !h.is_known()) {
            decision.incomplete = true;
            let words =
                format!("{id} cannot be replaced: {} is not reachable{}", pod.node(), later(id));
            decision.deferred.push(words);
            // Whoever stands in for it serves on.
            decision.kept.extend(owned(&out));
            continue;
        }
        if let (true, Some((id, GivenUp { placed, why }))) =
            (here.is_empty(), case.world.given_up_of(case.name, ordinal))
        {
            let node = &placed.node;
            decision.causes.push(format!("replica {ordinal}: {id} was on {node}: {why}"));
        }
        decision
            .causes
            .extend(cause(here, ordinal, &digest, |id, pod| case.leaves(id, pod, wanted)));
        // One of the new release that leaves, since it is to be restarted, serves with the others until then.
        let leaves = |(id, pod): &(&PodId, &Here)| {
            let serves = pod.placed.digest == digest && pod.may_serve();
            (is_new_template && serves).then(|| (*id).clone())
        };
        fresh.extend(out.iter().filter_map(leaves));
        let start_first = starts_first(&wanted.rollout.strategy)
            && out.iter().any(|(_, h)| h.state != State::Dead);
        let plan = Move { create: true, start_first, ..Move::leaving(ordinal, owned(&out), "") };
        if out.iter().any(|(id, _)| case.yielding.contains_key(*id)) {
            moves.yields.push(plan)
        } else if out.iter().any(|(_, h)| h.available) {
            moves.replacements.push(plan)
        } else {
            moves.fills.push(plan)
        }
    }
    surplus((case, wanted), &by_ordinal, &ordinals, &mut decision, &mut moves.removals);

    let sound = by_ordinal.values().flatten().filter(|(_, h)| h.available);
    let spare = spare(wanted, sound.count() + moves.fills.len());
    let waiting = if spare == 0 { std::mem::take(&mut moves.replacements) } else { Vec::new() };
    if !waiting.is_empty() {
        decision.put_off(case.name, waiting.len());
        decision.kept.extend(waiting.into_iter().flat_map(|one| one.out));
    }
    let stage = moves.stage;
    // An undo has nobody to give the traffic back to where what stood before never stood.
    let backs = |(id, _): &(PodId, Placed)| {
        decision.behind.contains(id) || case.world.pods.get(id).is_some_and(Here::may_serve)
    };
    let unbacked = moves.begun.iter().filter(|one| !one.out.iter().any(backs)).count();
    let unbacked = u32::try_from(unbacked).unwrap_or(0) + unseen;
    let unbacked = if stage == Stage::Passed { unbacked } else { 0 };
    let weighs = !wanted.ports.is_empty() && before.is_some_and(|before| !before.ports.is_empty());
    // Nothing is rolled out, and so watched, while that is paused.
    // Whoever is one too many of the release before has a part of the traffic until the new one was watched.
    moves.old_serves = beside
        && moves.removals.iter().flat_map(|one| &one.out).any(|(id, placed)| {
            Some(&placed.digest) == old && case.world.pods.get(id).is_some_and(Here::may_serve)
        });
    let kind = (is_new_release && case.bears.is_none(), beside, weighs);
    let waves = waves(&wanted.rollout, wanted.replicas, spare, kind, moves);
    let mut rollout = wanted.rollout.clone();
    // What has a secret that was revoked does not come back.
    if before.is_some_and(|before| before.template.contents().any(|it| case.revoked.contains(it)))
        && is_new_release
        && rollout.on_fail == OnFail::Rollback
    {
        rollout.on_fail = OnFail::Stop;
        let words = "nothing goes back if it fails: what is there has a secret that was revoked";
        decision.causes.push(words.to_owned());
    }
    let undo = is_new_release && rollout.on_fail == OnFail::Rollback;
    let mut placing = Placing {
        before: before.filter(|_| undo).map(|before| (before, template_digest(&before.template))),
        may_miss: may_miss(&wanted.rollout.strategy),
        ..Placing::new(case, wanted, &digest)
    };
    let placed = waves.into_iter().enumerate().map(|(number, wave)| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        placing.place(number, wave, fleet)
    });
    let mut waves = without_empty(placed.collect(), !fresh.is_empty());
    let goes_on = |wave: &Wave| {
        wave.share.is_some()
            || wave.bake.is_some()
            || wave.moves.iter().any(|one| one.into.is_some())
    };
    let is_weighed = beside && weighs && matches!(stage, Stage::At(_));
    decision.holds_share = is_weighed && !waves.iter().any(goes_on);
    decision.incomplete |= !placing.blocked.is_empty();
    decision.blocked = placing.blocked;
    decision.incomplete |= !placing.waiting.is_empty();
    decision.waiting = placing.waiting.len();
    decision.deferred.extend(placing.waiting);
    decision.asked = placing.asked;
    decision.replaced = placing.replaced;
    decision.evicts = placing.evicts;
    decision.kept.extend(placing.stay);
    // All traffic goes over only if nobody of the release before has to serve on.
    let serves_on = |(id, placed): (&PodId, &Placed)| {
        placed.digest != digest && case.world.pods.get(id).is_some_and(|pod| pod.serving)
    };
    if decision.kept.iter().any(serves_on) {
        waves.iter_mut().filter(|wave| wave.share == Some(10_000)).for_each(|w| w.share = None);
    }
    if placing.put_off > 0 {
        decision.put_off(case.name, placing.put_off);
    }
    let lost = u32::try_from(placing.homeless.len()).unwrap_or(u32::MAX);
    decision.incomplete |= lost > 0;
    let lost = lost
        .saturating_add(unbacked)
        .saturating_add(placing.most_stop_first)
        .saturating_add(placing.not_restored);
    decision.deferred.extend(placing.homeless);
    decision.deferred.extend(placing.standing_in);
    if !waves.is_empty() {
        let serving = by_ordinal.values().flatten().filter(|(_, h)| h.may_serve());
        let mut backends: BTreeSet<_> = serving.map(|(id, _)| (*id).clone()).collect();
        backends.extend(decision.behind.iter().cloned());
        // Until a release that is weighed may not go back any more, what stood before has to do; after
        // that, what stays.
        let counts = |id: &PodId, here: &Here| match stage {
            _ if !beside => true,
            Stage::Passed => here.placed.digest == digest || decision.kept.contains_key(id),
            Stage::Begins | Stage::At(_) => Some(&here.placed.digest) == old,
        };
        // Two of one replica count once: one of them leaves.
        let passed =
            |(id, here): &(&PodId, &Here)| here.may_serve() && here.led && counts(id, here);
        let available = by_ordinal.values().filter(|pods| pods.iter().any(passed)).count();
        let available = u32::try_from(available).unwrap_or(u32::MAX);
        let floor = floor(wanted, available).saturating_sub(lost);
        let never = |(_, here): &&(&PodId, &Here)| {
            let took_traffic = here.serving || here.proven || here.stood;
            !took_traffic && here.state != State::Assumed && Some(&here.placed.digest) != old
        };
        let never_served = by_ordinal.values().flatten().filter(never);
        let never_served = never_served.map(|(id, _)| (*id).clone()).collect();
        decision.branch = Some(Branch {
            rollout,
            health: wanted.health.clone(),
            release: Some(release),
            before: before.cloned().map(Box::new),
            floor,
            endpoint: case.endpoint(&wanted.ports),
            endpoint_before: before.and_then(|before| case.endpoint(&before.ports)),
            tables: case.tables_of(&wanted.ports, before),
            stays: stays(&by_ordinal, &waves),
            backends,
            fresh,
            never_served,
            waves,
            undo,
        });
    }
    decision
}

/// How far a rollout has come in which two releases share the traffic. The table that is furthest tells:
/// one that says less is of a node that was away.
fn stage(case: &Case<'_>, digest: &SpecDigest) -> Stage {
    let is_new =
        |id: &PodId| case.world.pods.get(id).is_some_and(|pod| &pod.placed.digest == digest);
    let leads = |table: &&&Endpoint| table.backends.iter().any(|backend| is_new(&backend.pod));
    let mut stage = Stage::Begins;
    for table in case.say.iter().filter(leads) {
        match &table.split {
            Some(split) if split.to.iter().any(is_new) => match stage {
                Stage::At(share) => stage = Stage::At(share.max(split.share)),
                Stage::Begins => stage = Stage::At(split.share),
                Stage::Passed => {}
            },
            // It is weighed as one of the old ones, by a split for another release.
            Some(_) => {}
            None => stage = Stage::Passed,
        }
    }
    stage
}

/// After the traffic went over to a new release: the replicas of the one before.
fn behind(by_ordinal: &BTreeMap<u32, Pods<'_>>, digest: &SpecDigest) -> BTreeSet<PodId> {
    let stands =
        |pod: &Here| &pod.placed.digest != digest && pod.stood && pod.state == State::Running;
    let all = by_ordinal.values().flatten().filter(|(_, pod)| stands(pod));
    all.map(|(id, _)| (*id).clone()).collect()
}

/// Which replicas there should be, in order. Of what runs on every node, that is who is on a node that
/// may keep it, and a new one for every other node that answered and takes it.
fn ordinals(
    case: &Case<'_>,
    wanted: &Workload,
    by_ordinal: &BTreeMap<u32, Pods<'_>>,
    decision: &mut Decision,
) -> Vec<u32> {
    if !wanted.placement.every_node {
        return (0..wanted.replicas).collect();
    }
    let mut homes: BTreeSet<&NodeName> = BTreeSet::new();
    let mut ordinals: BTreeSet<u32> = BTreeSet::new();
    for (ordinal, here) in by_ordinal {
        let keeps = |node: &NodeName| {
            let said = case.nodes.get(node);
            said.is_some_and(|said| wanted.placement.unwelcome(node, said).is_none())
        };
        let mut nodes = here.iter().map(|(_, pod)| pod.node()).filter(|node| keeps(node));
        if nodes.next().is_some_and(|node| homes.insert(node)) {
            ordinals.insert(*ordinal);
        }
    }
    for (name, node) in case.nodes.iter().filter(|(name, _)| !homes.contains(name)) {
        if !wanted.placement.admits(name, node) {
            continue;
        }
        if case.tables.binary_search(name).is_err() {
            decision.incomplete = true;
            let words = format!("service/{} has no replica on {name} until it answers", case.name);
            decision.deferred.push(words);
            continue;
        }
        let free =
            (0..).find(|ordinal| !ordinals.contains(ordinal) && !by_ordinal.contains_key(ordinal));
        ordinals.extend(free);
    }
    ordinals.into_iter().collect()
}

/// Takes out the replicas above the number wanted; but as many of them go on serving as there are
/// wanted ones on nodes that did not answer, since those count as absent.
fn surplus(
    (case, workload): (&Case<'_>, &Workload),
    by_ordinal: &BTreeMap<u32, Pods<'_>>,
    wanted: &[u32],
    decision: &mut Decision,
    removals: &mut Vec<Move>,
) {
    let is_wanted = |ordinal: &u32| wanted.binary_search(ordinal).is_ok();
    let unknown = by_ordinal
        .iter()
        .filter(|(ordinal, here)| is_wanted(ordinal) && here.iter().any(|(_, h)| !h.is_known()));
    let mut stand_in = unknown.count();
    for (ordinal, here) in by_ordinal.iter().filter(|(ordinal, _)| !is_wanted(ordinal)) {
        // Whoever may be there is remembered, or an apply that is killed forgets them.
        for (id, unknown) in here.iter().filter(|(_, h)| !h.is_known()) {
            decision.kept.insert((*id).clone(), unknown.placed.clone());
            decision.deferred.push(format!("{id} stays until {} is reachable", unknown.node()));
        }
        if stand_in > 0
            && let Some((id, pod)) = here.iter().find(|(_, h)| h.may_serve())
        {
            stand_in -= 1;
            decision.kept.insert((*id).clone(), pod.placed.clone());
            let words = "serves on until the replicas on unreachable nodes are seen again";
            decision.deferred.push(format!("{id} is one too many, and {words}"));
            continue;
        }
        let out: Vec<_> = here.iter().filter(|(_, h)| h.is_known()).copied().collect();
        if !out.is_empty() {
            let why = out.first().and_then(|(id, pod)| case.leaves(id, pod, workload));
            let why = why.unwrap_or_else(|| "one too many".to_owned());
            removals.push(Move { start_first: true, ..Move::leaving(*ordinal, owned(&out), why) });
        }
    }
}

/// Leaves a workload as it is.
pub fn leave(case: &Case<'_>) -> Decision {
    let pods = case.world.of_workload(case.name);
    let kept = pods.map(|(id, here)| (id.clone(), here.placed.clone())).collect();
    Decision { kept, ..Decision::default() }
}

/// Decides how a workload leaves that should not be there any more, though the text may have it.
pub fn decide_removal(case: &Case<'_>, is_in_text: bool) -> Decision {
    if let Some(stays) = cron::stays(case).filter(|_| is_in_text) {
        return stays;
    }
    let mut decision = Decision::default();
    let mut moves = Vec::new();
    let mut backends = BTreeSet::new();
    for (ordinal, here) in by_ordinal(case) {
        for (id, unknown) in here.iter().filter(|(_, h)| !h.is_known()) {
            decision.kept.insert((*id).clone(), unknown.placed.clone());
            decision.deferred.push(format!("{id} stays until {} is reachable", unknown.node()));
        }
        let out: Vec<_> = here.iter().filter(|(_, h)| h.is_known()).copied().collect();
        backends.extend(out.iter().filter(|(_, h)| h.may_serve()).map(|(id, _)| (*id).clone()));
        if !out.is_empty() {
            moves.push(Move::leaving(ordinal, owned(&out), ""));
        }
    }
    let rollout = Rollout {
        strategy: Strategy::Recreate,
        deadline_ms: 0,
        on_fail: OnFail::Stop,
        checks: Vec::new(),
        bake_ms: 0,
    };
    decision.branch = Some(Branch {
        rollout,
        health: None,
        release: None,
        before: None,
        floor: 0,
        endpoint: None,
        endpoint_before: None,
        tables: Arc::default(),
        stays: Vec::new(),
        backends,
        fresh: BTreeSet::new(),
        never_served: BTreeSet::new(),
        waves: if moves.is_empty() { Vec::new() } else { vec![Wave::of(moves)] },
        undo: false,
    });
    decision
}

/// Who serves before the rollout and after it.
fn stays(by_ordinal: &BTreeMap<u32, Pods<'_>>, waves: &[Wave]) -> Vec<Backend> {
    let moves = || waves.iter().flat_map(|wave| &wave.moves);
    let leaves: BTreeSet<&PodId> = moves().flat_map(|one| &one.out).map(|(id, _)| id).collect();
    let serving = by_ordinal.values().flatten().filter(|(_, here)| here.may_serve());
    serving
        .filter(|(id, _)| !leaves.contains(id))
        .map(|(id, here)| Backend {
            pod: (*id).clone(),
            ip4: here.placed.ip4,
            ip6: here.placed.ip6,
        })
        .collect()
}

type Pods<'a> = Vec<(&'a PodId, &'a Here)>;

fn by_ordinal<'a>(case: &Case<'a>) -> BTreeMap<u32, Pods<'a>> {
    let mut map: BTreeMap<u32, Pods<'a>> = BTreeMap::new();
    for (id, here) in case.world.of_workload(case.name) {
        map.entry(id.ordinal).or_default().push((id, here));
    }
    map
}

/// The pod to keep: sound, rather serving than not, rather the latest.
fn keeper<'a>(
    here: &[(&'a PodId, &'a Here)],
    sound: impl Fn(&Here) -> bool,
    stays: impl Fn(&PodId, &Here) -> bool,
) -> Option<(&'a PodId, &'a Here)> {
    here.iter()
        .filter(|(id, h)| sound(h) && stays(id, h))
        .max_by_key(|(id, h)| (h.led, h.proven, id.generation))
        .copied()
}

fn owned(out: &[(&PodId, &Here)]) -> Vec<(PodId, Placed)> {
    out.iter().map(|(id, here)| ((*id).clone(), here.placed.clone())).collect()
}

fn cause(
    here: &[(&PodId, &Here)],
    ordinal: u32,
    digest: &SpecDigest,
    leaves: impl Fn(&PodId, &Here) -> Option<String>,
) -> Option<String> {
    let (id, latest) = here.iter().max_by_key(|(id, _)| id.generation)?;
    if &latest.placed.digest != digest {
        return None;
    }
    let what = match latest.state {
        State::Dead | State::Done => "is not running",
        State::Altered => "was changed by hand",
        State::Running | State::Assumed => {
            let why = leaves(id, latest)?;
            return Some(format!("replica {ordinal}: {id} {why}"));
        }
    };
    Some(format!("replica {ordinal}: {id} on {} {what}", latest.node()))
}
