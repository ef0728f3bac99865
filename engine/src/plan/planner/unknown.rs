//! What the nodes themselves say against planning on them, and what is made of those that say nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::Inputs;
use crate::plan::action::PodSpec;
use crate::plan::body::{Blocked, Goal, PlanBody};
use crate::plan::change;
use crate::plan::content::{AtRest, pods_made};
use crate::plan::graph::{Intake, Workload};
use crate::plan::ledger::NodeAddresses;
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::{NodeView, Observation};
use crate::plan::overrides::Override;
use crate::plan::secret;
use crate::plan::unreachable::{self, GivenUp};
use crate::plan::world::World;

/// What the nodes themselves say against planning on them.
pub(super) fn note_nodes(inputs: &Inputs<'_>, told: &Observation, body: &mut PlanBody) {
    for name in inputs.graph.nodes.keys() {
        match inputs.observation.nodes.get(name) {
            None => body.deferred.push(format!("{name} was not asked")),
            Some(NodeView::Unknown { why, silent: _ }) if told.seen(name).is_some() => {
                body.deferred.push(format!("{name} is not used yet: {why}"));
            }
            Some(NodeView::Unknown { why, silent: _ }) => {
                body.deferred.push(format!("{name} is not reachable: {why}"));
            }
            Some(NodeView::Seen(seen)) => {
                let facts = &seen.facts;
                let stays =
                    inputs.graph.nodes.get(name).is_some_and(|n| n.intake != Intake::Retired);
                if !facts.missing.is_empty() && inputs.goal == Goal::Converge && stays {
                    let missing = facts.missing.iter();
                    body.blocked.push(Blocked::NodeLacks {
                        node: name.clone(),
                        missing: missing.map(|m| (m.what.clone(), m.mend.clone())).collect(),
                    });
                }
                let known = body.claims.nodes.get(name);
                if let Some(known) = known.filter(|known| known.machine_id != facts.machine_id) {
                    body.blocked.push(Blocked::OtherMachine {
                        node: name.clone(),
                        known: known.machine_id.clone(),
                        found: facts.machine_id.clone(),
                    });
                    continue;
                }
                body.claims.nodes.insert(
                    name.clone(),
                    NodeAddresses {
                        machine_id: facts.machine_id.clone(),
                        address4: facts.address4,
                        address6: facts.address6,
                    },
                );
            }
        }
    }
}

/// What is said against a plan that brings secrets to nodes that cannot keep them sealed.
pub(super) fn note_secrets(inputs: &Inputs<'_>, body: &mut PlanBody) {
    let lack =
        |name: &&NodeName| inputs.observation.seen(name).is_some_and(|seen| seen.facts.cannot_seal);
    let seals = |pod: &PodSpec| pod.files().any(|file| file.at_rest == Some(AtRest::Sealed));
    let comes = pods_made(body).filter(|(_, pod)| seals(pod)).map(|(node, _)| node);
    let lacking: BTreeSet<NodeName> = comes.filter(lack).cloned().collect();
    body.blocked.extend(lacking.into_iter().map(|node| Blocked::NodeLacks {
        node,
        missing: vec![(
            "systemd-creds, to keep secrets sealed".to_owned(),
            "install systemd 250 or later, or say `at_rest: memory`".to_owned(),
        )],
    }));
}

/// What is said against a plan that would bring back a secret that was revoked.
pub(super) fn note_revoked(inputs: &Inputs<'_>, body: &mut PlanBody) {
    let revoked = secret::revoked(inputs.graph, inputs.head);
    if revoked.is_empty() {
        return;
    }
    let named = secret::needed(body);
    let comes = |(_, pod): (&NodeName, &PodSpec)| {
        let back = PodSpec::contents(pod).find(|content| revoked.contains(*content))?;
        let text = inputs.graph.workloads.get(&pod.workload);
        let secret = named.get(back).copied().unwrap_or_default().to_owned();
        Some((change::resource(&pod.workload, text), secret))
    };
    let back: BTreeSet<(String, String)> = pods_made(body).filter_map(comes).collect();
    let back = back.into_iter().map(|(resource, secret)| Blocked::Revoked { resource, secret });
    body.blocked.extend(back.collect::<Vec<_>>());
}

/// Gives up what may be given up of nodes that do not answer, and says what is known of nodes that nobody
/// can ask.
pub(super) fn give_up(
    inputs: &Inputs<'_>,
    wanted: &BTreeMap<WorkloadName, Workload>,
    world: &mut World,
    body: &mut PlanBody,
) -> Fences {
    let Inputs { graph, observation, head, goal, now_ms, .. } = *inputs;
    match goal {
        Goal::Destroy => return Fences::new(),
        Goal::Converge => {}
    }
    let mut meant = Cow::Borrowed(wanted);
    if !body.only.is_empty() {
        meant.to_mut().retain(|name, _| !body.leaves(name));
    }
    for (node, what) in unreachable::left_behind(graph, observation, head) {
        body.blocked.push(Blocked::NodeLeft { node, what });
    }
    for (node, fence) in unreachable::answering(observation, &head.overrides, now_ms) {
        if matches!(fence.what, Override::Fenced { by_plan: true, .. }) {
            body.unfenced.insert(node.clone());
            continue;
        }
        body.deferred.push(format!(
            "{node} answers, and is said to be switched off, {}; `berth unfence {node}` takes that back",
            fence.reason()
        ));
    }
    let seen = (&graph.nodes, observation, head);
    let mut found = unreachable::look(&meant, seen, world, now_ms);
    for node in &found.no_fence {
        body.deferred.push(format!(
            "{node} is silent, and the text has no `fence` for it: what is to run elsewhere waits, or `berth fence {node}` says that it is off"
        ));
    }
    if !body.only.is_empty() {
        found.silent.extend(unreachable::still_silent(observation, head));
    }
    if found.cut_off {
        let words = "half of the nodes or more are silent, so it may be this machine that is cut off: nothing is replaced";
        body.deferred.push(words.to_owned());
    }
    body.silent = (found.silent != head.silent).then(|| found.silent.clone());
    for (id, GivenUp { placed, why }) in &found.given_up {
        body.expected.insert(id.clone(), placed.clone());
        body.deferred.push(format!("{id} is given up: {why}"));
    }
    let fences = std::mem::take(&mut found.fences);
    world.give_up(found);
    fences
}

/// Nodes that the plan switches off, each with the program that does, and since when it is silent.
pub(super) type Fences = BTreeMap<NodeName, (Vec<String>, u64)>;
