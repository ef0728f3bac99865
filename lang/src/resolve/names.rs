//! The names that an expression mentions, whatever they turn out to mean.

use crate::syntax::ast::{Expr, ExprKind, Piece};

/// Calls back with every name of an expression.
pub(super) fn each_name(expr: &Expr, found: &mut impl FnMut(&str)) {
    match &expr.kind {
        ExprKind::Error | ExprKind::Bool(_) | ExprKind::Number(_) => {}
        ExprKind::Str(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Text(_) => {}
                    Piece::Interpolation(inner) => each_name(inner, found),
                }
            }
        }
        ExprKind::List(elements) => elements.iter().for_each(|element| each_name(element, found)),
        ExprKind::Record(fields) => fields.iter().for_each(|field| each_name(&field.value, found)),
        ExprKind::Name(name) => found(name),
        ExprKind::Field(base, _) | ExprKind::Unary(_, base) => each_name(base, found),
        ExprKind::Index(base, key) => {
            each_name(base, found);
            each_name(key, found);
        }
        ExprKind::Call(callee, args) => {
            each_name(callee, found);
            args.iter().for_each(|arg| each_name(&arg.value, found));
        }
        ExprKind::Binary(_, _, left, right) => {
            each_name(left, found);
            each_name(right, found);
        }
        ExprKind::Range { from, to, .. } => {
            each_name(from, found);
            each_name(to, found);
        }
        ExprKind::If(parts) => parts.iter().for_each(|part| each_name(part, found)),
        ExprKind::Comprehension(parts) => {
            each_name(&parts.element, found);
            each_name(&parts.source, found);
            if let Some(condition) = &parts.condition {
                each_name(condition, found);
            }
        }
        ExprKind::With(base, fields) => {
            each_name(base, found);
            fields.iter().for_each(|field| each_name(&field.value, found));
        }
    }
}
