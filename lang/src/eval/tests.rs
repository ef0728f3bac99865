//! What a test expects, held to the values of one evaluation of the whole project.

use super::machine::{Eval, Machine, prepare};
use super::resources::Kept;
use super::traced::Traced;
use crate::check::typed::{Checked, Kind, Typed, TypedExpectation, TypedTest};
use crate::diagnostic::{Diagnostic, Severity};
use crate::ids::Loc;
use crate::program::CompileRequest;
use crate::resolve::Decls;
use crate::syntax::ast::BinaryOp;
use crate::value::Value;
use std::collections::BTreeMap;

/// The work that one test may do, so that none spends what another needs.
const TEST_FUEL: u64 = 10_000_000;

/// The inputs of a test, as a request gives them, or why one has no value.
pub(crate) fn test_inputs(
    decls: &Decls<'_>,
    checked: &Checked,
    test: &TypedTest,
) -> Result<BTreeMap<String, String>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let kept = Kept::default();
    let mut machine = prepare(decls, checked, &CompileRequest::default(), &kept, &mut found);
    let mut texts = BTreeMap::new();
    for (id, value) in &test.inputs {
        let Some(decl) = decls.inputs.get(id.index()) else { continue };
        let Ok(given) = machine.eval(value, &mut Vec::new()) else {
            let said = std::mem::take(machine.diagnostics);
            let unclear = || vec![decls.input_unclear(value.at, &decl.name)];
            return Err(Some(said).filter(|said| !said.is_empty()).unwrap_or_else(unclear));
        };
        texts.insert(decl.name.to_string(), given.printed());
    }
    Ok(texts)
}

/// Evaluates the project as a request says; gives, for each of some tests, why it failed.
pub(crate) fn run_tests(
    decls: &Decls<'_>,
    checked: &Checked,
    request: &CompileRequest,
    tests: &[&TypedTest],
) -> Vec<Vec<Diagnostic>> {
    let mut found = Vec::new();
    let kept = Kept::default();
    let mut machine = prepare(decls, checked, request, &kept, &mut found);
    // Only what this finds counts: the tests look at values again, which are made once.
    let _ = machine.run(request);
    let found = std::mem::take(machine.diagnostics);
    let errors = found.into_iter().filter(|each| each.severity == Severity::Error);
    // An input without a value is only missed by a test that looks at it.
    let (missing, broken): (Vec<_>, Vec<_>) = errors.partition(|each| each.code == "E0211");
    let mut all = Vec::with_capacity(tests.len());
    for test in tests {
        let mut failures = broken.clone();
        machine.refuel(TEST_FUEL);
        for expectation in &test.expectations {
            let TypedExpectation::Holds { condition, message } = expectation else { continue };
            let held = machine.expectation(condition, message.as_ref());
            let said = std::mem::take(machine.diagnostics);
            match held {
                Ok(None) => {}
                Ok(Some(failure)) => failures.push(failure),
                Err(_) if !said.is_empty() => failures.extend(said),
                Err(_) => failures.extend(missing.iter().cloned()),
            }
        }
        failures.sort_by(|a, b| (&a.primary, a.code).cmp(&(&b.primary, b.code)));
        failures.dedup();
        all.push(failures);
    }
    all
}

impl Machine<'_, '_> {
    /// Nothing where a condition holds; else what was expected and what was found.
    fn expectation(
        &mut self,
        condition: &Typed,
        message: Option<&Typed>,
    ) -> Eval<Option<Diagnostic>> {
        let frame = &mut Vec::new();
        if self.eval(condition, frame)?.is_true() {
            return Ok(None);
        }
        let mut failure = self.contradiction(condition)?;
        if let Some(message) = message {
            let said = self.eval(message, frame)?.printed();
            failure.message = format!("{said}\n  {}", failure.message);
        }
        Ok(Some(failure))
    }

