//! Types, and how they are named in diagnostics.

use super::decls::{Decls, TypeBody};
use crate::ids::{FnId, TypeId};
use crate::notation::Notation;
use crate::program::ResourceKind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A type. Records, enums and refinements are looked up by their [`TypeId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    /// Stands where a diagnostic has already been given; agrees with everything.
    Error,
    /// The element of an empty list; agrees with everything.
    Never,
    Bool,
    Int,
    Str,
    Cpu,
    Bytes,
    Duration,
    Percent,
    Decimal,
    /// Text with a grammar of its own.
    Text(Notation),
    /// What is known only where it is used.
    Secret(Arc<Ty>),
    List(Arc<Ty>),
    Map(Arc<Ty>),
    Optional(Arc<Ty>),
    Named(TypeId),
    Ref(ResourceKind),
    /// A type parameter of the function that is being checked.
    Param(Arc<TypeParam>),
    /// A record literal that no type was expected of.
    Record(Arc<[(Arc<str>, Ty)]>),
}

/// A type parameter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypeParam {
    pub(crate) of: FnId,
    /// Its position among those of its function.
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) bound: Option<Bound>,
}

/// What a type parameter must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// To be compared with `<`.
    Ordered,
    /// To be added up, too.
    Number,
    /// To have a length.
    Sized,
}

impl Bound {
    /// Every bound, by name.
    pub(crate) const ALL: [(&str, Self); 3] =
        [("Ordered", Self::Ordered), ("Number", Self::Number), ("Sized", Self::Sized)];

    /// How it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ordered => "Ordered",
            Self::Number => "Number",
            Self::Sized => "Sized",
        }
    }
}

/// The builtin types, by name.
pub(crate) const BUILTINS: [(&str, Ty); 13] = [
    ("Bool", Ty::Bool),
    ("Int", Ty::Int),
    ("Str", Ty::Str),
    ("Cpu", Ty::Cpu),
    ("Bytes", Ty::Bytes),
    ("Duration", Ty::Duration),
    ("Percent", Ty::Percent),
    ("Decimal", Ty::Decimal),
    ("Ip", Ty::Text(Notation::Ip)),
    ("Cidr", Ty::Text(Notation::Cidr)),
    ("Cron", Ty::Text(Notation::Cron)),
    ("TimeZone", Ty::Text(Notation::TimeZone)),
    ("ImageRef", Ty::Text(Notation::ImageRef)),
];

impl Decls<'_> {
    /// How a type is written.
    pub(crate) fn show(&self, ty: &Ty) -> String {
        match ty {
            Ty::Error => "?".to_owned(),
            Ty::Never => "nothing".to_owned(),
            Ty::Bool => "Bool".to_owned(),
            Ty::Int => "Int".to_owned(),
            Ty::Str => "Str".to_owned(),
            Ty::Cpu => "Cpu".to_owned(),
            Ty::Bytes => "Bytes".to_owned(),
            Ty::Duration => "Duration".to_owned(),
            Ty::Percent => "Percent".to_owned(),
            Ty::Decimal => "Decimal".to_owned(),
            Ty::Text(notation) => notation.name().to_owned(),
            Ty::Secret(inner) => format!("Secret<{}>", self.show(inner)),
            Ty::List(element) => format!("[{}]", self.show(element)),
            Ty::Map(value) => format!("{{Str: {}}}", self.show(value)),
            Ty::Optional(inner) => format!("{}?", self.show(inner)),
            Ty::Named(id) => {
                self.type_decl(*id).map_or_else(|| "?".to_owned(), |decl| decl.name.to_string())
            }
            Ty::Param(param) => param.name.to_string(),
            Ty::Ref(kind) => format!("reference to a {}", kind.keyword()),
            Ty::Record(fields) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
                format!("record {{ {} }}", names.join(", "))
            }
        }
    }

    /// Whether a type can do what a bound asks.
    pub(crate) fn meets(&self, ty: &Ty, bound: Bound) -> bool {
        match (self.unrefine(ty), bound) {
            (Ty::Error | Ty::Never, _)
            | (Ty::Str, Bound::Ordered | Bound::Sized)
            | (Ty::List(_) | Ty::Map(_), Bound::Sized) => true,
            (
                Ty::Int | Ty::Cpu | Ty::Bytes | Ty::Duration | Ty::Percent | Ty::Decimal,
                Bound::Ordered | Bound::Number,
            ) => true,
            (Ty::Param(param), bound) => match param.bound {
                Some(Bound::Number) => bound != Bound::Sized,
                own => own == Some(bound),
            },
            (
                Ty::Bool
                | Ty::Int
                | Ty::Str
                | Ty::Cpu
                | Ty::Bytes
                | Ty::Duration
                | Ty::Percent
                | Ty::Decimal
                | Ty::Text(_)
                | Ty::Secret(_)
                | Ty::List(_)
                | Ty::Map(_)
                | Ty::Optional(_)
                | Ty::Named(_)
                | Ty::Ref(_)
                | Ty::Record(_),
                _,
            ) => false,
        }
    }

    /// Whether a value of a type may hold a secret.
    pub(crate) fn holds_secret(&self, ty: &Ty) -> bool {
        // Each named type is looked into once: they may mention each other along a great many ways.
        let mut seen: BTreeSet<TypeId> = BTreeSet::new();
        let mut waiting = vec![ty];
        while let Some(ty) = waiting.pop() {
            match self.unrefine(ty) {
                Ty::Secret(_) => return true,
                Ty::List(inner) | Ty::Map(inner) | Ty::Optional(inner) => waiting.push(inner),
                Ty::Record(fields) => waiting.extend(fields.iter().map(|(_, ty)| ty)),
                Ty::Named(id) if !seen.insert(*id) => {}
                Ty::Named(id) => match self.type_decl(*id).map(|decl| &decl.body) {
                    Some(TypeBody::Record(fields)) => {
                        waiting.extend(fields.iter().map(|field| &field.ty));
                    }
                    Some(TypeBody::Enum(cases)) => {
                        let params = cases.iter().flat_map(|case| &case.params);
                        waiting.extend(params.map(|param| &param.ty));
                    }
                    Some(TypeBody::Alias(_) | TypeBody::Refined { .. } | TypeBody::Broken)
                    | None => {}
                },
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
                | Ty::Ref(_)
                | Ty::Param(_) => {}
            }
        }
        false
    }

    /// Follows aliases.
    pub(crate) fn unalias<'t>(&'t self, mut ty: &'t Ty) -> &'t Ty {
        // Cycles of aliases are broken when they are found, so this ends; the bound is a belt.
        for _ in 0..=self.types.len() {
            let Ty::Named(id) = ty else { return ty };
            match self.type_decl(*id).map(|decl| &decl.body) {
                Some(TypeBody::Alias(target)) => ty = target,
                Some(TypeBody::Broken) | None => return &Ty::Error,
                Some(TypeBody::Record(_) | TypeBody::Enum(_) | TypeBody::Refined { .. }) => {
                    return ty;
                }
            }
        }
        &Ty::Error
    }

    /// Follows aliases, and from a refinement to what it refines.
    pub(crate) fn unrefine<'t>(&'t self, ty: &'t Ty) -> &'t Ty {
        let mut ty = self.unalias(ty);
        for _ in 0..=self.types.len() {
            let Ty::Named(id) = ty else { return ty };
            match self.type_decl(*id).map(|decl| &decl.body) {
                Some(TypeBody::Refined { base, .. }) => ty = self.unalias(base),
                Some(
                    TypeBody::Record(_) | TypeBody::Enum(_) | TypeBody::Alias(_) | TypeBody::Broken,
                )
                | None => {
                    return ty;
                }
            }
        }
        &Ty::Error
    }
}
