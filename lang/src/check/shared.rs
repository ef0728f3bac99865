//! The bodies of functions into the same with marks: a part that is the same in every call is made once.
//!
//! ```text
//! { image: image, grace: 30s, rollout: rolling(surge: 1) } ─▶ { …, rollout: once(rolling(surge: 1)) }
//! ```
//!
//! What is the same is what holds no local, and follows no reference: whose body is being made decides
//! which ring is found.

use super::typed::{Conversion, Kind, Part, Typed};

/// Marks the largest parts of some bodies that are the same in every call; gives how many there are.
pub(super) fn share(bodies: &mut [Typed]) -> usize {
    let mut count = 0;
    for body in bodies {
        if same(body, &mut count) {
            mark(body, &mut count);
        }
    }
    count
}

/// Marks a part, unless copying it is all that making it takes.
fn mark(typed: &mut Typed, count: &mut usize) {
    let worth = match &typed.kind {
        Kind::Interpolate(_)
        | Kind::List(_)
        | Kind::Map(_)
        | Kind::Record { .. }
        | Kind::Case { .. }
        | Kind::Binary(..)
        | Kind::Convert(..) => true,
        Kind::Poison
        | Kind::Constant(_)
        | Kind::Local(_)
        | Kind::Let(_)
        | Kind::Input(_)
        | Kind::Secret(_)
        | Kind::Resource(_)
        | Kind::Instance(..)
        | Kind::Every(_)
        | Kind::NameOf(_)
        | Kind::Instances(_)
        | Kind::Follow(_)
        | Kind::Call { .. }
        | Kind::Field(..)
        | Kind::Element(..)
        | Kind::Entry(..)
        | Kind::Negate(_)
        | Kind::Not(_)
        | Kind::OrElse(..)
        | Kind::Range { .. }
        | Kind::If(_)
        | Kind::Comprehension(_)
        | Kind::Bind(_)
        | Kind::Match(_)
        | Kind::Absent
        | Kind::With(..)
        | Kind::Shared(..) => false,
    };
    if worth {
        let at = typed.at;
        let inner = std::mem::replace(typed, Typed { kind: Kind::Poison, at });
        typed.kind = Kind::Shared(*count, Box::new(inner));
        *count += 1;
    }
}

/// Marks the parts of an expression that are the same in every call; whether the whole is.
fn same(typed: &mut Typed, count: &mut usize) -> bool {
    match &mut typed.kind {
        Kind::Constant(_) | Kind::Let(_) | Kind::Input(_) | Kind::Secret(_) | Kind::Absent => true,
        Kind::Poison
        | Kind::Local(_)
        | Kind::Resource(_)
        | Kind::Every(_)
        | Kind::Instances(_)
        | Kind::Shared(..) => false,
        Kind::Interpolate(parts) => {
            let exprs = parts.iter_mut().filter_map(|part| match part {
                Part::Text(_) => None,
                Part::Expr(expr) => Some(expr),
            });
            all(exprs.collect(), true, count)
        }
        Kind::List(elements) => all(elements.iter_mut().collect(), true, count),
        Kind::Map(fields) | Kind::Record { fields, .. } | Kind::Case { fields, .. } => {
            all(fields.iter_mut().map(|(_, field)| field).collect(), true, count)
        }
        Kind::Negate(inner) | Kind::Not(inner) => all(vec![inner], true, count),
        Kind::Convert(conversion, inner) => all(vec![inner], steady(conversion), count),
        Kind::Binary(_, left, right) => all(vec![left, right], true, count),
        Kind::Instance(_, inner)
        | Kind::NameOf(inner)
        | Kind::Follow(inner)
        | Kind::Field(inner, _) => all(vec![inner], false, count),
        Kind::Call { args, .. } => all(args.iter_mut().map(|(_, arg)| arg).collect(), false, count),
        Kind::Element(left, right)
        | Kind::Entry(left, right)
        | Kind::OrElse(left, right)
        | Kind::Range { from: left, to: right, .. } => all(vec![left, right], false, count),
        Kind::If(parts) => all(parts.iter_mut().collect(), false, count),
        Kind::Bind(parts) => all(parts.iter_mut().collect(), false, count),
        Kind::Match(parts) => {
            let bodies = parts.arms.iter_mut().map(|arm| &mut arm.body);
            all(std::iter::once(&mut parts.subject).chain(bodies).collect(), false, count)
        }
        Kind::Comprehension(parts) => {
            let more = parts.key.iter_mut().chain(&mut parts.condition);
            all(more.chain([&mut parts.element, &mut parts.source]).collect(), false, count)
        }
        Kind::With(base, updates) => {
            let values = updates.iter_mut().map(|update| &mut update.value);
            all(std::iter::once(&mut **base).chain(values).collect(), false, count)
        }
    }
}

/// Whether some parts, and what is made of them, are the same; those that are, are marked where the
/// whole is not.
fn all(parts: Vec<&mut Typed>, whole: bool, count: &mut usize) -> bool {
    let parts: Vec<(&mut Typed, bool)> = parts
        .into_iter()
        .map(|part| {
            let found = same(part, count);
            (part, found)
        })
        .collect();
    let whole = whole && parts.iter().all(|(_, same)| *same);
    if !whole {
        for (part, _) in parts.into_iter().filter(|(_, same)| *same) {
            mark(part, count);
        }
    }
    whole
}

/// Whether a conversion follows no reference.
fn steady(conversion: &Conversion) -> bool {
    match conversion {
        Conversion::Bare(_)
        | Conversion::Read(_)
        | Conversion::Widen
        | Conversion::Hide
        | Conversion::Refine(_) => true,
        Conversion::Follow => false,
        Conversion::Each(inner) => steady(inner),
        Conversion::Then(first, second) => steady(first) && steady(second),
        Conversion::Fields { fields, .. } | Conversion::IntoMap(fields) => {
            fields.iter().all(|(_, conversion)| steady(conversion))
        }
    }
}
