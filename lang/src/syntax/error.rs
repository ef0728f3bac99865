//! Mistakes of syntax, placed relative to their item so that they can be remembered with it.

use super::ast::Rel;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use std::sync::Arc;

/// A mistake of syntax.
#[derive(Clone, Debug)]
pub(crate) struct SyntaxError {
    pub(crate) kind: SyntaxErrorKind,
    pub(crate) at: Rel,
}

/// The kinds of mistakes of syntax.
#[derive(Clone, Debug)]
pub(crate) enum SyntaxErrorKind {
    /// The grammar expected something else.
    Unexpected {
        found: String,
        expected: String,
        help: Option<String>,
        replacement: Option<String>,
    },
    /// Text at the top of a file that no item keyword starts.
    NotAnItem { found: Arc<str>, meant: Option<&'static str> },
    /// A bracket that nothing closes.
    Unclosed { bracket: char },
    /// A bracket closed by one of another kind.
    Mismatched { open: Rel, bracket: char, found: char },
    /// A closing bracket that nothing opened.
    Stray { bracket: char },
    /// A string that ends with its line, or a block that ends with its indentation.
    UnterminatedString { block: bool },
    /// Nesting beyond the limit.
    TooDeep { limit: usize },
    /// A chain of operators, fields or calls beyond the limit.
    TooLong { limit: usize },
    /// An item with more words and signs than the limit.
    TooLarge { limit: usize },
    /// A file that is not read at all.
    Refused { why: &'static str },
    /// Two elements of one line with no comma between them.
    MissingComma,
    /// A backslash before something that it cannot escape.
    BadEscape { found: String },
    /// A path where a single name is wanted.
    PathOutsideWith,
    /// A data file that is not what its name says.
    Data { why: String },
    /// `x with { a[1].b: … }`.
    KeyOutsideOverlay,
    /// `a < b < c`.
    ChainedComparison,
}

impl SyntaxError {
    /// The same mistake after the text before it has grown or shrunk.
    pub(crate) fn moved(mut self, delta: i64) -> Self {
        let at = |offset: u32| u32::try_from(i64::from(offset) + delta).unwrap_or(u32::MAX);
        let moved = |rel: Rel| Rel { start: at(rel.start), end: at(rel.end) };
        self.at = moved(self.at);
        if let SyntaxErrorKind::Mismatched { open, .. } = &mut self.kind {
            *open = moved(*open);
        }
        self
    }

    /// Words the mistake, for an item that starts at `base` of `file`.
    pub(crate) fn diagnostic(&self, file: &Arc<str>, base: u32) -> Diagnostic {
        let place = |rel: Rel| Span {
            file: file.clone(),
            start: base.saturating_add(rel.start),
            end: base.saturating_add(rel.end),
        };
        let at = place(self.at);
        let error = |code, message: String| Diagnostic::error(code, at.clone(), message);
        match &self.kind {
            SyntaxErrorKind::Unexpected { found, expected, help, replacement } => {
                let mut diagnostic = error("E0101", format!("expected {expected}, found {found}"))
                    .label(format!("expected {expected}"));
                diagnostic.help = help.clone();
                match replacement {
                    Some(text) => diagnostic.fix(at.clone(), text.clone()),
                    None => diagnostic,
                }
            }
            SyntaxErrorKind::NotAnItem { found, meant } => {
                let diagnostic = error("E0101", format!("expected an item, found `{found}`"))
                    .label("no item starts like this");
                match meant {
                    Some(word) => diagnostic.help(format!("did you mean `{word}`?")).fix(at.clone(), *word),
                    None => diagnostic.help(
                        "a file is made of: project, node, service, secret, let, input, type, enum, fn, use, package, overlay, environment, policy, test",
                    ),
                }
            }
            SyntaxErrorKind::Unclosed { bracket } => {
                error("E0102", format!("this `{bracket}` is never closed"))
                    .label(format!("needs a `{}`", closing(*bracket)))
            }
            SyntaxErrorKind::Mismatched { open, bracket, found } => {
                error("E0102", format!("`{bracket}` is closed by `{found}`"))
                    .label(format!("expected `{}`", closing(*bracket)))
                    .also(place(*open), "opened here")
                    .fix(at.clone(), closing(*bracket).to_string())
            }
            SyntaxErrorKind::Stray { bracket } => {
                error("E0104", format!("this `{bracket}` closes nothing"))
                    .label("no bracket is open here")
                    .fix(at.clone(), "")
            }
            SyntaxErrorKind::UnterminatedString { block: false } => {
                error("E0103", "this string does not end on its line".into())
                    .label("opened here")
                    .help("end it with its quote; a text of several lines stands between `\"\"\"`")
            }
            SyntaxErrorKind::UnterminatedString { block: true } => {
                error("E0103", "this text ends before its closing quotes".into())
                    .label("opened here")
                    .help("end it with `\"\"\"`; every line of it is indented")
            }
            SyntaxErrorKind::TooDeep { limit } => {
                error("E0105", format!("nested more than {limit} deep"))
                    .label("this is one too many")
            }
            SyntaxErrorKind::TooLong { limit } => {
                error("E0105", format!("a chain of more than {limit} operators, fields or calls"))
                    .help("name a part of it with `let`")
            }
            SyntaxErrorKind::TooLarge { limit } => {
                error("E0105", format!("an item of more than {limit} words and signs"))
                    .label("this is one too many")
                    .help("make several of it, or put the data into a JSON file: `use \"./….json\" as NAME: TYPE`")
            }
            SyntaxErrorKind::Refused { why } => {
                error("E0106", format!("this file cannot be read: {why}"))
            }
            SyntaxErrorKind::MissingComma => {
                error("E0107", "two elements on one line need a comma".into())
                    .label("add `,` before this")
                    .fix(Span { end: at.start, ..at.clone() }, ", ")
            }
            SyntaxErrorKind::BadEscape { found } => {
                error("E0108", format!("`{found}` is not an escape"))
                    .label("unknown escape")
                    .help("the escapes are \\n \\r \\t \\\" \\\\ \\$")
            }
            SyntaxErrorKind::PathOutsideWith => error("E0101", "a field has one name here".into())
                .label("a path is only for `with`")
                .help("write a nested record, or use `with { a.b: … }`"),
            SyntaxErrorKind::Data { why } => {
                error("E0109", format!("this file cannot be read: {why}")).label("here")
            }
            SyntaxErrorKind::KeyOutsideOverlay => {
                error("E0101", "a path has a key only after a resource, in an overlay".into())
                    .label("no key can stand here")
                    .help("set the whole list or map that holds it")
            }
            SyntaxErrorKind::ChainedComparison => error("E0101", "comparisons do not chain".into())
                .label("second comparison")
                .help("write `a < b and b < c`"),
        }
    }
}

/// The bracket that closes another.
pub(super) fn closing(open: char) -> char {
    match open {
        '{' => '}',
        '[' => ']',
        '(' => ')',
        other => other,
    }
}
