//! One compilation after the other of a project that is edited: what an edit does not reach is neither
//! checked nor evaluated again, and what it changed in the graph is given.
//!
//! ```text
//! snapshot before, snapshot now ─ changes ─▶ resources and policies that the edit reaches
//!                                            the others are kept ─ compile ─▶ Compiled, GraphDelta
//! ```
//!
//! It gives what [`Snapshot::compile`] gives of the same text. Everything but resources (types,
//! functions, bindings, overlays, policies) is checked again each time, which costs what it costs; of
//! resources, those that changed or mention something that did, and those with mistakes.

mod changes;

use crate::eval::{FUEL, Kept, Made};
use crate::ids::{ItemId, ResourceId};
use crate::program::{Body, CompileRequest, Compiled, Resource, ResourceKind};
use crate::resolve::Roots;
use crate::workspace::{Remains, Snapshot};
use changes::{Reached, changes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Compiles one snapshot after the other of the same workspace.
#[derive(Debug, Default)]
pub struct Session {
    request: CompileRequest,
    before: Option<Snapshot>,
    kept: Kept,
    /// The resources of the last program.
    graph: BTreeMap<(ResourceKind, Arc<str>), Arc<Body>>,
    /// What may have changed since then.
    touched: Touched,
}

/// What a step gives.
#[derive(Clone, Debug)]
pub struct Step {
    /// What compiling the snapshot gives.
    pub compiled: Compiled,
    /// How its resources differ from those of the last program; nothing where there is no program.
    pub delta: Option<GraphDelta>,
    /// How many declared resources were checked and evaluated for it.
    pub evaluated: usize,
}

/// How the resources of one program differ from those of the program before.
#[derive(Clone, Debug, Default)]
pub struct GraphDelta {
    /// New ones, and those with another body.
    pub changed: Vec<Resource>,
    /// Those that are no more, by kind and name.
    pub removed: Vec<(ResourceKind, Arc<str>)>,
}

#[derive(Debug, Default)]
enum Touched {
    #[default]
    Everything,
    Names(BTreeSet<(ResourceKind, Arc<str>)>),
}

impl Touched {
    fn add(&mut self, made: &Made) {
        if let Self::Names(names) = self {
            names.extend(made.instances.iter().map(|(each, _)| (each.kind, each.name.clone())));
        }
    }
}

impl Session {
    /// Compiles a snapshot as a request says. With another request than before, nothing is kept; what
    /// time it is decides only about what policies have to say, and that is asked again each time.
    pub fn step(&mut self, snapshot: &Snapshot, request: &CompileRequest) -> Step {
        let timeless = CompileRequest { now_ms: self.request.now_ms, ..request.clone() };
        let reached = match &self.before {
            Some(before) if timeless == self.request => changes(before, snapshot),
            Some(_) | None => Reached::Everything,
        };
        self.forget(reached);
        let (mut compiled, mut remains) =
            snapshot.compile_keeping(Roots::Project, request, &self.kept);
        // Near the limit of work it counts who did what, and in which order: then nothing is kept.
        if self.kept.cost() + remains.spent > FUEL / 10 * 9 {
            self.forget(Reached::Everything);
            (compiled, remains) = snapshot.compile_keeping(Roots::Project, request, &self.kept);
        }
        self.before = Some(snapshot.clone());
        self.request.clone_from(request);
        let evaluated = remains.made.len();
        self.keep(remains);
        let delta = self.delta(&compiled);
        Step { compiled, delta, evaluated }
    }

    fn forget(&mut self, reached: Reached) {
        match reached {
            Reached::Everything => {
                self.kept = Kept::default();
                self.touched = Touched::Everything;
            }
            Reached::Some { resources, policies } => {
                for id in resources {
                    if let Some(made) = self.kept.take(id) {
                        self.touched.add(&made);
                    }
                }
                self.kept.reject(&policies);
            }
        }
    }

    fn keep(&mut self, remains: Remains) {
        for (id, made) in remains.made {
            self.touched.add(&made);
            self.kept.put(id, made);
        }
        let mut verdicts: BTreeMap<(ResourceId, ItemId), bool> = BTreeMap::new();
        for (id, policy, passes) in remains.judged {
            *verdicts.entry((id, policy)).or_insert(true) &= passes;
        }
        let passed = verdicts.into_iter().filter(|(_, passes)| *passes);
        passed.for_each(|((id, policy), _)| self.kept.pass(id, policy));
    }

    fn delta(&mut self, compiled: &Compiled) -> Option<GraphDelta> {
        let program = compiled.program.as_ref()?;
        let mut delta = GraphDelta::default();
        let touched = std::mem::replace(&mut self.touched, Touched::Names(BTreeSet::new()));
        let key = |resource: &Resource| (resource.kind, resource.name.clone());
        let mut gone: BTreeSet<(ResourceKind, Arc<str>)> = match &touched {
            Touched::Everything => self.graph.keys().cloned().collect(),
            Touched::Names(names) => names.clone(),
        };
        let all = &program.resources;
        let looked_at: Vec<&Resource> = match &touched {
            Touched::Everything => all.iter().collect(),
            Touched::Names(names) => {
                let declared: BTreeSet<_> =
                    names.iter().map(|(kind, name)| (*kind, own(name))).collect();
                let instances = declared.into_iter().flat_map(|of| {
                    let first = all.partition_point(|each| (each.kind, own(&each.name)) < of);
                    all[first..].iter().take_while(move |each| (each.kind, own(&each.name)) == of)
                });
                instances.filter(|each| names.contains(&key(each))).collect()
            }
        };
        for resource in looked_at {
            let key = key(resource);
            gone.remove(&key);
            let body = resource.body();
            let old = self.graph.insert(key, body.clone());
            let same = |old: Arc<Body>| Arc::ptr_eq(&old, body) || old.traced.same(&body.traced);
            if !old.is_some_and(same) {
                delta.changed.push(resource.clone());
            }
        }
        for key in gone {
            if self.graph.remove(&key).is_some() {
                delta.removed.push(key);
            }
        }
        Some(delta)
    }
}

/// The name in the declaration of `n[1]`: `n`. A program's resources are in its order.
fn own(name: &str) -> &str {
    name.split_once('[').map_or(name, |(own, _)| own)
}
