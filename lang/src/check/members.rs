//! Names, fields of values, and elements: what an expression reads.

use super::checker::{Checker, as_name};
use super::typed::{Kind, Typed};
use crate::ids::{Loc, TypeId};
use crate::program::ResourceKind;
use crate::resolve::{Def, Ty};
use crate::syntax::ast::{Expr, Name};
use std::sync::Arc;

impl Checker<'_, '_> {
    pub(super) fn infer_name(&mut self, name: &Arc<str>, at: Loc) -> (Typed, Ty) {
        if let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name) {
            let ty = self.locals[slot].1.clone();
            return (Typed { kind: Kind::Local(slot), at }, ty);
        }
        match self.decls.lookup(self.site.file, name) {
            Some(Def::Let(id)) => {
                let ty = self.let_types.get(id.index()).cloned().unwrap_or(Ty::Error);
                (Typed { kind: Kind::Let(id), at }, ty)
            }
            Some(Def::Input(id)) => {
                let ty = self.decls.inputs[id.index()].ty.clone();
                (Typed { kind: Kind::Input(id), at }, ty)
            }
            Some(Def::Secret(id)) => {
                (Typed { kind: Kind::Secret(id), at }, Ty::Secret(Arc::new(Ty::Str)))
            }
            Some(Def::Resource(id)) => {
                let decl = self.decls.resource(id);
                let ty = Ty::Ref(decl.kind);
                if decl.key.is_some() {
                    (Typed { kind: Kind::Instances(id), at }, Ty::List(Arc::new(ty)))
                } else {
                    (Typed { kind: Kind::Resource(id), at }, ty)
                }
            }
            Some(Def::Broken) => (self.poison(at), Ty::Error),
            Some(Def::Fn(id)) => {
                let diagnostic = self.decls.not_called(at, id);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
            Some(Def::Type(_)) => {
                let diagnostic = self.decls.type_as_value(at, name);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
            None if self.judging && every(name).is_some() => {
                let kind = every(name).unwrap_or(ResourceKind::Service);
                self.sees_all = true;
                (Typed { kind: Kind::Every(kind), at }, Ty::List(Arc::new(Ty::Ref(kind))))
            }
            None if self.is_hole(name) => {
                let diagnostic = self.decls.hole(at, None, None);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
            None => {
                let words: &[&str] =
                    if self.judging { &["services", "jobs", "nodes", "volumes"] } else { &[] };
                let locals = self.locals.iter().map(|(local, _)| &**local);
                let locals: Vec<&str> = locals.chain(words.iter().copied()).collect();
                let diagnostic = self.decls.unknown_name(self.site.file, at, name, &locals);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }

    /// A type's id, where a name means a type and not a value.
    pub(super) fn type_named(&self, name: &str) -> Option<TypeId> {
        if self.locals.iter().any(|(local, _)| &**local == name) {
            return None;
        }
        match self.decls.lookup(self.site.file, name) {
            Some(Def::Type(id)) => Some(id),
            Some(
                Def::Let(_)
                | Def::Fn(_)
                | Def::Input(_)
                | Def::Secret(_)
                | Def::Resource(_)
                | Def::Broken,
            )
            | None => None,
        }
    }

    pub(super) fn infer_field(&mut self, base: &Expr, member: &Name, at: Loc) -> (Typed, Ty) {
        if let Some(id) = as_name(base).and_then(|name| self.type_named(name)) {
            return self.qualified_case(id, member, &[], at);
        }
        let (base, ty) = self.infer(base, None);
        if let (Ty::Ref(kind), "name") = (self.decls.unrefine(&ty), &*member.text)
            && self
                .record_of(&self.decls.body_type(*kind))
                .is_none_or(|(_, fields)| fields.iter().all(|field| &*field.name != "name"))
        {
            return (Typed { kind: Kind::NameOf(Box::new(base)), at }, Ty::Str);
        }
        let (base, ty) = self.followed(base, ty);
        let member_at = self.loc(member.at);
        let found = match &ty {
            Ty::Error | Ty::Never => return (self.poison(at), Ty::Error),
            Ty::Record(fields) => {
                fields.iter().find(|(name, _)| *name == member.text).map(|(_, ty)| ty.clone())
            }
            _ => {
                let fields = self.record_of(&ty).map_or(&[][..], |(_, fields)| fields);
                fields.iter().find(|field| field.name == member.text).map(|field| field.ty.clone())
            }
        };
        match found {
            Some(ty) => (Typed { kind: Kind::Field(Box::new(base), member.text.clone()), at }, ty),
            None => {
                let diagnostic = self.decls.unknown_member(member_at, &member.text, &ty, base.at);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }

    /// Where a body is wanted, a reference is followed.
    pub(super) fn followed(&self, typed: Typed, ty: Ty) -> (Typed, Ty) {
        match self.decls.unrefine(&ty) {
            Ty::Ref(kind) => {
                let at = typed.at;
                (Typed { kind: Kind::Follow(Box::new(typed)), at }, self.decls.body_type(*kind))
            }
            other => (typed, other.clone()),
        }
    }

    pub(super) fn infer_index(&mut self, base: &Expr, key: &Expr, at: Loc) -> (Typed, Ty) {
        let decls = self.decls;
        let local = |name: &Arc<str>| self.locals.iter().any(|(local, _)| local == name);
        let resource = as_name(base).filter(|name| !local(name)).and_then(|name| {
            match decls.lookup(self.site.file, name) {
                Some(Def::Resource(id)) => Some(id),
                Some(
                    Def::Let(_)
                    | Def::Fn(_)
                    | Def::Input(_)
                    | Def::Secret(_)
                    | Def::Type(_)
                    | Def::Broken,
                )
                | None => None,
            }
        });
        if let Some(id) = resource {
            let decl = decls.resource(id);
            let (key, key_ty) = self.infer(key, None);
            if decl.key.is_none() {
                let diagnostic = decls.not_keyed(at, &decl.name, decl.at);
                self.report(diagnostic);
                return (self.poison(at), Ty::Error);
            }
            if !matches!(decls.unrefine(&key_ty), Ty::Int | Ty::Str | Ty::Error) {
                let diagnostic = decls.bad_key(key.at, &key_ty);
                self.report(diagnostic);
            }
            return (Typed { kind: Kind::Instance(id, Box::new(key)), at }, Ty::Ref(decl.kind));
        }
        let (base, ty) = self.infer(base, None);
        match decls.unrefine(&ty) {
            Ty::List(element) => {
                let key = self.check(key, &Ty::Int, None);
                let kind = Kind::Element(Box::new(base), Box::new(key));
                (Typed { kind, at }, (**element).clone())
            }
            Ty::Map(value) => {
                let key = self.check(key, &Ty::Str, None);
                let value = Ty::Optional(value.clone());
                (Typed { kind: Kind::Entry(Box::new(base), Box::new(key)), at }, value)
            }
            Ty::Error | Ty::Never => (self.poison(at), Ty::Error),
            other => {
                let diagnostic = decls.not_indexable(base.at, other);
                self.report(diagnostic);
                (self.poison(at), Ty::Error)
            }
        }
    }
}

/// The word for every resource of a kind.
fn every(name: &str) -> Option<ResourceKind> {
    match name {
        "services" => Some(ResourceKind::Service),
        "jobs" => Some(ResourceKind::Job),
        "crons" => Some(ResourceKind::Cron),
        "nodes" => Some(ResourceKind::Node),
        "volumes" => Some(ResourceKind::Volume),
        _ => None,
    }
}
