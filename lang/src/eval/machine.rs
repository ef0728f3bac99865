//! What is evaluated when: inputs, literals under rules, lets, then resources; the rest on demand, once.

use super::environment::{Selected, select};
use super::traced::{Data, Key, Reference, Traced};
use crate::check::typed::{Checked, Condition};
use crate::diagnostic::Diagnostic;
use crate::ids::{DefaultId, LetId, Loc, ResourceId, TypeId};
use crate::pattern::Pattern;
use crate::program::{Body, CompileRequest, Resource, Secret, Waived};
use crate::resolve::Decls;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Steps that one compilation may take.
const FUEL: u64 = 50_000_000;
/// How deep evaluation may nest, and how deep a value may be.
pub(super) const MAX_DEPTH: u32 = 800;
const MAX_VALUE_DEPTH: u32 = 256;

/// Evaluation ended here; a diagnostic has been given.
#[derive(Debug)]
pub(super) struct Stop;

/// What evaluating gives, or that it stopped.
pub(super) type Eval<T> = Result<T, Stop>;

/// A value that is made once.
#[derive(Clone)]
enum Memo {
    New,
    Running,
    Failed,
    Done(Traced),
}

/// Evaluates every resource, as far as it can.
pub(crate) fn evaluate(
    decls: &Decls<'_>,
    checked: &Checked,
    request: &CompileRequest,
    diagnostics: &mut Vec<Diagnostic>,
) -> Evaluated {
    prepare(decls, checked, request, diagnostics).run(request)
}

/// A machine for one environment; nothing is evaluated yet, inputs neither.
pub(super) fn prepare<'m, 's>(
    decls: &'m Decls<'s>,
    checked: &'m Checked,
    request: &CompileRequest,
    diagnostics: &'m mut Vec<Diagnostic>,
) -> Machine<'m, 's> {
    let selected = select(decls, checked, request, diagnostics);
    Machine {
        decls,
        checked,
        selected,
        diagnostics,
        lets: vec![Memo::New; decls.lets.len()],
        defaults: vec![Memo::New; decls.defaults.len()],
        inputs: Vec::new(),
        instances: BTreeMap::new(),
        bodies: BTreeMap::new(),
        layers: BTreeMap::new(),
        running: Vec::new(),
        patterns: BTreeMap::new(),
        fuel: FUEL,
        spent: false,
        depth: 0,
    }
}

/// What evaluating gives, as far as it came.
pub(crate) struct Evaluated {
    pub(crate) resources: Vec<Resource>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) waived: Vec<Waived>,
}

/// The state of one evaluation.
pub(super) struct Machine<'m, 's> {
    pub(super) decls: &'m Decls<'s>,
    pub(super) checked: &'m Checked,
    pub(super) selected: Selected<'m>,
    pub(super) diagnostics: &'m mut Vec<Diagnostic>,
    pub(super) inputs: Vec<Option<Traced>>,
    lets: Vec<Memo>,
    defaults: Vec<Memo>,
    instances: BTreeMap<ResourceId, Option<Arc<Vec<Arc<Reference>>>>>,
    bodies: BTreeMap<Arc<Reference>, Memo>,
    /// What the body of a resource was before an overlay changed it, with the name of that overlay.
    layers: BTreeMap<Arc<Reference>, Vec<(Arc<str>, Traced)>>,
    /// The resources whose bodies are being made, outermost first.
    running: Vec<Arc<Reference>>,
    pub(super) patterns: BTreeMap<Arc<str>, Arc<Pattern>>,
    fuel: u64,
    spent: bool,
    depth: u32,
}

impl Machine<'_, '_> {
    /// Evaluates everything there is.
    pub(super) fn run(&mut self, request: &CompileRequest) -> Evaluated {
        let (decls, checked) = (self.decls, self.checked);
        let inputs = self.take_inputs(request);
        for constant in &checked.constants {
            // A broken rule has been reported, and stops nothing else.
            let _ = self
                .eval(&constant.typed, &mut Vec::new())
                .and_then(|value| self.hold(constant.of, value));
        }
        for id in &decls.let_order {
            let _ = self.binding(*id);
        }
        let secrets = self.secrets();
        let resources = self.resources();
        self.overlays_without_instance();
        let waived = self.policies(request.now_ms);
        Evaluated { resources, secrets, inputs, waived }
    }

    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Eval<T> {
        self.diagnostics.push(diagnostic);
        Err(Stop)
    }

