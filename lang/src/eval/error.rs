//! The mistakes that evaluating finds, in words.

use super::traced::Key;
use crate::diagnostic::{Diagnostic, Severity};
use crate::ids::Loc;
use crate::resolve::Decls;

impl Decls<'_> {
    pub(super) fn rule_broken(&self, at: Loc, message: String, rule: Loc) -> Diagnostic {
        Diagnostic::error("E0401", self.span(at), message)
            .label("this value")
            .also(self.span(rule), "breaks this rule")
    }

    pub(super) fn overflow(&self, at: Loc, op: &str) -> Diagnostic {
        Diagnostic::error("E0402", self.span(at), format!("the result of `{op}` is out of bounds"))
            .label("whole numbers have 64 bits, quantities are never negative")
    }

    pub(super) fn division_by_zero(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0402", self.span(at), "division by zero").label("this is zero")
    }

    pub(super) fn no_instance(
        &self,
        at: Loc,
        name: &str,
        key: &Key,
        known: &str,
        declared: Loc,
    ) -> Diagnostic {
        Diagnostic::error("E0403", self.span(at), format!("there is no `{name}[{key}]`"))
            .label("no such instance")
            .also(self.span(declared), format!("declared here, with {known}"))
    }

    pub(super) fn ring(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0404", self.span(at), format!("`{name}` needs itself"))
            .label("part of the ring")
    }

    pub(super) fn resource_ring(&self, at: Loc, path: &[&str]) -> Diagnostic {
        Diagnostic::error(
            "E0404",
            self.span(at),
            format!("these resources read each other: {}", path.join(" → ")),
        )
        .label("this closes the ring")
        .help("move what both need into a `let`")
    }

    pub(super) fn too_much_work(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0405", self.span(at), "this project takes too much work to evaluate")
            .label("evaluation gave up here")
            .help("look for ranges or comprehensions that multiply")
    }

    pub(super) fn too_deep(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0405", self.span(at), "this evaluation nests too deep")
            .label("evaluation gave up here")
    }

    pub(super) fn absent_path(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error(
            "E0406",
            self.span(at),
            format!("there is nothing here to set `{name}` of"),
        )
        .label("what stands before it is absent, or another case")
        .help("set the whole value instead")
    }

    pub(super) fn key_twice(&self, at: Loc, name: &str, key: &Key) -> Diagnostic {
        Diagnostic::error("E0407", self.span(at), format!("`{name}[{key}]` exists twice"))
            .label("this key comes again")
    }

    pub(super) fn entry_twice(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0407", self.span(at), format!("the key `{name}` comes twice"))
            .label("this key comes again")
    }

    pub(super) fn no_element(&self, at: Loc, index: i64, length: usize) -> Diagnostic {
        Diagnostic::error(
            "E0408",
            self.span(at),
            format!("there is no element {index} in a list of {length}"),
        )
        .label("elements count from 0")
    }

    pub(super) fn unknown_input(&self, at: Loc, name: &str, near: Option<&str>) -> Diagnostic {
        let diagnostic =
            Diagnostic::error("E0210", self.span(at), format!("the project has no input `{name}`"));
        match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        }
    }

    pub(super) fn unknown_environment(
        &self,
        at: Loc,
        name: &str,
        known: &[&str],
        near: Option<&str>,
    ) -> Diagnostic {
        let message = format!("the project has no environment `{name}`");
        let diagnostic =
            Diagnostic::error("E0213", self.span(at), message).label("the first that it has");
        match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("it has: {}", known.join(", "))),
        }
    }

    pub(super) fn policy_broken(
        &self,
        severity: Severity,
        (at, message): (Loc, String),
        (rule, policy): (Loc, &str),
        expired: Option<(&str, &str)>,
    ) -> Diagnostic {
        let diagnostic =
            Diagnostic { severity, ..Diagnostic::error("E0409", self.span(at), message) };
        let diagnostic = diagnostic
            .label("this")
            .also(self.span(rule), format!("the policy `{policy}` asks this"));
        match expired {
            Some((owner, until)) => {
                diagnostic.help(format!("{owner} waived it until {until}; that time is over"))
            }
            None => diagnostic,
        }
    }

    pub(super) fn input_missing(&self, at: Loc, name: &str, ty: &str) -> Diagnostic {
        Diagnostic::error("E0211", self.span(at), format!("the input `{name}: {ty}` has no value"))
            .label("has no default")
            .help(format!(
                "give it a default, or a value in an `environment`: `inputs: {{ {name}: … }}`"
            ))
    }

    pub(super) fn input_malformed(&self, at: Loc, name: &str, ty: &str, text: &str) -> Diagnostic {
        Diagnostic::error(
            "E0211",
            self.span(at),
            format!("the input `{name}` was given `{text}`, which does not fit into {ty}"),
        )
        .label("declared here")
    }
}
