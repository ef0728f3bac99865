//! The names that an expression mentions and does not bind itself, whatever they turn out to mean.

use crate::syntax::ast::{Comprehension, Expr, ExprKind, PatternKind, Piece};
use crate::syntax::ast::{Item, ItemKind};
use std::sync::Arc;

/// Whether an expression looks at a name.
pub(crate) fn mentions(expr: &Expr, name: &str) -> bool {
    let mut found = false;
    each_name(expr, &mut Vec::new(), &mut |other| found |= other == name);
    found
}

/// Whether a resource may look at a name: it is free in its keys or its body, or may be a type there.
pub(crate) fn resource_mentions(item: &Item, name: &str) -> bool {
    let ItemKind::Resource { key, body, .. } = &item.kind else { return false };
    let mut found = !item.local_types.is_empty();
    let mut bound = Vec::new();
    if let Some(key) = key {
        each_name(&key.keys, &mut bound, &mut |other| found |= other == name);
        bound.push(key.variable.text.clone());
    }
    each_name(body, &mut bound, &mut |other| found |= other == name);
    found
}

/// Calls back with every name of an expression, except those in `bound` and those that it binds.
pub(super) fn each_name(expr: &Expr, bound: &mut Vec<Arc<str>>, found: &mut impl FnMut(&str)) {
    match &expr.kind {
        ExprKind::Error | ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Absent => {}
        ExprKind::Str(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Text(_) => {}
                    Piece::Interpolation(inner) => each_name(inner, bound, found),
                }
            }
        }
        ExprKind::List(elements) => {
            elements.iter().for_each(|element| each_name(element, bound, found));
        }
        ExprKind::Record(fields) => {
            fields.iter().for_each(|field| each_name(&field.value, bound, found));
        }
        ExprKind::Name(name) => {
            if !bound.contains(name) {
                found(name);
            }
        }
        ExprKind::Field(base, _) | ExprKind::Unary(_, base) => each_name(base, bound, found),
        ExprKind::Index(base, key) => {
            each_name(base, bound, found);
            each_name(key, bound, found);
        }
        ExprKind::Call(callee, args) => {
            each_name(callee, bound, found);
            args.iter().for_each(|arg| each_name(&arg.value, bound, found));
        }
        ExprKind::Binary(_, _, left, right) => {
            each_name(left, bound, found);
            each_name(right, bound, found);
        }
        ExprKind::Range { from, to, .. } => {
            each_name(from, bound, found);
            each_name(to, bound, found);
        }
        ExprKind::If(parts) => parts.iter().for_each(|part| each_name(part, bound, found)),
        ExprKind::Comprehension(parts) => comprehension(parts, None, bound, found),
        ExprKind::Entries(parts) => comprehension(&parts.1, Some(&parts.0), bound, found),
        ExprKind::With(base, fields) => {
            each_name(base, bound, found);
            fields.iter().for_each(|field| each_name(&field.value, bound, found));
        }
        ExprKind::Let(local) => {
            each_name(&local.value, bound, found);
            bound.push(local.name.text.clone());
            each_name(&local.body, bound, found);
            bound.pop();
        }
        ExprKind::Match(parts) => {
            each_name(&parts.subject, bound, found);
            for arm in &parts.arms {
                let outside = bound.len();
                for pattern in &arm.patterns {
                    match &pattern.kind {
                        PatternKind::Name(name) => bound.push(name.text.clone()),
                        PatternKind::Case(_, binders) => {
                            bound.extend(binders.iter().map(|binder| binder.name.text.clone()));
                        }
                        PatternKind::Literal(_) => {}
                    }
                }
                each_name(&arm.body, bound, found);
                bound.truncate(outside);
            }
        }
    }
}

fn comprehension(
    parts: &Comprehension,
    key: Option<&Expr>,
    bound: &mut Vec<Arc<str>>,
    found: &mut impl FnMut(&str),
) {
    each_name(&parts.source, bound, found);
    let outside = bound.len();
    bound.extend(parts.position.iter().chain([&parts.variable]).map(|name| name.text.clone()));
    for expr in key.into_iter().chain([&parts.element]).chain(&parts.condition) {
        each_name(expr, bound, found);
    }
    bound.truncate(outside);
}