    /// Pays for work; the first who cannot is told.
    pub(super) fn pay(&mut self, cost: u64, at: Loc) -> Eval<()> {
        if let Some(left) = self.fuel.checked_sub(cost) {
            self.fuel = left;
            return Ok(());
        }
        if !std::mem::replace(&mut self.spent, true) {
            let diagnostic = self.decls.too_much_work(at);
            self.diagnostics.push(diagnostic);
        }
        Err(Stop)
    }

    /// The work that may still be done.
    pub(super) fn left(&self) -> u64 {
        self.fuel
    }

    /// Evaluates one level deeper.
    pub(super) fn deeper<T>(
        &mut self,
        at: Loc,
        work: impl FnOnce(&mut Self) -> Eval<T>,
    ) -> Eval<T> {
        if self.depth >= MAX_DEPTH {
            let diagnostic = self.decls.too_deep(at);
            return self.fail(diagnostic);
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// The value of a `let`.
    pub(super) fn binding(&mut self, id: LetId) -> Eval<Traced> {
        let checked = self.checked;
        let Some(memo) = self.lets.get(id.index()) else {
            return Err(Stop);
        };
        match memo {
            Memo::Done(value) => return Ok(value.clone()),
            Memo::Failed => return Err(Stop),
            Memo::Running => {
                let decl = &self.decls.lets[id.index()];
                let diagnostic = self.decls.ring(decl.at, &decl.name);
                return self.fail(diagnostic);
            }
            Memo::New => self.lets[id.index()] = Memo::Running,
        }
        let typed = &checked.lets[id.index()];
        let result = self.eval(typed, &mut Vec::new()).and_then(|value| self.bounded(value));
        self.lets[id.index()] = memo_of(&result);
        result
    }

    /// The value of a default.
    pub(super) fn default(&mut self, id: DefaultId) -> Eval<Traced> {
        let checked = self.checked;
        let Some(memo) = self.defaults.get(id.index()) else {
            return Err(Stop);
        };
        match memo {
            Memo::Done(value) => return Ok(value.clone()),
            Memo::Failed => return Err(Stop),
            Memo::Running => {
                let decl = &self.decls.defaults[id.index()];
                let diagnostic = self.decls.ring(decl.site.loc(decl.expr.at), "this default");
                return self.fail(diagnostic);
            }
            Memo::New => self.defaults[id.index()] = Memo::Running,
        }
        let typed = &checked.defaults[id.index()];
        let result = self.eval(typed, &mut Vec::new()).and_then(|value| self.bounded(value));
        self.defaults[id.index()] = memo_of(&result);
        result
    }

    /// Refuses values that are too deep to walk.
    fn bounded(&mut self, value: Traced) -> Eval<Traced> {
        let mut budget = self.fuel;
        let fits = value.fits(MAX_VALUE_DEPTH, &mut budget);
        let cost = self.fuel - budget;
        self.pay(cost.max(u64::from(budget == 0) * self.fuel), value.at)?;
        if fits {
            return Ok(value);
        }
        let diagnostic = self.decls.too_deep(value.at);
        self.fail(diagnostic)
    }

    /// The instances of a resource, in the order of their keys; one without a key has itself.
    pub(super) fn instances(&mut self, id: ResourceId) -> Eval<Arc<Vec<Arc<Reference>>>> {
        if let Some(known) = self.instances.get(&id) {
            return known.clone().ok_or(Stop);
        }
        let made = self.make_instances(id);
        self.instances.insert(id, made.as_ref().ok().cloned());
        made
    }

    fn make_instances(&mut self, id: ResourceId) -> Eval<Arc<Vec<Arc<Reference>>>> {
        let checked = self.checked;
        let (Some(decl), Some(typed)) =
            (self.decls.resources.get(id.index()), checked.resources.get(id.index()))
        else {
            return Err(Stop);
        };
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
            Data::Scalar(Value::Int(key)) => Ok(Key::Int(*key)),
            Data::Scalar(Value::Str(key)) => Ok(Key::Str(key.clone())),
            Data::Absent
            | Data::Scalar(_)
            | Data::List(_)
            | Data::Map(_)
            | Data::Record(_)
            | Data::Case(..)
            | Data::Ref(_) => Err(Stop),
        }
    }

    /// The body of a resource.
    pub(super) fn body(&mut self, reference: &Arc<Reference>, from: Loc) -> Eval<Traced> {
        match self.bodies.get(reference) {
            Some(Memo::Done(value)) => return Ok(value.clone()),
            Some(Memo::Failed) => return Err(Stop),
            Some(Memo::Running) => {
                let start = self.running.iter().position(|other| other == reference).unwrap_or(0);
                let ring = self.running.iter().skip(start).chain([reference]);
                let path: Vec<&str> = ring.map(|reference| &*reference.name).collect();
                let diagnostic = self.decls.resource_ring(from, &path);
                return self.fail(diagnostic);
            }
            Some(Memo::New) | None => {}
        }
        self.bodies.insert(reference.clone(), Memo::Running);
        self.running.push(reference.clone());
        let result = self.make_body(reference, from);
        self.running.pop();
        self.bodies.insert(reference.clone(), memo_of(&result));
        result
    }

    fn make_body(&mut self, reference: &Arc<Reference>, from: Loc) -> Eval<Traced> {
        let checked = self.checked;
        let Some(typed) = checked.resources.get(reference.id.index()) else {
            return Err(Stop);
        };
        let mut frame = Vec::new();
        match &reference.key {
            None => {}
            Some(Key::Int(key)) => frame.push(Traced::scalar(typed.body.at, Value::Int(*key))),
            Some(Key::Str(key)) => {
                frame.push(Traced::scalar(typed.body.at, Value::Str(key.clone())))
            }
        }
        let body = self.deeper(from, |machine| machine.eval(&typed.body, &mut frame))?;
        self.overlaid(reference, body)
    }

    /// Lays the environment's overlays over a body, and keeps what each of them found.
    fn overlaid(&mut self, reference: &Arc<Reference>, mut body: Traced) -> Eval<Traced> {
        let (decls, checked) = (self.decls, self.checked);
        let mut before = Vec::new();
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
            self.layers.insert(reference.clone(), before);
        }
        Ok(body)
    }

