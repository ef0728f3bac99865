//! Tests.

use crate::diagnostic::Diagnostic;
use crate::ids::Loc;
use crate::resolve::Decls;

impl Decls<'_> {
    pub(in crate::check) fn environment_twice(&self, at: Loc, first: Loc) -> Diagnostic {
        Diagnostic::error("E0304", self.span(at), "a test is about one environment")
            .label("a second one")
            .also(self.span(first), "the first one")
    }

    pub(in crate::check) fn no_such_environment(
        &self,
        at: Loc,
        name: &str,
        near: Option<&str>,
    ) -> Diagnostic {
        let message = format!("the project has no environment `{name}`");
        let diagnostic = Diagnostic::error("E0213", self.span(at), message)
            .label("neither an environment nor an overlay");
        self.suggested(diagnostic, at, near)
    }

    pub(in crate::check) fn environment_without_key(&self, at: Loc, name: &str) -> Diagnostic {
        let message = format!("the name of the environment `{name}` goes on");
        Diagnostic::error("E0213", self.span(at), message)
            .label("with what?")
            .help(format!("write `{name}[\"…\"]`"))
    }

    pub(in crate::check) fn unknown_code(
        &self,
        at: Loc,
        code: &str,
        near: Option<&str>,
    ) -> Diagnostic {
        let message = format!("no mistake of the language has the code `{code}`");
        let diagnostic = Diagnostic::error("E0320", self.span(at), message).label("unknown code");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => diagnostic.help("the code stands in brackets where a mistake is reported"),
        }
    }
}
