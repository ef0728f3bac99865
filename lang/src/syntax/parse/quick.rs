//! The fast lane: an item of plain literals, names, calls, lists and records, read in one pass.
//!
//! Large projects are mostly such items, and the grammar takes some forty times as long over them.
//! Whatever the lane does not know (operators, interpolations, keywords inside expressions, any
//! mistake) it leaves to the grammar as a whole, so it has no words of its own for what is wrong.
//! What it does read is the very tree that the grammar gives: the tests below compare them.

use super::exprs::{RESERVED, number};
use crate::program::ResourceKind;
use crate::syntax::ast::{Arg, Expr, ExprKind, Field, Item, ItemKind, Name, Piece, Rel};
use crate::syntax::split::Keyword;
use std::sync::Arc;

/// Members and calls on one way to a leaf, beyond which the grammar counts them.
const MAX_LINKS: usize = 64;

/// Reads an item; nothing if that is the grammar's to do.
pub(super) fn item(keyword: Keyword, text: &str) -> Option<Item> {
    let kind = match keyword {
        Keyword::Project => Some(ResourceKind::Project),
        Keyword::Node => Some(ResourceKind::Node),
        Keyword::Service => Some(ResourceKind::Service),
        Keyword::Job => Some(ResourceKind::Job),
        Keyword::Cron => Some(ResourceKind::Cron),
        Keyword::Volume => Some(ResourceKind::Volume),
        Keyword::Let => None,
        Keyword::Input
        | Keyword::Secret
        | Keyword::Overlay
        | Keyword::Environment
        | Keyword::Policy
        | Keyword::Test
        | Keyword::Type
        | Keyword::Enum
        | Keyword::Fn
        | Keyword::Use
        | Keyword::Package => return None,
    };
    let mut lane = Lane { text, at: 0, links: 0 };
    if lane.word()? == "pub" {
        return None;
    }
    lane.blank();
    let start = lane.at;
    let word = lane.word().filter(|word| !RESERVED.contains(word))?;
    let name = Name { text: word.into(), at: lane.since(start) };
    lane.blank();
    let body = match lane.peek()? {
        b'{' if kind.is_some() => lane.record()?,
        b'=' if !lane.rest().starts_with("==") => {
            lane.at += 1;
            lane.blank();
            lane.value()?
        }
        _ => return None,
    };
    lane.blank();
    if lane.at != text.len() {
        return None;
    }
    let kind = match kind {
        Some(kind) => ItemKind::Resource { kind, key: None, body },
        None => ItemKind::Let { ty: None, value: body },
    };
    Some(Item { public: false, name, kind, local_types: Vec::new() })
}

/// A place in an item's text.
struct Lane<'t> {
    text: &'t str,
    at: usize,
    /// Members and calls that enclose the place.
    links: usize,
}

