//! Type parameters: what a call makes of them, by its arguments.

use super::checker::{Checker, Why};
use super::typed::Typed;
use crate::ids::Loc;
use crate::resolve::{Bound, Ty, TypeParam};
use crate::syntax::ast::Expr;
use std::sync::Arc;

/// The type parameters of one call, as far as they are known.
pub(super) struct Solved {
    generics: Vec<Arc<TypeParam>>,
    types: Vec<Option<Ty>>,
}

impl Solved {
    /// Nothing is known yet.
    pub(super) fn new(generics: &[Arc<TypeParam>]) -> Self {
        Self { generics: generics.to_vec(), types: vec![None; generics.len()] }
    }

    /// Every type, in the order of the parameters.
    pub(super) fn types(self) -> Vec<Ty> {
        self.types.into_iter().map(|ty| ty.unwrap_or(Ty::Never)).collect()
    }

    /// The types that do not meet their bound.
    pub(super) fn unmet<'c>(
        &'c self,
        checker: &'c Checker<'_, '_>,
    ) -> impl Iterator<Item = (usize, &'c TypeParam, Bound, &'c Ty)> {
        let known = self.generics.iter().zip(&self.types).enumerate();
        known.filter_map(|(index, (param, ty))| {
            let (bound, ty) = (param.bound?, ty.as_ref()?);
            (!checker.decls.meets(ty, bound)).then_some((index, &**param, bound, ty))
        })
    }

    fn own(&self, param: &TypeParam) -> bool {
        self.generics.get(param.index).is_some_and(|own| own.of == param.of)
    }

    /// A type with what is known in the place of type parameters, and whether all of them are.
    pub(super) fn fill(&self, ty: &Ty) -> (Ty, bool) {
        let wrap = |inner: &Arc<Ty>, of: fn(Arc<Ty>) -> Ty| {
            let (inner, known) = self.fill(inner);
            (of(Arc::new(inner)), known)
        };
        match ty {
            Ty::Param(param) if self.own(param) => match self.types.get(param.index) {
                Some(Some(known)) => (known.clone(), true),
                Some(None) | None => (Ty::Never, false),
            },
            Ty::List(inner) => wrap(inner, Ty::List),
            Ty::Map(inner) => wrap(inner, Ty::Map),
            Ty::Optional(inner) => wrap(inner, Ty::Optional),
            Ty::Secret(inner) => wrap(inner, Ty::Secret),
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
            | Ty::Named(_)
            | Ty::Param(_)
            | Ty::Ref(_)
            | Ty::Record(_) => (ty.clone(), true),
        }
    }
}

impl Checker<'_, '_> {
    /// An argument against the type of its parameter. What it is by itself says what type parameters
    /// are that no argument before it has decided.
    pub(super) fn argument(
        &mut self,
        value: &Expr,
        wanted: &Ty,
        why: Option<Why>,
        solved: &mut Solved,
    ) -> Typed {
        if solved.generics.is_empty() {
            return self.check(value, wanted, why);
        }
        let (known, complete) = solved.fill(wanted);
        if complete {
            return self.check(value, &known, why);
        }
        let (typed, found) = self.infer(value, None);
        self.solve(wanted, &found, solved);
        let (known, _) = solved.fill(wanted);
        self.convert(typed, &found, &known, why)
    }

    fn solve(&self, wanted: &Ty, found: &Ty, solved: &mut Solved) {
        let found = self.decls.unrefine(found);
        match (wanted, found) {
            (Ty::Param(param), found) if solved.own(param) => {
                if let Some(place @ None) = solved.types.get_mut(param.index)
                    && *found != Ty::Never
                {
                    *place = Some(found.clone());
                }
            }
            (Ty::List(wanted), Ty::List(found)) | (Ty::Map(wanted), Ty::Map(found)) => {
                self.solve(wanted, found, solved);
            }
            (Ty::Map(wanted), Ty::Record(fields)) => {
                fields.iter().for_each(|(_, found)| self.solve(wanted, found, solved));
            }
            (Ty::Optional(wanted), Ty::Optional(found)) => self.solve(wanted, found, solved),
            (Ty::Optional(wanted), found) => self.solve(wanted, found, solved),
            _ => {}
        }
    }

    /// Decides what no argument has decided: by what is wanted of the result, and of numbers, Int.
    pub(super) fn settle(&self, solved: &mut Solved, result: &Ty, hint: Option<&Ty>) {
        if solved.generics.is_empty() {
            return;
        }
        if let Some(hint) = hint {
            self.solve(result, hint, solved);
        }
        for (param, ty) in solved.generics.iter().zip(&mut solved.types) {
            if param.bound == Some(Bound::Number) {
                ty.get_or_insert(Ty::Int);
            }
        }
    }

    /// Reports the types that cannot do what a function asks of them.
    pub(super) fn bounds(&mut self, solved: &Solved, callee: &str, places: &[Loc], at: Loc) {
        let unmet: Vec<_> = solved
            .unmet(self)
            .map(|(index, _, bound, ty)| {
                self.decls.unmet_bound(at, callee, bound, ty, places.get(index).copied())
            })
            .collect();
        let secret = solved.types.iter().flatten().find(|ty| self.decls.holds_secret(ty));
        if let Some(ty) = secret {
            let diagnostic = self.decls.secret_argument(at, callee, ty);
            self.report(diagnostic);
            return;
        }
        unmet.into_iter().for_each(|diagnostic| self.report(diagnostic));
    }
}
