//! Resources: checked when something first looks at them, evaluated once, or taken from an earlier
//! evaluation.
//!
//! What is kept of a resource is its instances and their bodies, never its typed tree: a tree is made
//! again where a body is.

use super::machine::{Eval, Machine, Memo, Stop, memo_of};
use super::traced::{Data, Key, Reference, Traced};
use crate::check::check_resource;
use crate::check::typed::TypedResource;
use crate::ids::{ItemId, Loc, ResourceId};
use crate::program::{Body, Resource};
use crate::value::Scalar;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a declared resource.
#[derive(Clone, Default)]
pub(super) struct Slot {
    typed: Option<Arc<TypedResource>>,
    instances: Option<Eval<Arc<Vec<Arc<Reference>>>>>,
    /// Parallel to the instances.
    bodies: Vec<Memo>,
    /// Parallel to them if there are any: what a body was before each overlay that changed it, with its
    /// name.
    layers: Vec<Layers>,
    /// Whether anything was said about it.
    said: bool,
    /// What making it has cost.
    cost: u64,
}

/// What a body was before each overlay, with its name.
type Layers = Vec<(Arc<str>, Traced)>;

/// The resources of an earlier evaluation that still are what they were.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// By [`ResourceId`].
    by_id: Vec<Option<Made>>,
}

/// A resource that was evaluated without a word.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) instances: Vec<(Arc<Reference>, Arc<Body>)>,
    pub(crate) cost: u64,
    /// The policies that had nothing to say of any instance.
    pub(crate) passed: Vec<ItemId>,
}

impl Kept {
    pub(crate) fn get(&self, id: ResourceId) -> Option<&Made> {
        self.by_id.get(id.index())?.as_ref()
    }

    /// Adds a resource, or puts it in the place of what it was.
    pub(crate) fn put(&mut self, id: ResourceId, made: Made) {
        if self.by_id.len() <= id.index() {
            self.by_id.resize(id.index() + 1, None);
        }
        self.by_id[id.index()] = Some(made);
    }

    /// Takes in what another has; both have none in common.
    pub(super) fn absorb(&mut self, other: Self) {
        if self.by_id.len() < other.by_id.len() {
            self.by_id.resize(other.by_id.len(), None);
        }
        for (own, other) in self.by_id.iter_mut().zip(other.by_id) {
            if other.is_some() {
                *own = other;
            }
        }
    }

    /// Every resource, by id.
    pub(super) fn into_all(self) -> Vec<(ResourceId, Made)> {
        let all = self.by_id.into_iter().enumerate();
        all.filter_map(|(id, made)| Some((ResourceId(id as u32), made?))).collect()
    }

    /// Takes a resource out.
    pub(crate) fn take(&mut self, id: ResourceId) -> Option<Made> {
        self.by_id.get_mut(id.index())?.take()
    }

    /// Remembers that a policy has nothing to say of a resource.
    pub(crate) fn pass(&mut self, id: ResourceId, policy: ItemId) {
        if let Some(Some(made)) = self.by_id.get_mut(id.index())
            && !made.passed.contains(&policy)
        {
            made.passed.push(policy);
        }
    }

    /// Forgets what some policies found.
    pub(crate) fn reject(&mut self, policies: &BTreeSet<ItemId>) {
        if policies.is_empty() {
            return;
        }
        for made in self.by_id.iter_mut().flatten() {
            made.passed.retain(|policy| !policies.contains(policy));
        }
    }

    /// What making all of them has cost.
    pub(crate) fn cost(&self) -> u64 {
        self.by_id.iter().flatten().map(|made| made.cost).sum()
    }
}

impl Machine<'_, '_> {
    /// The typed tree of a resource. Its literals are held to their rules when it is made.
    fn typed(&mut self, id: ResourceId) -> Arc<TypedResource> {
        let row = self.decls.row(id);
        if let Some(typed) = &self.slot(row).typed {
            return typed.clone();
        }
        let (before, fuel) = (self.diagnostics.len(), self.fuel);
        let typed = Arc::new(check_resource(self.decls, self.checked, id, self.diagnostics));
        self.slot(row).typed = Some(typed.clone());
        for constant in &typed.constants {
            // A broken rule has been reported, and stops nothing else.
            let _ = self.constant(constant);
        }
        self.account(row, before, fuel);
        typed
    }

