//! `test` blocks: each runs against the whole project, in the environment and with the inputs that it names.
//!
//! Tests of one environment share an evaluation. What `expect fails` holds is compiled in the place of
//! its test, at the very bytes where it stands, so that its mistakes point into it.

use crate::check;
use crate::check::typed::{Checked, TypedExpectation, TypedTest};
use crate::diagnostic::{Diagnostic, Severity};
use crate::eval;
use crate::ids::Loc;
use crate::program::CompileRequest;
use crate::resolve::{self, Decls, Roots};
use crate::span::Span;
use crate::workspace::Snapshot;
use std::collections::BTreeMap;

/// What running tests takes besides the files.
#[derive(Clone, Debug, Default)]
pub struct TestRequest {
    /// Only tests whose name contains this run.
    pub filter: Option<String>,
    /// When it is, in milliseconds since 1970, as in [`CompileRequest::now_ms`].
    pub now_ms: Option<u64>,
}

/// What running tests gives.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Mistakes in the text, with which no test runs, and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// The tests that ran, by file and place.
    pub tests: Vec<Tested>,
}

/// How a test went.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// The place of its name.
    pub span: Span,
    /// Why it failed; nothing where it passed. A fix makes an expected value what was found.
    pub failures: Vec<Diagnostic>,
}

impl TestReport {
    /// Whether the text has no mistake and no test failed.
    pub fn passed(&self) -> bool {
        let errors = self.diagnostics.iter().any(|each| each.severity == Severity::Error);
        !errors && self.tests.iter().all(|test| test.failures.is_empty())
    }
}

impl Snapshot {
    /// Runs the tests of the project: those of its files, of what they import, and of every other file
    /// that has any.
    pub fn test(&self, request: &TestRequest) -> TestReport {
        let (decls, mut diagnostics) = resolve::resolve(self, Roots::Tests);
        let checked = check::check(&decls, &mut diagnostics);
        for decl in &decls.resources {
            check::check_resource(&decls, &checked, decl.id, &mut diagnostics);
        }
        diagnostics.sort_by(|a, b| (&a.primary, a.code).cmp(&(&b.primary, b.code)));
        diagnostics.dedup();
        if diagnostics.iter().any(|each| each.severity == Severity::Error) {
            return TestReport { diagnostics, tests: Vec::new() };
        }
        let wanted = |name: &str| request.filter.as_ref().is_none_or(|part| name.contains(part));
        let chosen = decls.tests.iter().zip(&checked.tests).enumerate();
        let chosen = chosen.filter(|(_, (decl, _))| wanted(&decl.name));
        let mut failures: BTreeMap<usize, Vec<Diagnostic>> = BTreeMap::new();
        let mut groups: BTreeMap<Assumed, Vec<usize>> = BTreeMap::new();
        for (index, (_, test)) in chosen {
            match eval::test_inputs(&decls, &checked, test) {
                Ok(inputs) => {
                    groups.entry((test.environment.clone(), inputs)).or_default().push(index);
                }
                Err(why) => {
                    failures.insert(index, why);
                }
            }
        }
        for ((environment, inputs), members) in groups {
            let request = CompileRequest { inputs, environment, now_ms: request.now_ms };
            let tests: Vec<&TypedTest> = members.iter().map(|&each| &checked.tests[each]).collect();
            let found = eval::run_tests(&decls, &checked, &request, &tests);
            let fragments = Fragments { snapshot: self, decls: &decls, checked: &checked };
            for (index, mut found) in members.into_iter().zip(found) {
                found.extend(fragments.judge(index, &request));
                failures.insert(index, found);
            }
        }
        let tests = failures.into_iter().map(|(index, failures)| {
            let decl = &decls.tests[index];
            Tested { name: decl.name.to_string(), span: decls.span(decl.at), failures }
        });
        TestReport { diagnostics, tests: tests.collect() }
    }
}

/// The environment and the inputs of a test.
type Assumed = (Option<String>, BTreeMap<String, String>);

/// The texts of `expect fails`, and the project that they are part of.
struct Fragments<'t, 's> {
    snapshot: &'t Snapshot,
    decls: &'t Decls<'s>,
    checked: &'t Checked,
}

impl Fragments<'_, '_> {
    /// What is wrong with the mistakes that a test expects.
    fn judge(&self, index: usize, request: &CompileRequest) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        let mut before: Option<Vec<Diagnostic>> = None;
        for expectation in &self.checked.tests[index].expectations {
            let TypedExpectation::Fails { code, at, fragment } = expectation else { continue };
            let before = before.get_or_insert_with(|| self.compiled(index, None, request));
            let mut found = self.compiled(index, Some(*fragment), request);
            // A fragment may declare resources wherever its test stands.
            let own =
                |each: &Diagnostic| matches!(each.code, "E0209" | "E0218") && *code != each.code;
            found.retain(|each| !before.contains(each) && !own(each));
            let expected = found.iter().any(|each| each.code == *code);
            let other = found
                .into_iter()
                .find(|each| each.code != *code && each.severity == Severity::Error);
            match (expected, other) {
                (true, None) => {}
                (_, Some(other)) => wrong.push(self.decls.fails_otherwise(*at, code, &other)),
                (false, None) => wrong.push(self.decls.does_not_fail(*at, code)),
            }
        }
        wrong
    }

    /// The mistakes of the project with a fragment in the place of its test, or with nothing there.
    fn compiled(
        &self,
        index: usize,
        fragment: Option<Loc>,
        request: &CompileRequest,
    ) -> Vec<Diagnostic> {
        let site = self.decls.tests[index].site;
        let Some(file) = self.decls.files.get(site.file.0 as usize) else { return Vec::new() };
        let own = file.items.iter().find(|each| each.text.id == site.item);
        let (start, end) = own.map_or((0, 0), |own| (own.start as usize, own.end as usize));
        let text = file.source.text();
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let blank = |text: &str| -> String {
            text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect()
        };
        let middle = match fragment {
            None => blank(piece(start, end)),
            Some(at) => {
                let at = self.decls.span(at);
                let (from, to) = (at.start as usize, at.end as usize);
                format!("{}{}{}", blank(piece(start, from)), piece(from, to), blank(piece(to, end)))
            }
        };
        let text = format!("{}{middle}{}", piece(0, start), piece(end, text.len()));
        let changed = self.snapshot.with_text(file.source.path(), text.into());
        changed.compile_from(Roots::Tests, request).diagnostics
    }
}

impl Decls<'_> {
    fn does_not_fail(&self, at: Loc, code: &str) -> Diagnostic {
        Diagnostic::error("E0411", self.span(at), format!("this does not fail with {code}"))
            .label("nothing is wrong with it")
    }

    fn fails_otherwise(&self, at: Loc, code: &str, other: &Diagnostic) -> Diagnostic {
        let message = format!("this fails with {}, not only with {code}", other.code);
        Diagnostic::error("E0411", self.span(at), message)
            .label(format!("{code} is expected"))
            .also(other.primary.span.clone(), format!("{}: {}", other.code, other.message))
    }
}
