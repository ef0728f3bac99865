//! Operators: on integers, on like quantities, on conditions, on lists.

use super::checker::{Checker, Why};
use super::typed::{Kind, Typed};
use crate::ids::Loc;
use crate::resolve::{Bound, Ty};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, Rel, UnaryOp};
use crate::value::Scalar;
use std::sync::Arc;

impl Checker<'_, '_> {
    pub(super) fn infer_unary(
        &mut self,
        op: UnaryOp,
        inner: &Expr,
        at: Loc,
        hint: Option<&Ty>,
    ) -> (Typed, Ty) {
        match op {
            UnaryOp::Not => {
                let inner = self.check(inner, &Ty::Bool, None);
                (Typed { kind: Kind::Not(Box::new(inner)), at }, Ty::Bool)
            }
            UnaryOp::Negate => {
                let (inner, ty) = self.infer(inner, hint);
                match (self.decls.unrefine(&ty), inner.kind) {
                    (Ty::Int, Kind::Constant(Scalar::Int(value))) => (
                        Typed { kind: Kind::Constant(Scalar::Int(value.saturating_neg())), at },
                        Ty::Int,
                    ),
                    (Ty::Int, kind) => {
                        let inner = Typed { kind, at: inner.at };
                        (Typed { kind: Kind::Negate(Box::new(inner)), at }, Ty::Int)
                    }
                    (Ty::Decimal, kind) => {
                        let inner = Typed { kind, at: inner.at };
                        (Typed { kind: Kind::Negate(Box::new(inner)), at }, Ty::Decimal)
                    }
                    (Ty::Error | Ty::Never, _) => (self.poison(at), Ty::Error),
                    (other, _) => {
                        let diagnostic = self.decls.no_negative(at, other);
                        self.report(diagnostic);
                        (self.poison(at), Ty::Error)
                    }
                }
            }
        }
    }

    pub(super) fn infer_binary(
        &mut self,
        op: BinaryOp,
        op_at: Rel,
        left: &Expr,
        right: &Expr,
        at: Loc,
        hint: Option<&Ty>,
    ) -> (Typed, Ty) {
        match op {
            BinaryOp::And => {
                let left = self.check(left, &Ty::Bool, None);
                let right = self.check(right, &Ty::Bool, None);
                (binary(op, left, right, at), Ty::Bool)
            }
            BinaryOp::Or => {
                let (left, ty) = self.infer(left, None);
                if let Ty::Optional(inner) = self.decls.unalias(&ty).clone() {
                    let right = self.check(
                        right,
                        &inner,
                        Some(Why { at: left.at, text: "stands in for this" }),
                    );
                    return (
                        Typed { kind: Kind::OrElse(Box::new(left), Box::new(right)), at },
                        (*inner).clone(),
                    );
                }
                let left = self.convert(left, &ty, &Ty::Bool, None);
                let right = self.check(right, &Ty::Bool, None);
                (binary(op, left, right, at), Ty::Bool)
            }
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual => self.comparison(op, op_at, left, right, at),
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder => {
                let hint = hint.filter(|hint| self.decls.unrefine(hint) != &Ty::Int);
                let (left, right) = self.pair(left, right, hint);
                let (left, right) = self.as_maps(left, right);
                self.arithmetic(op, self.loc(op_at), left, right, at)
            }
        }
    }

    /// Both operands; one with a clear type says what `m` means in the other.
    fn pair(&mut self, left: &Expr, right: &Expr, hint: Option<&Ty>) -> ((Typed, Ty), (Typed, Ty)) {
        let unclear =
            |expr: &Expr| matches!(&expr.kind, ExprKind::Number(number) if &*number.unit == "m");
        if unclear(left) && hint.is_none() {
            let right = self.infer(right, None);
            let decides = matches!(self.decls.unrefine(&right.1), Ty::Cpu | Ty::Duration);
            let left = self.infer(left, Some(&right.1).filter(|_| decides));
            return (left, right);
        }
        let bare =
            |expr: &Expr| matches!(&expr.kind, ExprKind::Number(number) if number.unit.is_empty());
        // A bare number beside a quantity is a factor, not cores.
        let left = self.infer(left, hint.filter(|_| !bare(left)));
        let decides = matches!(self.decls.unrefine(&left.1), Ty::Cpu | Ty::Duration);
        let beside = Some(&left.1).filter(|_| decides && unclear(right));
        let right_hint = hint.or(beside).filter(|_| !bare(right));
        let right = self.infer(right, right_hint);
        (left, right)
    }

    /// Records that meet a map, or each other, are maps if their fields are of one type.
    fn as_maps(&mut self, left: (Typed, Ty), right: (Typed, Ty)) -> ((Typed, Ty), (Typed, Ty)) {
        let values = |ty: &Ty| match self.decls.unrefine(ty) {
            Ty::Map(value) => Some((**value).clone()),
            Ty::Record(fields) => fields.first().map(|(_, ty)| ty.clone()),
            _ => None,
        };
        match (values(&left.1), values(&right.1)) {
            (Some(value), Some(_)) => {
                let map = Ty::Map(Arc::new(value));
                (self.as_map(left, &map), self.as_map(right, &map))
            }
            (_, _) => (left, right),
        }
    }

