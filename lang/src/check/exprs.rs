//! Expressions: checked against an expected type, or inferred where there is none.

use super::checker::{Checker, Why, as_name};
use super::operators::binary;
use super::typed::{Comprehension, Kind, Part, Typed};
use crate::ids::{Loc, TypeId};
use crate::resolve::{CaseTy, FieldTy, Ty, TypeBody};
use crate::syntax::ast::{self, Expr, ExprKind, Piece};
use crate::value::Scalar;
use std::sync::Arc;

impl<'c, 's> Checker<'c, 's> {
    pub(super) fn poison(&self, at: Loc) -> Typed {
        Typed { kind: Kind::Poison, at }
    }

    /// Checks against an expected type; `why` says where that was decided.
    pub(super) fn check(&mut self, expr: &Expr, ty: &Ty, why: Option<Why>) -> Typed {
        let decls = self.decls;
        let ty = decls.unalias(ty);
        if *ty == Ty::Error {
            return self.check_blindly(expr);
        }
        if self.data
            && let Some(typed) = self.check_datum(expr, ty, why)
        {
            return typed;
        }
        if let Some(typed) = self.check_branches(expr, ty, why) {
            return typed;
        }
        if let Ty::Optional(inner) = ty
            && self.takes_shape(expr, inner)
        {
            return self.check(expr, inner, why);
        }
        if let Ty::Named(id) = ty
            && let Some(TypeBody::Refined { base, .. }) =
                decls.type_decl(*id).map(|decl| &decl.body)
            && self.takes_shape(expr, base)
        {
            let checked = self.check(expr, base, why);
            return self.refine(*id, checked);
        }
        match &expr.kind {
            ExprKind::Number(number) => self.check_number(number, expr, ty, why),
            ExprKind::Record(fields) => self.check_record(expr, fields, ty, why, None),
            ExprKind::List(elements) if let Ty::List(element) = ty => {
                let checked = elements.iter().map(|each| self.check(each, element, why)).collect();
                Typed { kind: Kind::List(checked), at: self.loc(expr.at) }
            }
            ExprKind::Name(name) if let Some((of, cases)) = self.enum_of(ty) => {
                self.check_case_name(expr, name, of, cases, why, ty)
            }
            ExprKind::Call(callee, args)
                if let (Some((of, cases)), Some(name)) = (self.enum_of(ty), as_name(callee))
                    && let Some(case) = cases.iter().position(|case| case.name == *name) =>
            {
                self.construct(of, case, args, self.loc(expr.at))
            }
            ExprKind::Call(callee, _)
                if let (Some((of, cases)), Some(name)) = (self.enum_of(ty), as_name(callee))
                    && !self.is_value(name) =>
            {
                let diagnostic = decls.unknown_case(self.loc(callee.at), name, of, cases, why);
                self.report(diagnostic);
                self.poison(self.loc(expr.at))
            }
            ExprKind::Comprehension(parts) if let Ty::List(element) = ty => {
                let element = element.clone();
                self.comprehension(self.loc(expr.at), parts, None, |checker, inner| {
                    (checker.check(inner, &element, why), Ty::Error)
                })
                .0
            }
            ExprKind::Entries(parts) if let Ty::Map(element) = ty => {
                let (key, parts) = &**parts;
                let element = element.clone();
                self.comprehension(self.loc(expr.at), parts, Some(key), |checker, inner| {
                    (checker.check(inner, &element, why), Ty::Error)
                })
                .0
            }
            ExprKind::Binary(ast::BinaryOp::Add, _, left, right)
                if matches!(ty, Ty::List(_) | Ty::Map(_)) =>
            {
                let (left, right) = (self.check(left, ty, why), self.check(right, ty, why));
                binary(ast::BinaryOp::Add, left, right, self.loc(expr.at))
            }
            ExprKind::With(base, fields) => {
                let base = self.check(base, ty, why);
                self.updates(base, ty, fields, self.loc(expr.at))
            }
            _ => {
                let (typed, found) = self.infer(expr, Some(ty));
                self.convert(typed, &found, ty, why)
            }
        }
    }

    /// Checks where the expected type is a mistake that has been reported: a name that there is not may
    /// be a case of what was meant.
    fn check_blindly(&mut self, expr: &Expr) -> Typed {
        let before = self.diagnostics.len();
        let (typed, _) = self.infer(expr, None);
        let found = self.diagnostics.split_off(before);
        self.diagnostics.extend(found.into_iter().filter(|diagnostic| diagnostic.code != "E0202"));
        typed
    }

