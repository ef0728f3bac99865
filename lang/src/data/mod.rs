//! Data files into untyped trees, so that whatever judges a value in the language judges data, too:
//! types, rules, defaults, suggestions, and the exact place in the file.
//!
//! JSON, TOML and YAML become records, lists and literals; every other file is one text, and so is one of
//! them where a `Str` is wanted. A string may stand
//! for a quantity or a case, which is decided where its type is known. Nothing here knows types.

mod json;
mod toml;
mod yaml;

use crate::syntax::ast::{Expr, ExprKind, Field, Name, Piece, Rel};
use crate::syntax::{MAX_FILE, SyntaxError, SyntaxErrorKind};

/// How deep data may nest.
const MAX_DEPTH: usize = 96;
/// How many values a JSON file may have.
const MAX_VALUES: usize = 250_000;
/// The largest TOML or YAML file that is read, in bytes.
const MAX_TEXT: usize = 2 << 20;

/// Whether a file is data, by its path.
pub(crate) fn is_data(path: &str) -> bool {
    !path.ends_with(".berth")
}

/// All of a file as one text.
pub(crate) fn whole(text: &str) -> Expr {
    string(text, Rel { start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) })
}

/// Whether a file is too large for anything.
pub(crate) fn is_too_large(text: &str) -> bool {
    text.len() > MAX_FILE
}

/// Reads a data file; what cannot be read is an error once, and a tree that agrees with every type.
pub(crate) fn read(path: &str, text: &str) -> (Expr, Vec<SyntaxError>) {
    let whole = whole(text);
    let at = whole.at;
    let broken =
        |kind, of| (Expr { kind: ExprKind::Error, at }, vec![SyntaxError { kind, at: of }]);
    if is_too_large(text) {
        let kind = SyntaxErrorKind::Refused { why: "it is larger than 16 MiB" };
        return broken(kind, Rel { start: 0, end: 0 });
    }
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    if matches!(extension, "toml" | "yaml" | "yml") && text.len() > MAX_TEXT {
        let kind = SyntaxErrorKind::Refused { why: "it is larger than 2 MiB; JSON may have 16" };
        return broken(kind, Rel { start: 0, end: 0 });
    }
    let read = match extension {
        "json" => json::read(text),
        "toml" => toml::read(text),
        "yaml" | "yml" => yaml::read(text),
        _ => Ok(whole),
    };
    match read {
        Ok(expr) => (expr, Vec::new()),
        Err(Bad { why, at }) => broken(SyntaxErrorKind::Data { why }, at),
    }
}

/// Why a file is not what its name says, and where that shows.
struct Bad {
    why: String,
    at: Rel,
}

impl Bad {
    fn new(why: impl Into<String>, start: usize, end: usize) -> Self {
        Self { why: why.into(), at: rel(start, end) }
    }
}

fn rel(start: usize, end: usize) -> Rel {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Rel { start: offset(start), end: offset(end) }
}

fn string(text: &str, at: Rel) -> Expr {
    Expr { kind: ExprKind::Str(vec![Piece::Text(text.into())]), at }
}

fn field(name: &str, at: Rel, value: Expr) -> Field {
    Field { path: vec![Name { text: name.into(), at }], key: None, value }
}

/// A number as it is written: digits, a point, a sign; nothing where an exponent follows.
fn number(text: &str, at: Rel) -> Option<Expr> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).replace('_', "");
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !plain || digits.is_empty() {
        return None;
    }
    let number = crate::syntax::ast::Number { digits: digits.into(), unit: "".into() };
    let positive = Expr { kind: ExprKind::Number(number), at };
    Some(if text.starts_with('-') {
        let negate = crate::syntax::ast::UnaryOp::Negate;
        Expr { kind: ExprKind::Unary(negate, Box::new(positive)), at }
    } else {
        positive
    })
}
