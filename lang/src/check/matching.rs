//! `match`: patterns against the subject's type, and whether together they take every value of it.

use super::checker::{Checker, Why};
use super::typed::{Arm, Bind, Kind, Match, Test, Typed};
use crate::ids::{Loc, TypeId};
use crate::nearest::nearest;
use crate::resolve::{CaseTy, FieldTy, MAX_CASES, Ty};
use crate::syntax::ast::{self, Binder, Expr, ExprKind, Name, PatternKind};
use crate::value::Scalar;
use std::sync::Arc;

/// What a subject may be, and what its patterns have taken so far.
struct Subject<'c> {
    ty: Ty,
    /// The type where the value is there.
    inner: Ty,
    optional: bool,
    cases: Option<(TypeId, &'c [CaseTy])>,
    taken: Vec<Test>,
    /// Where it stands.
    at: Loc,
    /// Whether it or one of its patterns has a mistake: what is taken is not known then.
    broken: bool,
}

/// What a pattern asks, and what it names.
struct Asked {
    test: Test,
    names: Vec<(Arc<str>, Ty, Bind)>,
}

impl<'c> Checker<'c, '_> {
    /// Checks a `match`. `body` judges an arm; from the second arm on it is given the type and the
    /// place of the first.
    pub(super) fn matching(
        &mut self,
        parts: &ast::Match,
        at: Loc,
        mut body: impl FnMut(&mut Self, &Expr, Option<&(Ty, Loc)>) -> (Typed, Ty),
    ) -> (Typed, Ty) {
        let (typed, ty) = self.infer(&parts.subject, None);
        let mut subject = self.subject(typed.at, ty);
        let mut first: Option<(Ty, Loc)> = None;
        let mut arms = Vec::with_capacity(parts.arms.len());
        for arm in &parts.arms {
            let outside = self.locals.len();
            let (tests, binds) = self.patterns(arm, &mut subject);
            let (typed, ty) = body(self, &arm.body, first.as_ref());
            self.locals.truncate(outside);
            first.get_or_insert((ty, typed.at));
            arms.push(Arm { tests, binds, body: typed });
        }
        let missing = self.missing(&subject);
        if !missing.is_empty() {
            let close = self.loc(parts.close);
            let empty = parts.arms.is_empty();
            let diagnostic =
                self.decls.missing_cases(typed.at, &subject.ty, &missing, close, empty);
            self.report(diagnostic);
            return (self.poison(at), first.map_or(Ty::Error, |(ty, _)| ty));
        }
        let ty = first.map_or(Ty::Error, |(ty, _)| ty);
        (Typed { kind: Kind::Match(Box::new(Match { subject: typed, arms })), at }, ty)
    }

    fn subject(&mut self, at: Loc, ty: Ty) -> Subject<'c> {
        let decls = self.decls;
        let (inner, optional) = match decls.unrefine(&ty) {
            Ty::Optional(inner) => (decls.unrefine(inner).clone(), true),
            other => (other.clone(), false),
        };
        let cases = self.enum_of(&inner);
        let matched = optional
            || cases.is_some()
            || matches!(
                inner,
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
            );
        if matched {
            let broken = inner == Ty::Error;
            return Subject { ty, inner, optional, cases, taken: Vec::new(), at, broken };
        }
        let diagnostic = decls.not_matched(at, &ty);
        self.report(diagnostic);
        let (ty, inner, taken) = (Ty::Error, Ty::Error, Vec::new());
        Subject { ty, inner, optional: false, cases: None, taken, at, broken: true }
    }

    /// The patterns of an arm; what they bind is left in scope.
    fn patterns(&mut self, arm: &ast::Arm, subject: &mut Subject<'c>) -> (Vec<Test>, Vec<Bind>) {
        let several = arm.patterns.len() > 1;
        let mut tests = Vec::with_capacity(arm.patterns.len());
        let mut binds = Vec::new();
        for pattern in &arm.patterns {
            let at = self.loc(pattern.at);
            if subject.taken.len() == MAX_CASES {
                if !std::mem::replace(&mut subject.broken, true) {
                    let diagnostic = self.decls.too_many_cases(at, MAX_CASES);
                    self.report(diagnostic);
                }
                break;
            }
            let Some(asked) = self.pattern(pattern, subject) else {
                subject.broken = true;
                continue;
            };
            if !subject.broken && self.covered(subject, &asked.test) {
                let diagnostic = self.decls.unreachable_pattern(at);
                self.report(diagnostic);
            }
            if several && !asked.names.is_empty() {
                let diagnostic = self.decls.alternatives_bind(at);
                self.report(diagnostic);
            }
            subject.taken.push(asked.test.clone());
            tests.push(asked.test);
            for (name, ty, bind) in asked.names {
                self.locals.push((name, ty));
                binds.push(bind);
            }
        }
        (tests, binds)
    }

    fn pattern(&mut self, pattern: &ast::Pattern, subject: &Subject<'c>) -> Option<Asked> {
        let plain = |test| Some(Asked { test, names: Vec::new() });
        match &pattern.kind {
            PatternKind::Name(name) if &*name.text == "_" => plain(Test::Any),
            _ if subject.inner == Ty::Error => {
                self.bind_anyway(pattern);
                None
            }
            PatternKind::Name(name) => match subject.cases {
                Some((of, cases)) => {
                    self.case_of(of, cases, name)?;
                    plain(Test::Case(name.text.clone()))
                }
                None => {
                    let test = if subject.optional { Test::Present } else { Test::Any };
                    let bound = (name.text.clone(), subject.inner.clone(), Bind::Whole);
                    Some(Asked { test, names: vec![bound] })
                }
            },
            PatternKind::Case(name, binders) => {
                let Some((of, cases)) = subject.cases else {
                    let diagnostic = self.decls.not_an_enum(self.loc(name.at), &subject.inner);
                    self.report(diagnostic);
                    self.bind_anyway(pattern);
                    return None;
                };
                let Some(case) = self.case_of(of, cases, name) else {
                    self.bind_anyway(pattern);
                    return None;
                };
                let names = self.binders(binders, case);
                Some(Asked { test: Test::Case(name.text.clone()), names })
            }
            PatternKind::Literal(literal) => {
                if matches!(literal.kind, ExprKind::Absent) {
                    if !subject.optional {
                        let diagnostic = self.decls.never_absent(self.loc(pattern.at), &subject.ty);
                        self.report(diagnostic);
                        return None;
                    }
                    return plain(Test::Absent);
                }
                let why = Why { at: subject.at, text: "matched with this" };
                let typed = self.check(literal, &subject.inner, Some(why));
                match typed.kind {
                    Kind::Constant(value) => plain(Test::Equals(value)),
                    Kind::Poison => None,
                    _ => {
                        let diagnostic = self.decls.pattern_not_constant(typed.at);
                        self.report(diagnostic);
                        None
                    }
                }
            }
        }
    }

    /// Puts the names of a broken pattern into scope, so that its body is judged for itself.
    fn bind_anyway(&mut self, pattern: &ast::Pattern) {
        match &pattern.kind {
            PatternKind::Name(name) => self.locals.push((name.text.clone(), Ty::Error)),
            PatternKind::Case(_, binders) => {
                let names = binders.iter().map(|binder| (binder.name.text.clone(), Ty::Error));
                self.locals.extend(names);
            }
            PatternKind::Literal(_) => {}
        }
    }

    fn case_of(&mut self, of: TypeId, cases: &'c [CaseTy], name: &Name) -> Option<&'c CaseTy> {
        let found = cases.iter().find(|case| case.name == name.text);
        if found.is_none() {
            let at = self.loc(name.at);
            let diagnostic = self.decls.unknown_case(at, &name.text, of, cases, None);
            self.report(diagnostic);
        }
        found
    }

    fn binders(&mut self, binders: &[Binder], case: &CaseTy) -> Vec<(Arc<str>, Ty, Bind)> {
        let mut names: Vec<(Arc<str>, Ty, Bind)> = Vec::with_capacity(binders.len());
        for (index, binder) in binders.iter().enumerate() {
            let at = self.loc(binder.param.at);
            let earlier = binders[..index].iter().find(|other| other.name.text == binder.name.text);
            if let Some(earlier) = earlier {
                let first = self.loc(earlier.name.at);
                let diagnostic =
                    self.decls.field_twice(self.loc(binder.name.at), &binder.name.text, first);
                self.report(diagnostic);
                continue;
            }
            let known = case.params.iter().find(|param| param.name == binder.param.text);
            let Some(param) = known else {
                let params = &case.params;
                let near = nearest(&binder.param.text, params.iter().map(|param| &*param.name));
                let diagnostic =
                    self.decls.unknown_argument(at, &binder.param.text, &case.name, params, near);
                self.report(diagnostic);
                names.push((binder.name.text.clone(), Ty::Error, Bind::Whole));
                continue;
            };
            let FieldTy { name, ty, at: _, default: _ } = param;
            names.push((binder.name.text.clone(), ty.clone(), Bind::Param(name.clone())));
        }
        names
    }

    /// Whether everything that a test lets through has been taken before.
    fn covered(&self, subject: &Subject<'_>, test: &Test) -> bool {
        let taken = |wanted: &Test| subject.taken.contains(wanted);
        if taken(&Test::Any) || taken(test) || self.missing(subject).is_empty() {
            return true;
        }
        match test {
            Test::Any | Test::Absent => false,
            Test::Present | Test::Case(_) | Test::Equals(_) => taken(&Test::Present),
        }
    }

    /// What no pattern takes, as patterns.
    fn missing(&self, subject: &Subject<'_>) -> Vec<String> {
        let taken = |wanted: &Test| subject.taken.contains(wanted);
        if taken(&Test::Any) || subject.broken {
            return Vec::new();
        }
        let mut missing = Vec::new();
        if subject.optional && !taken(&Test::Absent) {
            missing.push("absent".to_owned());
        }
        if taken(&Test::Present) || subject.inner == Ty::Never {
            return missing;
        }
        match (subject.cases, &subject.inner) {
            (Some((_, cases)), _) => {
                let open = cases.iter().filter(|case| !taken(&Test::Case(case.name.clone())));
                missing.extend(open.map(|case| case.name.to_string()));
            }
            (None, Ty::Bool) => {
                let open = [true, false]
                    .into_iter()
                    .filter(|truth| !taken(&Test::Equals(Scalar::Bool(*truth))));
                missing.extend(open.map(|truth| truth.to_string()));
            }
            (None, _) => missing.push("_".to_owned()),
        }
        missing
    }
}