    /// An expression whose value is that of one of its branches: each is checked by itself.
    fn check_branches(&mut self, expr: &Expr, ty: &Ty, why: Option<Why>) -> Option<Typed> {
        let at = self.loc(expr.at);
        let kind = match &expr.kind {
            ExprKind::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.check(condition, &Ty::Bool, None);
                let then = self.check(then, ty, why);
                let otherwise = self.check(otherwise, ty, why);
                Kind::If(Box::new([condition, then, otherwise]))
            }
            ExprKind::Let(local) => {
                let value = self.local(local);
                let body = self.check(&local.body, ty, why);
                self.locals.pop();
                Kind::Bind(Box::new([value, body]))
            }
            ExprKind::Match(parts) => {
                let (typed, _) = self.matching(parts, at, |checker, body, _| {
                    (checker.check(body, ty, why), Ty::Error)
                });
                return Some(typed);
            }
            ExprKind::Name(name) if self.is_hole(name) => {
                let diagnostic = self.decls.hole(at, Some(ty), why);
                self.report(diagnostic);
                Kind::Poison
            }
            ExprKind::Error
            | ExprKind::Bool(_)
            | ExprKind::Number(_)
            | ExprKind::Str(_)
            | ExprKind::List(_)
            | ExprKind::Record(_)
            | ExprKind::Name(_)
            | ExprKind::Field(..)
            | ExprKind::Index(..)
            | ExprKind::Call(..)
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::Range { .. }
            | ExprKind::Comprehension(_)
            | ExprKind::Entries(_)
            | ExprKind::With(..)
            | ExprKind::Absent => return None,
        };
        Some(Typed { kind, at })
    }

    /// The value of a local binding, which is left in scope.
    fn local(&mut self, local: &ast::Local) -> Typed {
        let declared = local.ty.and_then(|index| self.decls.local_types.get(&(self.site, index)));
        let (value, ty) = match declared {
            Some(ty) => {
                let why = Why { at: self.loc(local.name.at), text: "declared here" };
                (self.check(&local.value, ty, Some(why)), ty.clone())
            }
            None => self.infer_small(&local.value),
        };
        self.locals.push((local.name.text.clone(), ty));
        value
    }

    /// Whether a name stands for a value that is still to be written.
    pub(super) fn is_hole(&self, name: &str) -> bool {
        name == "_" && !self.is_value(name)
    }

    /// Whether an expression takes its meaning from the type, rather than having one of its own.
    fn takes_shape(&self, expr: &Expr, ty: &Ty) -> bool {
        match &expr.kind {
            ExprKind::Number(_)
            | ExprKind::Record(_)
            | ExprKind::List(_)
            | ExprKind::With(..)
            | ExprKind::Comprehension(_)
            | ExprKind::Entries(_) => true,
            ExprKind::Unary(ast::UnaryOp::Negate, inner) => {
                matches!(inner.kind, ExprKind::Number(_))
            }
            ExprKind::Name(name) => {
                let enumeration = self.enum_of(self.decls.unalias(ty));
                enumeration.is_some_and(|(_, cases)| {
                    cases.iter().any(|case| case.name == *name) || !self.is_value(name)
                })
            }
            ExprKind::Call(callee, _) => {
                match (as_name(callee), self.enum_of(self.decls.unalias(ty))) {
                    (Some(name), Some((_, cases))) => cases.iter().any(|case| case.name == *name),
                    _ => false,
                }
            }
            ExprKind::Binary(ast::BinaryOp::Add, ..) => {
                matches!(self.decls.unrefine(ty), Ty::List(_) | Ty::Map(_))
            }
            ExprKind::Error
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Field(..)
            | ExprKind::Index(..)
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::Range { .. }
            | ExprKind::If(_)
            | ExprKind::Let(_)
            | ExprKind::Match(_)
            | ExprKind::Absent => false,
        }
    }

    pub(super) fn is_value(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| &**local == name)
            || self.decls.lookup(self.site.file, name).is_some()
    }

    /// The cases of an enum.
    pub(super) fn enum_of(&self, ty: &Ty) -> Option<(TypeId, &'c [CaseTy])> {
        let decls = self.decls;
        let Ty::Named(id) = ty else { return None };
        match &decls.type_decl(*id)?.body {
            TypeBody::Enum(cases) => Some((*id, cases)),
            TypeBody::Record(_)
            | TypeBody::Alias(_)
            | TypeBody::Refined { .. }
            | TypeBody::Broken => None,
        }
    }

    /// The fields of a declared record.
    pub(super) fn record_of(&self, ty: &Ty) -> Option<(TypeId, &'c [FieldTy])> {
        let decls = self.decls;
        let Ty::Named(id) = ty else { return None };
        match &decls.type_decl(*id)?.body {
            TypeBody::Record(fields) => Some((*id, fields)),
            TypeBody::Enum(_)
            | TypeBody::Alias(_)
            | TypeBody::Refined { .. }
            | TypeBody::Broken => None,
        }
    }

    fn check_case_name(
        &mut self,
        expr: &Expr,
        name: &Arc<str>,
        of: TypeId,
        cases: &[CaseTy],
        why: Option<Why>,
        ty: &Ty,
    ) -> Typed {
        let at = self.loc(expr.at);
        let local = self.locals.iter().any(|(local, _)| local == name);
        if let Some(case) = cases.iter().position(|case| case.name == *name).filter(|_| !local) {
            return self.construct(of, case, &[], at);
        }
        if self.is_value(name) {
            let (typed, found) = self.infer(expr, Some(ty));
            return self.convert(typed, &found, ty, why);
        }
        let diagnostic = self.decls.unknown_case(at, name, of, cases, why);
        self.report(diagnostic);
        self.poison(at)
    }

    /// Infers a type. `hint` only decides what the unit `m` means, and type parameters that no argument
    /// has decided.
    pub(super) fn infer(&mut self, expr: &Expr, hint: Option<&Ty>) -> (Typed, Ty) {
        let at = self.loc(expr.at);
        match &expr.kind {
            ExprKind::Error => (self.poison(at), Ty::Error),
            ExprKind::Bool(value) => {
                (Typed { kind: Kind::Constant(Scalar::Bool(*value)), at }, Ty::Bool)
            }
            ExprKind::Number(number) => self.infer_number(number, at, hint),
            ExprKind::Str(pieces) => self.interpolate(pieces, at),
            ExprKind::List(elements) => self.infer_list(elements, at, hint),
            ExprKind::Record(fields) => self.infer_record(fields, at),
            ExprKind::Name(name) => self.infer_name(name, at),
            ExprKind::Field(base, member) => self.infer_field(base, member, at),
            ExprKind::Index(base, key) => self.infer_index(base, key, at),
            ExprKind::Call(callee, args) => self.infer_call(callee, args, at, hint),
            ExprKind::Unary(op, inner) => self.infer_unary(*op, inner, at, hint),
            ExprKind::Binary(op, op_at, left, right) => {
                self.infer_binary(*op, *op_at, left, right, at, hint)
            }
            ExprKind::Range { from, to, inclusive } => {
                let from = Box::new(self.check(from, &Ty::Int, None));
                let to = Box::new(self.check(to, &Ty::Int, None));
                let kind = Kind::Range { from, to, inclusive: *inclusive };
                (Typed { kind, at }, Ty::List(Arc::new(Ty::Int)))
            }
            ExprKind::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.check(condition, &Ty::Bool, None);
                let (then, ty) = self.infer(then, hint);
                let why = Why { at: then.at, text: "the other branch decides this" };
                let otherwise = self.check(otherwise, &ty, Some(why));
                (Typed { kind: Kind::If(Box::new([condition, then, otherwise])), at }, ty)
            }
            ExprKind::Comprehension(parts) => {
                let (typed, element) = self
                    .comprehension(at, parts, None, |checker, inner| checker.infer(inner, None));
                (typed, Ty::List(Arc::new(element)))
            }
            ExprKind::Entries(parts) => {
                let (key, parts) = &**parts;
                let infer = |checker: &mut Self, inner: &Expr| checker.infer(inner, None);
                let (typed, element) = self.comprehension(at, parts, Some(key), infer);
                (typed, Ty::Map(Arc::new(element)))
            }
            ExprKind::With(base, fields) => {
                let (base, ty) = self.infer(base, None);
                let (base, ty) = self.followed(base, ty);
                (self.updates(base, &ty, fields, at), ty)
            }
            ExprKind::Let(local) => {
                let value = self.local(local);
                let (body, ty) = self.infer(&local.body, hint);
                self.locals.pop();
                (Typed { kind: Kind::Bind(Box::new([value, body])), at }, ty)
            }
            ExprKind::Match(parts) => {
                self.matching(parts, at, |checker, body, first| match first {
                    None => checker.infer(body, hint),
                    Some((ty, first_at)) => {
                        let why = Why { at: *first_at, text: "the first arm decides this" };
                        (checker.check(body, ty, Some(why)), ty.clone())
                    }
                })
            }
            ExprKind::Absent => {
                (Typed { kind: Kind::Absent, at }, Ty::Optional(Arc::new(Ty::Never)))
            }
        }
    }

    fn infer_list(&mut self, elements: &[Expr], at: Loc, hint: Option<&Ty>) -> (Typed, Ty) {
        let Some((first, rest)) = elements.split_first() else {
            return (Typed { kind: Kind::List(Vec::new()), at }, Ty::List(Arc::new(Ty::Never)));
        };
        let (first, ty) = self.infer(first, hint);
        let why = Why { at: first.at, text: "the first element decides this" };
        let rest: Vec<Typed> = rest.iter().map(|each| self.check(each, &ty, Some(why))).collect();
        let all = std::iter::once(first).chain(rest).collect();
        (Typed { kind: Kind::List(all), at }, Ty::List(Arc::new(ty)))
    }

    fn comprehension(
        &mut self,
        at: Loc,
        parts: &ast::Comprehension,
        key: Option<&Expr>,
        element: impl FnOnce(&mut Self, &Expr) -> (Typed, Ty),
    ) -> (Typed, Ty) {
        let (source, ty) = self.infer(&parts.source, None);
        let (source, ty) = self.iterable(source, ty);
        let (position, each) = match (self.decls.unrefine(&ty), &parts.position) {
            (Ty::List(each), _) => (Ty::Int, (**each).clone()),
            (Ty::Map(each), Some(_)) => (Ty::Str, (**each).clone()),
            (Ty::Error | Ty::Never, _) => (Ty::Error, Ty::Error),
            (other, _) => {
                let diagnostic = self.decls.not_iterable(source.at, &other.clone());
                self.report(diagnostic);
                (Ty::Error, Ty::Error)
            }
        };
        let outside = self.locals.len();
        if let Some(name) = &parts.position {
            self.locals.push((name.text.clone(), position));
        }
        self.locals.push((parts.variable.text.clone(), each));
        let condition =
            parts.condition.as_ref().map(|condition| self.check(condition, &Ty::Bool, None));
        let key = key.map(|key| self.check(key, &Ty::Str, None));
        let (element, ty) = element(self, &parts.element);
        self.locals.truncate(outside);
        let positioned = parts.position.is_some();
        let parts = Comprehension { key, positioned, element, source, condition };
        (Typed { kind: Kind::Comprehension(Box::new(parts)), at }, ty)
    }

    /// A string; with a secret in it, it is one.
    fn interpolate(&mut self, pieces: &[Piece], at: Loc) -> (Typed, Ty) {
        if let [Piece::Text(text)] = pieces {
            return (Typed { kind: Kind::Constant(Scalar::Str(text.clone())), at }, Ty::Str);
        }
        let mut parts = Vec::new();
        let mut secret = false;
        for piece in pieces {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text.clone())),
                Piece::Interpolation(inner) => {
                    let (typed, ty) = self.infer(inner, None);
                    let inside = match self.decls.unrefine(&ty) {
                        Ty::Secret(inner) => {
                            secret = true;
                            (**inner).clone()
                        }
                        _ => ty,
                    };
                    if !self.printable(&inside) {
                        let diagnostic = self.decls.not_printable(typed.at, &inside);
                        self.report(diagnostic);
                    }
                    parts.push(Part::Expr(typed));
                }
            }
        }
        let ty = if secret { Ty::Secret(Arc::new(Ty::Str)) } else { Ty::Str };
        (Typed { kind: Kind::Interpolate(parts), at }, ty)
    }

    fn printable(&self, ty: &Ty) -> bool {
        match self.decls.unrefine(ty) {
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
            | Ty::Ref(_) => true,
            named @ Ty::Named(_) => self
                .enum_of(named)
                .is_some_and(|(_, cases)| cases.iter().all(|case| case.params.is_empty())),
            Ty::List(_) | Ty::Map(_) | Ty::Optional(_) | Ty::Record(_) | Ty::Param(_) => false,
        }
    }
}
