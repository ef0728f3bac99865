//! What pest refused, in words: what was found, and what could have stood there.

use super::grammar::{Refusal, Rule};
use crate::syntax::ast::{Name, Rel};
use crate::syntax::error::{SyntaxError, SyntaxErrorKind};
use pest::error::{ErrorVariant, InputLocation};

/// Words pest's refusal of an item.
pub(super) fn refusal(refusal: &Refusal, text: &str) -> SyntaxError {
    let at = match refusal.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let at = skip_blanks(text, at);
    let found = found(text, at);
    let start = at as u32;
    let end = start + found.len() as u32;
    let rules: &[Rule] = match &refusal.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    let expected = expected(rules);
    let mut help = None;
    let mut replacement = None;
    if found == "=" && rules.contains(&Rule::colon) {
        help = Some("fields take `:`, bindings take `=`".to_owned());
        replacement = Some(":".to_owned());
    } else if found == ":" && rules.contains(&Rule::eq) {
        help = Some("bindings take `=`, fields take `:`".to_owned());
        replacement = Some("=".to_owned());
    } else if found == ":" && rules.contains(&Rule::operator) {
        help = Some("the field before this one may lack its value".to_owned());
    } else if found == "=" && rules.contains(&Rule::operator) {
        help = Some("equality is written `==`".to_owned());
    } else if found == "=" && rules.contains(&Rule::arrow) {
        help = Some("an arm of `match` takes `->`".to_owned());
    }
    let found =
        if found.is_empty() { "the end of the item".to_owned() } else { format!("`{found}`") };
    SyntaxError {
        kind: SyntaxErrorKind::Unexpected { found, expected, help, replacement },
        at: Rel { start, end },
    }
}

/// A keyword where a name or a value is wanted.
pub(super) fn reserved(word: &str, at: Rel, wanted: &str) -> SyntaxError {
    unexpected(at, format!("the keyword `{word}`"), wanted.to_owned())
}

/// `n[i] for j in …`.
pub(super) fn key_names(index: &Name, variable: &Name) -> SyntaxError {
    unexpected(
        variable.at,
        format!("`{}`", variable.text),
        format!("`{}`, as in the brackets", index.text),
    )
}

/// `use "${x}" { … }`.
pub(super) fn path_interpolated(at: Rel) -> SyntaxError {
    unexpected(at, "an interpolation".to_owned(), "a plain path".to_owned())
}

/// `{ "${x}": 1 }`.
pub(super) fn key_interpolated(at: Rel) -> SyntaxError {
    unexpected(at, "an interpolation".to_owned(), "a plain key".to_owned())
}

/// `f(1 + 2: 3)`.
pub(super) fn argument_name(at: Rel) -> SyntaxError {
    unexpected(at, "an expression".to_owned(), "the name of a parameter before `:`".to_owned())
}

fn unexpected(at: Rel, found: String, expected: String) -> SyntaxError {
    SyntaxError {
        kind: SyntaxErrorKind::Unexpected { found, expected, help: None, replacement: None },
        at,
    }
}

/// Where the next token starts: pest stops before white space and comments.
fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or("");
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with('#') {
            return at;
        }
        at += trimmed.find('\n').unwrap_or(trimmed.len());
    }
}

/// The token at an offset.
fn found(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or("");
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    if word > 0 {
        return rest.get(..word).unwrap_or("");
    }
    let symbol = ["->", "==", "!=", "<=", ">="].into_iter().find(|symbol| rest.starts_with(symbol));
    let length = symbol.map_or_else(|| rest.chars().next().map_or(0, char::len_utf8), str::len);
    rest.get(..length).unwrap_or("")
}

/// The things that could stand there, the likeliest first, few enough to read.
fn expected(rules: &[Rule]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in rules.iter().filter_map(|&rule| words_for(rule)) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    // Where a value may end, what may continue it is noise.
    if words.len() > 1 {
        words.retain(|&word| word != "an operator");
    }
    match words.as_slice() {
        [] => "something else".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn words_for(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::rbrace => "`}`",
        Rule::rbracket => "`]`",
        Rule::rparen => "`)`",
        Rule::rangle => "`>`",
        Rule::lbrace | Rule::record => "`{`",
        Rule::lparen => "`(`",
        Rule::type_param => "a type parameter",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::eq => "`=`",
        Rule::arrow => "`->`",
        Rule::field | Rule::path => "a field",
        Rule::field_decl | Rule::params => "a parameter",
        Rule::case => "a case",
        Rule::arm | Rule::pattern => "a pattern",
        Rule::binder => "a parameter",
        Rule::ident => "a name",
        Rule::string => "a string",
        Rule::type_expr | Rule::type_name | Rule::type_list | Rule::type_record => "a type",
        Rule::expr | Rule::operand | Rule::postfix | Rule::prefix | Rule::arg => "a value",
        Rule::operator | Rule::call | Rule::index | Rule::member | Rule::with => "an operator",
        Rule::setting => "an environment or an input",
        Rule::as_word => "`as`",
        Rule::on_word => "`on`",
        Rule::clause | Rule::expectation | Rule::expect_word => "`expect`",
        Rule::waive_word => "`waive`",
        Rule::until_word => "`until`",
        Rule::by_word => "`by`",
        Rule::because_word => "`because`",
        Rule::then_word => "`then`",
        Rule::else_word => "`else`",
        Rule::in_word => "`in`",
        Rule::for_word | Rule::keyed | Rule::each => "`for`",
        Rule::EOI => "the end of the item",
        // Never awaited alone: a part of something above.
        _ => return None,
    })
}
