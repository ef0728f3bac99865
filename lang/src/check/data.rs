//! Strings of data files: JSON and TOML have no quantities and no cases, so that a string stands for
//! one where its type says so.

use super::checker::{Checker, Why};
use super::typed::Typed;
use crate::resolve::{Ty, TypeBody};
use crate::syntax::ast::{Expr, ExprKind, Piece};
use crate::syntax::literal::number;
use std::sync::Arc;

impl Checker<'_, '_> {
    /// A string of a data file; nothing where it is just a string.
    pub(super) fn check_datum(&mut self, expr: &Expr, ty: &Ty, why: Option<Why>) -> Option<Typed> {
        let ExprKind::Str(pieces) = &expr.kind else { return None };
        let [Piece::Text(text)] = pieces.as_slice() else { return None };
        let decls = self.decls;
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
                TypeBody::Enum(_) if self.image.is_some_and(|(image, _)| image == *id) => None,
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
}
