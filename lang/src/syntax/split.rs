//! A file into slices, one an item, so that a broken item cannot hide the mistakes of the others.
//!
//! An item starts at an item keyword that a name follows, outside brackets; at the start of a line,
//! inside brackets too, which is how an unclosed bracket stops swallowing. A `let` where a value is
//! awaited binds locally. Brackets and strings are balanced here: what reaches the parser is.

use super::ast::Rel;
use super::error::{SyntaxError, SyntaxErrorKind};
use super::scan::{Scanner, Token, TokenKind};
use crate::nearest::nearest;
use std::sync::Arc;

/// How deep brackets, interpolations and conditionals may nest.
pub(super) const MAX_NESTING: usize = 96;
/// How many words, signs and texts an item may have: what is larger is data, and belongs into a data file.
const MAX_TOKENS: usize = 250_000;
/// How many items a file may have.
pub(crate) const MAX_ITEMS: usize = 250_000;
/// How many mistakes in the cutting of a file are told apart.
pub(crate) const MAX_ERRORS: usize = 10_000;
/// The largest file that is read, in bytes.
pub(crate) const MAX_FILE: usize = 16 << 20;

/// The word that starts an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Project,
    Node,
    Service,
    Job,
    Cron,
    Volume,
    Let,
    Input,
    Secret,
    Overlay,
    Environment,
    Policy,
    Test,
    Type,
    Enum,
    Fn,
    Use,
    Package,
}

const KEYWORDS: [(&str, Keyword); 18] = [
    ("project", Keyword::Project),
    ("node", Keyword::Node),
    ("service", Keyword::Service),
    ("job", Keyword::Job),
    ("cron", Keyword::Cron),
    ("volume", Keyword::Volume),
    ("let", Keyword::Let),
    ("input", Keyword::Input),
    ("secret", Keyword::Secret),
    ("overlay", Keyword::Overlay),
    ("environment", Keyword::Environment),
    ("policy", Keyword::Policy),
    ("test", Keyword::Test),
    ("type", Keyword::Type),
    ("enum", Keyword::Enum),
    ("fn", Keyword::Fn),
    ("use", Keyword::Use),
    ("package", Keyword::Package),
];

/// Words that go on with an expression at the start of a line.
const CONTINUATIONS: [&str; 10] =
    ["then", "else", "and", "or", "not", "if", "for", "in", "with", "match"];
/// Words that a value follows.
const OPENING: [&str; 8] = ["then", "else", "and", "or", "not", "if", "in", "match"];

/// An item's text in its file.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// What it declares; nothing for text that no keyword starts.
    pub(crate) keyword: Option<Keyword>,
    /// Its name, from the file's start, so that a broken item still declares it.
    pub(crate) name: Option<(Arc<str>, Rel)>,
    /// Whether its brackets or strings are wrong, in which case it is not parsed.
    pub(crate) broken: bool,
}

/// Cuts a file. The mistakes are placed from the file's start.
pub(crate) fn split(text: &str) -> (Vec<Slice>, Vec<SyntaxError>) {
    let (slices, errors, _) = split_between(text, 0, |_| None::<()>);
    (slices, errors)
}

/// Cuts a file from the start of a line on, up to the first item whose start `resume` knows, which is
/// where it would find what it found before; gives what `resume` says of that item.
pub(crate) fn split_between<T>(
    text: &str,
    from: u32,
    resume: impl Fn(u32) -> Option<T>,
) -> (Vec<Slice>, Vec<SyntaxError>, Option<T>) {
    let mut splitter = Splitter { text, current: None, slices: Vec::new(), errors: Vec::new() };
    let refused = if text.len() > MAX_FILE {
        Some("it is larger than 16 MiB")
    } else if text.contains('\0') {
        Some("it contains a NUL byte, so it is not text")
    } else {
        None
    };
    let at = reversing(text).map(|at| Rel { start: at as u32, end: at as u32 + 3 });
    let hidden =
        at.map(|_| "this character turns the direction of writing, and hides what it says");
    if let Some(why) = refused.or(hidden) {
        let at = at.filter(|_| refused.is_none()).unwrap_or(Rel { start: 0, end: 0 });
        splitter.fail(SyntaxErrorKind::Refused { why }, at);
        return (splitter.slices, splitter.errors, None);
    }
    for token in Scanner::from(text, from) {
        if token.first_on_line
            && token.indent == 0
            && token.start > from
            && splitter.starts_item(token)
            && let Some(resumed) = resume(token.start)
        {
            splitter.finish();
            return (splitter.slices, splitter.errors, Some(resumed));
        }
        splitter.token(token);
    }
    splitter.finish();
    (splitter.slices, splitter.errors, None)
}

