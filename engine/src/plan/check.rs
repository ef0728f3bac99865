//! The independent checker: rejects a plan that breaks a promise, whoever made it.
//!
//! It shares no code with placement, rollout or the step builder. It plays the steps over a small
//! model of the nodes ([`play`]), in every order that they leave open ([`ancestry`]); undos are
//! played from the moment at which each wave's gate can fail. Then it counts what each node is
//! promised ([`capacity`]), and holds each new pod against its constraints ([`place`]). What it
//! takes is proportional to the plan.

mod ancestry;
mod capacity;
mod census;
mod crons;
mod files;
mod images;
mod jobs;
mod overrides;
mod place;
mod play;
mod shares;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use self::ancestry::Ancestry;
use self::play::Model;
use super::action::{Action, Endpoint, PodSpec};
use super::body::{Placed, PlanBody, Step, Work};
use super::content::pods_made;
use super::graph::{Graph, OnUnreachable};
use super::ledger::Head;
use super::moved;
use super::names::{ContentDigest, ImageDigest, NodeName, PodId, VolumeId, WorkloadName};
use super::observation::{NodeView, Observation};
use super::overrides::{Override, Standing};
use super::undo::undo_steps;

/// A promise that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Steps are not numbered in order, or wait for a later one.
    #[error("step {0} is out of order")]
    Order(u32),
    /// A step is on a node that is not part of the fleet, or did not answer.
    #[error("step {step} touches {node}, which did not answer")]
    UnknownNode {
        /// Which step.
        step: u32,
        /// Which node.
        node: NodeName,
    },
    /// A pod would be made where an image that it needs is not.
    #[error("{pod} would be made on {node}, which has not image {}", image.short())]
    ImageMissing {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
        /// Which image.
        image: ImageDigest,
    },
    /// A pod would be made with a file that the plan does not have.
    #[error("{pod} would be made with a file whose content, {}, is not in the plan", content.short())]
    ContentMissing {
        /// Which pod.
        pod: PodId,
        /// What is not there.
        content: ContentDigest,
    },
    /// A pod would take traffic before its gate.
    #[error("{pod} would take traffic on {node} before its gate")]
    TrafficBeforeGate {
        /// Which pod.
        pod: PodId,
        /// On which node's table.
        node: NodeName,
    },
    /// A new release would take more traffic than its wave says, or than its rollout says at all.
    #[error(
        "{workload} would send {share} of its traffic to a release that may have {most}, in hundredths of a percent"
    )]
    MoreThanItsWeight {
        /// Which workload.
        workload: WorkloadName,
        /// What it would get.
        share: u32,
        /// What it may get.
        most: u32,
    },
    /// A pod would take traffic before a program in it was asked.
    #[error("{pod} would take traffic before its checks")]
    TrafficBeforeChecks {
        /// Which pod.
        pod: PodId,
    },
    /// A rollout would go on before what is watched has been.
    #[error("{workload} would go on at step {step} before it was watched")]
    NotWatched {
        /// Which workload.
        workload: WorkloadName,
        /// At which step.
        step: u32,
    },
    /// A pod would be stopped while a table still leads to it.
    #[error("{pod} would stop while {node} still sends it traffic")]
    StopWhileServing {
        /// Which pod.
        pod: PodId,
        /// On which node's table.
        node: NodeName,
    },
    /// A pod would be stopped without its connections being waited for.
    #[error("{pod} would stop without being drained")]
    NotDrained {
        /// Which pod.
        pod: PodId,
    },
    /// Fewer replicas than promised would serve.
    #[error("{workload} would have {serving} of {floor} replicas on {node} at step {step}")]
    BelowFloor {
        /// Which workload.
        workload: WorkloadName,
        /// On which node's table.
        node: NodeName,
        /// How many would serve.
        serving: usize,
        /// How many are promised.
        floor: u32,
        /// At which step.
        step: u32,
    },
    /// A generation is not new.
    #[error("{pod} is not a new generation: {known} is known")]
    OldGeneration {
        /// Which pod.
        pod: PodId,
        /// The highest generation known.
        known: u64,
    },
    /// A replica would be made while another pod of it may run on a node that does not answer, and nobody
    /// has said that this may be.
    #[error("{pod} would be made while {other} may run on {node}, which does not answer")]
    Doubled {
        /// Which pod.
        pod: PodId,
        /// The other one.
        other: PodId,
        /// On which node.
        node: NodeName,
    },
    /// A job would run again that is done, and nobody has asked for it.
    #[error("{pod} would run again, and is done")]
    RunsAgain {
        /// Which pod.
        pod: PodId,
    },
    /// A pod of a new release would be made before a job is done that it is after.
    #[error("{pod} would be made before {job} is done")]
    BeforeJob {
        /// Which pod.
        pod: PodId,
        /// Which job.
        job: WorkloadName,
    },
    /// An address is in use.
    #[error("{pod} would take {address}, which is in use")]
    AddressInUse {
        /// Which pod.
        pod: PodId,
        /// Which address.
        address: Ipv4Addr,
    },
    /// A pod would be removed that is not ours, or not there.
    #[error("{pod} on {node} is not ours to remove")]
    NotOurs {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
    },
    /// A node would be promised more than it has.
    #[error("{pod} does not fit on {node}")]
    Overcommitted {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
    },
    /// A pod would be where a constraint does not let it.
    #[error("{pod} may not be on {node}: {why}")]
    Misplaced {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
        /// Which constraint.
        why: String,
    },
    /// The environment would ask for more than its quota.
    #[error("the quota of {name} would be exceeded")]
    OverQuota {
        /// Of what.
        name: String,
    },
    /// A volume would be made that is, or was, somewhere already.
    #[error("{volume} would be made on {node}, and there is one already, or was")]
    VolumeMadeAgain {
        /// Which volume.
        volume: VolumeId,
        /// On which node.
        node: NodeName,
    },
    /// A pod would mount a volume that is not on its node.
    #[error("{pod} would mount {volume}, which is not on {node} then")]
    VolumeMissing {
        /// Which pod.
        pod: PodId,
        /// Which volume.
        volume: VolumeId,
        /// On which node.
        node: NodeName,
    },
    /// Two pods of one replica would have its volumes at the same time.
    #[error("{pod} would mount its volumes while {other} may have them")]
    VolumeShared {
        /// Which pod.
        pod: PodId,
        /// The other one.
        other: PodId,
    },
    /// A volume would be removed that somebody needs, or that is to stay.
    #[error("{volume} on {node} is not to be removed")]
    VolumeTaken {
        /// Which volume.
        volume: VolumeId,
        /// On which node.
        node: NodeName,
    },
    /// A new volume has no room.
    #[error("{volume} does not fit on {node}")]
    VolumeTooLarge {
        /// Which volume.
        volume: VolumeId,
        /// On which node.
        node: NodeName,
    },
    /// An override counts, and the plan does not say so; or it says one that does not.
    #[error("the plan does not say the overrides that count")]
    Unsaid,
    /// A node takes a replica that an override closes.
    #[error("{pod} would come to {node}, which an override closes")]
    Closed {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
    },
    /// A paused workload would get another release.
    #[error("{pod} is of another release than {workload} has, which is paused")]
    Unpaused {
        /// Which pod.
        pod: PodId,
        /// Of which workload.
        workload: WorkloadName,
    },
    /// There would be another number of replicas than an override says.
    #[error("{pod} is more than the override of {workload} allows")]
    Unscaled {
        /// Which pod.
        pod: PodId,
        /// Of which workload.
        workload: WorkloadName,
    },
    /// A pod would be made with a secret that was revoked.
    #[error("{pod} would be made with a secret that was revoked")]
    Revived {
        /// Which pod.
        pod: PodId,
    },
    /// A cron would be taken away in the midst of a run.
    #[error("{pod} runs just now, and would be cut short")]
    CutShort {
        /// Which pod.
        pod: PodId,
    },
    /// What is protected goes.
    #[error("{0} is protected and would be removed")]
    Unprotected(String),
    /// A node would be switched off that is not to be.
    #[error("{node} would be switched off, and is not to be")]
    Fenced {
        /// Which.
        node: NodeName,
    },
    /// Something would be given a name that the text does not give it.
    #[error("step {0} would rename what the text does not")]
    Renames(u32),
    /// A volume would begin empty whose data is in the folder of its name before.
    #[error("{volume} would begin empty, and its data is in {folder}")]
    BeginsEmpty {
        /// Which folder would be made.
        volume: VolumeId,
        /// Where its data is.
        folder: VolumeId,
    },
    /// A converging plan takes a node's network away.
    #[error("step {0} would take away what a node needs")]
    Dismantles(u32),
}

