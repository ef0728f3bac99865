//! Text into the few tokens that matter for cutting it: words, brackets, whole strings, separators.
//!
//! A string is one token, with the nesting of its interpolations. It never goes past its line, and a
//! block in `"""` never past its indented lines, so that a forgotten quote damages little.

/// A token and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Whether nothing but white space stands before it on its line.
    pub(crate) first_on_line: bool,
    /// How far its line is indented, in bytes.
    pub(crate) indent: u32,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Word,
    Open(u8),
    Close(u8),
    Str {
        terminated: bool,
        depth: usize,
    },
    /// A `,` or a `:`.
    Separator,
    Other,
}

/// Walks over a text.
pub(crate) struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    line_start: usize,
    indent: Option<usize>,
}

impl<'t> Scanner<'t> {
    /// Starts at the first byte.
    pub(crate) fn new(text: &'t str) -> Self {
        Self::from(text, 0)
    }

    /// Starts at a byte that starts a line.
    pub(crate) fn from(text: &'t str, start: u32) -> Self {
        let start = start as usize;
        Self { bytes: text.as_bytes(), at: start, line_start: start, indent: None }
    }

    fn skip_blanks(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line_start = self.at;
                    self.indent = None;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' => {
                    while self.bytes.get(self.at).is_some_and(|&b| b != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Reads a string from its opening quote; stops before a line end, unless it is a block.
    fn string(&mut self) -> TokenKind {
        let block = self.follows(b"\"\"\"");
        if !block && let Some(end) = self.plain_end() {
            self.at = end;
            return TokenKind::Str { terminated: true, depth: 1 };
        }
        let mut modes = vec![self.bytes.get(self.at).copied().unwrap_or(b'"')];
        let mut depth = 1usize;
        let mut opened = 0usize;
        self.at += if block { 3 } else { 1 };
        while let Some(&byte) = self.bytes.get(self.at) {
            let outermost = modes.len() == 1;
            if byte == b'\n' {
                if !(block && outermost && self.line_goes_on()) {
                    break;
                }
                self.at += 1;
                self.line_start = self.at;
                continue;
            }
            let next = self.bytes.get(self.at + 1).copied();
            let quote = modes.last().copied().filter(|mode| matches!(mode, b'"' | b'\''));
            let three = block && outermost;
            match (quote, byte) {
                (Some(b'"'), b'\\') if next.is_some_and(|b| b != b'\n') => self.at += 1,
                (Some(b'"'), b'"') if three && !self.follows(b"\"\"\"") => {}
                (Some(quote), byte) if quote == byte => {
                    modes.pop();
                    if modes.is_empty() {
                        self.at += if three { 3 } else { 1 };
                        return TokenKind::Str { terminated: true, depth: depth + opened };
                    }
                }
                (Some(b'"'), b'$') if next == Some(b'{') => {
                    self.at += 1;
                    modes.push(b'{');
                }
                (None, b'"' | b'\'' | b'{' | b'[' | b'(') => modes.push(byte),
                (None, b'}' | b']' | b')') => {
                    modes.pop();
                }
                // What may be an `if` or a `let` nests, too.
                (None, b'i') if next == Some(b'f') => opened += 1,
                (None, b'l') if next == Some(b'e') => opened += 1,
                _ => {}
            }
            self.at += 1;
            depth = depth.max(modes.len());
        }
        TokenKind::Str { terminated: false, depth: depth + opened }
    }

    /// Where a string ends that holds nothing but characters.
    fn plain_end(&self) -> Option<usize> {
        let rest = self.bytes.get(self.at + 1..)?;
        let special = |&byte: &u8| matches!(byte, b'"' | b'\\' | b'$' | b'\n');
        let end = rest.iter().position(special)?;
        (self.bytes.get(self.at) == Some(&b'"') && rest[end] == b'"').then_some(self.at + end + 2)
    }

    /// Whether the line after this line end is one of a block: empty, indented, or its last.
    fn line_goes_on(&self) -> bool {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        matches!(rest.first(), Some(b' ' | b'\t' | b'\r' | b'\n')) || rest.starts_with(b"\"\"\"")
    }

    fn follows(&self, text: &[u8]) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(text))
    }
}

impl Iterator for Scanner<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let &byte = self.bytes.get(self.at)?;
        let start = self.at;
        let first_on_line = self.indent.is_none();
        let indent = *self.indent.get_or_insert(start - self.line_start);
        let kind = match byte {
            b'"' | b'\'' => self.string(),
            b'{' | b'[' | b'(' => {
                self.at += 1;
                TokenKind::Open(byte)
            }
            b'}' | b']' | b')' => {
                self.at += 1;
                TokenKind::Close(byte)
            }
            b',' | b':' => {
                self.at += 1;
                TokenKind::Separator
            }
            _ if is_word(byte) => {
                while self.bytes.get(self.at).is_some_and(|&b| is_word(b)) {
                    self.at += 1;
                }
                TokenKind::Word
            }
            _ => {
                self.at += 1;
                while self.bytes.get(self.at).is_some_and(|&b| b & 0xC0 == 0x80) {
                    self.at += 1;
                }
                TokenKind::Other
            }
        };
        Some(Token {
            kind,
            start: start as u32,
            end: self.at as u32,
            first_on_line,
            indent: indent as u32,
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
