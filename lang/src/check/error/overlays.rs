//! Overlays, environments, and policies.

use crate::diagnostic::Diagnostic;
use crate::ids::Loc;
use crate::nearest::nearest;
use crate::resolve::{Decls, Ty};

impl Decls<'_> {
    pub(in crate::check) fn set_twice(
        &self,
        at: Loc,
        path: &str,
        other: &str,
        earlier: Loc,
    ) -> Diagnostic {
        let message = if path == other {
            format!("`{path}` is set twice by one overlay")
        } else {
            format!("`{path}` and `{other}` are both set by one overlay")
        };
        Diagnostic::error("E0304", self.span(at), message)
            .label("set again here")
            .also(self.span(earlier), "first set here")
    }

    pub(in crate::check) fn not_a_resource(
        &self,
        at: Loc,
        name: &str,
        near: Option<&str>,
    ) -> Diagnostic {
        let message = format!("there is no resource `{name}`");
        let diagnostic = Diagnostic::error("E0214", self.span(at), message)
            .label("a path of an overlay starts at a resource");
        self.suggested(diagnostic, at, near)
    }

    pub(in crate::check) fn whole_resource(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0214", self.span(at), "an overlay sets fields, not whole resources")
            .label("a path goes on from here")
            .help(format!("write `{name}.FIELD: …` for each field that is to differ"))
    }

    pub(in crate::check) fn key_not_literal(&self, at: Loc) -> Diagnostic {
        let message = "an overlay names an instance by a key that is written out";
        Diagnostic::error("E0214", self.span(at), message)
            .label("neither a number nor a plain string")
            .help("write `n[1].FIELD`, or `n.FIELD` for all of them")
    }

    pub(in crate::check) fn no_such_input(
        &self,
        at: Loc,
        name: &str,
        near: Option<&str>,
    ) -> Diagnostic {
        let message = format!("the project has no input `{name}`");
        let diagnostic = Diagnostic::error("E0210", self.span(at), message).label("unknown input");
        self.suggested(diagnostic, at, near)
    }

    pub(in crate::check) fn environment_field(&self, at: Loc, name: &str) -> Diagnostic {
        let wanted =
            if name == "overlay" { "the name of an overlay" } else { "a record of inputs" };
        Diagnostic::error("E0301", self.span(at), format!("expected {wanted}"))
            .label("this is something else")
            .help("an environment is `{ overlay: NAME, inputs: { NAME: value } }`")
    }

    pub(in crate::check) fn unknown_environment_field(&self, at: Loc, name: &str) -> Diagnostic {
        let message = format!("an environment has no field `{name}`");
        let near = nearest(name, ["overlay", "inputs"]);
        let diagnostic = Diagnostic::error("E0302", self.span(at), message).label("unknown field");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => diagnostic.help("its fields are: overlay, inputs"),
        }
    }

    pub(in crate::check) fn unknown_severity(&self, at: Loc, name: &str) -> Diagnostic {
        let near = nearest(name, ["error", "warning"]);
        let diagnostic =
            Diagnostic::error("E0306", self.span(at), format!("there is no severity `{name}`"))
                .label("unknown severity");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => diagnostic.help("a severity is `error` or `warning`"),
        }
    }

    pub(in crate::check) fn waives_no_resource(&self, at: Loc, ty: &Ty) -> Diagnostic {
        let name = self.describe(ty);
        Diagnostic::error("E0319", self.span(at), format!("a waiver is for a resource, not {name}"))
            .label(format!("this is {name}"))
    }

    pub(in crate::check) fn not_a_date(&self, at: Loc, text: &str) -> Diagnostic {
        let message = format!("`{}` is not a date", text.escape_debug());
        Diagnostic::error("E0319", self.span(at), message)
            .label("until when?")
            .help("write the last day: \"2026-12-31\"")
    }

    pub(in crate::check) fn waiver_lacks(&self, at: Loc, what: &str) -> Diagnostic {
        Diagnostic::error("E0319", self.span(at), format!("this waiver has no {what}"))
            .label("is empty")
    }
}
