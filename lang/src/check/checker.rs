//! The order of checking: lets after what they read, then everything else.

use super::shared::share;
use super::typed::{Bare, Checked, Condition, Constant, Kind, Typed, TypedResource, TypedRule};
use crate::diagnostic::Diagnostic;
use crate::ids::{ItemId, Loc, PRELUDE, ResourceId};
use crate::notation::Notation;
use crate::resolve::{Decls, Def, ResourceDecl, Site, Ty, TypeBody};
use crate::syntax::ast::{Expr, ExprKind, Rel};
use std::sync::Arc;

/// Levels and parts of a type that nobody wrote down.
const MAX_TYPE_DEPTH: u32 = 128;
const MAX_TYPE_SIZE: u32 = 10_000;

/// Why a type is expected: where that was decided, and how to say so.
#[derive(Clone, Copy)]
pub(super) struct Why {
    pub(super) at: Loc,
    pub(super) text: &'static str,
}

/// Checks every declaration but the resources, which [`check_resource`] checks one by one.
pub(crate) fn check(decls: &Decls<'_>, diagnostics: &mut Vec<Diagnostic>) -> Checked {
    let site = Site { file: PRELUDE, item: ItemId(0) };
    let mut checker = Checker {
        decls,
        diagnostics,
        site,
        locals: Vec::new(),
        let_types: Arc::new(vec![Ty::Error; decls.lets.len()]),
        constants: Vec::new(),
        bare: Arc::default(),
        judging: false,
        sees_all: false,
        data: false,
    };
    checker.bare = checker.find_bare();
    let mut lets: Vec<Option<Typed>> = vec![None; decls.lets.len()];
    for id in &decls.let_order {
        let (typed, ty) = checker.check_let(id.index());
        lets[id.index()] = Some(typed);
        Arc::make_mut(&mut checker.let_types)[id.index()] = ty;
    }
    let at = decls.start_of(PRELUDE);
    let lets =
        lets.into_iter().map(|typed| typed.unwrap_or(Typed { kind: Kind::Poison, at })).collect();
    let mut fns: Vec<Typed> = (0..decls.fns.len()).map(|index| checker.check_fn(index)).collect();
    let shared = share(&mut fns);
    Checked {
        lets,
        fns,
        shared,
        defaults: (0..decls.defaults.len()).map(|index| checker.check_default(index)).collect(),
        inputs: (0..decls.inputs.len()).map(|index| checker.check_input(index)).collect(),
        secrets: (0..decls.secrets.len()).map(|index| checker.check_secret(index)).collect(),
        rules: (0..decls.types.len()).map(|index| checker.check_rule(index)).collect(),
        overlays: (0..decls.overlays.len()).map(|index| checker.check_overlay(index)).collect(),
        environments: (0..decls.environments.len())
            .map(|index| checker.check_environment(index))
            .collect(),
        policies: (0..decls.policies.len())
            .filter_map(|index| checker.check_policy(index))
            .collect(),
        tests: (0..decls.tests.len()).map(|index| checker.check_test(index)).collect(),
        bare: checker.bare,
        constants: checker.constants,
        let_types: checker.let_types,
    }
}

/// Checks a resource; everything else has been.
pub(crate) fn check_resource(
    decls: &Decls<'_>,
    checked: &Checked,
    id: ResourceId,
    diagnostics: &mut Vec<Diagnostic>,
) -> TypedResource {
    let decl = decls.resource(id);
    let mut checker = Checker {
        decls,
        diagnostics,
        site: decl.site,
        locals: Vec::new(),
        let_types: checked.let_types.clone(),
        constants: Vec::new(),
        bare: checked.bare.clone(),
        judging: false,
        sees_all: false,
        data: false,
    };
    checker.check_resource(decl)
}