/// Judges a plan against what it was made from. Empty if it keeps every promise.
pub fn check(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    head: &Head,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    renames(body, graph, observation, head, &mut violations);
    let view = moved::view(graph, observation, head, body.goal);
    let (graph, observation, head) = (&*view.graph, &*view.observation, &*view.head);
    overrides::overrides(body, graph, head, &mut violations);
    let graph = &super::overrides::in_force(graph, &head.overrides, body.now_ms);
    let start = Model::of(body, graph, observation, head);
    order(&body.steps, observation, &mut violations);
    let ancestry = Ancestry::of(&body.steps);
    play::play(body, &start, &body.steps, &ancestry, &mut violations);
    protected(body, observation, head, &mut violations);
    generations(body, observation, head, &mut violations);
    doubled(body, graph, observation, head, &mut violations);
    fences(body, graph, observation, head, &mut violations);
    addresses(body, observation, head, &mut violations);
    capacity::capacity(body, graph, observation, &ancestry, &mut violations);
    place::placement(body, graph, observation, &ancestry, &mut violations);
    images::images(body, observation, &mut violations);
    files::files(body, &mut violations);
    files::revoked(body, graph, head, &mut violations);
    crons::crons(body, graph, observation, &mut violations);
    jobs::jobs(body, graph, (observation, head), &ancestry, &mut violations);
    volumes::volumes(body, graph, (observation, head), &ancestry, &mut violations);
    let mut steps: BTreeMap<&WorkloadName, Vec<&Step>> = BTreeMap::new();
    for step in &body.steps {
        if let Some(branch) = &step.branch {
            steps.entry(branch).or_default().push(step);
        }
    }
    let standing = shares::standing(observation);
    for (workload, branch) in &body.branches {
        let steps = steps.get(workload).map(Vec::as_slice).unwrap_or_default();
        let stands = standing.get(workload).copied().unwrap_or(0);
        shares::shares((workload, branch), steps, (&ancestry, stands), &mut violations);
        if !branch.undo {
            continue;
        }
        let about = start.about(workload);
        for wave in 0..branch.waves.len() {
            let wave = u32::try_from(wave).unwrap_or(u32::MAX);
            // Only a gate can fail.
            if !steps.iter().any(|step| step.wave == Some(wave) && play::is_gate(&step.work)) {
                continue;
            }
            let undo = undo_steps(body, workload, wave, body.next_step());
            shares::shares_of_undo((workload, branch), wave, &undo, &mut violations);
            let model = about.clone().when_gate_fails(steps, wave);
            play::play(body, &model, &undo, &Ancestry::of(&undo), &mut violations);
        }
    }
    violations
}

