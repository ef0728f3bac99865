//! Volumes in a plan: what is made before its first user starts, what changes, what goes for good.

use std::collections::{BTreeMap, BTreeSet};

use super::Planning;
use crate::plan::action::Action;
use crate::plan::after::After;
use crate::plan::body::{Blocked, Change, FieldChange, Goal, StepId, Verb};
use crate::plan::change::bytes;
use crate::plan::graph::Workload;
use crate::plan::names::{NodeName, PodId, VolumeId, VolumeName, WorkloadName};
use crate::plan::observation::{OnDelete, VolumeSpec};
use crate::plan::rollout::Decision;
use crate::plan::steps::Builder;
use crate::plan::volume::{self, Home, InText};

/// By workload and node, the steps that its pods there wait for.
pub(super) type Made = BTreeMap<WorkloadName, BTreeMap<NodeName, Vec<StepId>>>;

impl Planning<'_, '_> {
    /// Steps that make the volumes that new pods mount, and that note what the text says of others.
    pub(super) fn volumes(
        &mut self,
        wanted: &BTreeMap<WorkloadName, Workload>,
        decisions: &BTreeMap<WorkloadName, Decision>,
        (prepared, too_large): (&BTreeMap<NodeName, StepId>, &BTreeMap<VolumeId, Blocked>),
        builder: &mut Builder,
    ) -> Made {
        let graph = self.inputs.graph;
        let (mounted, in_text) = (volume::mounted(wanted), InText::of(graph));
        let homes = &self.world.volumes;
        let mut users: BTreeMap<(&VolumeId, &NodeName), BTreeSet<&WorkloadName>> = BTreeMap::new();
        for (name, decision) in decisions {
            let moves = decision.branch.iter().flat_map(|b| &b.waves).flat_map(|w| &w.moves);
            for (node, pod) in moves.filter(|one| one.create).filter_map(|one| one.into.as_ref()) {
                for id in pod.mounts.values() {
                    users.entry((id, node)).or_default().insert(name);
                }
            }
        }
        // What the text says of a volume is noted whether somebody mounts it or not.
        let meant = (!self.body.only.is_empty()).then(|| self.meant(wanted));
        for (id, home) in homes {
            if meant.as_ref().is_some_and(|meant| !meant.contains(id)) {
                continue;
            }
            if let (Home::Seen(node, _), Some(_)) = (home, in_text.get(id)) {
                users.entry((id, node)).or_default();
            }
        }
        let mut made = Made::new();
        let mut words: BTreeMap<&VolumeName, (Verb, Vec<FieldChange>)> = BTreeMap::new();
        for ((id, node), users) in users {
            let said = in_text.get(id);
            let name = said.map(|(name, _)| name).or_else(|| mounted.get(id).copied());
            let Some(name) = name else { continue };
            let noted = match homes.get(id) {
                Some(Home::Seen(there, noted)) if there == node => Some(noted),
                Some(_) | None => None,
            };
            let said = said.map(|(_, volume)| &volume.spec).or(noted);
            let spec = said.cloned().unwrap_or_default();
            if noted == Some(&spec) || too_large.contains_key(id) {
                continue;
            }
            let field = FieldChange {
                path: id.to_string(),
                before: noted.map(|noted| in_words(node, noted)),
                after: Some(in_words(node, &spec)),
            };
            let verb = if noted.is_none() { Verb::Add } else { Verb::Change };
            words.entry(name).or_insert((verb, Vec::new())).1.push(field);
            let tenant = graph.tenant.clone();
            let action = Action::EnsureVolume { tenant, volume: id.clone(), spec };
            let step = builder.node(node, action, After::of(prepared.get(node).copied()));
            for user in users {
                made.entry(user.clone()).or_default().entry(node.clone()).or_default().push(step);
            }
        }
        for (name, (verb, fields)) in words {
            let called = graph.volumes.get(name).and_then(|volume| volume.spec.called.as_ref());
            let resource = format!("volume/{}", called.unwrap_or(name));
            self.body.changes.push(Change { resource, verb, fields, causes: Vec::new() });
        }
        made
    }

