//! TOML 1.0, with the place of everything.

use super::{Bad, MAX_DEPTH, field, number, rel, string};
use crate::syntax::ast::{Expr, ExprKind, Rel};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Expr, Bad> {
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        Bad::new(error.message(), span.start, span.end)
    })?;
    let at = rel(0, text.len());
    Ok(Expr { kind: record(table.get_ref(), 0)?, at })
}

fn record(table: &DeTable<'_>, depth: usize) -> Result<ExprKind, Bad> {
    let mut fields = Vec::with_capacity(table.len());
    for (name, value) in table {
        let span = name.span();
        fields.push(field(name.get_ref(), rel(span.start, span.end), expr(value, depth + 1)?));
    }
    // In the order of the file, in which mistakes are told.
    fields.sort_by_key(|field| field.path.first().map(|name| name.at));
    Ok(ExprKind::Record(fields))
}

fn expr(value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Expr, Bad> {
    let span = value.span();
    let at: Rel = rel(span.start, span.end);
    let bad = |why: &str| Bad::new(why, span.start, span.end);
    if depth > MAX_DEPTH {
        return Err(bad("it nests more than 96 deep"));
    }
    let kind = match value.get_ref() {
        DeValue::String(text) => return Ok(string(text, at)),
        DeValue::Boolean(value) => ExprKind::Bool(*value),
        DeValue::Integer(written) if written.radix() == 10 => {
            return number(written.as_str(), at).ok_or_else(|| bad("this number is too large"));
        }
        DeValue::Integer(_) => return Err(bad("write this number in decimal digits")),
        DeValue::Float(written) => {
            let why = "write this number in decimal digits, without an exponent";
            return number(written.as_str(), at).ok_or_else(|| bad(why));
        }
        DeValue::Datetime(_) => {
            return Err(bad("there is no type for a date: write it as a string"));
        }
        DeValue::Array(elements) => {
            let elements = elements.iter().map(|element| expr(element, depth + 1));
            ExprKind::List(elements.collect::<Result<Vec<Expr>, Bad>>()?)
        }
        DeValue::Table(table) => record(table, depth)?,
    };
    Ok(Expr { kind, at })
}