/// Judges that a name is given only to what the text, or the ledger, says had another one before, and that
/// no renamed volume begins anew.
fn renames(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let said = |old: &WorkloadName, new: &WorkloadName| {
        graph.moved.workloads.get(new) == Some(old) && !graph.workloads.contains_key(old)
    };
    let there = head.may_be_there();
    let may_pod = |pod: &PodId, old: &WorkloadName, new: &WorkloadName| match there.get(pod) {
        Some(Placed { workload: known, .. }) => known == new || said(known, new),
        None => said(old, new) || head.moved.contains_key(old),
    };
    let base = u32::from(graph.pools.endpoints4.network());
    let may_endpoint = |table: &Endpoint, new: &WorkloadName| {
        let index = u32::from(table.address4).checked_sub(base);
        let has = |name: &WorkloadName| head.claims.endpoints.get(name).copied() == index;
        let claims = head.claims.endpoints.keys().filter(|name| has(name));
        let backends = table.backends.iter().filter_map(|backend| there.get(&backend.pod));
        let mut known = backends.map(|placed| &placed.workload).chain(claims);
        let fits = |known: &WorkloadName| known == new || said(known, new);
        known.any(fits) || said(&table.workload, new) || head.moved.contains_key(&table.workload)
    };
    let folders = || {
        let seen = observation.nodes.keys().filter_map(|name| observation.seen(name));
        seen.flat_map(|seen| seen.spec.volumes.keys())
    };
    for step in &body.steps {
        let spec = observation.seen(&step.node).map(|seen| &seen.spec);
        let fits = match &step.work {
            Work::Act(Action::RenamePod { tenant: _, pod, workload }) => {
                let seen = spec.and_then(|spec| spec.pods.get(pod));
                seen.is_some_and(|seen| may_pod(pod, &seen.workload, workload))
            }
            Work::Act(Action::RenameEndpoint { tenant: _, endpoint, workload }) => {
                let seen = spec.and_then(|spec| spec.endpoints.get(&endpoint.workload));
                seen == Some(&**endpoint) && may_endpoint(endpoint, workload)
            }
            Work::Act(Action::EnsureVolume { tenant: _, volume, spec: _ }) => {
                let replica = volume.replica().map(|(_, ordinal)| ordinal);
                let there = spec.is_some_and(|spec| spec.volumes.contains_key(volume));
                let olds = graph.moved.volumes.iter().filter(|(new, _)| new.id(replica) == *volume);
                let folder = olds
                    .map(|(_, old)| old.id(replica))
                    .find(|old| !there && folders().any(|folder| folder == old));
                if let Some(folder) = folder {
                    violations.push(Violation::BeginsEmpty { volume: volume.clone(), folder });
                }
                true
            }
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => true,
        };
        if !fits {
            violations.push(Violation::Renames(step.id.0));
        }
    }
}