    fn resources(&mut self) -> Vec<Resource> {
        let mut order: Vec<ResourceId> =
            (0..self.decls.resources.len() as u32).map(ResourceId).collect();
        order.sort_by_key(|id| {
            let decl = &self.decls.resources[id.index()];
            (decl.kind, decl.name.clone())
        });
        let mut resources = Vec::new();
        for id in order {
            let decl = &self.decls.resources[id.index()];
            let Ok(instances) = self.instances(id) else {
                continue;
            };
            for reference in &*instances {
                let Ok(body) = self.body(reference, decl.at) else {
                    continue;
                };
                let layers = self.layers.remove(reference).unwrap_or_default();
                let body = Arc::new(Body::new(decl.at, body, layers));
                let places = self.decls.places.clone();
                resources.push(Resource::new(decl.kind, reference.name.clone(), body, places));
            }
        }
        resources
    }

    fn secrets(&mut self) -> Vec<Secret> {
        let (decls, checked) = (self.decls, self.checked);
        let mut secrets = Vec::new();
        for (decl, source) in decls.secrets.iter().zip(&checked.secrets) {
            let Ok(source) = self.eval(source, &mut Vec::new()) else { continue };
            secrets.extend(source.to_value().map(|source| Secret {
                name: decl.name.to_string(),
                span: decls.span(decl.at),
                source,
            }));
        }
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        secrets
    }

    /// Holds a value to the rule of a refinement.
    pub(super) fn hold(&mut self, of: TypeId, value: Traced) -> Eval<Traced> {
        let checked = self.checked;
        let Some(Some(rule)) = checked.rules.get(of.index()) else {
            return Ok(value);
        };
        let mut frame = vec![value.clone()];
        let (holds, bounds) = match &rule.condition {
            Condition::Holds(condition) => (self.eval(condition, &mut frame)?.is_true(), None),
            Condition::Between { from, to, inclusive } => {
                let from = self.eval(from, &mut frame)?;
                let to = self.eval(to, &mut frame)?;
                let above = value.rank() >= from.rank();
                let below =
                    if *inclusive { value.rank() <= to.rank() } else { value.rank() < to.rank() };
                (above && below, Some((from.printed(), to.printed())))
            }
        };
        if holds {
            return Ok(value);
        }
        let message = match &rule.message {
            Some(message) => self.eval(message, &mut frame)?.printed(),
            None => {
                let name = self.decls.type_decl(of).map_or("", |decl| &*decl.name);
                match bounds {
                    Some((from, to)) => {
                        format!("{} is outside {name}, {from} to {to}", value.printed())
                    }
                    None => format!("{} breaks the rule of {name}", value.printed()),
                }
            }
        };
        let diagnostic = self.decls.rule_broken(value.at, message, rule.at);
        self.fail(diagnostic)
    }
}

fn memo_of(result: &Eval<Traced>) -> Memo {
    match result {
        Ok(value) => Memo::Done(value.clone()),
        Err(Stop) => Memo::Failed,
    }
}
