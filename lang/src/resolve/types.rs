//! Written types into types.
//!
//! `Node`, `Service` and `Project` name a resource's body, except where data is declared (fields of
//! records, parameters of cases): data holds a resource by reference.

use super::decls::{Decls, Def, DefaultDecl, FieldTy, Site, TypeBody, TypeDecl};
use super::ty::{BUILTINS, Ty, TypeParam};
use crate::diagnostic::Diagnostic;
use crate::ids::{DefaultId, TypeId};
use crate::nearest::nearest;
use crate::program::ResourceKind;
use crate::syntax::ast::{FieldDecl, TypeExpr, TypeKind};
use std::sync::Arc;

/// What a resource's type name means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resources {
    /// Its body.
    Bodies,
    /// A reference to it.
    References,
}

/// What names mean where a type is written.
#[derive(Clone)]
pub(super) struct TypeScope {
    pub(super) resources: Resources,
    pub(super) generics: Vec<Arc<TypeParam>>,
    /// Whether it is the type of a record's field, where type parameters cannot stand.
    in_record: bool,
}

impl TypeScope {
    /// No type parameters.
    pub(super) fn of(resources: Resources) -> Self {
        Self { resources, generics: Vec::new(), in_record: false }
    }
}

/// Lowers a written type.
pub(super) fn lower<'s>(
    decls: &mut Decls<'s>,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    written: &'s TypeExpr,
    scope: &TypeScope,
) -> Ty {
    match &written.kind {
        TypeKind::Name(name) => named(decls, diagnostics, site, written, name, scope),
        TypeKind::Of(name, argument) => {
            let argument = lower(decls, diagnostics, site, argument, scope);
            if &*name.text == "Secret" {
                return Ty::Secret(Arc::new(argument));
            }
            diagnostics.push(decls.takes_no_types(site.loc(name.at), &name.text));
            Ty::Error
        }
        TypeKind::List(element) => {
            Ty::List(Arc::new(lower(decls, diagnostics, site, element, scope)))
        }
        TypeKind::Map(value) => Ty::Map(Arc::new(lower(decls, diagnostics, site, value, scope))),
        TypeKind::Optional(inner) => {
            Ty::Optional(Arc::new(lower(decls, diagnostics, site, inner, scope)))
        }
        TypeKind::Record(fields) => {
            let scope = TypeScope {
                resources: Resources::References,
                generics: scope.generics.clone(),
                in_record: true,
            };
            let body = TypeBody::Record(lower_fields(decls, diagnostics, site, fields, &scope));
            let id = TypeId(decls.types.len() as u32);
            decls.types.push(TypeDecl { name: "a record".into(), at: site.loc(written.at), body });
            Ty::Named(id)
        }
    }
}

/// Lowers the fields of a record, or the parameters of a case or of a function.
pub(super) fn lower_fields<'s>(
    decls: &mut Decls<'s>,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    fields: &'s [FieldDecl],
    scope: &TypeScope,
) -> Vec<FieldTy> {
    let mut lowered: Vec<FieldTy> = Vec::new();
    for field in fields {
        let at = site.loc(field.name.at);
        if let Some(first) = lowered.iter().find(|other| other.name == field.name.text) {
            let first = first.at;
            diagnostics.push(decls.duplicate(&field.name.text, first, at));
            continue;
        }
        let ty = lower(decls, diagnostics, site, &field.ty, scope);
        let default = field.default.as_ref().map(|expr| {
            decls.defaults.push(DefaultDecl { expr, site, ty: ty.clone() });
            DefaultId(decls.defaults.len() as u32 - 1)
        });
        lowered.push(FieldTy { name: field.name.text.clone(), ty, at, default });
    }
    lowered
}

fn named(
    decls: &Decls<'_>,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    written: &TypeExpr,
    name: &Arc<str>,
    scope: &TypeScope,
) -> Ty {
    if let Some((_, builtin)) = BUILTINS.iter().find(|(builtin, _)| *builtin == &**name) {
        return builtin.clone();
    }
    let at = site.loc(written.at);
    if let Some(param) = scope.generics.iter().find(|param| param.name == *name) {
        if scope.in_record {
            diagnostics.push(decls.generic_in_record(at, name));
            return Ty::Error;
        }
        return Ty::Param(param.clone());
    }
    match decls.lookup(site.file, name) {
        Some(Def::Type(id)) => {
            let kind =
                ResourceKind::ALL.into_iter().find(|kind| decls.body_type(*kind) == Ty::Named(id));
            match (kind, scope.resources) {
                (Some(kind), Resources::References) => Ty::Ref(kind),
                (Some(_), Resources::Bodies) | (None, _) => Ty::Named(id),
            }
        }
        Some(Def::Broken) => Ty::Error,
        Some(Def::Let(_) | Def::Fn(_) | Def::Input(_) | Def::Secret(_) | Def::Resource(_)) => {
            diagnostics.push(decls.not_a_type(at, name));
            Ty::Error
        }
        None => {
            let types = decls.visible(site.file).filter(|(_, def)| matches!(def, Def::Type(_)));
            let generics = scope.generics.iter().map(|param| &*param.name);
            let names = BUILTINS.iter().map(|(name, _)| *name).chain(generics);
            let names = names.chain(types.map(|(name, _)| name));
            let near = nearest(name, names);
            diagnostics.push(decls.unknown_type(at, name, near));
            Ty::Error
        }
    }
}
