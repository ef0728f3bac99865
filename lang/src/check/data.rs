//! Strings of data files: JSON and TOML have no quantities and no cases, so that a string stands for
//! one where its type says so.

use super::checker::{Checker, Why};
use super::typed::{Kind, Typed};
use crate::resolve::{FieldTy, Ty, TypeBody};
use crate::syntax::ast::{Expr, ExprKind, Field, Piece};
use crate::syntax::literal::number;
use std::sync::Arc;

impl Checker<'_, '_> {
    /// A string of a data file; nothing where it is just a string.
    pub(super) fn check_datum(&mut self, expr: &Expr, ty: &Ty, why: Option<Why>) -> Option<Typed> {
        let decls = self.decls;
        let text = match &expr.kind {
            ExprKind::Absent if !matches!(decls.unalias(ty), Ty::Optional(_)) => {
                let diagnostic = decls.null_in_data(self.loc(expr.at), ty, why);
                self.report(diagnostic);
                return Some(self.poison(self.loc(expr.at)));
            }
            ExprKind::Record(fields) => return self.check_case_data(expr, fields, ty, why),
            ExprKind::Str(pieces) => match pieces.as_slice() {
                [Piece::Text(text)] => text,
                _ => return None,
            },
            _ => return None,
        };
        match decls.unalias(ty) {
            Ty::Optional(inner) => Some(self.check(expr, inner, why)),
            Ty::Cpu | Ty::Bytes | Ty::Duration | Ty::Percent | Ty::Decimal => {
                let number = number(text)?;
                Some(self.check_number(&number, expr, ty, why))
            }
            Ty::Named(id) => match &decls.type_decl(*id)?.body {
                TypeBody::Refined { base, .. } => {
                    let checked = self.check(expr, base, why);
                    Some(self.refine(*id, checked))
                }
                TypeBody::Enum(_) if self.bare.iter().any(|bare| bare.of == *id) => None,
                TypeBody::Enum(cases) => {
                    let mut at = self.loc(expr.at);
                    if at.end - at.start >= text.len() as u32 + 2 {
                        // Without its quotes, so that what is written instead keeps them.
                        (at.start, at.end) = (at.start + 1, at.end - 1);
                    }
                    let name: &Arc<str> = text;
                    if let Some(case) = cases.iter().position(|case| case.name == *name) {
                        return Some(self.construct(*id, case, &[], at));
                    }
                    let diagnostic = decls.unknown_case(at, name, *id, cases, why);
                    self.report(diagnostic);
                    Some(self.poison(at))
                }
                TypeBody::Record(_) | TypeBody::Alias(_) | TypeBody::Broken => None,
            },
            Ty::Error
            | Ty::Never
            | Ty::Bool
            | Ty::Int
            | Ty::Str
            | Ty::Text(_)
            | Ty::Secret(_)
            | Ty::List(_)
            | Ty::Map(_)
            | Ty::Ref(_)
            | Ty::Param(_)
            | Ty::Record(_) => None,
        }
    }

    /// A record of a data file where an enum is wanted: its case is named by `case`, as `berth show --json`
    /// prints it, and its other fields are what the case carries.
    fn check_case_data(
        &mut self,
        expr: &Expr,
        fields: &[Field],
        ty: &Ty,
        why: Option<Why>,
    ) -> Option<Typed> {
        let decls = self.decls;
        let Ty::Named(id) = decls.unalias(ty) else { return None };
        let TypeBody::Enum(cases) = &decls.type_decl(*id)?.body else { return None };
        let at = self.loc(expr.at);
        let named = |field: &&Field| field.path.first().is_some_and(|name| &*name.text == "case");
        let Some(field) = fields.iter().find(named) else {
            let diagnostic = decls.no_case_in_data(at, ty, cases, why);
            self.report(diagnostic);
            return Some(self.poison(at));
        };
        let mut name_at = self.loc(field.value.at);
        let ExprKind::Str(pieces) = &field.value.kind else {
            let (_, found) = self.infer(&field.value, None);
            let diagnostic = decls.mismatch(name_at, &found, &Ty::Str, why);
            self.report(diagnostic);
            return Some(self.poison(at));
        };
        let name = match pieces.as_slice() {
            [Piece::Text(text)] => text.clone(),
            _ => "".into(),
        };
        if name_at.end - name_at.start >= name.len() as u32 + 2 {
            // Without its quotes, so that what is written instead keeps them.
            (name_at.start, name_at.end) = (name_at.start + 1, name_at.end - 1);
        }
        let Some(case) = cases.iter().position(|case| case.name == name) else {
            let diagnostic = decls.unknown_case(name_at, &name, *id, cases, why);
            self.report(diagnostic);
            return Some(self.poison(at));
        };
        let word = FieldTy { name: "case".into(), ty: Ty::Str, at: name_at, default: None };
        let declared: Vec<FieldTy> = cases[case].params.iter().cloned().chain([word]).collect();
        let mut fields = self.given_fields(fields, &declared, ty, at);
        fields.retain(|(name, _)| &**name != "case");
        Some(Typed { kind: Kind::Case { of: *id, case, fields }, at })
    }
}
