//! Text into the few tokens that matter for cutting it: words, brackets, whole strings, separators.
//!
//! A string is one token, with the nesting of its interpolations; it never goes past its line, so
//! that a forgotten quote damages one line only.

/// A token and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Whether nothing but white space stands before it on its line.
    pub(super) first_on_line: bool,
    /// How far its line is indented, in bytes.
    pub(super) indent: u32,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
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
pub(super) struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    line_start: usize,
    indent: Option<usize>,
}

impl<'t> Scanner<'t> {
    /// Starts at the first byte.
    pub(super) fn new(text: &'t str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, line_start: 0, indent: None }
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

    /// Reads a string from its opening quote; stops before a line end.
    fn string(&mut self) -> TokenKind {
        let mut modes = vec![b'"'];
        let mut depth = 1usize;
        let mut ifs = 0usize;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte == b'\n' {
                break;
            }
            let next = self.bytes.get(self.at + 1).copied();
            let in_text = modes.last() == Some(&b'"');
            self.at += 1;
            match (in_text, byte) {
                (true, b'\\') if next.is_some_and(|b| b != b'\n') => self.at += 1,
                (true, b'"') => {
                    modes.pop();
                    if modes.is_empty() {
                        return TokenKind::Str { terminated: true, depth: depth + ifs };
                    }
                }
                (true, b'$') if next == Some(b'{') => {
                    self.at += 1;
                    modes.push(b'{');
                }
                (false, b'"' | b'{' | b'[' | b'(') => modes.push(byte),
                (false, b'}' | b']' | b')') => {
                    modes.pop();
                }
                (false, b'i') if next == Some(b'f') => ifs += 1,
                _ => {}
            }
            depth = depth.max(modes.len());
        }
        TokenKind::Str { terminated: false, depth: depth + ifs }
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
            b'"' => self.string(),
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