    /// Words why a condition is false.
    fn contradiction(&mut self, condition: &Typed) -> Eval<Diagnostic> {
        let decls = self.decls;
        let Kind::Binary(op, left, right) = &condition.kind else {
            return Ok(decls.expectation_false(condition.at));
        };
        match op {
            BinaryOp::And => {
                let first = self.eval(left, &mut Vec::new())?.is_true();
                self.contradiction(if first { right } else { left })
            }
            BinaryOp::Equal => {
                let (found, wanted) =
                    if literal(left) && !literal(right) { (right, left) } else { (left, right) };
                let a = self.eval(found, &mut Vec::new())?;
                let b = self.eval(wanted, &mut Vec::new())?;
                let mut failure = decls.not_equal(condition.at, (found.at, &a), &b);
                if literal(wanted)
                    && let Some(value) = a.to_value()
                {
                    let replacement = crate::print::literal(&value);
                    failure = failure.fix(decls.span(wanted.at), replacement);
                }
                Ok(failure)
            }
            BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual => {
                let a = self.eval(left, &mut Vec::new())?;
                let b = self.eval(right, &mut Vec::new())?;
                Ok(decls.not_so(condition.at, (left.at, &a), *op, (right.at, &b)))
            }
            BinaryOp::Or
            | BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder => Ok(decls.expectation_false(condition.at)),
        }
    }
}

/// Whether an expression says its value outright.
fn literal(typed: &Typed) -> bool {
    match &typed.kind {
        Kind::Constant(_) | Kind::Absent => true,
        Kind::List(elements) => elements.iter().all(literal),
        Kind::Map(fields) | Kind::Record { fields, .. } | Kind::Case { fields, .. } => {
            fields.iter().all(|(_, field)| literal(field))
        }
        Kind::Convert(_, inner) | Kind::Negate(inner) | Kind::Shared(_, inner) => literal(inner),
        Kind::Poison
        | Kind::Interpolate(_)
        | Kind::Local(_)
        | Kind::Let(_)
        | Kind::Input(_)
        | Kind::Secret(_)
        | Kind::Resource(_)
        | Kind::Instance(..)
        | Kind::Instances(_)
        | Kind::Every(_)
        | Kind::NameOf(_)
        | Kind::Follow(_)
        | Kind::Call { .. }
        | Kind::Field(..)
        | Kind::Element(..)
        | Kind::Entry(..)
        | Kind::Not(_)
        | Kind::Binary(..)
        | Kind::OrElse(..)
        | Kind::Range { .. }
        | Kind::If(_)
        | Kind::Comprehension(_)
        | Kind::Bind(_)
        | Kind::Match(_)
        | Kind::With(..) => false,
    }
}

/// Lines that a difference may take.
const MAX_LINES: usize = 20;
/// Characters of a value on one of them.
const MAX_SHOWN: usize = 100;

impl Decls<'_> {
    fn input_unclear(&self, at: Loc, name: &str) -> Diagnostic {
        let message = format!("what a test gives `{name}` cannot depend on other inputs");
        Diagnostic::error("E0410", self.span(at), message).label("depends on an input")
    }

    fn expectation_false(&self, at: Loc) -> Diagnostic {
        let message = format!("`{}` does not hold", self.excerpt(at));
        Diagnostic::error("E0410", self.span(at), message).label("is false")
    }

    fn not_so(
        &self,
        at: Loc,
        (left_at, left): (Loc, &Traced),
        op: BinaryOp,
        (right_at, right): (Loc, &Traced),
    ) -> Diagnostic {
        let (a, b) = (shown(Some(left)), shown(Some(right)));
        let message = if op == BinaryOp::NotEqual {
            format!("`{}` does not hold: both are {a}", self.excerpt(at))
        } else {
            format!("`{}` does not hold: {a} {} {b} is false", self.excerpt(at), op.symbol())
        };
        let failure =
            Diagnostic::error("E0410", self.span(left_at), message).label(format!("this is {a}"));
        if left.at == left_at {
            return failure.also(self.span(right_at), format!("this is {b}"));
        }
        failure.also(self.span(left.at), "set here")
    }

    fn not_equal(&self, at: Loc, (found_at, found): (Loc, &Traced), wanted: &Traced) -> Diagnostic {
        let mut differences = Vec::new();
        differ(Some(found), Some(wanted), String::new(), &mut differences);
        let excerpt = self.excerpt(found_at);
        let failure = |message| Diagnostic::error("E0410", self.span(found_at), message);
        let set = match differences.as_slice() {
            [Difference { found: Some(found), .. }] if found.at != found_at => Some(found.at),
            _ => None,
        };
        let failure = match differences.as_slice() {
            [Difference { path, found, wanted }] => {
                let place = format!("{excerpt}{path}");
                let (found, wanted) = (shown(*found), shown(*wanted));
                failure(format!("`{place}` is {found}, expected {wanted}"))
                    .label(format!("expected {wanted} here"))
            }
            // Equal by value, and yet not by `==`: nothing that could be shown.
            [] => return self.expectation_false(at),
            many => {
                let mut message =
                    format!("`{excerpt}` differs from what is expected in {} places", many.len());
                for Difference { path, found, wanted } in many.iter().take(MAX_LINES) {
                    let place = |side: &Option<&Traced>| {
                        side.map_or_else(String::new, |side| format!(" ({})", self.place(side.at)))
                    };
                    let (a, b) = (shown(*found), shown(*wanted));
                    message.push_str(&format!(
                        "\n  {path}: {a}{}, expected {b}{}",
                        place(found),
                        place(wanted)
                    ));
                }
                if many.len() > MAX_LINES {
                    message.push_str(&format!("\n  … and {} more", many.len() - MAX_LINES));
                }
                failure(message).label("this")
            }
        };
        match set {
            Some(set) => failure.also(self.span(set), "set here"),
            None => failure,
        }
    }

    /// `web.berth:3:14`.
    fn place(&self, at: Loc) -> String {
        self.within(at).map_or_else(String::new, |(source, start, _)| {
            format!("{}:{}", source.path(), source.position(start as u32))
        })
    }

    /// The text of a place, if it is short and on one line.
    fn excerpt(&self, at: Loc) -> &str {
        let text = Some(self.text(at)).filter(|text| !text.is_empty());
        text.filter(|text| text.len() <= MAX_SHOWN && !text.contains('\n')).unwrap_or("this")
    }
}

