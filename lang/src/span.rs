//! Places in text: byte offsets everywhere, lines and columns only when someone looks.
//!
//! This module knows nothing of the language.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// A half-open range of bytes in one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The file's path in the workspace.
    pub file: Arc<str>,
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A file's text, with an index of its lines that is built when first asked for.
#[derive(Debug)]
pub struct SourceFile {
    path: Arc<str>,
    text: Arc<str>,
    line_starts: OnceLock<Vec<u32>>,
}

impl SourceFile {
    /// Wraps a text under its path in the workspace.
    pub fn new(path: Arc<str>, text: Arc<str>) -> Self {
        Self { path, text, line_starts: OnceLock::new() }
    }

    /// The path in the workspace, with `/`.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The line and column of a byte offset; an offset past the end is the end.
    pub fn position(&self, offset: u32) -> Position {
        let line = self.line_at(offset);
        let start = self.starts().get(line).copied().unwrap_or(0) as usize;
        let end = (offset as usize).min(self.text.len());
        let column = self
            .text
            .as_bytes()
            .get(start..end)
            .map_or(0, |bytes| bytes.iter().filter(|&&b| b & 0xC0 != 0x80).count());
        Position { line: line as u32 + 1, column: column as u32 + 1 }
    }

    /// The text of a line, counted from 1, without its line end.
    pub fn line(&self, line: u32) -> &str {
        let index = (line as usize).saturating_sub(1);
        let Some(&start) = self.starts().get(index) else {
            return "";
        };
        let end = self.starts().get(index + 1).map_or(self.text.len(), |&next| next as usize);
        self.text.get(start as usize..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }

    /// The first byte of a line, counted from 1; the end of the text for one that is not there.
    pub fn line_start(&self, line: u32) -> usize {
        let index = (line as usize).saturating_sub(1);
        self.starts().get(index).map_or(self.text.len(), |&start| start as usize)
    }

    fn line_at(&self, offset: u32) -> usize {
        self.starts().partition_point(|&start| start <= offset).saturating_sub(1)
    }

    fn starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::SourceFile;

    #[test]
    fn columns_count_characters_and_lines_end_at_newlines() {
        let file = SourceFile::new("a".into(), "é=1\r\nb".into());
        assert_eq!(file.position(2).to_string(), "1:2");
        assert_eq!(file.position(6).to_string(), "2:1");
        assert_eq!(file.position(99).to_string(), "2:2");
        assert_eq!(file.line(1), "é=1");
        assert_eq!(file.line(9), "");
    }
}
