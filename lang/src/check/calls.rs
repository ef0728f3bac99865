//! Calls of functions and cases: arguments by position and by name.

use super::checker::{Checker, Why, as_name};
use super::generics::Solved;
use super::typed::{Kind, Typed};
use crate::builtin::Builtin;
use crate::ids::{Loc, TypeId};
use crate::nearest::nearest;
use crate::pattern::Pattern;
use crate::resolve::{Def, FieldTy, Ty};
use crate::syntax::ast::{Arg, Expr, ExprKind, Name};
use crate::value::Scalar;

impl Checker<'_, '_> {
    pub(super) fn infer_call(
        &mut self,
        callee: &Expr,
        args: &[Arg],
        at: Loc,
        hint: Option<&Ty>,
    ) -> (Typed, Ty) {
        let decls = self.decls;
        if let ExprKind::Field(base, member) = &callee.kind
            && let Some(id) = as_name(base).and_then(|name| self.type_named(name))
        {
            return self.qualified_case(id, member, args, at);
        }
        let callee_at = self.loc(callee.at);
        let Some(name) =
            as_name(callee).filter(|name| self.locals.iter().all(|(local, _)| local != *name))
        else {
            let before = self.diagnostics.len();
            self.infer(callee, None);
            if self.diagnostics.len() == before {
                let diagnostic = decls.not_callable(callee_at);
                self.report(diagnostic);
            }
            return (self.poison(at), Ty::Error);
        };
        match decls.lookup(self.site.file, name) {
            Some(Def::Fn(id)) => {
                let decl = &decls.fns[id.index()];
                let mut solved = Solved::new(&decl.generics);
                let given = self.arguments(&decl.params, args, &decl.name, at, &mut solved);
                self.settle(&mut solved, &decl.result, hint);
                self.bounds(&solved, &decl.name, &decl.generics_at, at);
                self.check_pattern(decl.builtin, &decl.params, &given);
                let (result, _) = solved.fill(&decl.result);
                let types = if decl.builtin.is_some() { solved.types() } else { Vec::new() };
                (Typed { kind: Kind::Call { of: id, args: given, types }, at }, result)
            }
            Some(Def::Broken) => (self.poison(at), Ty::Error),
            Some(
                Def::Let(_) | Def::Input(_) | Def::Secret(_) | Def::Resource(_) | Def::Type(_),
            ) => {
                let diagnostic = decls.not_callable(callee_at);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
            None => {
                let diagnostic = decls.unknown_function(self.site.file, callee_at, name);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }

    /// A pattern that is written down is judged where it stands.
    fn check_pattern(
        &mut self,
        builtin: Option<Builtin>,
        params: &[FieldTy],
        given: &[(usize, Typed)],
    ) {
        if builtin != Some(Builtin::Matches) {
            return;
        }
        let is_pattern = |slot: usize| params.get(slot).is_some_and(|p| &*p.name == "pattern");
        let Some((_, typed)) = given.iter().find(|(slot, _)| is_pattern(*slot)) else { return };
        if let Kind::Constant(Scalar::Str(text)) = &typed.kind
            && let Err(bad) = Pattern::new(text)
        {
            let diagnostic = self.decls.bad_pattern(typed.at, text, bad);
            self.report(diagnostic);
        }
    }

    /// `Protocol.tcp`, or `Image.local(…)`.
    pub(super) fn qualified_case(
        &mut self,
        id: TypeId,
        member: &Name,
        args: &[Arg],
        at: Loc,
    ) -> (Typed, Ty) {
        let ty = Ty::Named(id);
        let member_at = self.loc(member.at);
        let Some((of, cases)) = self.enum_of(self.decls.unalias(&ty)) else {
            if !matches!(self.decls.unalias(&ty), Ty::Error) {
                let diagnostic = self.decls.not_an_enum(at, &ty);
                self.report(diagnostic);
            }
            return (self.poison(at), Ty::Error);
        };
        match cases.iter().position(|case| case.name == member.text) {
            Some(case) => (self.construct(of, case, args, at), Ty::Named(of)),
            None => {
                let diagnostic = self.decls.unknown_case(member_at, &member.text, of, cases, None);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }

    /// A case with its arguments.
    pub(super) fn construct(&mut self, of: TypeId, case: usize, args: &[Arg], at: Loc) -> Typed {
        let Some(decl) = self.enum_of(&Ty::Named(of)).and_then(|(_, cases)| cases.get(case)) else {
            return self.poison(at);
        };
        let mut none = Solved::new(&[]);
        let given = self.arguments(&decl.params, args, &decl.name, at, &mut none);
        let named = |(slot, typed)| Some((decl.params.get::<usize>(slot)?.name.clone(), typed));
        let fields = given.into_iter().filter_map(named).collect();
        Typed { kind: Kind::Case { of, case, fields }, at }
    }

    /// Arguments against parameters, each with its parameter's position; what is missing is reported
    /// here.
    fn arguments(
        &mut self,
        params: &[FieldTy],
        args: &[Arg],
        callee: &str,
        at: Loc,
        solved: &mut Solved,
    ) -> Vec<(usize, Typed)> {
        let decls = self.decls;
        let mut given: Vec<(usize, Typed)> = Vec::with_capacity(args.len());
        let mut places: Vec<(usize, Loc)> = Vec::with_capacity(args.len());
        let mut complete = true;
        for (index, arg) in args.iter().enumerate() {
            let value_at = self.loc(arg.value.at);
            let (slot, place) = match &arg.name {
                None if places.len() < index
                    || args[..index].iter().any(|arg| arg.name.is_some()) =>
                {
                    if places.len() == index {
                        let diagnostic = decls.positional_after_named(value_at);
                        self.report(diagnostic);
                    }
                    complete = false;
                    continue;
                }
                None => match params.get(index) {
                    Some(_) => (index, value_at),
                    None => {
                        let diagnostic = decls.too_many_arguments(value_at, callee, params.len());
                        self.report(diagnostic);
                        continue;
                    }
                },
                Some(name) => {
                    let name_at = self.loc(name.at);
                    match params.iter().position(|param| param.name == name.text) {
                        Some(slot) => (slot, name_at),
                        None => {
                            let near = nearest(&name.text, params.iter().map(|param| &*param.name));
                            let diagnostic =
                                decls.unknown_argument(name_at, &name.text, callee, params, near);
                            self.report(diagnostic);
                            complete &= near.is_none();
                            continue;
                        }
                    }
                }
            };
            let Some(param) = params.get(slot) else { continue };
            if let Some((_, first)) = places.iter().find(|(other, _)| *other == slot) {
                let diagnostic = decls.field_twice(place, &param.name, *first);
                self.report(diagnostic);
                continue;
            }
            places.push((slot, place));
            let why = Why { at: param.at, text: "the parameter is declared here" };
            let typed = self.argument(&arg.value, &param.ty, Some(why), solved);
            given.push((slot, typed));
        }
        for (slot, param) in params.iter().enumerate().filter(|_| complete) {
            if self.required(param) && places.iter().all(|(other, _)| *other != slot) {
                let diagnostic = decls.missing_argument(at, param, callee);
                self.report(diagnostic);
            }
        }
        given
    }
}