/// The state of checking one item after the other.
pub(super) struct Checker<'c, 's> {
    pub(super) decls: &'c Decls<'s>,
    pub(super) diagnostics: &'c mut Vec<Diagnostic>,
    pub(super) site: Site,
    pub(super) locals: Vec<(Arc<str>, Ty)>,
    pub(super) let_types: Arc<Vec<Ty>>,
    pub(super) constants: Vec<Constant>,
    pub(super) bare: Arc<[Bare]>,
    /// Whether it is a policy or a test that is checked, which see every resource.
    pub(super) judging: bool,
    /// Whether it was asked for every resource of a kind.
    pub(super) sees_all: bool,
    /// Whether it is a data file's value, in which strings stand for quantities and cases.
    pub(super) data: bool,
}

impl<'c, 's> Checker<'c, 's> {
    pub(super) fn loc(&self, rel: Rel) -> Loc {
        self.site.loc(rel)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Moves to an item, with no locals.
    pub(super) fn enter(&mut self, site: Site) {
        self.site = site;
        let file = self.decls.files.get(site.file.0 as usize);
        self.data = file.is_some_and(|file| file.data.is_some());
        self.locals.clear();
    }

    /// The prelude's enums that a bare string makes, and with a secret in it.
    fn find_bare(&self) -> Arc<[Bare]> {
        let known = [
            ("Image", "registry", Ty::Text(Notation::ImageRef)),
            ("File", "text", Ty::Str),
            ("File", "secret", Ty::Secret(Arc::new(Ty::Str))),
        ];
        let find = |(name, of_case, from): (&str, &str, Ty)| {
            let Some(Def::Type(of)) = self.decls.lookup(PRELUDE, name) else {
                return None;
            };
            match &self.decls.type_decl(of)?.body {
                TypeBody::Enum(cases) => {
                    let case = cases.iter().position(|case| &*case.name == of_case)?;
                    Some(Bare { of, case, from })
                }
                TypeBody::Record(_)
                | TypeBody::Alias(_)
                | TypeBody::Refined { .. }
                | TypeBody::Broken => None,
            }
        };
        known.into_iter().filter_map(find).collect()
    }

    fn check_let(&mut self, index: usize) -> (Typed, Ty) {
        let decl = &self.decls.lets[index];
        self.enter(decl.site);
        let at = self.loc(decl.value.at);
        match &decl.ty {
            _ if decl.cyclic => (Typed { kind: Kind::Poison, at }, Ty::Error),
            Some((ty, declared)) => {
                let why = Why { at: *declared, text: "expected because of this" };
                (self.check(decl.value, ty, Some(why)), ty.clone())
            }
            None => self.infer_small(decl.value),
        }
    }

    /// Infers the type of what a name is given to.
    pub(super) fn infer_small(&mut self, value: &Expr) -> (Typed, Ty) {
        let (typed, ty) = self.infer(value, None);
        if small(&ty, MAX_TYPE_DEPTH, &mut { MAX_TYPE_SIZE }) {
            return (typed, ty);
        }
        let at = self.loc(value.at);
        let diagnostic = self.decls.type_too_large(at);
        self.report(diagnostic);
        (self.poison(at), Ty::Error)
    }

    fn check_fn(&mut self, index: usize) -> Typed {
        let decl = &self.decls.fns[index];
        self.enter(decl.site);
        if decl.builtin.is_some() {
            return self.poison(decl.at);
        }
        self.locals.extend(decl.params.iter().map(|param| (param.name.clone(), param.ty.clone())));
        let why = Why { at: decl.result_at, text: "the function promises this" };
        let typed = self.check(decl.body, &decl.result, Some(why));
        if decl.cyclic { Typed { kind: Kind::Poison, at: typed.at } } else { typed }
    }

    fn check_default(&mut self, index: usize) -> Typed {
        let decl = &self.decls.defaults[index];
        self.enter(decl.site);
        self.check(decl.expr, &decl.ty, None)
    }

    fn check_input(&mut self, index: usize) -> Option<Typed> {
        let decl = &self.decls.inputs[index];
        self.enter(decl.site);
        let why = Why { at: decl.at, text: "declared here" };
        if self.decls.holds_secret(&decl.ty) {
            let diagnostic = self.decls.secret_input(decl.at);
            self.report(diagnostic);
            return None;
        }
        decl.default.map(|default| self.check(default, &decl.ty, Some(why)))
    }

    fn check_secret(&mut self, index: usize) -> Typed {
        let decl = &self.decls.secrets[index];
        self.enter(decl.site);
        let why = Why { at: decl.at, text: "a secret says where it is kept" };
        self.check(decl.source, &self.decls.prelude_type("SecretSource"), Some(why))
    }

    fn check_rule(&mut self, index: usize) -> Option<TypedRule> {
        let TypeBody::Refined { base, rule, site } = &self.decls.types[index].body else {
            return None;
        };
        self.enter(*site);
        let it = self.decls.unalias(base).clone();
        self.locals.push(("it".into(), it.clone()));
        let condition = match &rule.condition.kind {
            ExprKind::Range { from, to, inclusive } => {
                let why =
                    Why { at: self.decls.types[index].at, text: "the rule is about this type" };
                let from = self.check(from, self.decls.unrefine(&it), Some(why));
                let to = self.check(to, self.decls.unrefine(&it), Some(why));
                Condition::Between { from, to, inclusive: *inclusive }
            }
            _ => Condition::Holds(self.check(&rule.condition, &Ty::Bool, None)),
        };
        let message = rule.message.as_ref().map(|message| self.check(message, &Ty::Str, None));
        Some(TypedRule { condition, message, at: self.loc(rule.condition.at) })
    }

    fn check_resource(&mut self, decl: &ResourceDecl<'s>) -> TypedResource {
        self.enter(decl.site);
        let keys = decl.key.map(|key| {
            let (keys, ty) = self.infer(&key.keys, None);
            let element = match ty {
                Ty::List(element) => self.decls.unrefine(&element).clone(),
                Ty::Error | Ty::Never => Ty::Error,
                other => {
                    let diagnostic = self.decls.not_iterable(keys.at, &other);
                    self.report(diagnostic);
                    Ty::Error
                }
            };
            let element = match element {
                Ty::Int | Ty::Str | Ty::Error => element,
                other => {
                    let diagnostic = self.decls.bad_key(keys.at, &other);
                    self.report(diagnostic);
                    Ty::Error
                }
            };
            self.locals.push((key.variable.text.clone(), element));
            keys
        });
        let ty = self.decls.body_type(decl.kind);
        let why = Why { at: decl.at, text: "a resource of this kind" };
        let missing_at = decl.at;
        let body = if let ExprKind::Record(fields) = &decl.body.kind {
            self.check_record(decl.body, fields, &ty, Some(why), Some(missing_at))
        } else {
            self.check(decl.body, &ty, Some(why))
        };
        TypedResource { keys, body, constants: std::mem::take(&mut self.constants) }
    }
}

/// Whether a type is small enough to walk again and again: bindings of bindings could double it each time.
fn small(ty: &Ty, depth: u32, budget: &mut u32) -> bool {
    if depth == 0 || *budget == 0 {
        return false;
    }
    *budget -= 1;
    match ty {
        Ty::List(inner) | Ty::Map(inner) | Ty::Optional(inner) | Ty::Secret(inner) => {
            small(inner, depth - 1, budget)
        }
        Ty::Record(fields) => fields.iter().all(|(_, field)| small(field, depth - 1, budget)),
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
        | Ty::Param(_)
        | Ty::Named(_)
        | Ty::Ref(_) => true,
    }
}

/// An expression as a name, if it is one.
pub(super) fn as_name(expr: &Expr) -> Option<&Arc<str>> {
    let ExprKind::Name(name) = &expr.kind else { return None };
    Some(name)
}
