//! The evaluator's own functions. Each pays for what it makes before it makes it.

use super::machine::{Eval, Machine, Stop};
use super::traced::{Data, Traced};
use crate::builtin::Builtin;
use crate::decimal::Decimal;
use crate::ids::Loc;
use crate::notation::{ImageRef, Range, is_v6};
use crate::pattern::Pattern;
use crate::resolve::Ty;
use crate::syntax::ast::BinaryOp;
use crate::value::Scalar;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Machine<'_, '_> {
    /// Calls a builtin with all its arguments, in the order of its parameters.
    pub(super) fn builtin(
        &mut self,
        builtin: Builtin,
        args: &[Traced],
        types: &[Ty],
        at: Loc,
    ) -> Eval<Traced> {
        let touched = args.iter().map(Traced::touched).sum();
        self.pay(touched, at)?;
        let made = |data| Ok(Traced { at, data });
        let scalar = |value| Ok(Traced::scalar(at, value));
        match builtin {
            Builtin::Length => {
                let length = match &arg(args, 0)?.data {
                    Data::Scalar(Scalar::Str(text)) => text.chars().count(),
                    Data::List(elements) => elements.len(),
                    Data::Map(entries) => entries.len(),
                    Data::Absent
                    | Data::Scalar(_)
                    | Data::Record(_)
                    | Data::Case(_)
                    | Data::Ref(_) => return Err(Stop),
                };
                scalar(Scalar::Int(length as i64))
            }
            Builtin::Upper => scalar(Scalar::Str(text(args, 0)?.to_uppercase().into())),
            Builtin::Lower => scalar(Scalar::Str(text(args, 0)?.to_lowercase().into())),
            Builtin::Trim => scalar(Scalar::Str(text(args, 0)?.trim().into())),
            Builtin::StartsWith => scalar(Scalar::Bool(text(args, 0)?.starts_with(text(args, 1)?))),
            Builtin::EndsWith => scalar(Scalar::Bool(text(args, 0)?.ends_with(text(args, 1)?))),
            Builtin::Contains => scalar(Scalar::Bool(text(args, 0)?.contains(text(args, 1)?))),
            Builtin::Matches => self.matches(args, at),
            Builtin::Replace => {
                let (text, part, by) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
                let count = text.matches(part).count() as u64;
                self.pay(count.saturating_mul(by.len() as u64 + 1), at)?;
                scalar(Scalar::Str(text.replace(part, by).into()))
            }
            Builtin::Split => {
                let (text, by) = (text(args, 0)?, text(args, 1)?);
                self.pay(8 * (text.matches(by).count() as u64 + 1), at)?;
                // A separator of nothing stands between any two characters.
                let pieces: Vec<Traced> = if by.is_empty() {
                    let piece = |c: char| Traced::scalar(at, Scalar::Str(c.to_string().into()));
                    text.chars().map(piece).collect()
                } else {
                    let piece = |piece: &str| Traced::scalar(at, Scalar::Str(piece.into()));
                    text.split(by).map(piece).collect()
                };
                made(Data::List(Arc::new(pieces)))
            }
            Builtin::Join => {
                let parts = list(args, 0)?;
                let by = text(args, 1)?;
                let mut size = (by.len() * parts.len()) as u64;
                let mut texts = Vec::with_capacity(parts.len());
                for part in &**parts {
                    let Data::Scalar(Scalar::Str(part)) = &part.data else { return Err(Stop) };
                    size = size.saturating_add(part.len() as u64);
                    texts.push(&**part);
                }
                self.pay(size, at)?;
                scalar(Scalar::Str(texts.join(by).into()))
            }
            Builtin::Lines => {
                let text = text(args, 0)?;
                self.pay(8 * (text.lines().count() as u64 + 1), at)?;
                let line = |line: &str| Traced::scalar(at, Scalar::Str(line.into()));
                made(Data::List(Arc::new(text.lines().map(line).collect())))
            }
            Builtin::ParseInt => match text(args, 0)?.parse() {
                Ok(number) => scalar(Scalar::Int(number)),
                Err(_) => made(Data::Absent),
            },
            Builtin::Includes => {
                let wanted = arg(args, 1)?;
                for element in &**list(args, 0)? {
                    if self.same(element, wanted)? {
                        return scalar(Scalar::Bool(true));
                    }
                }
                scalar(Scalar::Bool(false))
            }
            Builtin::Sort => {
                let mut sorted = (**list(args, 0)?).clone();
                self.pay(8 * sorted.len() as u64, at)?;
                sorted.sort_by_cached_key(Traced::rank);
                made(Data::List(Arc::new(sorted)))
            }
            Builtin::Unique => {
                let elements = list(args, 0)?;
                let mut budget = self.left();
                let small = elements.iter().all(|element| element.fits(u32::MAX, &mut budget));
                let cost = if small { self.left() - budget } else { u64::MAX };
                self.pay(cost, at)?;
                let mut seen = BTreeSet::new();
                let first = elements
                    .iter()
                    .filter(|element| seen.insert(element.to_value().map(|value| value.to_json())));
                made(Data::List(Arc::new(first.cloned().collect())))
            }
            Builtin::Reverse => {
                made(Data::List(Arc::new(list(args, 0)?.iter().rev().cloned().collect())))
            }
            Builtin::Flatten => {
                let mut all = Vec::new();
                for inner in &**list(args, 0)? {
                    let Data::List(elements) = &inner.data else { return Err(Stop) };
                    self.pay(8 * elements.len() as u64, at)?;
                    all.extend(elements.iter().cloned());
                }
                made(Data::List(Arc::new(all)))
            }
            Builtin::Sum => {
                let zero = types.first().map_or(Scalar::Int(0), |ty| self.zero(ty));
                let mut total = Traced::scalar(at, zero);
                for element in &**list(args, 0)? {
                    total = self.arithmetic(BinaryOp::Add, &total, element, at)?;
                }
                Ok(total)
            }
            Builtin::Keys => {
                let Data::Map(entries) = &arg(args, 0)?.data else { return Err(Stop) };
                let key = |(key, entry): (&Arc<str>, &Traced)| {
                    Traced::scalar(entry.at, Scalar::Str(key.clone()))
                };
                made(Data::List(Arc::new(entries.iter().map(key).collect())))
            }
            Builtin::Values => {
                let Data::Map(entries) = &arg(args, 0)?.data else { return Err(Stop) };
                made(Data::List(Arc::new(entries.values().cloned().collect())))
            }
            Builtin::IsIpv6 => scalar(Scalar::Bool(is_v6(text(args, 0)?))),
            Builtin::Holds => {
                let (range, ip) = (range(args)?, text(args, 1)?.parse().map_err(|_| Stop)?);
                scalar(Scalar::Bool(range.holds(ip)))
            }
            Builtin::PrefixLength => scalar(Scalar::Int(range(args)?.prefix().into())),
            Builtin::Address => {
                let index = u64::try_from(int(args, 1)?).ok();
                match index.and_then(|index| range(args).ok()?.address(index)) {
                    Some(address) => scalar(Scalar::Str(address.to_string().into())),
                    None => made(Data::Absent),
                }
            }
            Builtin::Subnet => {
                let (prefix, index) = (int(args, 1)?, int(args, 2)?);
                let numbers = u64::try_from(prefix).ok().zip(u64::try_from(index).ok());
                let range = range(args)?;
                match numbers.and_then(|(prefix, index)| range.part(prefix, index)) {
                    Some(part) => scalar(Scalar::Str(part.to_string().into())),
                    None => made(Data::Absent),
                }
            }
            Builtin::ImageRegistry => Ok(part(image(args)?.registry, at)),
            Builtin::ImagePath => Ok(part(Some(image(args)?.path), at)),
            Builtin::ImageTag => Ok(part(image(args)?.tag, at)),
            Builtin::ImageDigest => Ok(part(image(args)?.digest, at)),
            Builtin::ToJson => {
                let value = arg(args, 0)?;
                let mut budget = self.left();
                let small = value.fits(u32::MAX, &mut budget);
                let cost = if small { self.left() - budget } else { u64::MAX };
                self.pay(cost, at)?;
                let json = value.to_value().map_or_else(|| "null".to_owned(), |v| v.to_json());
                self.pay(json.len() as u64, at)?;
                scalar(Scalar::Str(json.into()))
            }
        }
    }

    fn matches(&mut self, args: &[Traced], at: Loc) -> Eval<Traced> {
        let (text, source) = (text(args, 0)?, text(args, 1)?);
        let pattern = match self.patterns.get(source) {
            Some(known) => known.clone(),
            None => match Pattern::new(source) {
                Ok(pattern) => {
                    let pattern = Arc::new(pattern);
                    self.patterns.insert(source.into(), pattern.clone());
                    pattern
                }
                Err(bad) => {
                    let written = arg(args, 1)?.at;
                    let diagnostic = self.decls.bad_pattern(written, source, bad);
                    return self.fail(diagnostic);
                }
            },
        };
        self.pay(pattern.cost(text), at)?;
        Ok(Traced::scalar(at, Scalar::Bool(pattern.matches(text))))
    }

    /// Nothing of a kind.
    fn zero(&self, ty: &Ty) -> Scalar {
        match self.decls.unrefine(ty) {
            Ty::Cpu => Scalar::Cpu(0),
            Ty::Bytes => Scalar::Bytes(0),
            Ty::Duration => Scalar::Duration(0),
            Ty::Percent => Scalar::Percent(0),
            Ty::Decimal => Decimal::new(0, 0).map_or(Scalar::Int(0), Scalar::Decimal),
            Ty::Error
            | Ty::Never
            | Ty::Bool
            | Ty::Int
            | Ty::Str
            | Ty::Text(_)
            | Ty::Secret(_)
            | Ty::List(_)
            | Ty::Map(_)
            | Ty::Optional(_)
            | Ty::Named(_)
            | Ty::Param(_)
            | Ty::Ref(_)
            | Ty::Record(_) => Scalar::Int(0),
        }
    }
}