    /// Steps that remove the volumes that are in the text no more, whose notes say that their data
    /// goes with them, and that nobody mounts once all is done. They come last of their users'
    /// steps, behind every gate, so that nothing that goes back misses its data.
    pub(super) fn drop_volumes(
        &mut self,
        wanted: &BTreeMap<WorkloadName, Workload>,
        builder: &mut Builder,
    ) {
        let graph = self.inputs.graph;
        let (mounted, in_text) = (volume::mounted(wanted), InText::of(graph));
        let stays_in_text = |id: &VolumeId| match self.inputs.goal {
            Goal::Converge => mounted.contains_key(id) || in_text.get(id).is_some(),
            Goal::Destroy => false,
        };
        // Whose release before would be wanted again with its data, if a gate fails.
        let undone: Vec<(&WorkloadName, &Workload)> = self
            .body
            .branches
            .iter()
            .filter(|(_, branch)| branch.undo)
            .filter_map(|(name, branch)| Some((name, branch.before.as_deref()?)))
            .collect();
        let leaving: BTreeSet<PodId> = builder.leaving().map(|(_, pod)| pod.clone()).collect();
        let mut changes = Vec::new();
        let mut deferred = Vec::new();
        let mut blocked = Vec::new();
        for (node, seen) in self.seen() {
            for (id, noted) in seen.spec.volumes.iter().filter(|(id, _)| !stays_in_text(id)) {
                let users = seen.spec.pods.iter().filter(|(_, pod)| pod.mounts.contains(id));
                let users: Vec<_> = users.collect();
                let stays = users.iter().find(|(pod, _)| !leaving.contains(*pod));
                let change = |verb| Change {
                    resource: format!("volume/{id}"),
                    verb,
                    fields: Vec::new(),
                    causes: vec![in_words(node, noted)],
                };
                match (noted.on_delete, stays) {
                    (OnDelete::Retain, None) if !users.is_empty() => {
                        changes.push(change(Verb::Kept));
                    }
                    (OnDelete::Retain, _) => {}
                    (OnDelete::Destroy, Some((pod, _))) => deferred.push(format!(
                        "volume/{id} on {node} stays for as long as {pod} mounts it"
                    )),
                    (OnDelete::Destroy, None) if noted.protect => {
                        let resource = format!("volume/{id} on {node}");
                        blocked.push(Blocked::Protected { resource });
                    }
                    (OnDelete::Destroy, None) => {
                        let mut branches: BTreeSet<&WorkloadName> =
                            users.iter().map(|(_, pod)| &pod.workload).collect();
                        let would = undone.iter().filter(|(_, before)| volume::mounts(before, id));
                        branches.extend(would.map(|(name, _)| *name));
                        let of_users = builder.since(0).iter().filter(|step| {
                            step.branch.as_ref().is_some_and(|branch| branches.contains(branch))
                        });
                        let after = After::of(of_users.map(|step| step.id).collect::<Vec<_>>());
                        let tenant = graph.tenant.clone();
                        let action = Action::RemoveVolume { tenant, volume: id.clone() };
                        builder.last(node, branches.last().copied(), action, after);
                        changes.push(change(Verb::Destroy));
                    }
                }
            }
        }
        self.body.changes.extend(changes);
        self.body.deferred.extend(deferred);
        self.body.blocked.extend(blocked);
    }
}

/// A volume in a few words: `n1, 10GiB, of 999:999, on_delete destroy`.
fn in_words(node: &NodeName, spec: &VolumeSpec) -> String {
    let VolumeSpec { size_bytes, user, group, on_delete, protect, called } = spec;
    let mut words = format!("on {node}");
    if *size_bytes > 0 {
        words.push_str(&format!(", {}", bytes(*size_bytes)));
    }
    if (*user, *group) != (0, 0) {
        words.push_str(&format!(", of {user}:{group}"));
    }
    words.push_str(match on_delete {
        OnDelete::Retain => ", on_delete retain",
        OnDelete::Destroy => ", on_delete destroy",
    });
    words.push_str(if *protect { ", protected" } else { "" });
    if let Some(called) = called {
        words.push_str(&format!(", called {called}"));
    }
    words
}