    fn as_map(&mut self, (typed, ty): (Typed, Ty), map: &Ty) -> (Typed, Ty) {
        if matches!(ty, Ty::Record(_)) && self.converts(&ty, map) {
            return (self.convert(typed, &ty, map, None), map.clone());
        }
        (typed, ty)
    }

    /// A source of a comprehension; a record whose fields are of one type is a map.
    pub(super) fn iterable(&mut self, typed: Typed, ty: Ty) -> (Typed, Ty) {
        let first = match &ty {
            Ty::Record(fields) => fields.first().map(|(_, ty)| ty.clone()),
            _ => None,
        };
        match first {
            Some(value) => self.as_map((typed, ty), &Ty::Map(Arc::new(value))),
            None => (typed, ty),
        }
    }

    fn comparison(
        &mut self,
        op: BinaryOp,
        op_at: Rel,
        left: &Expr,
        right: &Expr,
        at: Loc,
    ) -> (Typed, Ty) {
        let decls = self.decls;
        // A bare case takes its type from the other side.
        let unbound = matches!(&left.kind, ExprKind::Name(name) if decls.lookup(self.site.file, name).is_none()
            && self.locals.iter().all(|(local, _)| local != name));
        let (first, second) = if unbound { (right, left) } else { (left, right) };
        let (first, ty) = match (&first.kind, &second.kind) {
            (ExprKind::Number(number), ExprKind::Number(_)) if &*number.unit == "m" => {
                let (_, other) = self.infer(second, None);
                self.infer(first, Some(&other))
            }
            _ => self.infer(first, None),
        };
        if decls.holds_secret(&ty) {
            let diagnostic = decls.secret_compared(first.at, &ty);
            self.report(diagnostic);
            return (self.poison(at), Ty::Error);
        }
        let inner = match decls.unrefine(&ty) {
            Ty::Optional(inner) => decls.unrefine(inner).clone(),
            other => other.clone(),
        };
        let why = Why { at: first.at, text: "compared with this" };
        let second = self.check(second, &inner, Some(why));
        let ordered = matches!(
            op,
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual
        );
        let orderable = decls.meets(&ty, Bound::Ordered);
        if ordered && !orderable {
            let diagnostic = decls.no_operator(self.loc(op_at), op.symbol(), &ty, &ty);
            self.report(diagnostic);
            return (self.poison(at), Ty::Error);
        }
        let (left, right) = if unbound { (second, first) } else { (first, second) };
        (binary(op, left, right, at), Ty::Bool)
    }

    fn arithmetic(
        &mut self,
        op: BinaryOp,
        op_at: Loc,
        left: (Typed, Ty),
        right: (Typed, Ty),
        at: Loc,
    ) -> (Typed, Ty) {
        let decls = self.decls;
        let (a, b) = (decls.unrefine(&left.1), decls.unrefine(&right.1));
        let quantity = |ty: &Ty| matches!(ty, Ty::Cpu | Ty::Bytes | Ty::Duration | Ty::Percent);
        let result = match (op, a, b) {
            (_, Ty::Error | Ty::Never, _) | (_, _, Ty::Error | Ty::Never) => {
                return (self.poison(at), Ty::Error);
            }
            (_, Ty::Int, Ty::Int) => Some(Ty::Int),
            (BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Remainder, a, b)
                if a == b && quantity(a) =>
            {
                Some(a.clone())
            }
            (BinaryOp::Divide, a, b) if a == b && quantity(a) => Some(Ty::Int),
            (BinaryOp::Multiply | BinaryOp::Divide, a, Ty::Int) if quantity(a) => Some(a.clone()),
            (BinaryOp::Multiply, Ty::Int, b) if quantity(b) => Some(b.clone()),
            (
                BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply,
                Ty::Decimal | Ty::Int,
                Ty::Decimal | Ty::Int,
            ) => Some(Ty::Decimal),
            // A part of a quantity.
            (BinaryOp::Multiply, a, Ty::Decimal | Ty::Percent) if quantity(a) => Some(a.clone()),
            (BinaryOp::Multiply, Ty::Decimal | Ty::Percent, b) if quantity(b) => Some(b.clone()),
            (BinaryOp::Add | BinaryOp::Subtract, Ty::Param(param), _)
                if a == b && param.bound == Some(Bound::Number) =>
            {
                Some(a.clone())
            }
            (BinaryOp::Add, Ty::List(_), Ty::List(_)) | (BinaryOp::Add, Ty::Map(_), Ty::Map(_))
                if a == b =>
            {
                Some(a.clone())
            }
            _ => None,
        };
        match result {
            Some(ty) => (binary(op, left.0, right.0, at), ty),
            None => {
                let (left_at, right_at) = (left.0.at, right.0.at);
                let diagnostic =
                    decls.operands(op_at, op.symbol(), (left_at, &left.1), (right_at, &right.1));
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }
}

pub(super) fn binary(op: BinaryOp, left: Typed, right: Typed, at: Loc) -> Typed {
    Typed { kind: Kind::Binary(op, Box::new(left), Box::new(right)), at }
}