impl<'t> Lane<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn since(&self, start: usize) -> Rel {
        Rel { start: start as u32, end: self.at as u32 }
    }

    /// Passes what a condition holds for.
    fn pass(&mut self, holds: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| !holds(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or("")
    }

    /// Passes white space and comments.
    fn blank(&mut self) {
        loop {
            self.pass(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            if self.peek() != Some(b'#') {
                return;
            }
            self.pass(|byte| byte != b'\n');
        }
    }

    fn word(&mut self) -> Option<&'t str> {
        self.peek().filter(|&byte| starts_word(byte))?;
        Some(self.pass(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
    }

    fn value(&mut self) -> Option<Expr> {
        let start = self.at;
        let expr = match self.peek()? {
            b'"' => {
                let text = self.string()?;
                let kind = ExprKind::Str(vec![Piece::Text(text.into())]);
                Expr { kind, at: self.since(start) }
            }
            b'0'..=b'9' => self.number()?,
            b'{' => self.record()?,
            b'[' => self.list()?,
            byte if starts_word(byte) => self.name()?,
            _ => return None,
        };
        // What could go on with the value is the grammar's.
        let ends = self.peek().is_none_or(|byte| {
            matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'#' | b',' | b')' | b']' | b'}' | b':')
        });
        ends.then_some(expr)
    }

    /// A string without escapes and interpolations.
    fn string(&mut self) -> Option<&'t str> {
        self.at += 1;
        let text = self.pass(|byte| !matches!(byte, b'"' | b'\\' | b'$' | b'\n'));
        let closed = self.peek() == Some(b'"');
        self.at += 1;
        let block = text.is_empty() && self.peek() == Some(b'"');
        (closed && !block).then_some(text)
    }

    fn number(&mut self) -> Option<Expr> {
        let start = self.at;
        self.pass(|byte| byte.is_ascii_digit() || byte == b'_');
        let fraction = self.rest().strip_prefix('.');
        if fraction.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            self.pass(|byte| byte.is_ascii_digit());
        }
        if self.peek() == Some(b'%') {
            self.at += 1;
        } else {
            self.pass(|byte| byte.is_ascii_alphabetic());
        }
        let kind = ExprKind::Number(number(self.text.get(start..self.at)?));
        Some(Expr { kind, at: self.since(start) })
    }

    /// A name with its members and calls.
    fn name(&mut self) -> Option<Expr> {
        let start = self.at;
        let kind = match self.word()? {
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            word if RESERVED.contains(&word) => return None,
            word => ExprKind::Name(word.into()),
        };
        let mut expr = Expr { kind, at: self.since(start) };
        let outside = self.links;
        while let Some(byte @ (b'.' | b'(')) = self.peek() {
            self.links += 1;
            if self.links > MAX_LINKS {
                return None;
            }
            self.at += 1;
            let base = Box::new(expr);
            let kind = if byte == b'.' {
                let from = self.at;
                let text = self.word()?.into();
                ExprKind::Field(base, Name { text, at: self.since(from) })
            } else {
                ExprKind::Call(base, self.elements(b')', Self::arg)?)
            };
            expr = Expr { kind, at: self.since(start) };
        }
        self.links = outside;
        Some(expr)
    }

    fn arg(&mut self) -> Option<(Arg, Rel)> {
        let value = self.value()?;
        self.blank();
        if self.peek() != Some(b':') {
            let at = value.at;
            return Some((Arg { name: None, value }, at));
        }
        let ExprKind::Name(text) = value.kind else { return None };
        let name = Name { text, at: value.at };
        self.at += 1;
        self.blank();
        let value = self.value()?;
        let at = value.at;
        Some((Arg { name: Some(name), value }, at))
    }

    fn list(&mut self) -> Option<Expr> {
        let start = self.at;
        self.at += 1;
        let element = |lane: &mut Self| {
            let value = lane.value()?;
            let at = value.at;
            Some((value, at))
        };
        let elements = self.elements(b']', element)?;
        Some(Expr { kind: ExprKind::List(elements), at: self.since(start) })
    }

    fn record(&mut self) -> Option<Expr> {
        let start = self.at;
        self.at += 1;
        let fields = self.elements(b'}', Self::field)?;
        Some(Expr { kind: ExprKind::Record(fields), at: self.since(start) })
    }

    fn field(&mut self) -> Option<(Field, Rel)> {
        let start = self.at;
        let text: Arc<str> = match self.peek()? {
            b'"' => self.string()?.into(),
            _ => self.word()?.into(),
        };
        let name = Name { text, at: self.since(start) };
        self.blank();
        if self.peek() != Some(b':') {
            return None;
        }
        self.at += 1;
        self.blank();
        let value = self.value()?;
        let at = value.at;
        Some((Field { path: vec![name], key: None, value }, at))
    }

    /// Elements up to a closing bracket, with a comma or a line end between two.
    fn elements<T>(
        &mut self,
        close: u8,
        read: impl Fn(&mut Self) -> Option<(T, Rel)>,
    ) -> Option<Vec<T>> {
        let mut elements = Vec::new();
        self.blank();
        while self.peek()? != close {
            let (element, at) = read(self)?;
            elements.push(element);
            self.blank();
            let comma = self.peek() == Some(b',');
            if comma {
                self.at += 1;
                self.blank();
            }
            let next = self.peek()?;
            let between = self.text.get(at.end as usize..self.at)?;
            // Only a name or a string surely begins anew: a bracket might go on.
            let anew = comma || starts_word(next) || next == b'"';
            if next != close && !(anew && (comma || between.contains('\n'))) {
                return None;
            }
        }
        self.at += 1;
        elements.shrink_to_fit();
        Some(elements)
    }
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::item;
    use crate::syntax::parse::items::{ItemTree, parse_by_grammar};
    use crate::syntax::split::split;

    /// How many items of a text the lane reads; each must be what the grammar gives.
    fn read(text: &str) -> usize {
        let mut read = 0;
        for slice in split(text).0 {
            let body = &text[slice.start as usize..slice.end as usize];
            let Some(keyword) = slice.keyword.filter(|_| !slice.broken) else { continue };
            let Some(quick) = item(keyword, body) else { continue };
            let ItemTree { item: slow, errors } = parse_by_grammar(keyword, body);
            assert!(errors.is_empty(), "{body}: {errors:?}");
            assert_eq!(format!("{:?}", Some(quick)), format!("{slow:?}"), "{body}");
            read += 1;
        }
        read
    }

    #[test]
    fn it_reads_what_projects_are_made_of() {
        let text = r#"
project shop { keeper: n1 }
service web {
  image: local(layout: "images/web-1") # one
  ports: [{ name: "http", container: 8080, port: 80 }], "a key": true
  env: { A: "b", C: "" }
  place: { on: {} }, list: [1, 2.5GiB, 10%, x.y(1).z, [a, b,],],
}
service a = http_app({ name: "a", port: 1_000 }, extra: { A: b.c })
let x = [
  "one"
  two
]
"#;
        assert_eq!(read(text), 4);
    }

    #[test]
    fn it_leaves_the_rest_alone() {
        for text in [
            "service a { b: 1 + 2 }",
            "service a { b: \"${c}\" }",
            "service a { b: c d: e }",
            "service a { b: c\n- d }",
            "service a { b: c\n(d) }",
            "service a { b: [1\n2] }",
            "service a { b: if c then d else e }",
            "service a { b: \"\"\"\n c\"\"\" }",
            "service a { b: c with { d: e } }",
            "service a { b.c: d }",
            "service a { b: -1 }",
            "service a { b: 1..=3 }",
            "service a { b: absent }",
            "service a { b: c[1] }",
            "service a { b:: c }",
            "service if { b: c }",
            "service a == { }",
            "service a { b: c,, d: e }",
            "pub let a = 1",
            "let a: Int = 1",
        ] {
            assert_eq!(read(text), 0, "{text}");
        }
    }

    #[test]
    fn it_agrees_with_the_grammar_on_tokens_in_any_order() {
        const TOKENS: [&str; 33] = [
            "{", "}", "[", "]", "(", ")", ":", ",", "\n", " ", "=", ".", "#", "a", "b", "true",
            "absent", "if", "with", "1", "1.5", "10%", "2GiB", "_", "\"s\"", "\"\"", "'r'", "-",
            "a:", "b: 1", "f(", "\n# c\n", "let",
        ];
        let mut seed = 1u64;
        let mut roll = |sides: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % sides
        };
        let mut found = 0;
        for _ in 0..40_000 {
            let soup: String = (0..roll(12)).map(|_| TOKENS[roll(TOKENS.len())]).collect();
            found += read(&format!("let x = {soup}")) + read(&format!("service x {{{soup}}}"));
        }
        assert!(found > 500, "{found}");
    }
}
