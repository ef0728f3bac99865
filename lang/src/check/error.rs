//! The mistakes that checking finds, in words.

use super::checker::Why;
use crate::diagnostic::Diagnostic;
use crate::ids::{FileId, FnId, Loc, TypeId};
use crate::nearest::nearest;
use crate::notation::{Malformed, Notation};
use crate::pattern::BadPattern;
use crate::resolve::{Bound, CaseTy, Decls, Def, FieldTy, Ty, TypeBody};
use crate::syntax::ast::Number;
use crate::syntax::literal::UNITS;

impl Decls<'_> {
    fn because(&self, diagnostic: Diagnostic, why: Option<Why>) -> Diagnostic {
        match why {
            Some(why) => diagnostic.also(self.span(why.at), why.text),
            None => diagnostic,
        }
    }

    fn suggested(&self, diagnostic: Diagnostic, at: Loc, near: Option<&str>) -> Diagnostic {
        match near {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(self.span(at), near)
            }
            None => diagnostic,
        }
    }

    pub(super) fn mismatch(
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

    /// A type as a noun.
    fn describe(&self, ty: &Ty) -> String {
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

    fn text(&self, at: Loc) -> &str {
        let file = self.files.get(at.file.0 as usize);
        file.and_then(|file| file.source.text().get(at.start as usize..at.end as usize))
            .unwrap_or("")
    }

    pub(super) fn unknown_name(
        &self,
        file: FileId,
        at: Loc,
        name: &str,
        locals: &[&str],
    ) -> Diagnostic {
        // A capital means a type, as in `Protocol.tcp`.
        let of_type = name.starts_with(|c: char| c.is_ascii_uppercase());
        let visible = self.visible(file).filter(|(_, def)| matches!(def, Def::Type(_)) == of_type);
        let near = nearest(name, locals.iter().copied().chain(visible.map(|(name, _)| name)));
        let diagnostic = Diagnostic::error("E0202", self.span(at), format!("there is no `{name}`"))
            .label("unknown name");
        if near.is_some() {
            return self.suggested(diagnostic, at, near);
        }
        let has_case = |body: &TypeBody<'_>| match body {
            TypeBody::Enum(cases) => cases.iter().any(|case| &*case.name == name),
            TypeBody::Record(_)
            | TypeBody::Alias(_)
            | TypeBody::Refined { .. }
            | TypeBody::Broken => false,
        };
        match self.types.iter().find(|decl| has_case(&decl.body)) {
            Some(decl) => {
                diagnostic.help(format!("where no type is expected, write `{}.{name}`", decl.name))
            }
            None => diagnostic,
        }
    }

    pub(super) fn unknown_function(&self, file: FileId, at: Loc, name: &str) -> Diagnostic {
        let functions = self.visible(file).filter(|(_, def)| matches!(def, Def::Fn(_)));
        let near = nearest(name, functions.map(|(name, _)| name));
        let diagnostic =
            Diagnostic::error("E0202", self.span(at), format!("there is no function `{name}`"))
                .label("unknown function");
        self.suggested(diagnostic, at, near)
    }

    pub(super) fn unknown_case(
        &self,
        at: Loc,
        name: &str,
        of: TypeId,
        cases: &[CaseTy],
        why: Option<Why>,
    ) -> Diagnostic {
        let near = nearest(name, cases.iter().map(|case| &*case.name));
        let names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
        let of = self.show(&Ty::Named(of));
        let diagnostic =
            Diagnostic::error("E0306", self.span(at), format!("{of} has no case `{name}`"))
                .label("unknown case");
        let diagnostic = self.because(diagnostic, why);
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => diagnostic.help(format!("its cases are: {}", names.join(", "))),
        }
    }

    pub(super) fn unknown_field(
        &self,
        at: Loc,
        name: &str,
        ty: &Ty,
        fields: &[FieldTy],
        near: Option<&str>,
    ) -> Diagnostic {
        let of = self.show(ty);
        let diagnostic =
            Diagnostic::error("E0302", self.span(at), format!("{of} has no field `{name}`"))
                .label("unknown field");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => {
                let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
                diagnostic.help(format!("its fields are: {}", names.join(", ")))
            }
        }
    }

    pub(super) fn unknown_member(&self, at: Loc, name: &str, ty: &Ty, base: Loc) -> Diagnostic {
        let names: Vec<&str> = match self.unrefine(ty) {
            Ty::Record(fields) => fields.iter().map(|(name, _)| &**name).collect(),
            Ty::Named(id) => match self.type_decl(*id).map(|decl| &decl.body) {
                Some(TypeBody::Record(fields)) => fields.iter().map(|field| &*field.name).collect(),
                Some(TypeBody::Enum(cases)) => {
                    cases.iter().flat_map(|case| &case.params).map(|param| &*param.name).collect()
                }
                Some(TypeBody::Alias(_) | TypeBody::Refined { .. } | TypeBody::Broken) | None => {
                    Vec::new()
                }
            },
            _ => Vec::new(),
        };
        let near = nearest(name, names.iter().copied());
        let message = format!("{} has no field `{name}`", self.describe(ty));
        let diagnostic = Diagnostic::error("E0302", self.span(at), message).label("unknown field");
        let diagnostic = if base == at {
            diagnostic
        } else {
            diagnostic.also(self.span(base), format!("this is {}", self.describe(ty)))
        };
        if near.is_some() {
            return self.suggested(diagnostic, at, near);
        }
        match self.unalias(ty) {
            Ty::Optional(_) => {
                diagnostic.help("it may be absent: say what stands in for it, `(… or …).field`")
            }
            _ if names.is_empty() => diagnostic,
            _ => diagnostic.help(format!("its fields are: {}", names.join(", "))),
        }
    }

    pub(super) fn missing_field(&self, at: Loc, field: &FieldTy, of: &Ty) -> Diagnostic {
        let message = format!("missing field `{}: {}`", field.name, self.show(&field.ty));
        Diagnostic::error("E0303", self.span(at), message)
            .label(format!("this {} has no `{}`", self.show(of), field.name))
            .also(self.span(field.at), "declared here, without a default")
    }

    pub(super) fn missing_argument(&self, at: Loc, param: &FieldTy, callee: &str) -> Diagnostic {
        let message =
            format!("missing argument `{}: {}` of `{callee}`", param.name, self.show(&param.ty));
        Diagnostic::error("E0303", self.span(at), message)
            .label(format!("needs `{}`", param.name))
            .also(self.span(param.at), "declared here, without a default")
    }

    pub(super) fn field_twice(&self, at: Loc, name: &str, first: Loc) -> Diagnostic {
        Diagnostic::error("E0304", self.span(at), format!("`{name}` is given twice"))
            .label("given again here")
            .also(self.span(first), "first given here")
    }

    pub(super) fn not_callable(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0305", self.span(at), "this is not a function")
            .label("cannot be called")
    }

    pub(super) fn not_called(&self, at: Loc, id: FnId) -> Diagnostic {
        let name = self.fns.get(id.index()).map_or("", |decl| &*decl.name);
        Diagnostic::error("E0305", self.span(at), format!("`{name}` is a function"))
            .label("functions are called, not passed on")
            .help(format!("call it: `{name}(…)`"))
    }

    pub(super) fn type_as_value(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0305", self.span(at), format!("`{name}` is a type, not a value"))
            .label("a value is wanted here")
    }

    pub(super) fn not_an_enum(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error("E0306", self.span(at), format!("{} has no cases", self.show(ty)))
            .label("not an enum")
    }

    pub(super) fn too_many_arguments(&self, at: Loc, callee: &str, count: usize) -> Diagnostic {
        let plural = if count == 1 { "" } else { "s" };
        Diagnostic::error(
            "E0310",
            self.span(at),
            format!("`{callee}` takes {count} argument{plural}"),
        )
        .label("one too many")
    }

    pub(super) fn positional_after_named(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0310", self.span(at), "an argument without a name follows a named one")
            .label("name this one too")
    }

    pub(super) fn unknown_argument(
        &self,
        at: Loc,
        name: &str,
        callee: &str,
        params: &[FieldTy],
        near: Option<&str>,
    ) -> Diagnostic {
        let diagnostic = Diagnostic::error(
            "E0310",
            self.span(at),
            format!("`{callee}` has no parameter `{name}`"),
        )
        .label("unknown parameter");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => {
                let names: Vec<&str> = params.iter().map(|param| &*param.name).collect();
                diagnostic.help(format!("its parameters are: {}", names.join(", ")))
            }
        }
    }

    pub(super) fn wrong_unit(
        &self,
        at: Loc,
        number: &Number,
        found: &Ty,
        wanted: &Ty,
        why: Option<Why>,
    ) -> Diagnostic {
        let (found_name, wanted_name) = (self.show(found), self.show(wanted));
        let unit = &*number.unit;
        let message = if unit.is_empty() {
            format!("expected {wanted_name}, found a number without a unit")
        } else {
            format!("expected {wanted_name}, found {found_name}")
        };
        let label = if unit.is_empty() {
            "needs a unit".to_owned()
        } else {
            format!("`{unit}` makes this {found_name}")
        };
        let diagnostic = Diagnostic::error("E0307", self.span(at), message).label(label);
        self.because(diagnostic, why).help(unit_help(wanted))
    }

    pub(super) fn type_too_large(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0105", self.span(at), "the type of this value is too large to infer")
            .label("too many fields, or too deep")
            .help("say the type: `let x: T = …`")
    }

    pub(super) fn unknown_unit(&self, at: Loc, number: &Number, hint: Option<&Ty>) -> Diagnostic {
        let unit = &*number.unit;
        let swapped = match unit {
            "K" | "k" | "Ki" | "KIB" | "kib" | "kiB" => Some("KiB"),
            "M" | "Mi" | "MIB" | "mib" | "miB" => Some("MiB"),
            "G" | "g" | "Gi" | "GIB" | "gib" => Some("GiB"),
            "T" | "t" | "Ti" => Some("TiB"),
            "min" | "mins" => Some("m"),
            "sec" | "secs" => Some("s"),
            _ => nearest(unit, UNITS.iter().map(|(text, _)| *text).filter(|text| text.len() > 1)),
        };
        let digits = &*number.digits;
        let diagnostic =
            Diagnostic::error("E0307", self.span(at), format!("there is no unit `{unit}`"))
                .label("unknown unit");
        match (swapped, hint) {
            (Some(near), _) => diagnostic
                .help(format!("did you mean `{digits}{near}`?"))
                .fix(self.span(at), format!("{digits}{near}")),
            (None, Some(hint)) => diagnostic.help(unit_help(hint)),
            (None, None) => diagnostic,
        }
    }

    pub(super) fn ambiguous_unit(&self, at: Loc, number: &Number) -> Diagnostic {
        let digits = &*number.digits;
        Diagnostic::error(
            "E0308",
            self.span(at),
            format!("`{digits}m` could be minutes or thousandths of a core"),
        )
        .label("nothing here says which")
        .help("say the type, as in `let x: Duration = …` or `let x: Cpu = …`")
    }

    pub(super) fn fraction(&self, at: Loc, number: &Number) -> Diagnostic {
        Diagnostic::error(
            "E0307",
            self.span(at),
            format!("`{}` has a fraction and no unit", number.digits),
        )
        .label("only quantities have fractions")
        .help("Int is whole; Cpu is written `1.5` or `1500m` where a Cpu is expected")
    }

    pub(super) fn inexact(&self, at: Loc, ty: &Ty) -> Diagnostic {
        let smallest = match ty {
            Ty::Cpu => "a thousandth of a core",
            Ty::Bytes => "a byte",
            Ty::Duration => "a millisecond",
            Ty::Percent => "a hundredth of a percent",
            Ty::Decimal => "18 digits after the point",
            _ => "a whole number",
        };
        Diagnostic::error("E0309", self.span(at), "this number cannot be kept exactly")
            .label("too large, or too fine")
            .help(format!(
                "the finest step is {smallest}; the largest number is 9,223,372,036,854,775,807"
            ))
    }

    pub(super) fn operands(
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

    pub(super) fn no_operator(&self, op_at: Loc, op: &str, left: &Ty, _right: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0311",
            self.span(op_at),
            format!("{} has no order", self.describe(left)),
        )
        .label(format!("`{op}` needs numbers, quantities or strings"))
    }

    pub(super) fn no_negative(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0311",
            self.span(at),
            format!("{} is never negative", self.describe(ty)),
        )
        .label("only Int is")
    }

    pub(super) fn not_iterable(&self, at: Loc, ty: &Ty) -> Diagnostic {
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

    pub(super) fn not_indexable(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0301",
            self.span(at),
            format!("expected a list or a map, found {}", self.describe(ty)),
        )
        .label(format!("this is {}", self.describe(ty)))
    }

    pub(super) fn bad_key(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error(
            "E0301",
            self.span(at),
            format!("a key is Int or Str, not {}", self.describe(ty)),
        )
        .label(format!("this is {}", self.describe(ty)))
    }

    pub(super) fn not_keyed(&self, at: Loc, name: &str, declared: Loc) -> Diagnostic {
        Diagnostic::error("E0305", self.span(at), format!("`{name}` has no instances"))
            .label("it is not keyed")
            .also(self.span(declared), "declared here")
    }

    /// What stands before a place on its line.
    fn line_before(&self, at: Loc) -> &str {
        let before = self.text(Loc { start: 0, end: at.start, ..at });
        before.rsplit('\n').next().unwrap_or("")
    }

    /// Arms that a `match` lacks. The fix adds them before its closing brace.
    pub(super) fn missing_cases(
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
        let blank = Loc { start: close.start - line.len() as u32, end: close.start, ..close };
        let (place, text) = if line.trim().is_empty() {
            let lines = arms.iter().map(|arm| format!("{line}  {arm}\n"));
            (Loc { end: blank.start, ..blank }, lines.collect())
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

    pub(super) fn unmet_bound(
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

    pub(super) fn secret_compared(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error("E0318", self.span(at), "secrets are not compared")
            .label(format!("this is {}", self.describe(ty)))
            .help("what a secret holds is not known here, and must not show")
    }

    pub(super) fn secret_argument(&self, at: Loc, callee: &str, ty: &Ty) -> Diagnostic {
        let message = format!("`{callee}` takes values of any type, but no secret");
        Diagnostic::error("E0318", self.span(at), message)
            .label(format!("this gives it {}", self.describe(ty)))
            .help("a function that takes secrets says so: `Secret<Str>`")
    }

    pub(super) fn secret_input(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0318", self.span(at), "an input is not a secret")
            .label("inputs are printed and kept with every plan")
            .help("declare it as `secret NAME = …`, which says where it is kept")
    }

    pub(super) fn set_twice(&self, at: Loc, path: &str, other: &str, earlier: Loc) -> Diagnostic {
        let message = if path == other {
            format!("`{path}` is set twice by one overlay")
        } else {
            format!("`{path}` and `{other}` are both set by one overlay")
        };
        Diagnostic::error("E0304", self.span(at), message)
            .label("set again here")
            .also(self.span(earlier), "first set here")
    }

    pub(super) fn not_a_resource(&self, at: Loc, name: &str, near: Option<&str>) -> Diagnostic {
        let message = format!("there is no resource `{name}`");
        let diagnostic = Diagnostic::error("E0214", self.span(at), message)
            .label("a path of an overlay starts at a resource");
        self.suggested(diagnostic, at, near)
    }

    pub(super) fn whole_resource(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0214", self.span(at), "an overlay sets fields, not whole resources")
            .label("a path goes on from here")
            .help(format!("write `{name}.FIELD: …` for each field that is to differ"))
    }

    pub(super) fn no_such_input(&self, at: Loc, name: &str, near: Option<&str>) -> Diagnostic {
        let message = format!("the project has no input `{name}`");
        let diagnostic = Diagnostic::error("E0210", self.span(at), message).label("unknown input");
        self.suggested(diagnostic, at, near)
    }

    pub(super) fn environment_field(&self, at: Loc, name: &str) -> Diagnostic {
        let wanted =
            if name == "overlay" { "the name of an overlay" } else { "a record of inputs" };
        Diagnostic::error("E0301", self.span(at), format!("expected {wanted}"))
            .label("this is something else")
            .help("an environment is `{ overlay: NAME, inputs: { NAME: value } }`")
    }

    pub(super) fn unknown_environment_field(&self, at: Loc, name: &str) -> Diagnostic {
        let message = format!("an environment has no field `{name}`");
        let near = nearest(name, ["overlay", "inputs"]);
        let diagnostic = Diagnostic::error("E0302", self.span(at), message).label("unknown field");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => diagnostic.help("its fields are: overlay, inputs"),
        }
    }

    pub(super) fn not_matched(&self, at: Loc, ty: &Ty) -> Diagnostic {
        let name = self.describe(ty);
        Diagnostic::error("E0313", self.span(at), format!("{name} has no patterns"))
            .label(format!("this is {name}"))
            .help("match an enum, an optional value, Bool, Int, Str or a quantity")
    }

    pub(super) fn never_absent(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error("E0313", self.span(at), format!("{} is never absent", self.describe(ty)))
            .label("nothing to match here")
    }

    pub(super) fn pattern_not_constant(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0313", self.span(at), "a pattern is a plain value")
            .label("this has to be evaluated")
            .help("compare with `==` in an `if`")
    }

    pub(super) fn alternatives_bind(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0313", self.span(at), "one of several patterns cannot bind a name")
            .label("the others would leave it without a value")
            .help("give each pattern an arm of its own")
    }

    pub(super) fn unreachable_pattern(&self, at: Loc) -> Diagnostic {
        Diagnostic::warning("W0301", self.span(at), "nothing comes this far")
            .label("the arms above take every such value")
    }

    /// `_` where a value is wanted.
    pub(super) fn hole(&self, at: Loc, ty: Option<&Ty>, why: Option<Why>) -> Diagnostic {
        let wanted = ty.map_or_else(|| "a value".to_owned(), |ty| self.describe(ty));
        let diagnostic = Diagnostic::error(
            "E0314",
            self.span(at),
            format!("{wanted} is still to be written here"),
        )
        .label("stands for what is missing");
        self.because(diagnostic, why)
    }

    pub(super) fn not_printable(&self, at: Loc, ty: &Ty) -> Diagnostic {
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

fn unit_help(wanted: &Ty) -> &'static str {
    match wanted {
        Ty::Cpu => "a Cpu is cores or thousandths: `1.5`, `500m`",
        Ty::Bytes => "Bytes are written with B, KiB, MiB, GiB, TiB or KB, MB, GB, TB: `256MiB`",
        Ty::Duration => "a Duration is written with ms, s, m, h or d: `30s`",
        Ty::Percent => "a Percent is written with `%`: `10%`",
        Ty::Decimal => "a Decimal has no unit: `1.5`",
        _ => "an Int has no unit",
    }
}
