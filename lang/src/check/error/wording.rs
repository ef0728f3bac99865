//! How mistakes are worded: what decided an expectation, what was meant, and the noun for a type.

use crate::check::checker::Why;
use crate::diagnostic::Diagnostic;
use crate::ids::Loc;
use crate::resolve::{Decls, Ty};

impl Decls<'_> {
    pub(super) fn because(&self, diagnostic: Diagnostic, why: Option<Why>) -> Diagnostic {
        match why {
            Some(why) => diagnostic.also(self.span(why.at), why.text),
            None => diagnostic,
        }
    }

    pub(super) fn suggested(
        &self,
        diagnostic: Diagnostic,
        at: Loc,
        near: Option<&str>,
    ) -> Diagnostic {
        match near {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(self.span(at), near)
            }
            None => diagnostic,
        }
    }

    /// A type as a noun.
    pub(super) fn describe(&self, ty: &Ty) -> String {
        let ty = match self.unalias(ty) {
            Ty::Optional(inner) => return format!("{}, maybe absent", self.describe(inner)),
            other => other,
        };
        match ty {
            Ty::Ref(_) => format!("a {}", self.show(ty)),
            Ty::Record(_) => format!("a {}", self.show(ty)),
            Ty::List(_) => format!("a list {}", self.show(ty)),
            Ty::Map(_) => format!("a map {}", self.show(ty)),
            Ty::Error
            | Ty::Never
            | Ty::Bool
            | Ty::Int
            | Ty::Str
            | Ty::Cpu
            | Ty::Bytes
            | Ty::Duration
            | Ty::Percent
            | Ty::Decimal
            | Ty::Text(_)
            | Ty::Secret(_)
            | Ty::Optional(_)
            | Ty::Param(_)
            | Ty::Named(_) => self.show(ty),
        }
    }

    /// What stands before a place on its line.
    pub(super) fn line_before(&self, at: Loc) -> &str {
        let found = self.within(at);
        let before = found.and_then(|(source, start, _)| source.text().get(..start));
        before.and_then(|before| before.rsplit('\n').next()).unwrap_or("")
    }
}