impl Traced {
    /// What looking at it once costs.
    fn touched(&self) -> u64 {
        match &self.data {
            Data::Scalar(Scalar::Str(text)) => text.len() as u64 / 8 + 1,
            Data::List(elements) => elements.len() as u64 + 1,
            Data::Map(entries) => entries.len() as u64 + 1,
            Data::Absent | Data::Scalar(_) | Data::Record(_) | Data::Case(_) | Data::Ref(_) => 1,
        }
    }
}

fn arg(args: &[Traced], index: usize) -> Eval<&Traced> {
    args.get(index).ok_or(Stop)
}

fn text(args: &[Traced], index: usize) -> Eval<&str> {
    match &arg(args, index)?.data {
        Data::Scalar(Scalar::Str(text)) => Ok(text),
        Data::Absent
        | Data::Scalar(_)
        | Data::List(_)
        | Data::Map(_)
        | Data::Record(_)
        | Data::Case(_)
        | Data::Ref(_) => Err(Stop),
    }
}

fn int(args: &[Traced], index: usize) -> Eval<i64> {
    match &arg(args, index)?.data {
        Data::Scalar(Scalar::Int(number)) => Ok(*number),
        Data::Absent
        | Data::Scalar(_)
        | Data::List(_)
        | Data::Map(_)
        | Data::Record(_)
        | Data::Case(_)
        | Data::Ref(_) => Err(Stop),
    }
}

/// The first argument, as a reference to an image.
fn image(args: &[Traced]) -> Eval<ImageRef<'_>> {
    ImageRef::read(text(args, 0)?).map_err(|_| Stop)
}

/// A part of a text, if it is there.
fn part(part: Option<&str>, at: Loc) -> Traced {
    match part {
        Some(part) => Traced::scalar(at, Scalar::Str(part.into())),
        None => Traced { at, data: Data::Absent },
    }
}

/// The first argument, as a range of addresses.
fn range(args: &[Traced]) -> Eval<Range> {
    Range::read(text(args, 0)?).map_err(|_| Stop)
}

fn list(args: &[Traced], index: usize) -> Eval<&Arc<Vec<Traced>>> {
    match &arg(args, index)?.data {
        Data::List(elements) => Ok(elements),
        Data::Absent
        | Data::Scalar(_)
        | Data::Map(_)
        | Data::Record(_)
        | Data::Case(_)
        | Data::Ref(_) => Err(Stop),
    }
}