    fn account(&mut self, row: usize, said_before: usize, fuel_before: u64) {
        let said = self.diagnostics.len() > said_before;
        let cost = fuel_before.saturating_sub(self.fuel);
        let slot = self.slot(row);
        slot.said |= said;
        slot.cost += cost;
    }

    /// The instances of a resource, in the order of their keys; one without a key has itself.
    pub(super) fn instances(&mut self, id: ResourceId) -> Eval<Arc<Vec<Arc<Reference>>>> {
        let row = self.decls.row(id);
        if let Some(known) = &self.slot(row).instances {
            return known.clone();
        }
        if let Some(made) = self.kept.get(id).or_else(|| self.fresh.get(id)) {
            let all = || made.instances.iter();
            let bodies = all().map(|(_, body)| Memo::Done(body.traced.clone())).collect();
            let found: Vec<_> = all().map(|(reference, _)| reference.clone()).collect();
            let slot = self.slot(row);
            slot.bodies = bodies;
            slot.instances = Some(Ok(Arc::new(found)));
        } else {
            let typed = self.typed(id);
            let (before, fuel) = (self.diagnostics.len(), self.fuel);
            let found = self.make_instances(id, &typed);
            self.account(row, before, fuel);
            let slot = self.slot(row);
            let count = found.as_ref().map_or(0, |found| found.len());
            slot.bodies = vec![Memo::New; count];
            slot.instances = Some(found);
        }
        self.slot(row).instances.clone().unwrap_or(Err(Stop))
    }

    fn make_instances(
        &mut self,
        id: ResourceId,
        typed: &TypedResource,
    ) -> Eval<Arc<Vec<Arc<Reference>>>> {
        let decl = self.decls.resource(id);
        let Some(keys) = &typed.keys else {
            let only = Reference { id, key: None, kind: decl.kind, name: decl.name.clone() };
            return Ok(Arc::new(vec![Arc::new(only)]));
        };
        let value = self.eval(keys, &mut Vec::new())?;
        let Data::List(elements) = &value.data else {
            return Err(Stop);
        };
        let mut found: BTreeMap<Key, Loc> = BTreeMap::new();
        for element in &**elements {
            let key = self.key(element)?;
            if found.contains_key(&key) {
                let diagnostic = self.decls.key_twice(element.at, &decl.name, &key);
                return self.fail(diagnostic);
            }
            found.insert(key, element.at);
        }
        let instance = |key: Key| {
            let name = format!("{}[{key}]", decl.name).into();
            Arc::new(Reference { id, kind: decl.kind, name, key: Some(key) })
        };
        Ok(Arc::new(found.into_keys().map(instance).collect()))
    }

    pub(super) fn key(&mut self, value: &Traced) -> Eval<Key> {
        match &value.data {
            Data::Scalar(Scalar::Int(key)) => Ok(Key::Int(*key)),
            Data::Scalar(Scalar::Str(key)) => Ok(Key::Str(key.clone())),
            Data::Absent
            | Data::Scalar(_)
            | Data::List(_)
            | Data::Map(_)
            | Data::Record(_)
            | Data::Case(_)
            | Data::Ref(_) => Err(Stop),
        }
    }

    /// The body of a resource.
    pub(super) fn body(&mut self, reference: &Arc<Reference>, from: Loc) -> Eval<Traced> {
        let row = self.decls.row(reference.id);
        let instances = self.instances(reference.id)?;
        let found = instances.binary_search_by(|each| each.key.cmp(&reference.key));
        let Ok(at) = found else { return Err(Stop) };
        match &self.slot(row).bodies[at] {
            Memo::Done(value) => return Ok(value.clone()),
            Memo::Failed => return Err(Stop),
            Memo::Running => {
                let start = self.running.iter().position(|other| other == reference).unwrap_or(0);
                let ring = self.running.iter().skip(start).chain([reference]);
                let path: Vec<&str> = ring.map(|reference| &*reference.name).collect();
                let diagnostic = self.decls.resource_ring(from, &path);
                return self.fail(diagnostic);
            }
            Memo::New => {}
        }
        self.slot(row).bodies[at] = Memo::Running;
        self.running.push(reference.clone());
        let typed = self.typed(reference.id);
        let (before, fuel) = (self.diagnostics.len(), self.fuel);
        let result = self.make_body(reference, &typed, at, from);
        self.account(row, before, fuel);
        self.running.pop();
        self.slot(row).bodies[at] = memo_of(&result);
        result
    }