/// Judges that nothing goes which was protected when it was last applied.
fn protected(
    body: &PlanBody,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    for (name, reached) in head.reached.iter().filter(|(_, reached)| reached.protect) {
        if body.reaches.get(name).is_some_and(Option::is_none)
            || reached.replicas > 0
                && body.branches.get(name).is_some_and(|branch| branch.release.is_none())
        {
            violations.push(Violation::Unprotected(format!("service/{name}")));
        }
    }
    for step in &body.steps {
        let Work::Act(Action::RemoveVolume { volume, .. }) = &step.work else { continue };
        let noted = observation.seen(&step.node).and_then(|seen| seen.spec.volumes.get(volume));
        if noted.is_some_and(|noted| noted.protect) {
            violations.push(Violation::Unprotected(format!("volume/{volume}")));
        }
    }
}

/// Judges that steps are numbered in order, wait for earlier ones, and are on nodes that answered.
fn order(steps: &[Step], observation: &Observation, violations: &mut Vec<Violation>) {
    for (index, step) in steps.iter().enumerate() {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let waits_ahead = step.after.last().is_some_and(|id| id.0 >= number);
        if step.id.0 != number || waits_ahead {
            violations.push(Violation::Order(number));
        }
        let is_fence = matches!(step.work, Work::Fence { .. });
        if observation.seen(&step.node).is_none() && !is_fence {
            let node = step.node.clone();
            violations.push(Violation::UnknownNode { step: number, node });
        }
    }
}

fn generations(
    body: &PlanBody,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let mut highest = head.generations.clone();
    let seen = observation.nodes.keys().filter_map(|name| observation.seen(name));
    let pods = seen.flat_map(|seen| seen.spec.pods.keys()).chain(head.placed.keys());
    for pod in pods {
        let known = highest.entry(pod.replica()).or_default();
        *known = (*known).max(pod.generation);
    }
    for (_, pod) in body.created() {
        let known = highest.entry(pod.id.replica()).or_default();
        *known = (*known).max(head.least_generation);
        if pod.id.generation <= *known {
            violations.push(Violation::OldGeneration { pod: pod.id.clone(), known: *known });
        }
        *known = (*known).max(pod.id.generation);
    }
}

/// Judges that only nodes are switched off that are silent, for as long as the text says for something that was there, by
/// the program that the text names; and none where it may be this machine that is cut off.
fn fences(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    for node in body.unfenced.iter().filter(|node| observation.seen(node).is_none()) {
        violations.push(Violation::Fenced { node: node.clone() });
    }
    let is_silent = |node: &NodeName| {
        let view = observation.nodes.get(node);
        matches!(view, Some(NodeView::Unknown { silent: true, why: _ }))
    };
    let is_off = |node: &NodeName| {
        let counts = |one: &&Standing| one.until_ms.is_none_or(|end| body.now_ms < end);
        let mut counting = head.overrides.iter().filter(counts);
        counting.any(|one| matches!(&one.what, Override::Fenced { node: off, .. } if off == node))
    };
    let on = || observation.nodes.keys().filter(|node| !is_off(node));
    let cut_off = on().filter(|node| is_silent(node)).count() * 2 >= on().count();
    let there = head.may_be_there();
    for step in &body.steps {
        let Work::Fence { command, since_ms } = &step.work else { continue };
        let named = graph.nodes.get(&step.node).is_some_and(|node| node.fence == *command);
        let since = head.silent.get(&step.node).copied().unwrap_or(body.now_ms);
        let due = there.values().filter(|placed| placed.node == step.node).any(|placed| {
            let text = graph.workloads.get(&placed.workload);
            let text = text.or(head.reached.get(&placed.workload));
            match text.map(|text| text.on_unreachable) {
                Some(OnUnreachable::FenceAfter { ms }) => body.now_ms.saturating_sub(since) >= ms,
                Some(OnUnreachable::ReplaceAfter { .. } | OnUnreachable::Wait) | None => false,
            }
        });
        if !named || !due || since != *since_ms || cut_off || !is_silent(&step.node) {
            violations.push(Violation::Fenced { node: step.node.clone() });
        }
    }
}

