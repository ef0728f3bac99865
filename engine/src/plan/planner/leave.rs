//! Leaving nodes: all of them when everything is destroyed, and those that are retired once they have nothing more to lose.
//!
//! A retired node is left by a plan that finds it empty and has nothing to do for any replica: before that a rollout may still
//! be undone and bring a pod back, and the tables there have to follow what replicas do elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Inputs, Planning};
use crate::plan::action::Action;
use crate::plan::after::After;
use crate::plan::body::{Goal, StepId};
use crate::plan::graph::Intake;
use crate::plan::ledger::Claims;
use crate::plan::names::{NodeName, VolumeId, WorkloadName};
use crate::plan::observation::NodeObservation;
use crate::plan::steps::Builder;
use crate::plan::world::World;

/// The nodes that are retired and have no pod, none that is assumed there, no volume, and not the ledger.
pub(super) fn left(inputs: &Inputs<'_>, world: &World) -> BTreeSet<NodeName> {
    let Inputs { graph, observation, goal, .. } = *inputs;
    match goal {
        Goal::Destroy => return BTreeSet::new(),
        Goal::Converge => {}
    }
    let retired = graph.nodes.iter().filter(|(_, node)| node.intake == Intake::Retired);
    let mut left: BTreeSet<NodeName> = retired
        .filter(|(name, _)| graph.keeper != **name)
        .filter(|(name, _)| {
            let holds = |seen: &NodeObservation| {
                !seen.spec.pods.is_empty() || !seen.spec.volumes.is_empty()
            };
            observation.seen(name).is_some_and(|seen| !holds(seen))
        })
        .map(|(name, _)| name.clone())
        .collect();
    if !left.is_empty() {
        for here in world.pods.values() {
            left.remove(&here.placed.node);
        }
    }
    left
}

impl Planning<'_, '_> {
    /// Takes everything of the tenant, then of Berth, off the nodes.
    pub(super) fn leave(&mut self, builder: &mut Builder) {
        let mut ends: BTreeMap<NodeName, Vec<StepId>> = BTreeMap::new();
        for step in builder.since(0) {
            ends.entry(step.node.clone()).or_default().push(step.id);
        }
        for (name, seen) in self.seen() {
            let last = After::of(ends.remove(name).unwrap_or_default());
            self.take_off(name, seen, last, builder);
        }
        self.body.claims = Claims::default();
    }

    /// Takes everything of the tenant, then of Berth, off the nodes that are retired and empty, and says of the others that are
    /// retired what keeps Berth there.
    pub(super) fn retire(&mut self, builder: &mut Builder) {
        let Inputs { graph, .. } = self.inputs;
        let mut kept = Vec::new();
        for (name, seen) in self.seen() {
            let retired = graph.nodes.get(name).is_some_and(|node| node.intake == Intake::Retired);
            if !retired {
                continue;
            }
            if !self.left.contains(name) {
                let volumes: Vec<&str> = seen.spec.volumes.keys().map(VolumeId::as_str).collect();
                if graph.keeper == *name {
                    kept.push(format!(
                        "{name} is retired and keeps the ledger: name another keeper, then `berth ledger move`"
                    ));
                } else if !volumes.is_empty() {
                    let volumes = volumes.join(", ");
                    kept.push(format!("{name} is retired, and the data of {volumes} is there"));
                }
                continue;
            }
            let tenant = &graph.tenant;
            // What it has under a name of before goes under that of now.
            let mut named = After::default();
            for rename in self.renames.get(name).into_iter().flatten() {
                named = After::of([builder.node(name, rename.action(tenant), named)]);
            }
            let of = |endpoint: &WorkloadName| Action::RemoveEndpoint {
                tenant: tenant.clone(),
                endpoint: endpoint.clone(),
            };
            let ends: Vec<StepId> = seen
                .spec
                .endpoints
                .keys()
                .map(|endpoint| builder.node(name, of(endpoint), named.clone()))
                .collect();
            self.take_off(name, seen, named.and(&After::of(ends)), builder);
        }
        self.body.deferred.extend(kept);
    }

    /// Takes images, the tenant, and Berth itself if no other tenant is there, off a node after some steps.
    fn take_off(
        &self,
        name: &NodeName,
        seen: &NodeObservation,
        mut last: After,
        builder: &mut Builder,
    ) {
        let tenant = &self.inputs.graph.tenant;
        let images = seen
            .spec
            .images
            .iter()
            .map(|image| Action::RemoveImage { tenant: tenant.clone(), image: image.clone() });
        let images: Vec<_> =
            images.map(|action| builder.node(name, action, last.clone())).collect();
        if !images.is_empty() {
            last = After::of(images);
        }
        // What it remembers of the ledger goes with the tenant, and may be all that is left.
        let remembers = self.inputs.goal == Goal::Converge && seen.ledger.is_some();
        if seen.spec.tenant || seen.spec.tenant_remains || remembers {
            let action = Action::RemoveTenant { tenant: tenant.clone() };
            last = After::of([builder.node(name, action, last)]);
        }
        if !seen.spec.others.is_empty() || !seen.spec.tenants.is_empty() {
            return;
        }
        for reflex in seen.spec.reflexes.keys() {
            let action = Action::RemoveReflex { reflex: *reflex };
            last = After::of([builder.node(name, action, last)]);
        }
        if seen.spec.network.is_some() {
            builder.node(name, Action::RemoveNetwork, last);
        }
    }
}