    fn make_body(
        &mut self,
        reference: &Reference,
        typed: &TypedResource,
        at: usize,
        from: Loc,
    ) -> Eval<Traced> {
        let mut frame = Vec::new();
        match &reference.key {
            None => {}
            Some(Key::Int(key)) => frame.push(Traced::scalar(typed.body.at, Scalar::Int(*key))),
            Some(Key::Str(key)) => {
                frame.push(Traced::scalar(typed.body.at, Scalar::Str(key.clone())))
            }
        }
        let body = self.deeper(from, |machine| machine.eval(&typed.body, &mut frame))?;
        self.overlaid(reference, at, body)
    }

    /// Lays the environment's overlays over a body, and keeps what each of them found.
    fn overlaid(&mut self, reference: &Reference, at: usize, mut body: Traced) -> Eval<Traced> {
        let (decls, checked) = (self.decls, self.checked);
        let mut before = Layers::new();
        for id in self.selected.overlays.clone() {
            let (Some(overlay), Some(updates)) =
                (decls.overlays.get(id.index()), checked.overlays.get(id.index()))
            else {
                continue;
            };
            let own = updates.iter().filter(|laid| laid.is_for(reference));
            let own: Vec<_> = own.map(|laid| &laid.update).collect();
            if own.is_empty() {
                continue;
            }
            before.push((overlay.name.clone(), body.clone()));
            for update in own {
                let value = self.eval(&update.value, &mut Vec::new())?;
                self.set(&mut body, &update.path, value)?;
            }
        }
        if !before.is_empty() {
            let slot = self.slot(decls.row(reference.id));
            slot.layers.resize(slot.bodies.len(), Layers::new());
            slot.layers[at] = before;
        }
        Ok(body)
    }

    /// Evaluates every resource that was not kept, and gives all.
    pub(super) fn resources(&mut self) -> Vec<Resource> {
        let decls = self.decls;
        let order = &decls.order;
        let unknown = |row: &usize| self.kept.get(decls.resources[*row].id).is_none();
        let missing: Vec<usize> = order.iter().copied().filter(unknown).collect();
        let mut partial = self.forked(&missing).unwrap_or_default();
        let mut resources = Vec::with_capacity(order.len());
        for &row in order {
            let decl = &decls.resources[row];
            let known = self.kept.get(decl.id).is_some() || self.fresh.get(decl.id).is_some();
            let part = if known { None } else { partial.remove(&row).or_else(|| self.make(row)) };
            let made = self.kept.get(decl.id).or_else(|| self.fresh.get(decl.id)).or(part.as_ref());
            for (reference, body) in made.iter().flat_map(|made| &made.instances) {
                let (name, places) = (reference.name.clone(), decls.places.clone());
                resources.push(Resource::new(decl.kind, name, body.clone(), places));
            }
        }
        resources
    }

    /// Makes all instances of a resource. It is fresh if all of them could be made without a word;
    /// otherwise those that could be are given.
    pub(super) fn make(&mut self, row: usize) -> Option<Made> {
        let decl = &self.decls.resources[row];
        let instances = self.instances(decl.id);
        let mut made = Vec::new();
        for (index, reference) in instances.iter().flat_map(|all| all.iter()).enumerate() {
            let Ok(body) = self.body(reference, decl.at) else { continue };
            let layers = self.slot(row).layers.get_mut(index).map(std::mem::take);
            let body = Body::new(decl.at, body, layers.unwrap_or_default());
            made.push((reference.clone(), Arc::new(body)));
        }
        let slot = self.slot(row);
        slot.typed = None;
        let count = instances.ok()?.len();
        let whole = made.len() == count && !slot.said;
        made.shrink_to_fit();
        let made = Made { instances: made, cost: slot.cost, passed: Vec::new() };
        if !whole {
            return Some(made);
        }
        self.slots[row] = None;
        self.fresh.put(decl.id, made);
        None
    }

    /// What is known of a resource, by its row.
    fn slot(&mut self, row: usize) -> &mut Slot {
        self.slots[row].get_or_insert_default()
    }
}
