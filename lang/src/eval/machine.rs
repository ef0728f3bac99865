//! What is evaluated when: inputs, literals under rules, lets, then resources; the rest on demand, once.

use super::environment::{Selected, select};
use super::fields::Shapes;
use super::forks::Texts;
use super::resources::{Kept, Made, Slot};
use super::traced::{Reference, Traced};
use crate::check::typed::{Checked, Condition, Constant};
use crate::diagnostic::Diagnostic;
use crate::ids::{DefaultId, ItemId, LetId, Loc, ResourceId, TypeId};
use crate::pattern::Pattern;
use crate::program::{CompileRequest, Resource, Secret, Waived};
use crate::resolve::Decls;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Steps that one compilation may take.
pub(crate) const FUEL: u64 = 50_000_000;
/// How deep evaluation may nest, and how deep a value may be.
pub(super) const MAX_DEPTH: u32 = 800;
const MAX_VALUE_DEPTH: u32 = 256;

/// Evaluation ended here; a diagnostic has been given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop;

/// What evaluating gives, or that it stopped.
pub(super) type Eval<T> = Result<T, Stop>;

/// A value that is made once.
#[derive(Clone)]
pub(super) enum Memo {
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
    kept: &Kept,
    diagnostics: &mut Vec<Diagnostic>,
) -> Evaluated {
    let before = diagnostics.len();
    let mut machine = prepare(decls, checked, request, kept, diagnostics);
    machine.may_fork = true;
    let evaluated = machine.run(request);
    if machine.has_forked && machine.spent {
        // Who spent how much hangs on the threads: one machine finds the same each time.
        diagnostics.truncate(before);
        return prepare(decls, checked, request, kept, diagnostics).run(request);
    }
    evaluated
}

/// A machine for one environment; nothing is evaluated yet, inputs neither.
pub(super) fn prepare<'m, 's>(
    decls: &'m Decls<'s>,
    checked: &'m Checked,
    request: &CompileRequest,
    kept: &'m Kept,
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
        shared: vec![None; checked.shared],
        shapes: Shapes::default(),
        texts: None,
        calls: 0,
        inputs: Vec::new(),
        judged: Vec::new(),
        slots: vec![None; decls.resources.len()],
        kept,
        fresh: Kept::default(),
        running: Vec::new(),
        patterns: BTreeMap::new(),
        fuel: FUEL,
        may_fork: false,
        has_forked: false,
        spent: false,
        depth: 0,
    }
}

/// What evaluating gives, as far as it came.
pub(crate) struct Evaluated {
    pub(crate) resources: Vec<Resource>,
    /// What may be kept of them, for as long as what they were made of stays.
    pub(crate) made: Vec<(ResourceId, Made)>,
    /// Which policies looked at which resources alone, and whether they had nothing to say.
    pub(crate) judged: Vec<(ResourceId, ItemId, bool)>,
    /// The work that was done.
    pub(crate) spent: u64,
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
    /// By its number: what is the same in every call of a function.
    pub(super) shared: Vec<Option<Traced>>,
    pub(super) shapes: Shapes,
    /// In a fork: its own copies of texts.
    texts: Option<Texts>,
    /// How many functions and defaults are being evaluated.
    pub(super) calls: u32,
    /// Which policies looked at which resources alone, and whether they had nothing to say.
    pub(super) judged: Vec<(ResourceId, ItemId, bool)>,
    /// What is known of the resources that something is made of, by row.
    pub(super) slots: Vec<Option<Box<Slot>>>,
    /// What an earlier evaluation found and still holds.
    pub(super) kept: &'m Kept,
    /// What has been made whole.
    pub(super) fresh: Kept,
    /// The resources whose bodies are being made, outermost first.
    pub(super) running: Vec<Arc<Reference>>,
    pub(super) patterns: BTreeMap<Arc<str>, Arc<Pattern>>,
    pub(super) fuel: u64,
    /// Whether other threads may make resources, and whether they have.
    pub(super) may_fork: bool,
    pub(super) has_forked: bool,
    spent: bool,
    depth: u32,
}

impl<'s> Machine<'_, 's> {
    /// A machine that knows what this one does of everything but resources.
    pub(super) fn fork<'f>(
        &'f self,
        fuel: u64,
        diagnostics: &'f mut Vec<Diagnostic>,
    ) -> Machine<'f, 's> {
        Machine {
            decls: self.decls,
            checked: self.checked,
            selected: self.selected.clone(),
            diagnostics,
            inputs: self.inputs.clone(),
            lets: self.lets.clone(),
            // What all threads would share is made by each of them.
            defaults: vec![Memo::New; self.defaults.len()],
            shared: vec![None; self.shared.len()],
            shapes: Shapes::default(),
            texts: Some(Texts::new()),
            calls: 0,
            judged: Vec::new(),
            slots: vec![None; self.decls.resources.len()],
            kept: self.kept,
            fresh: Kept::default(),
            running: Vec::new(),
            patterns: self.patterns.clone(),
            fuel,
            may_fork: false,
            has_forked: false,
            spent: false,
            depth: self.depth,
        }
    }
}

impl Machine<'_, '_> {
    /// Evaluates everything there is.
    pub(super) fn run(&mut self, request: &CompileRequest) -> Evaluated {
        let (decls, checked) = (self.decls, self.checked);
        let inputs = self.take_inputs(request);
        for constant in &checked.constants {
            // A broken rule has been reported, and stops nothing else.
            let _ = self.constant(constant);
        }
        for id in &decls.let_order {
            let _ = self.binding(*id);
        }
        let secrets = self.secrets();
        let resources = self.resources();
        self.overlays_without_instance();
        let waived = self.policies(request.now_ms);
        let judged = std::mem::take(&mut self.judged);
        let made = std::mem::take(&mut self.fresh).into_all();
        let spent = FUEL - self.fuel;
        Evaluated { resources, made, judged, spent, secrets, inputs, waived }
    }

    pub(super) fn constant(&mut self, constant: &Constant) -> Eval<Traced> {
        let value = self.eval(&constant.typed, &mut Vec::new())?;
        self.hold(constant.of, value)
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

    /// A name of the declarations, which are used by all threads.
    pub(super) fn name(&mut self, name: &Arc<str>) -> Arc<str> {
        match &mut self.texts {
            Some(texts) => texts.own(name),
            None => name.clone(),
        }
    }

    /// A text of the typed trees. Those of functions and defaults are used by all threads.
    pub(super) fn text(&mut self, text: &Arc<str>) -> Arc<str> {
        match &mut self.texts {
            Some(texts) if self.calls > 0 => texts.own(text),
            Some(_) | None => text.clone(),
        }
    }

    /// Starts counting anew, with so much work to do at most.
    pub(super) fn refuel(&mut self, fuel: u64) {
        self.fuel = fuel;
        self.spent = false;
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
        self.calls += 1;
        let result = self.eval(typed, &mut Vec::new()).and_then(|value| self.bounded(value));
        self.calls -= 1;
        self.defaults[id.index()] = memo_of(&result);
        result
    }

    /// Refuses values that are too deep to walk.
    pub(super) fn bounded(&mut self, value: Traced) -> Eval<Traced> {
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

pub(super) fn memo_of(result: &Eval<Traced>) -> Memo {
    match result {
        Ok(value) => Memo::Done(value.clone()),
        Err(Stop) => Memo::Failed,
    }
}