/// A place where two values are not the same.
struct Difference<'v> {
    path: String,
    found: Option<&'v Traced>,
    wanted: Option<&'v Traced>,
}

fn differ<'v>(
    found: Option<&'v Traced>,
    wanted: Option<&'v Traced>,
    path: String,
    into: &mut Vec<Difference<'v>>,
) {
    let (plain_a, plain_b) = (found.and_then(Traced::to_value), wanted.and_then(Traced::to_value));
    if plain_a == plain_b {
        return;
    }
    let parts = match (&plain_a, &plain_b) {
        (Some(Value::List(a)), Some(Value::List(b))) => {
            let longest = a.len().max(b.len());
            (0..longest).map(|index| (format!("[{index}]"), Step::Element(index))).collect()
        }
        (Some(Value::Map(a)), Some(Value::Map(b))) => entries(a, b, true),
        (Some(Value::Record(a)), Some(Value::Record(b))) => entries(a, b, false),
        (Some(Value::Case { name: a, fields }), Some(Value::Case { name: b, fields: other }))
            if a == b =>
        {
            entries(fields, other, false)
        }
        (_, _) => Vec::new(),
    };
    if parts.is_empty() {
        into.push(Difference { path, found, wanted });
        return;
    }
    for (name, step) in parts {
        let take = |side: Option<&'v Traced>| side.and_then(|side| step.of(side));
        differ(take(found), take(wanted), format!("{path}{name}"), into);
    }
}

enum Step {
    Element(usize),
    Named(String),
}

impl Step {
    fn of<'v>(&self, value: &'v Traced) -> Option<&'v Traced> {
        match self {
            Self::Element(index) => value.element(*index),
            Self::Named(name) => value.get(name),
        }
    }
}

type Plain = BTreeMap<std::sync::Arc<str>, Value>;

fn entries(a: &Plain, b: &Plain, quoted: bool) -> Vec<(String, Step)> {
    let others = b.keys().filter(|name| !a.contains_key(*name));
    let mut names: Vec<&std::sync::Arc<str>> = a.keys().chain(others).collect();
    names.sort();
    let entry = |name: &std::sync::Arc<str>| {
        let shown = if quoted { format!("[{name:?}]") } else { format!(".{name}") };
        (shown, Step::Named(name.to_string()))
    };
    names.into_iter().map(entry).collect()
}

/// A value on one line, cut where it is long.
fn shown(value: Option<&Traced>) -> String {
    let Some(value) = value.and_then(Traced::to_value) else { return "absent".to_owned() };
    let text = crate::print::line(&value);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