/// The first character that turns the direction of writing (U+202A to U+202E, U+2066 to U+2069): text
/// with one can read otherwise than it runs (Boucher and Anderson, "Trojan Source", 2021).
fn reversing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(0xE2, bytes).find(|at| {
        let rest = bytes.get(at + 1..at + 3);
        matches!(rest, Some([0x80, 0xAA..=0xAE] | [0x81, 0xA6..=0xA9]))
    })
}

struct Splitter<'t> {
    text: &'t str,
    current: Option<Current>,
    slices: Vec<Slice>,
    errors: Vec<SyntaxError>,
}

struct Current {
    slice: Slice,
    brackets: Vec<Bracket>,
    tokens: usize,
    /// Conditionals and local bindings at the outermost level.
    ifs: usize,
    /// An opener whose closer stands at another indentation: the likeliest to be unclosed.
    suspect: Option<Bracket>,
    previous: Option<Token>,
    /// The token before that.
    before: Option<Token>,
    /// Set once the rest cannot be read as a part of it: it is too deep, or a stray bracket follows it.
    frozen: bool,
}

#[derive(Clone, Copy)]
struct Bracket {
    byte: u8,
    start: u32,
    indent: u32,
    ifs: usize,
}

impl<'t> Splitter<'t> {
    fn token(&mut self, token: Token) {
        if self.starts_item(token) {
            self.finish();
            self.begin(token);
            return;
        }
        let Some(current) = &mut self.current else {
            if let TokenKind::Close(byte) = token.kind {
                self.fail(SyntaxErrorKind::Stray { bracket: byte.into() }, rel(token));
                return;
            }
            self.begin(token);
            return;
        };
        if current.frozen {
            return;
        }
        current.slice.end = token.end;
        current.tokens += 1;
        if current.tokens > MAX_TOKENS {
            current.frozen = true;
            self.break_item(SyntaxErrorKind::TooLarge { limit: MAX_TOKENS }, rel(token));
            return;
        }
        match token.kind {
            TokenKind::Word => self.word(token),
            TokenKind::Open(byte) => self.open(byte, token),
            TokenKind::Close(byte) => self.close(byte, token),
            TokenKind::Str { terminated, depth } => self.string(terminated, depth, token),
            TokenKind::Separator | TokenKind::Other => {
                if self.ends_value(token) {
                    self.end_value();
                }
            }
        }
        if let Some(current) = &mut self.current {
            current.before = current.previous.replace(token);
        }
    }

    /// Whether a token ends the value before it, with all its conditionals and local bindings: a comma,
    /// a colon (not that of `let x: T`), or the arrow of an arm.
    fn ends_value(&self, token: Token) -> bool {
        let word = |token: Option<Token>| token.map(|token| self.slice_of(token));
        let Some(current) = &self.current else { return false };
        match self.slice_of(token) {
            "," => true,
            ":" => word(current.before) != Some("let"),
            ">" => word(current.previous) == Some("-"),
            _ => false,
        }
    }

    fn end_value(&mut self) {
        let Some(current) = &mut self.current else { return };
        match current.brackets.last_mut() {
            Some(bracket) => bracket.ifs = 0,
            None => current.ifs = 0,
        }
    }

