//! Matches and their patterns, and values that are still to be written.

use crate::check::checker::Why;
use crate::diagnostic::Diagnostic;
use crate::ids::Loc;
use crate::resolve::{Decls, Ty};

impl Decls<'_> {
    /// Arms that a `match` lacks. The fix adds them before its closing brace.
    pub(in crate::check) fn missing_cases(
        &self,
        at: Loc,
        ty: &Ty,
        missing: &[String],
        close: Loc,
        empty: bool,
    ) -> Diagnostic {
        let quoted: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        let named = match quoted.as_slice() {
            [only] if only == "`_`" => "other values".to_owned(),
            [] | [_] => quoted.concat(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        };
        let arms: Vec<String> = missing.iter().map(|name| format!("{name} -> _")).collect();
        let line = self.line_before(close);
        let (place, text) = if line.trim().is_empty() {
            let lines = arms.iter().map(|arm| format!("{line}  {arm}\n"));
            let start = close.start.saturating_sub(line.len() as u32);
            (Loc { start, end: start, ..close }, lines.collect())
        } else {
            // The space before the brace belongs after the new arms.
            let gap = line.len() - line.trim_end().len();
            let start = close.start - if empty { 0 } else { gap as u32 };
            let before = if empty { "" } else { ", " };
            (Loc { start, end: close.start, ..close }, format!("{before}{} ", arms.join(", ")))
        };
        let gives = if missing.len() > 1 || named == "other values" { "give" } else { "gives" };
        Diagnostic::error(
            "E0312",
            self.span(at),
            format!("this match does not say what {named} {gives}"),
        )
        .label(format!("this is {}", self.describe(ty)))
        .help("write an arm for each, or `_ -> …` for all the rest")
        .fix(self.span(place), text)
    }

    pub(in crate::check) fn not_matched(&self, at: Loc, ty: &Ty) -> Diagnostic {
        let name = self.describe(ty);
        Diagnostic::error("E0313", self.span(at), format!("{name} has no patterns"))
            .label(format!("this is {name}"))
            .help("match an enum, an optional value, Bool, Int, Str or a quantity")
    }

    pub(in crate::check) fn never_absent(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error("E0313", self.span(at), format!("{} is never absent", self.describe(ty)))
            .label("nothing to match here")
    }

    pub(in crate::check) fn pattern_not_constant(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0313", self.span(at), "a pattern is a plain value")
            .label("this has to be evaluated")
            .help("compare with `==` in an `if`")
    }

    pub(in crate::check) fn alternatives_bind(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0313", self.span(at), "one of several patterns cannot bind a name")
            .label("the others would leave it without a value")
            .help("give each pattern an arm of its own")
    }

    pub(in crate::check) fn unreachable_pattern(&self, at: Loc) -> Diagnostic {
        Diagnostic::warning("W0301", self.span(at), "nothing comes this far")
            .label("the arms above take every such value")
    }

    /// `_` where a value is wanted.
    pub(in crate::check) fn hole(&self, at: Loc, ty: Option<&Ty>, why: Option<Why>) -> Diagnostic {
        let wanted = ty.map_or_else(|| "a value".to_owned(), |ty| self.describe(ty));
        let diagnostic = Diagnostic::error(
            "E0314",
            self.span(at),
            format!("{wanted} is still to be written here"),
        )
        .label("stands for what is missing");
        self.because(diagnostic, why)
    }
}
