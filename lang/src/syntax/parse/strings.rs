//! Strings out of pest's tree: escapes, interpolations, and blocks without their indentation.

use super::exprs::Builder;
use super::grammar::{Node, Rule};
use super::report;
use crate::syntax::ast::{Expr, ExprKind, Name, Piece};
use crate::syntax::error::{SyntaxError, SyntaxErrorKind};

impl Builder {
    /// A step of a path: a name, or a plain string for keys that are not names.
    pub(super) fn step(&mut self, node: Node<'_>) -> Name {
        let at = self.rel(&node);
        if node.as_rule() != Rule::string {
            return Name { text: node.as_str().into(), at };
        }
        let mut text = String::new();
        if let ExprKind::Str(pieces) = self.string(node).kind {
            for piece in pieces {
                match piece {
                    Piece::Text(part) => text.push_str(&part),
                    Piece::Interpolation(_) => self.errors.push(report::key_interpolated(at)),
                }
            }
        }
        Name { text: text.into(), at }
    }

    pub(super) fn string(&mut self, node: Node<'_>) -> Expr {
        self.pieces(node, None)
    }

    /// A string of several lines, without the indentation that they share.
    pub(super) fn block(&mut self, node: Node<'_>) -> Expr {
        let inside = node.as_str().trim_start_matches("\"\"\"").trim_end_matches("\"\"\"");
        let opened = inside.split_once('\n').is_some_and(|(first, _)| first.bytes().all(is_blank));
        self.pieces(node, Some(Block { margin: margin(inside), opened }))
    }

    /// The text and the interpolations.
    fn pieces(&mut self, node: Node<'_>, block: Option<Block>) -> Expr {
        let at = self.rel(&node);
        let mut pieces = Vec::new();
        let mut first = true;
        let mut text = String::new();
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::interpolation => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                    }
                    if let Some(inner) = inner.into_inner().find(|n| n.as_rule() == Rule::expr) {
                        pieces.push(Piece::Interpolation(self.expr(inner)));
                    }
                }
                Rule::escape => match inner.as_str().chars().nth(1) {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some(plain @ ('"' | '\\' | '$')) => text.push(plain),
                    _ => {
                        let found = inner.as_str().to_owned();
                        let at = self.rel(&inner);
                        self.errors
                            .push(SyntaxError { kind: SyntaxErrorKind::BadEscape { found }, at });
                    }
                },
                Rule::lines => {
                    let opening = std::mem::replace(&mut first, false);
                    let margin = block.as_ref().map_or(0, |block| block.margin);
                    outdented(&mut text, inner.as_str(), margin, opening);
                }
                _ => text.push_str(inner.as_str()),
            }
        }
        if let Some(block) = block {
            // What stands before the closing quotes on their line is indentation.
            let line = text.rfind('\n').map(|at| at + 1);
            let line = line.or((block.opened && pieces.is_empty()).then_some(0));
            let line = line.filter(|&at| text.bytes().skip(at).all(is_blank));
            text.truncate(line.unwrap_or(text.len()));
        }
        if !text.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        Expr { kind: ExprKind::Str(pieces), at }
    }

    /// A string as it stands between its quotes.
    pub(super) fn raw(&mut self, node: &Node<'_>) -> Expr {
        let text = node.as_str().trim_matches('\'').into();
        Expr { kind: ExprKind::Str(vec![Piece::Text(text)]), at: self.rel(node) }
    }
}

/// How a string of several lines is laid out.
struct Block {
    /// The white space that its lines share, in bytes.
    margin: usize,
    /// Whether it starts on the line after its quotes.
    opened: bool,
}

/// The white space that every line of a block starts with, in bytes: the first line stands beside the
/// quotes, and the last is theirs when nothing else is on it.
fn margin(inside: &str) -> usize {
    let lines = inside.split('\n').skip(1).filter(|line| !line.trim().is_empty());
    let mut shared: Option<&str> = None;
    for line in lines {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let indent = line.get(..indent).unwrap_or("");
        let common = shared.map_or(indent.len(), |shared| {
            shared.bytes().zip(indent.bytes()).take_while(|(a, b)| a == b).count()
        });
        shared = indent.get(..common);
    }
    shared.map_or(0, str::len)
}

/// Appends a part of a block, each of its line breaks without the margin that follows it. The break
/// beside the opening quotes is not a part of the text.
fn outdented(out: &mut String, part: &str, margin: usize, opening: bool) {
    let mut lines = part.split('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let last = lines.peek().is_none();
        let line = if last { line } else { line.strip_suffix('\r').unwrap_or(line) };
        let blank = match index {
            0 => 0,
            _ => line.bytes().take(margin).take_while(|&byte| is_blank(byte)).count(),
        };
        out.push_str(line.get(blank..).unwrap_or(""));
        let beside = opening && index == 0 && line.bytes().all(is_blank);
        if beside && !last {
            out.clear();
        } else if !last {
            out.push('\n');
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