    /// Whether a value is awaited after what was read.
    fn awaits_value(&self) -> bool {
        let previous = self.current.as_ref().and_then(|current| current.previous);
        previous.is_some_and(|previous| match previous.kind {
            TokenKind::Word => OPENING.contains(&self.slice_of(previous)),
            TokenKind::Separator | TokenKind::Other => true,
            TokenKind::Open(_) | TokenKind::Close(_) | TokenKind::Str { .. } => false,
        })
    }

    fn starts_item(&self, token: Token) -> bool {
        if token.kind != TokenKind::Word {
            return false;
        }
        let depth = self.current.as_ref().map_or(0, |current| current.brackets.len());
        let at_margin = token.first_on_line && token.indent == 0;
        if depth > 0 && !at_margin {
            return false;
        }
        let word = self.slice_of(token);
        let after =
            self.text.get(token.end as usize..).unwrap_or("").trim_start_matches([' ', '\t']);
        let names = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let follows_pub = self.current.as_ref().is_some_and(|current| {
            current.slice.keyword.is_none()
                && current.previous.is_some_and(|previous| self.slice_of(previous) == "pub")
        });
        let shaped = match keyword(word) {
            Some(Keyword::Use | Keyword::Test) => after.starts_with('"'),
            Some(Keyword::Let) if !at_margin && self.awaits_value() => return false,
            Some(_) => names,
            None => word == "pub" && names,
        };
        if shaped {
            return !follows_pub;
        }
        // Two words at the margin look like an item with a misspelt keyword.
        at_margin && depth == 0 && names && !follows_pub && !CONTINUATIONS.contains(&word)
    }

    fn begin(&mut self, token: Token) {
        let word = self.slice_of(token);
        let keyword = keyword(word);
        let mut slice =
            Slice { start: token.start, end: token.end, keyword, name: None, broken: false };
        if keyword.is_none() && word != "pub" {
            slice.broken = true;
            let words = KEYWORDS.iter().map(|(word, _)| *word);
            let meant = nearest(word, words);
            let kind = SyntaxErrorKind::NotAnItem { found: word.into(), meant };
            self.errors.push(SyntaxError { kind, at: rel(token) });
            slice.keyword = meant.and_then(self::keyword);
        }
        self.current = Some(Current {
            slice,
            brackets: Vec::new(),
            tokens: 1,
            ifs: 0,
            suspect: None,
            previous: Some(token),
            before: None,
            frozen: false,
        });
        match token.kind {
            TokenKind::Open(byte) => self.open(byte, token),
            TokenKind::Close(byte) => self.close(byte, token),
            TokenKind::Str { terminated, depth } => self.string(terminated, depth, token),
            TokenKind::Word | TokenKind::Separator | TokenKind::Other => {}
        }
    }

    fn word(&mut self, token: Token) {
        let word = self.slice_of(token);
        let Some(current) = &mut self.current else {
            return;
        };
        let local = word == "let" && current.slice.keyword.is_some();
        if word == "if" || local {
            match current.brackets.last_mut() {
                Some(bracket) => bracket.ifs += 1,
                None => current.ifs += 1,
            }
            self.check_depth(0, token);
            return;
        }
        if current.slice.keyword.is_none() && !current.slice.broken {
            // After `pub`.
            current.slice.keyword = keyword(word);
        } else if current.slice.keyword.is_some() && current.slice.name.is_none() {
            current.slice.name = Some((word.into(), rel(token)));
        }
    }

