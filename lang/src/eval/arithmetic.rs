//! Operators on values: exact, checked, and never negative for quantities.

use super::machine::{Eval, Machine, Stop};
use super::traced::{Data, Traced};
use crate::check::typed::Typed;
use crate::decimal::Decimal;
use crate::ids::Loc;
use crate::print;
use crate::syntax::ast::BinaryOp;
use crate::value::Scalar;
use std::cmp::Ordering;
use std::sync::Arc;

/// A scalar taken apart: what it counts, and how many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Int,
    Cpu,
    Bytes,
    Duration,
    Percent,
}

impl Traced {
    /// Whether a condition holds.
    pub(super) fn is_true(&self) -> bool {
        matches!(self.data, Data::Scalar(Scalar::Bool(true)))
    }

    /// What orders it among values of its type.
    pub(super) fn rank(&self) -> (i128, Arc<str>) {
        match &self.data {
            Data::Scalar(Scalar::Str(text)) => (0, text.clone()),
            Data::Scalar(Scalar::Decimal(number)) => (number.rank(), "".into()),
            _ => (self.counted().map_or(0, |(_, number)| number), "".into()),
        }
    }

    /// As it stands in a string.
    pub(super) fn printed(&self) -> String {
        match &self.data {
            Data::Scalar(value) => match value {
                Scalar::Bool(value) => value.to_string(),
                Scalar::Int(value) => value.to_string(),
                Scalar::Str(text) => text.to_string(),
                Scalar::Cpu(value) => format!("{value}m"),
                Scalar::Bytes(value) => print::bytes(*value),
                Scalar::Duration(value) => print::duration(*value),
                Scalar::Percent(value) => print::percent(*value),
                Scalar::Decimal(value) => value.to_string(),
                Scalar::Secret(parts) => print::secret(parts),
            },
            Data::Case(case) => match case.fields.iter().next() {
                Some((field, value)) if &**field == "ref" => value.printed(),
                _ => case.name.to_string(),
            },
            Data::Ref(reference) => reference.name.to_string(),
            Data::Absent => String::new(),
            Data::List(_) | Data::Map(_) | Data::Record(_) => {
                self.to_value().map_or_else(String::new, |value| value.to_json())
            }
        }
    }

    fn counted(&self) -> Option<(Counted, i128)> {
        let Data::Scalar(value) = &self.data else {
            return None;
        };
        match value {
            Scalar::Int(number) => Some((Counted::Int, (*number).into())),
            Scalar::Cpu(number) => Some((Counted::Cpu, (*number).into())),
            Scalar::Bytes(number) => Some((Counted::Bytes, (*number).into())),
            Scalar::Duration(number) => Some((Counted::Duration, (*number).into())),
            Scalar::Percent(number) => Some((Counted::Percent, (*number).into())),
            Scalar::Bool(_) | Scalar::Str(_) | Scalar::Decimal(_) | Scalar::Secret(_) => None,
        }
    }
}

