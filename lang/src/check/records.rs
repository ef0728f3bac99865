//! Records, maps, and `with`: closed, with every missing field named.

use super::checker::{Checker, Why};
use super::typed::{Kind, Step, Typed, Update};
use crate::ids::Loc;
use crate::nearest::nearest;
use crate::resolve::{FieldTy, Ty};
use crate::syntax::ast::{Expr, Field, Name};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Checker<'_, '_> {
    /// A record literal where a type is expected. What is missing is shown at `missing_at`, or at the literal.
    pub(super) fn check_record(
        &mut self,
        expr: &Expr,
        fields: &[Field],
        ty: &Ty,
        why: Option<Why>,
        missing_at: Option<Loc>,
    ) -> Typed {
        let decls = self.decls;
        let at = self.loc(expr.at);
        let ty = decls.unalias(ty);
        if let Some((of, declared)) = self.record_of(ty) {
            let fields = self.given_fields(fields, declared, ty, missing_at.unwrap_or(at));
            return Typed { kind: Kind::Record { of: Some(of), fields }, at };
        }
        if let Ty::Map(value) = ty {
            let value = value.clone();
            let mut entries = Vec::new();
            for (name, field) in self.distinct(fields) {
                let typed = self.check(&field.value, &value, why);
                entries.push((name, typed));
            }
            return Typed { kind: Kind::Map(entries), at };
        }
        let (typed, found) = self.infer_record(fields, at);
        self.convert(typed, &found, ty, why)
    }

    /// A record literal that nothing is expected of.
    pub(super) fn infer_record(&mut self, fields: &[Field], at: Loc) -> (Typed, Ty) {
        let mut typed = Vec::new();
        let mut types = Vec::new();
        for (name, field) in self.distinct(fields) {
            let (value, ty) = self.infer(&field.value, None);
            types.push((name.clone(), ty));
            typed.push((name, value));
        }
        (Typed { kind: Kind::Record { of: None, fields: typed }, at }, Ty::Record(types.into()))
    }

    /// Fields by name, with duplicates reported and left out.
    pub(super) fn distinct<'f>(&mut self, fields: &'f [Field]) -> Vec<(Arc<str>, &'f Field)> {
        let mut seen: BTreeMap<&str, Loc> = BTreeMap::new();
        let mut distinct: Vec<(Arc<str>, &Field)> = Vec::with_capacity(fields.len());
        for field in fields {
            let Some(name) = field.path.first() else {
                continue;
            };
            // A record as people write them is searched faster than it is indexed.
            let first = if fields.len() > 16 {
                seen.insert(&name.text, self.loc(name.at))
            } else {
                let earlier = distinct.iter().find(|(other, _)| *other == name.text);
                earlier.and_then(|(_, field)| field.path.first()).map(|step| self.loc(step.at))
            };
            match first {
                Some(first) => {
                    let diagnostic = self.decls.field_twice(self.loc(name.at), &name.text, first);
                    self.report(diagnostic);
                }
                None => distinct.push((name.text.clone(), field)),
            }
        }
        distinct
    }

    /// The fields of a literal against those that are declared.
    pub(super) fn given_fields(
        &mut self,
        fields: &[Field],
        declared: &[FieldTy],
        ty: &Ty,
        missing_at: Loc,
    ) -> Vec<(Arc<str>, Typed)> {
        let mut given = Vec::with_capacity(fields.len());
        let mut meant = Vec::new();
        for (name, field) in self.distinct(fields) {
            if let Some(decl) = declared.iter().find(|decl| decl.name == name) {
                let why = Why { at: decl.at, text: "the field is declared here" };
                let typed = self.check(&field.value, &decl.ty, Some(why));
                given.push((name, typed));
                continue;
            }
            let near = nearest(&name, declared.iter().map(|decl| &*decl.name));
            meant.extend(near.map(str::to_owned));
            let at = field.path.first().map_or(missing_at, |step| self.loc(step.at));
            let diagnostic = self.decls.unknown_field(at, &name, ty, declared, near);
            self.report(diagnostic);
            // A value is judged as what was meant; without a guess, only its names are.
            match near.and_then(|near| declared.iter().find(|decl| *decl.name == *near)) {
                Some(decl) => {
                    let why = Why { at: decl.at, text: "the field is declared here" };
                    self.check(&field.value, &decl.ty, Some(why));
                }
                None => self.silently(&field.value),
            }
        }
        for decl in declared {
            let given = given.iter().any(|(name, _)| *name == decl.name);
            let misspelt = meant.iter().any(|name| **name == *decl.name);
            if !given && !misspelt && self.required(decl) {
                let diagnostic = self.decls.missing_field(missing_at, decl, ty);
                self.report(diagnostic);
            }
        }
        given
    }

    /// Whether a field must be given.
    pub(super) fn required(&self, field: &FieldTy) -> bool {
        field.default.is_none() && !matches!(self.decls.unalias(&field.ty), Ty::Optional(_))
    }

    /// Looks for unknown names inside a value that has nowhere to go; a literal has nothing to say.
    pub(super) fn silently(&mut self, expr: &Expr) {
        let before = self.diagnostics.len();
        self.infer(expr, Some(&Ty::Duration));
        let found = self.diagnostics.split_off(before);
        self.diagnostics.extend(found.into_iter().filter(|diagnostic| diagnostic.code == "E0202"));
    }

    /// `base with { path: value }`.
    pub(super) fn updates(&mut self, base: Typed, ty: &Ty, fields: &[Field], at: Loc) -> Typed {
        let mut updates = Vec::with_capacity(fields.len());
        let mut seen: Vec<(String, Loc)> = Vec::new();
        for field in fields {
            let (Some(first), Some(last)) = (field.path.first(), field.path.last()) else {
                continue;
            };
            let whole = Loc { end: self.loc(last.at).end, ..self.loc(first.at) };
            let written: Vec<&str> = field.path.iter().map(|step| &*step.text).collect();
            let written = written.join(".");
            if let Some((_, earlier)) = seen.iter().find(|(path, _)| *path == written) {
                let diagnostic = self.decls.field_twice(whole, &written, *earlier);
                self.report(diagnostic);
                continue;
            }
            seen.push((written, whole));
            match self.path(&field.path, ty) {
                Some((path, ty, why)) => {
                    let value = self.check(&field.value, &ty, why);
                    updates.push(Update { path, value });
                }
                None => self.silently(&field.value),
            }
        }
        Typed { kind: Kind::With(Box::new(base), updates), at }
    }

    /// The steps of a path into a type, and the type at its end.
    pub(super) fn path(&mut self, steps: &[Name], ty: &Ty) -> Option<(Vec<Step>, Ty, Option<Why>)> {
        let decls = self.decls;
        let mut path = Vec::with_capacity(steps.len());
        let mut ty = ty.clone();
        let mut why = None;
        for step in steps {
            let at = self.loc(step.at);
            let inner = match decls.unrefine(&ty) {
                Ty::Optional(inner) => decls.unrefine(inner).clone(),
                other => other.clone(),
            };
            let of = self.record_of(&inner).map(|(id, _)| id);
            let found = match &inner {
                Ty::Error | Ty::Never => return None,
                Ty::Map(value) => Some(((**value).clone(), None)),
                Ty::Record(fields) => fields
                    .iter()
                    .find(|(name, _)| *name == step.text)
                    .map(|(_, ty)| (ty.clone(), None)),
                named => {
                    let fields = self.record_of(named).map(|(_, fields)| fields);
                    let params = self
                        .enum_of(named)
                        .map(|(_, cases)| cases.iter().flat_map(|case| &case.params));
                    let mut all = fields.into_iter().flatten().chain(params.into_iter().flatten());
                    all.find(|field| field.name == step.text).map(|field| {
                        let why = Why { at: field.at, text: "the field is declared here" };
                        (field.ty.clone(), Some(why))
                    })
                }
            };
            let Some((next, next_why)) = found else {
                let diagnostic = self.decls.unknown_member(at, &step.text, &inner, at);
                self.report(diagnostic);
                return None;
            };
            path.push(Step { name: step.text.clone(), at, of });
            ty = next;
            why = next_why;
        }
        Some((path, ty, why))
    }
}
