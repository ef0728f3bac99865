//! Numbers with units that do not fit.

use crate::check::checker::Why;
use crate::diagnostic::Diagnostic;
use crate::ids::Loc;
use crate::nearest::nearest;
use crate::resolve::{Decls, Ty};
use crate::syntax::ast::Number;
use crate::syntax::literal::UNITS;

impl Decls<'_> {
    pub(in crate::check) fn wrong_unit(
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

    pub(in crate::check) fn unknown_unit(
        &self,
        at: Loc,
        number: &Number,
        hint: Option<&Ty>,
    ) -> Diagnostic {
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

    pub(in crate::check) fn ambiguous_unit(&self, at: Loc, number: &Number) -> Diagnostic {
        let digits = &*number.digits;
        Diagnostic::error(
            "E0308",
            self.span(at),
            format!("`{digits}m` could be minutes or thousandths of a core"),
        )
        .label("nothing here says which")
        .help("say the type, as in `let x: Duration = …` or `let x: Cpu = …`")
    }

    pub(in crate::check) fn fraction(&self, at: Loc, number: &Number) -> Diagnostic {
        Diagnostic::error(
            "E0307",
            self.span(at),
            format!("`{}` has a fraction and no unit", number.digits),
        )
        .label("only quantities have fractions")
        .help("Int is whole; Cpu is written `1.5` or `1500m` where a Cpu is expected")
    }

    pub(in crate::check) fn inexact(&self, at: Loc, ty: &Ty) -> Diagnostic {
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