impl Machine<'_, '_> {
    pub(super) fn negate(&mut self, inner: &Traced, at: Loc) -> Eval<Traced> {
        if let Data::Scalar(Scalar::Decimal(number)) = &inner.data {
            let value = number.negated().map(Scalar::Decimal).ok_or(Stop)?;
            return Ok(Traced::scalar(at, value));
        }
        let Some((Counted::Int, number)) = inner.counted() else {
            return Err(Stop);
        };
        self.count(Counted::Int, number.checked_neg(), at, "-")
    }

    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        left: &Typed,
        right: &Typed,
        frame: &mut Vec<Traced>,
        at: Loc,
    ) -> Eval<Traced> {
        let a = self.eval(left, frame)?;
        let truth = |value: bool| Ok(Traced::scalar(at, Scalar::Bool(value)));
        match op {
            BinaryOp::And => {
                let value = a.is_true() && self.eval(right, frame)?.is_true();
                return truth(value);
            }
            BinaryOp::Or => {
                let value = a.is_true() || self.eval(right, frame)?.is_true();
                return truth(value);
            }
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual => {}
        }
        let b = self.eval(right, frame)?;
        let order = |wanted: fn(Ordering) -> bool| truth(wanted(a.rank().cmp(&b.rank())));
        match op {
            BinaryOp::Equal => truth(self.same(&a, &b)?),
            BinaryOp::NotEqual => truth(!self.same(&a, &b)?),
            BinaryOp::Less => order(Ordering::is_lt),
            BinaryOp::LessEqual => order(Ordering::is_le),
            BinaryOp::Greater => order(Ordering::is_gt),
            BinaryOp::GreaterEqual => order(Ordering::is_ge),
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder => self.arithmetic(op, &a, &b, at),
            BinaryOp::And | BinaryOp::Or => Err(Stop),
        }
    }

    pub(super) fn arithmetic(
        &mut self,
        op: BinaryOp,
        a: &Traced,
        b: &Traced,
        at: Loc,
    ) -> Eval<Traced> {
        if let (Data::List(first), Data::List(second)) = (&a.data, &b.data) {
            self.pay((first.len() + second.len()) as u64 * 12, at)?;
            let all = first.iter().chain(&**second).cloned().collect();
            return Ok(Traced { at, data: Data::List(Arc::new(all)) });
        }
        if let (Data::Map(first), Data::Map(second)) = (&a.data, &b.data) {
            self.pay((first.len() + second.len()) as u64 * 12, at)?;
            let mut all = (**first).clone();
            all.extend(second.iter().map(|(name, entry)| (name.clone(), entry.clone())));
            return Ok(Traced { at, data: Data::Map(Arc::new(all)) });
        }
        if let Some(result) = decimals(op, a, b) {
            return match result {
                Some(value) => Ok(Traced::scalar(at, value)),
                None => {
                    let diagnostic = self.decls.overflow(at, op.symbol());
                    self.fail(diagnostic)
                }
            };
        }
        let (Some((left, x)), Some((right, y))) = (a.counted(), b.counted()) else {
            return Err(Stop);
        };
        let dividing = matches!(op, BinaryOp::Divide | BinaryOp::Remainder);
        if dividing && y == 0 {
            let diagnostic = self.decls.division_by_zero(b.at);
            return self.fail(diagnostic);
        }
        let result = match op {
            BinaryOp::Add => x.checked_add(y),
            BinaryOp::Subtract => x.checked_sub(y),
            BinaryOp::Multiply => match (left, right) {
                // A percentage counts hundredths of a hundredth.
                (Counted::Int, _) | (_, Counted::Int) => x.checked_mul(y),
                (_, _) => x.checked_mul(y).map(|product| product.div_euclid(10_000)),
            },
            BinaryOp::Divide => x.checked_div(y),
            BinaryOp::Remainder => x.checked_rem(y),
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::And
            | BinaryOp::Or => None,
        };
        let counted = match (op, left, right) {
            (BinaryOp::Divide, left, right) if left == right => Counted::Int,
            (_, Counted::Int, right) | (BinaryOp::Multiply, Counted::Percent, right) => right,
            (_, left, _) => left,
        };
        self.count(counted, result, at, op.symbol())
    }

    fn count(&mut self, counted: Counted, number: Option<i128>, at: Loc, op: &str) -> Eval<Traced> {
        let quantity =
            || number.and_then(|n| i64::try_from(n).ok()).and_then(|n| u64::try_from(n).ok());
        let value = match counted {
            Counted::Int => number.and_then(|n| i64::try_from(n).ok()).map(Scalar::Int),
            Counted::Cpu => quantity().map(Scalar::Cpu),
            Counted::Bytes => quantity().map(Scalar::Bytes),
            Counted::Duration => quantity().map(Scalar::Duration),
            Counted::Percent => quantity().and_then(|n| u32::try_from(n).ok()).map(Scalar::Percent),
        };
        match value {
            Some(value) => Ok(Traced::scalar(at, value)),
            None => {
                let diagnostic = self.decls.overflow(at, op);
                self.fail(diagnostic)
            }
        }
    }

    /// Whether two values are equal, wherever they come from.
    pub(super) fn same(&mut self, a: &Traced, b: &Traced) -> Eval<bool> {
        self.pay(1, a.at)?;
        let mut budget = 1_000_000;
        let small = a.fits(u32::MAX, &mut budget) && b.fits(u32::MAX, &mut budget);
        if !small {
            self.pay(u64::MAX, a.at)?;
        }
        Ok(a.to_value() == b.to_value())
    }
}

/// What an operator makes of decimals, alone or of a quantity; nothing where neither side is one.
fn decimals(op: BinaryOp, a: &Traced, b: &Traced) -> Option<Option<Scalar>> {
    let decimal = |side: &Traced| match &side.data {
        Data::Scalar(Scalar::Decimal(number)) => Some(*number),
        Data::Scalar(Scalar::Int(number)) => Decimal::new((*number).into(), 0),
        _ => None,
    };
    let part = |of: &Traced, part: Decimal| {
        let (counted, number) = of.counted()?;
        let number = u64::try_from(part.of(number)?).ok().filter(|&n| i64::try_from(n).is_ok())?;
        match counted {
            Counted::Int => None,
            Counted::Cpu => Some(Scalar::Cpu(number)),
            Counted::Bytes => Some(Scalar::Bytes(number)),
            Counted::Duration => Some(Scalar::Duration(number)),
            Counted::Percent => u32::try_from(number).ok().map(Scalar::Percent),
        }
    };
    let is_decimal = |side: &Traced| matches!(side.data, Data::Scalar(Scalar::Decimal(_)));
    if !is_decimal(a) && !is_decimal(b) {
        return None;
    }
    Some(match (decimal(a), decimal(b)) {
        (Some(x), Some(y)) => match op {
            BinaryOp::Add => x.plus(y),
            BinaryOp::Subtract => y.negated().and_then(|y| x.plus(y)),
            BinaryOp::Multiply => x.times(y),
            BinaryOp::Divide
            | BinaryOp::Remainder
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::And
            | BinaryOp::Or => None,
        }
        .map(Scalar::Decimal),
        (Some(x), None) => part(b, x),
        (None, Some(y)) => part(a, y),
        (None, None) => None,
    })
}
