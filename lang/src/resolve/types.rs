//! Written types into types.
//!
//! `Node`, `Service` and `Project` name a resource's body, except where data is declared (fields of
//! records, parameters of cases): data holds a resource by reference.

use super::decls::{Decls, Def, DefaultDecl, FieldTy, Site, TypeBody, TypeDecl};
use super::ty::{BUILTINS, Ty};
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

/// Lowers a written type.
pub(super) fn lower<'s>(
    decls: &mut Decls<'s>,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    written: &'s TypeExpr,
    resources: Resources,
) -> Ty {
    match &written.kind {
        TypeKind::Name(name) => named(decls, diagnostics, site, written, name, resources),
        TypeKind::List(element) => {
            Ty::List(Arc::new(lower(decls, diagnostics, site, element, resources)))
        }
        TypeKind::Map(value) => {
            Ty::Map(Arc::new(lower(decls, diagnostics, site, value, resources)))
        }
        TypeKind::Optional(inner) => {
            Ty::Optional(Arc::new(lower(decls, diagnostics, site, inner, resources)))
        }
        TypeKind::Record(fields) => {
            let body = TypeBody::Record(lower_fields(
                decls,
                diagnostics,
                site,
                fields,
                Resources::References,
            ));
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
    resources: Resources,
) -> Vec<FieldTy> {
    let mut lowered: Vec<FieldTy> = Vec::new();
    for field in fields {
        let at = site.loc(field.name.at);
        if let Some(first) = lowered.iter().find(|other| other.name == field.name.text) {
            let first = first.at;
            diagnostics.push(decls.duplicate(&field.name.text, first, at));
            continue;
        }
        let ty = lower(decls, diagnostics, site, &field.ty, resources);
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
    resources: Resources,
) -> Ty {
    if let Some((_, builtin)) = BUILTINS.iter().find(|(builtin, _)| *builtin == &**name) {
        return builtin.clone();
    }
    let at = site.loc(written.at);
    match decls.lookup(site.file, name) {
        Some(Def::Type(id)) => {
            let kind =
                ResourceKind::ALL.into_iter().find(|kind| decls.body_type(*kind) == Ty::Named(id));
            match (kind, resources) {
                (Some(kind), Resources::References) => Ty::Ref(kind),
                (Some(_), Resources::Bodies) | (None, _) => Ty::Named(id),
            }
        }
        Some(Def::Broken) => Ty::Error,
        Some(Def::Let(_) | Def::Fn(_) | Def::Input(_) | Def::Resource(_)) => {
            diagnostics.push(decls.not_a_type(at, name));
            Ty::Error
        }
        None => {
            let types = decls.visible(site.file).filter(|(_, def)| matches!(def, Def::Type(_)));
            let names = BUILTINS.iter().map(|(name, _)| *name).chain(types.map(|(name, _)| name));
            let near = nearest(name, names);
            diagnostics.push(decls.unknown_type(at, name, near));
            Ty::Error
        }
    }
}
