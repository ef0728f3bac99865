//! Values of the wrong type, operators that do not apply, texts that are malformed, secrets that would show.

use crate::check::checker::Why;
use crate::diagnostic::Diagnostic;
use crate::ids::Loc;
use crate::notation::{Malformed, Notation};
use crate::pattern::BadPattern;
use crate::resolve::{Bound, CaseTy, Decls, Ty};

impl Decls<'_> {
    pub(in crate::check) fn mismatch(
        &self,
        at: Loc,
        found: &Ty,
        wanted: &Ty,
        why: Option<Why>,
    ) -> Diagnostic {
        let (found_name, wanted_name) = (self.describe(found), self.describe(wanted));
        if self.holds_secret(found) && !self.holds_secret(wanted) {
            let message = format!("a secret does not fit into {wanted_name}, which is plain");
            let diagnostic = Diagnostic::error("E0318", self.span(at), message)
                .label(format!("this is {found_name}"));
            return self.because(diagnostic, why);
        }
        let diagnostic = Diagnostic::error(
            "E0301",
            self.span(at),
            format!("expected {wanted_name}, found {found_name}"),
        )
        .label(format!("this is {found_name}"));
        let diagnostic = self.because(diagnostic, why);
        match (self.unrefine(found), self.unrefine(wanted)) {
            (Ty::Optional(_), _) => {
                diagnostic.help("it may be absent: say what stands in for it, `… or …`")
            }
            (Ty::Int, Ty::Str) => {
                let text = self.text(at);
                let literal = text.bytes().all(|b| b.is_ascii_digit());
                let replacement =
                    if literal { format!("\"{text}\"") } else { format!("\"${{{text}}}\"") };
                diagnostic.help("a string is written in quotes").fix(self.span(at), replacement)
            }
            (Ty::Str, Ty::Int) => {
                let text = self.text(at).trim_matches('"');
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
                    diagnostic.help("a number is written without quotes").fix(self.span(at), text)
                } else {
                    diagnostic
                }
            }
            _ => diagnostic,
        }
    }

    /// `null` in a data file, where something is wanted.
    pub(in crate::check) fn null_in_data(&self, at: Loc, ty: &Ty, why: Option<Why>) -> Diagnostic {
        let wanted = self.describe(ty);
        let message = format!("expected {wanted}, found null");
        let diagnostic =
            Diagnostic::error("E0301", self.span(at), message).label("there is nothing here");
        self.because(diagnostic, why)
            .help(format!("write a value, or make the type `{}?`", self.show(ty)))
    }

    /// A record in a data file, where an enum is wanted, that names no case.
    pub(in crate::check) fn no_case_in_data(
        &self,
        at: Loc,
        ty: &Ty,
        cases: &[CaseTy],
        why: Option<Why>,
    ) -> Diagnostic {
        let names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
        let message = format!("missing field `case`: which {} is it?", self.show(ty));
        let diagnostic = Diagnostic::error("E0303", self.span(at), message).label("names no case");
        self.because(diagnostic, why).help(format!(
            "write `\"case\": \"{}\"`; there are: {}",
            names.first().unwrap_or(&"…"),
            names.join(", ")
        ))
    }

    pub(in crate::check) fn type_too_large(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0105", self.span(at), "the type of this value is too large to infer")
            .label("too many fields, or too deep")
            .help("say the type: `let x: T = …`")
    }

    pub(in crate::check) fn operands(
        &self,
        op_at: Loc,
        op: &str,
        left: (Loc, &Ty),
        right: (Loc, &Ty),
    ) -> Diagnostic {
        let (a, b) = (self.describe(left.1), self.describe(right.1));
        let diagnostic = Diagnostic::error(
            "E0311",
            self.span(op_at),
            format!("`{op}` does not take {a} and {b}"),
        )
        .label(format!("{a} on the left, {b} on the right"));
        match (self.unrefine(left.1), self.unrefine(right.1)) {
            (Ty::Str, _) | (_, Ty::Str) if op == "+" => {
                diagnostic.help("strings are joined inside quotes: `\"${a}${b}\"`")
            }
            (Ty::Optional(_), _) | (_, Ty::Optional(_)) => {
                diagnostic.help("one may be absent: say what stands in for it, `(… or …)`")
            }
            _ => diagnostic,
        }
    }

    pub(in crate::check) fn no_operator(
        &self,
        op_at: Loc,
        op: &str,
        left: &Ty,
        _right: &Ty,
    ) -> Diagnostic {
        Diagnostic::error(
            "E0311",
            self.span(op_at),
            format!("{} has no order", self.describe(left)),
        )
        .label(format!("`{op}` needs numbers, quantities or strings"))
    }

    pub(in crate::check) fn no_negative(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0311",
            self.span(at),
            format!("{} is never negative", self.describe(ty)),
        )
        .label("only Int is")
    }

    pub(in crate::check) fn not_iterable(&self, at: Loc, ty: &Ty) -> Diagnostic {
        let diagnostic = Diagnostic::error(
            "E0301",
            self.span(at),
            format!("expected a list or a range, found {}", self.describe(ty)),
        )
        .label(format!("this is {}", self.describe(ty)));
        match self.unrefine(ty) {
            Ty::Map(_) => diagnostic.help("a map is walked with two names: `for key, value in …`"),
            _ => diagnostic,
        }
    }

    pub(in crate::check) fn not_indexable(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0301",
            self.span(at),
            format!("expected a list or a map, found {}", self.describe(ty)),
        )
        .label(format!("this is {}", self.describe(ty)))
    }

    pub(in crate::check) fn bad_key(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0301",
            self.span(at),
            format!("a key is Int or Str, not {}", self.describe(ty)),
        )
        .label(format!("this is {}", self.describe(ty)))
    }

    pub(in crate::check) fn unmet_bound(
        &self,
        at: Loc,
        callee: &str,
        bound: Bound,
        ty: &Ty,
        declared: Option<Loc>,
    ) -> Diagnostic {
        let can = match bound {
            Bound::Ordered => "no order",
            Bound::Number => "no sum",
            Bound::Sized => "no length",
        };
        let message = format!("`{callee}` does not take {}, which has {can}", self.describe(ty));
        let diagnostic = Diagnostic::error("E0315", self.span(at), message)
            .label(format!("needs a type that is {}", bound.name()));
        match declared {
            Some(declared) => diagnostic.also(self.span(declared), "declared here"),
            None => diagnostic,
        }
    }

    pub(crate) fn bad_pattern(&self, at: Loc, text: &str, bad: BadPattern) -> Diagnostic {
        let before: String = text.chars().take(bad.at).collect();
        Diagnostic::error("E0316", self.span(at), format!("this is not a pattern: {}", bad.what))
            .label(if before.is_empty() { "from its start".to_owned() } else { format!("wrong after `{before}`") })
            .help("in a pattern, `\\` takes the meaning from what follows; in `'…'` it needs no doubling")
    }

    /// A text that is not of the kind that is wanted; also said of values, when they are made.
    pub(crate) fn malformed(
        &self,
        at: Loc,
        notation: Notation,
        text: &str,
        bad: &Malformed,
    ) -> Diagnostic {
        let name = notation.name();
        let article = if name.starts_with('I') { "an" } else { "a" };
        let shown: String = text.chars().take(80).collect();
        let message = format!("`{}` is not {article} {name}: {}", shown.escape_debug(), bad.why);
        let diagnostic = Diagnostic::error("E0317", self.span(at), message)
            .label(format!("not {article} {name}"));
        match &bad.meant {
            // Only a literal can be mended where it stands.
            Some(meant) if self.text(at).trim_matches(['"', '\'']) == text => {
                let quote = self.text(at).get(..1).unwrap_or("\"");
                diagnostic
                    .help(format!("did you mean `{meant}`?"))
                    .fix(self.span(at), format!("{quote}{meant}{quote}"))
            }
            Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
            None => diagnostic,
        }
    }

    pub(in crate::check) fn secret_compared(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error("E0318", self.span(at), "secrets are not compared")
            .label(format!("this is {}", self.describe(ty)))
            .help("what a secret holds is not known here, and must not show")
    }

    pub(in crate::check) fn secret_argument(&self, at: Loc, callee: &str, ty: &Ty) -> Diagnostic {
        let message = format!("`{callee}` takes values of any type, but no secret");
        Diagnostic::error("E0318", self.span(at), message)
            .label(format!("this gives it {}", self.describe(ty)))
            .help("a function that takes secrets says so: `Secret<Str>`")
    }

    pub(in crate::check) fn secret_input(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0318", self.span(at), "an input is not a secret")
            .label("inputs are printed and kept with every plan")
            .help("declare it as `secret NAME = …`, which says where it is kept")
    }

    pub(in crate::check) fn not_printable(&self, at: Loc, ty: &Ty) -> Diagnostic {
        let diagnostic = Diagnostic::error(
            "E0301",
            self.span(at),
            format!("{} does not fit into a string", self.describe(ty)),
        )
        .label("cannot be printed");
        match self.unalias(ty) {
            Ty::Optional(_) => {
                diagnostic.help("it may be absent: say what stands in for it, `${… or …}`")
            }
            _ => diagnostic,
        }
    }
}
