//! Tests: an environment and inputs that are there, conditions, and codes that are.

use super::checker::{Checker, Why};
use super::typed::{TypedExpectation, TypedTest};
use crate::explain::CODES;
use crate::ids::Loc;
use crate::nearest::nearest;
use crate::resolve::Ty;
use crate::syntax::ast::{Expectation, Name, Setting};

impl Checker<'_, '_> {
    /// A test; like a policy, it sees every resource.
    pub(super) fn check_test(&mut self, index: usize) -> TypedTest {
        let decl = &self.decls.tests[index];
        self.enter(decl.site);
        self.judging = true;
        let mut typed = TypedTest::default();
        let mut chosen: Option<Loc> = None;
        for setting in &decl.test.settings {
            match setting {
                Setting::Environment { name, key } => {
                    let at = self.loc(name.at);
                    if let Some(first) = chosen.replace(at) {
                        let diagnostic = self.decls.environment_twice(at, first);
                        self.report(diagnostic);
                        continue;
                    }
                    typed.environment = self.environment_named(name, key.as_ref());
                }
                Setting::Input { name, value } => {
                    let Some(id) = self.input_named(name) else {
                        self.silently(value);
                        continue;
                    };
                    let declared = &self.decls.inputs[id.index()];
                    let why = Why { at: declared.at, text: "the input is declared here" };
                    let value = self.check(value, &declared.ty, Some(why));
                    typed.inputs.push((id, value));
                }
            }
        }
        for expectation in &decl.test.expectations {
            match expectation {
                Expectation::Holds { condition, message } => {
                    let condition = self.check(condition, &Ty::Bool, None);
                    let message = message.as_ref().map(|m| self.check(m, &Ty::Str, None));
                    typed.expectations.push(TypedExpectation::Holds { condition, message });
                }
                Expectation::Fails { code, fragment } => {
                    let at = self.loc(code.at);
                    let Some(known) = CODES.iter().find(|known| **known == &*code.text) else {
                        let near = nearest(&code.text, CODES.iter().copied());
                        let diagnostic = self.decls.unknown_code(at, &code.text, near);
                        self.report(diagnostic);
                        continue;
                    };
                    let fragment = self.loc(*fragment);
                    typed.expectations.push(TypedExpectation::Fails { code: known, at, fragment });
                }
            }
        }
        self.judging = false;
        typed
    }

    /// The environment, or the overlay, that a test is about, as a request names it.
    fn environment_named(&mut self, name: &Name, key: Option<&Name>) -> Option<String> {
        let decls = self.decls;
        let keyed = |wanted: bool| {
            let mut environments = decls.environments.iter();
            environments.any(|each| each.name == name.text && each.key.is_some() == wanted)
        };
        let overlay = decls.overlays.iter().any(|each| each.name == name.text);
        match key {
            Some(key) if keyed(true) => return Some(format!("{}-{}", name.text, key.text)),
            None if keyed(false) || overlay => return Some(name.text.to_string()),
            Some(_) | None => {}
        }
        let environments = decls.environments.iter().map(|each| &*each.name);
        let names = environments.chain(decls.overlays.iter().map(|each| &*each.name));
        let diagnostic = if key.is_none() && keyed(true) {
            decls.environment_without_key(self.loc(name.at), &name.text)
        } else {
            decls.no_such_environment(self.loc(name.at), &name.text, nearest(&name.text, names))
        };
        self.report(diagnostic);
        None
    }
}