    fn open(&mut self, byte: u8, token: Token) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.brackets.push(Bracket { byte, start: token.start, indent: token.indent, ifs: 0 });
        self.check_depth(0, token);
    }

    fn close(&mut self, byte: u8, token: Token) {
        let Some(current) = &mut self.current else {
            return;
        };
        let opener = |byte| match byte {
            b'}' => b'{',
            b']' => b'[',
            _ => b'(',
        };
        let Some(top) = current.brackets.last().copied() else {
            if current.slice.broken {
                return;
            }
            let complete = current
                .previous
                .filter(|previous| matches!(previous.kind, TokenKind::Close(_)))
                .map(|previous| previous.end);
            match complete {
                Some(end) => {
                    current.slice.end = end;
                    current.frozen = true;
                    self.fail(SyntaxErrorKind::Stray { bracket: byte.into() }, rel(token));
                }
                None => {
                    self.break_item(SyntaxErrorKind::Stray { bracket: byte.into() }, rel(token))
                }
            }
            return;
        };
        if top.byte == opener(byte) {
            if token.first_on_line && token.indent != top.indent && current.suspect.is_none() {
                current.suspect = Some(top);
            }
            current.brackets.pop();
            return;
        }
        let at = Rel { start: top.start, end: top.start + 1 };
        if current.brackets.iter().any(|bracket| bracket.byte == opener(byte)) {
            while current.brackets.pop().is_some_and(|bracket| bracket.byte != opener(byte)) {}
            self.break_item(SyntaxErrorKind::Unclosed { bracket: top.byte.into() }, at);
        } else {
            current.brackets.pop();
            let kind = SyntaxErrorKind::Mismatched {
                open: at,
                bracket: top.byte.into(),
                found: byte.into(),
            };
            self.break_item(kind, rel(token));
        }
    }

    fn string(&mut self, terminated: bool, depth: usize, token: Token) {
        if !terminated {
            let block = self.slice_of(token).starts_with("\"\"\"");
            self.break_item(SyntaxErrorKind::UnterminatedString { block }, rel(token));
        }
        self.check_depth(depth, token);
    }

    fn check_depth(&mut self, inside: usize, token: Token) {
        let Some(current) = &mut self.current else {
            return;
        };
        let ifs: usize = current.brackets.iter().map(|bracket| bracket.ifs).sum();
        if current.brackets.len() + ifs + current.ifs + inside > MAX_NESTING {
            current.frozen = true;
            self.break_item(SyntaxErrorKind::TooDeep { limit: MAX_NESTING }, rel(token));
        }
    }

    /// Ends the current item.
    fn finish(&mut self) {
        let Some(current) = &self.current else { return };
        let unclosed =
            current.brackets.last().map(|&innermost| current.suspect.unwrap_or(innermost));
        if let Some(bracket) = unclosed {
            let at = Rel { start: bracket.start, end: bracket.start + 1 };
            self.break_item(SyntaxErrorKind::Unclosed { bracket: bracket.byte.into() }, at);
        }
        if let Some(current) = self.current.take() {
            self.slices.push(current.slice);
        }
    }

    /// Reports the first structural mistake of an item; what follows from it stays silent.
    fn break_item(&mut self, kind: SyntaxErrorKind, at: Rel) {
        let Some(current) = &mut self.current else {
            return;
        };
        if !std::mem::replace(&mut current.slice.broken, true) {
            self.fail(kind, at);
        }
    }

    fn fail(&mut self, kind: SyntaxErrorKind, at: Rel) {
        self.errors.push(SyntaxError { kind, at });
    }

    fn slice_of(&self, token: Token) -> &'t str {
        self.text.get(token.start as usize..token.end as usize).unwrap_or("")
    }
}

/// Whether a word begins an item.
pub(crate) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

fn keyword(word: &str) -> Option<Keyword> {
    KEYWORDS.iter().find(|(text, _)| *text == word).map(|(_, keyword)| *keyword)
}

fn rel(token: Token) -> Rel {
    Rel { start: token.start, end: token.end }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn an_unclosed_bracket_ends_at_the_next_item() {
        let (slices, errors) =
            split("service a {\n  env: { X: 1\n}\nservice b { }\npub fn f() -> Int = 1");
        assert_eq!(slices.len(), 3);
        assert_eq!(errors.len(), 1);
        assert!(slices[0].broken && !slices[1].broken && !slices[2].broken);
        assert_eq!(slices[2].name.as_ref().map(|(name, _)| &**name), Some("f"));
    }

    #[test]
    fn an_open_quote_damages_its_line_only() {
        let (slices, errors) = split("let a = \"x\nlet b = 1");
        assert_eq!((slices.len(), errors.len()), (2, 1));
    }
}
