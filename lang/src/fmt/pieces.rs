//! Text into tokens as the layout wants them: whole numbers, whole operators, keywords apart from
//! names, and before each token what stands between it and the one before: comments, line ends.

use super::spacing;
use crate::syntax::{Scanner, Token, TokenKind};

/// A token, and what stands before it.
#[derive(Clone, Debug)]
pub(crate) struct Piece<'t> {
    pub(crate) kind: Kind,
    pub(crate) text: &'t str,
    /// The first byte in the file.
    pub(crate) start: usize,
    pub(crate) gap: Gap<'t>,
    /// Whether a space parts it from the token before, where both stand on one line.
    pub(crate) space: bool,
}

/// What a token is to the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name.
    Word,
    /// A word that joins expressions, and so is no value itself.
    Keyword,
    Number,
    Str,
    Open(u8),
    Close(u8),
    Comma,
    Colon,
    /// An operator, or a character that the layout does not know.
    Symbol,
}

/// What stands between two tokens, apart from blanks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gap<'t> {
    /// A comment on the line of the token before.
    pub(crate) trailing: Option<&'t str>,
    /// Comments on lines of their own.
    pub(crate) own: Vec<Comment<'t>>,
    /// Whether a line ends in it.
    pub(crate) newline: bool,
    /// Whether an empty line stands right before the token.
    pub(crate) blank: bool,
    /// Whether there is nothing at all.
    pub(crate) touching: bool,
}

/// A comment on a line of its own.
#[derive(Clone, Debug)]
pub(crate) struct Comment<'t> {
    pub(crate) text: &'t str,
    /// Whether an empty line stands before it.
    pub(crate) blank: bool,
}

impl<'t> Gap<'t> {
    /// Reads what stands between two tokens; `first` where no token stands before.
    pub(crate) fn read(text: &'t str, first: bool) -> Self {
        let mut gap = Self { touching: text.is_empty(), ..Self::default() };
        let mut lines = text.split('\n');
        let mut blank = false;
        if !first && let Some(rest) = lines.next() {
            gap.trailing = Some(rest.trim()).filter(|rest| !rest.is_empty());
        }
        let mut lines = lines.peekable();
        gap.newline = text.contains('\n');
        while let Some(line) = lines.next() {
            let line = line.trim();
            if !line.is_empty() {
                gap.own.push(Comment { text: line, blank });
            }
            // The last one is the token's own line, as far as the token.
            blank = line.is_empty() && lines.peek().is_some();
            gap.blank = blank || (gap.blank && line.is_empty());
        }
        gap
    }

    /// Joins what stands before and after a comma that is dropped.
    pub(crate) fn join(self, after: Self) -> Self {
        let mut own = self.own;
        let mut trailing = self.trailing;
        match after.trailing {
            Some(comment) if trailing.is_none() && !self.newline => trailing = Some(comment),
            Some(comment) => own.push(Comment { text: comment, blank: false }),
            None => {}
        }
        own.extend(after.own);
        Self {
            trailing,
            own,
            newline: self.newline || after.newline,
            blank: after.blank,
            touching: false,
        }
    }

    /// Whether it holds a comment.
    pub(crate) fn comments(&self) -> bool {
        self.trailing.is_some() || !self.own.is_empty()
    }
}

impl Piece<'_> {
    /// Whether a value may end with it.
    pub(crate) fn ends_value(&self) -> bool {
        match self.kind {
            Kind::Word | Kind::Number | Kind::Str | Kind::Close(_) => true,
            Kind::Symbol => self.text == "?" || self.text == ">" && !self.space,
            Kind::Keyword | Kind::Open(_) | Kind::Comma | Kind::Colon => false,
        }
    }

    /// Whether a value that has ended goes on with it.
    pub(crate) fn continues_value(&self) -> bool {
        match self.kind {
            Kind::Keyword => {
                matches!(
                    self.text,
                    "then" | "else" | "and" | "or" | "in" | "with" | "where" | "for"
                )
            }
            Kind::Symbol | Kind::Colon => true,
            Kind::Word
            | Kind::Number
            | Kind::Str
            | Kind::Open(_)
            | Kind::Close(_)
            | Kind::Comma => false,
        }
    }
}

/// Words after which a value goes on.
const KEYWORDS: [&str; 12] =
    ["for", "in", "if", "then", "else", "and", "or", "not", "with", "where", "match", "let"];

/// Operators of more than one character, the longest first.
const OPERATORS: [&str; 8] = ["..=", "..", "==", "!=", "<=", ">=", "->", "=>"];

/// Reads a whole file.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let tokens: Vec<Token> = Scanner::new(text).collect();
    let mut rest = tokens.as_slice();
    let mut end = 0;
    while let Some(first) = rest.first() {
        let taken = extent(text, rest).max(1);
        let (of_piece, after) = rest.split_at(taken.min(rest.len()));
        rest = after;
        let start = first.start as usize;
        let stop = of_piece.last().map_or(start, |token| token.end as usize);
        let words = text.get(start..stop).unwrap_or("");
        let after_dot = pieces.last().is_some_and(|piece| piece.text == ".");
        pieces.push(Piece {
            kind: kind(first.kind, words, after_dot),
            text: words,
            start,
            gap: Gap::read(text.get(end..start).unwrap_or(""), pieces.is_empty()),
            space: false,
        });
        end = stop;
    }
    spacing::space(&mut pieces);
    pieces
}

/// How many tokens make the next piece.
fn extent(text: &str, tokens: &[Token]) -> usize {
    let touching = |count: usize| {
        tokens.get(..count).is_some_and(|tokens| tokens.windows(2).all(|w| w[0].end == w[1].start))
    };
    let of = |index: usize| {
        tokens.get(index).and_then(|t| text.get(t.start as usize..t.end as usize)).unwrap_or("")
    };
    let digits = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    match tokens.first().map(|token| token.kind) {
        Some(TokenKind::Word) if digits(of(0)) => {
            let fraction =
                of(1) == "." && of(2).starts_with(|c: char| c.is_ascii_digit()) && touching(3);
            let whole = if fraction { 3 } else { 1 };
            let percent = (!fraction || digits(of(2))) && of(whole) == "%" && touching(whole + 1);
            whole + usize::from(percent)
        }
        Some(TokenKind::Other) => {
            let start = tokens.first().map_or(0, |token| token.start as usize);
            let known = OPERATORS.iter().find(|operator| {
                text.get(start..).is_some_and(|rest| rest.starts_with(**operator))
            });
            known.map_or(1, |operator| operator.len())
        }
        Some(
            TokenKind::Word
            | TokenKind::Open(_)
            | TokenKind::Close(_)
            | TokenKind::Str { .. }
            | TokenKind::Separator,
        )
        | None => 1,
    }
}

fn kind(kind: TokenKind, text: &str, after_dot: bool) -> Kind {
    match kind {
        TokenKind::Word if text.starts_with(|c: char| c.is_ascii_digit()) => Kind::Number,
        TokenKind::Word if KEYWORDS.contains(&text) && !after_dot => Kind::Keyword,
        TokenKind::Word => Kind::Word,
        TokenKind::Open(byte) => Kind::Open(byte),
        TokenKind::Close(byte) => Kind::Close(byte),
        TokenKind::Str { .. } => Kind::Str,
        TokenKind::Separator if text == "," => Kind::Comma,
        TokenKind::Separator => Kind::Colon,
        TokenKind::Other => Kind::Symbol,
    }
}