/// Judges that no replica is made which may be there already, on a node of the text that does not answer:
/// unless a person says that it is switched off, or the text says that both may run for a while.
fn doubled(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let mut unseen: BTreeMap<(&WorkloadName, u32), Vec<(&PodId, &Placed)>> = BTreeMap::new();
    // A job's pod that has run to its end is none that may run.
    let has_ended = |id: &PodId, placed: &Placed| placed.ends && head.proven.contains(id);
    for (id, placed) in head.may_be_there() {
        if graph.nodes.contains_key(&placed.node)
            && observation.seen(&placed.node).is_none()
            && !has_ended(id, placed)
        {
            unseen.entry((&placed.workload, id.ordinal)).or_default().push((id, placed));
        }
    }
    let fences: Vec<&Step> =
        body.steps.iter().filter(|step| matches!(step.work, Work::Fence { .. })).collect();
    let is_off = |node: &NodeName| {
        let counts = |one: &&Standing| one.until_ms.is_none_or(|end| body.now_ms < end);
        let mut counting = head.overrides.iter().filter(counts);
        counting.any(|one| matches!(&one.what, Override::Fenced { node: off, .. } if off == node))
    };
    let may_run_twice = |pod: &PodSpec, node: &NodeName| {
        // What is paused stays as it was, in the text or not.
        let text = graph.workloads.get(&pod.workload).or(head.reached.get(&pod.workload));
        let Some(OnUnreachable::ReplaceAfter { ms }) = text.map(|text| text.on_unreachable) else {
            return false;
        };
        let is_silent =
            |view: &NodeView| matches!(view, NodeView::Unknown { silent: true, why: _ });
        let nothing_there = observation.nodes.get(node).is_some_and(is_silent);
        let on = || observation.nodes.iter().filter(|(node, _)| !is_off(node));
        let silent = on().filter(|(_, view)| is_silent(view)).count();
        let since = head.silent.get(node).copied().unwrap_or(body.now_ms);
        let noted = body.silent.as_ref().unwrap_or(&head.silent);
        nothing_there
            && silent * 2 < on().count()
            && noted.get(node) == Some(&since)
            && body.now_ms.saturating_sub(since) >= ms
    };
    let coming = body.steps.iter().filter_map(|step| match &step.work {
        Work::Act(Action::EnsurePod { pod }) => Some((step, pod)),
        Work::Act(_)
        | Work::AwaitReady { .. }
        | Work::AwaitDrained { .. }
        | Work::Ask(_)
        | Work::Fence { .. } => None,
    });
    for (step, pod) in coming {
        for (other, placed) in unseen.get(&(&pod.workload, pod.id.ordinal)).into_iter().flatten() {
            let alone = !pod.mounts.is_empty();
            // What a node itself needs is no ancestor, so the pod has to wait for it by name.
            let waits = |fence: &Step| {
                step.after.runs().iter().any(|run| (run.first..=run.last).contains(&fence.id))
            };
            let goes_off = fences.iter().any(|fence| fence.node == placed.node && waits(fence));
            if goes_off && !alone {
                continue;
            }
            if alone || !is_off(&placed.node) && !may_run_twice(pod, &placed.node) {
                let (pod, other) = (pod.id.clone(), (*other).clone());
                violations.push(Violation::Doubled { pod, other, node: placed.node.clone() });
            }
        }
    }
}

fn addresses(
    body: &PlanBody,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let seen = observation.nodes.keys().filter_map(|name| observation.seen(name));
    let mut used: BTreeSet<Ipv4Addr> = seen
        .flat_map(|seen| {
            seen.spec.pods.values().map(|pod| pod.ip4).chain(seen.spec.claimed.iter().copied())
        })
        .collect();
    let unseen = head.may_be_there().into_values();
    let unseen = unseen.filter(|placed| observation.seen(&placed.node).is_none());
    used.extend(unseen.map(|placed| placed.ip4));
    for (_, pod) in pods_made(body) {
        if !used.insert(pod.ip4) {
            let (pod, address) = (pod.id.clone(), pod.ip4);
            violations.push(Violation::AddressInUse { pod, address });
        }
    }
}
