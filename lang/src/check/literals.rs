//! Numbers with units, against what is expected of them.

use super::checker::{Checker, Why};
use super::typed::{Constant, Conversion, Kind, Typed};
use crate::decimal::Decimal;
use crate::ids::{Loc, TypeId};
use crate::resolve::Ty;
use crate::syntax::ast::{Expr, Number};
use crate::syntax::literal::{Unit, scaled, unit};
use crate::value::Scalar;

impl Checker<'_, '_> {
    /// A number where a type is expected.
    pub(super) fn check_number(
        &mut self,
        number: &Number,
        expr: &Expr,
        ty: &Ty,
        why: Option<Why>,
    ) -> Typed {
        let at = self.loc(expr.at);
        let (typed, found) = self.infer_number(number, at, Some(ty));
        if found == Ty::Error {
            return typed;
        }
        let quantity =
            matches!(ty, Ty::Cpu | Ty::Bytes | Ty::Duration | Ty::Percent | Ty::Int | Ty::Decimal);
        if quantity && found != *ty {
            let diagnostic = self.decls.wrong_unit(at, number, &found, ty, why);
            self.report(diagnostic);
            return self.poison(at);
        }
        self.convert(typed, &found, ty, why)
    }

    /// A number by its unit; `hint` decides what a bare number or `m` means.
    pub(super) fn infer_number(
        &mut self,
        number: &Number,
        at: Loc,
        hint: Option<&Ty>,
    ) -> (Typed, Ty) {
        let decls = self.decls;
        let hint = hint.map(|hint| decls.unrefine(hint));
        let Some(unit) = unit(number) else {
            let diagnostic = decls.unknown_unit(at, number, hint);
            self.report(diagnostic);
            return (self.poison(at), Ty::Error);
        };
        let fraction = number.digits.contains('.');
        let (value, ty): (Option<Scalar>, Ty) = match (unit, hint) {
            (Unit::None, Some(Ty::Cpu)) => (scaled(number, 1000).map(Scalar::Cpu), Ty::Cpu),
            (Unit::None, Some(Ty::Int)) if fraction => {
                let diagnostic = decls.fraction(at, number);
                self.report(diagnostic);
                return (self.poison(at), Ty::Error);
            }
            (Unit::None, hint) if fraction || hint == Some(&Ty::Decimal) => {
                (Decimal::read(&number.digits).map(Scalar::Decimal), Ty::Decimal)
            }
            (Unit::None, _) => {
                (scaled(number, 1).and_then(|n| i64::try_from(n).ok()).map(Scalar::Int), Ty::Int)
            }
            (Unit::M, Some(Ty::Duration)) => {
                (scaled(number, 60_000).map(Scalar::Duration), Ty::Duration)
            }
            (Unit::M, Some(Ty::Cpu | Ty::Int | Ty::Bytes | Ty::Percent)) => {
                (scaled(number, 1).map(Scalar::Cpu), Ty::Cpu)
            }
            (Unit::M, _) => {
                let diagnostic = decls.ambiguous_unit(at, number);
                self.report(diagnostic);
                return (self.poison(at), Ty::Error);
            }
            (Unit::Percent, _) => {
                let value = scaled(number, 100).and_then(|n| u32::try_from(n).ok());
                (value.map(Scalar::Percent), Ty::Percent)
            }
            (Unit::Time(scale), _) => (scaled(number, scale).map(Scalar::Duration), Ty::Duration),
            (Unit::Size(scale), _) => (scaled(number, scale).map(Scalar::Bytes), Ty::Bytes),
        };
        match value {
            Some(value) => (Typed { kind: Kind::Constant(value), at }, ty),
            None => {
                let diagnostic = decls.inexact(at, &ty);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }

    /// Puts a value under a refinement's rule; one that needs nothing from elsewhere is noted, to be
    /// judged even where it is never evaluated.
    pub(super) fn refine(&mut self, of: TypeId, typed: Typed) -> Typed {
        let at = typed.at;
        if typed.is_closed() {
            self.constants.push(Constant { of, typed: typed.clone() });
            return typed;
        }
        Typed { kind: Kind::Convert(Conversion::Refine(of), Box::new(typed)), at }
    }
}
