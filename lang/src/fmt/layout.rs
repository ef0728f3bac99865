//! Groups of elements into lines.
//!
//! A group is flat, or broken with an element a line, or *inline*: its own tokens on the lines of the
//! brackets in it, as in `f({` … `})`. Every decision reads widths that are known before, and the line
//! ends of the text, so that laying out what was laid out changes nothing.

use super::pieces::{Gap, Kind};
use super::tree::{Element, Group, Node, is_keyword};
use super::{INDENT, WIDTH};

/// Writes lines.
#[derive(Default)]
pub(super) struct Printer {
    pub(super) out: String,
    column: usize,
    /// How far the current line is indented.
    indent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Flat,
    Inline,
    Broken,
}

impl Printer {
    /// Writes an item from the margin, without ending its last line.
    pub(super) fn item(&mut self, mut item: Element<'_>) {
        self.column = 0;
        self.indent = 0;
        self.soften(&mut item, 0, 0);
        self.nodes(&item.nodes, 0, 0, 0);
    }

    /// Ends the line and starts another: the comments between, at most one empty line.
    pub(super) fn line(&mut self, gap: &Gap<'_>, indent: usize, blank: bool) {
        if let Some(comment) = gap.trailing {
            self.out.push(' ');
            self.out.push_str(comment);
        }
        self.own_comments(gap, indent, blank);
        self.out.push('\n');
        if gap.blank && (blank || !gap.own.is_empty()) {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
        self.indent = indent;
    }

    /// Starts the line of a closing bracket; comments before it belong to what it closes.
    fn closing_line(&mut self, gap: &Gap<'_>, indent: usize, blank: bool) {
        if let Some(comment) = gap.trailing {
            self.out.push(' ');
            self.out.push_str(comment);
        }
        self.own_comments(gap, indent + INDENT, blank);
        self.line(&Gap::default(), indent, false);
    }

    /// Writes the comments that have lines of their own, each after a line end.
    pub(super) fn own_comments(&mut self, gap: &Gap<'_>, indent: usize, blank: bool) {
        for (index, comment) in gap.own.iter().enumerate() {
            self.out.push('\n');
            if comment.blank && (blank || index > 0) {
                self.out.push('\n');
            }
            self.out.extend(std::iter::repeat_n(' ', indent));
            self.out.push_str(comment.text);
        }
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column = match text.rsplit_once('\n') {
            None => self.column + text.chars().count(),
            Some((_, last)) => last.chars().count(),
        };
    }

    /// Writes tokens one after the other; `tail` columns follow the last one on its line.
    fn nodes(&mut self, nodes: &[Node<'_>], base: usize, tail: usize, depth: usize) {
        for (index, node) in nodes.iter().enumerate() {
            if let Some(previous) = index.checked_sub(1).and_then(|index| nodes.get(index)) {
                if node.gap().newline {
                    let clause = depth > 0 && is_clause(nodes, index);
                    let branch = is_keyword(previous, "then") || is_keyword(previous, "else");
                    let further = match (clause, branch) {
                        (true, _) => 0,
                        (false, true) => 2 * INDENT,
                        (false, false) => INDENT,
                    };
                    self.line(node.gap(), base + further, false);
                } else if node.first().space {
                    self.push(" ");
                }
            }
            match node {
                Node::Leaf(piece) => self.push(piece.text),
                Node::Group(group) => {
                    let rest = nodes.get(index + 1..).unwrap_or_default();
                    self.group(group, lead(rest, tail), depth + 1);
                }
            }
        }
    }

    fn group(&mut self, group: &Group<'_>, tail: usize, depth: usize) {
        let pad = if group.padded { " " } else { "" };
        let indent = self.indent;
        let mode = self.mode(group, tail);
        self.push(group.open.text);
        match mode {
            Mode::Flat | Mode::Inline => {
                self.push(pad);
                let tails = tails(group, tail);
                for (index, (element, tail)) in group.elements.iter().zip(tails).enumerate() {
                    if index > 0 {
                        self.push(", ");
                    }
                    self.nodes(&element.nodes, self.indent, tail, depth);
                }
                self.push(pad);
            }
            Mode::Broken => {
                let inner = indent + INDENT;
                for (index, element) in group.elements.iter().enumerate() {
                    let gap = element.nodes.first().map(Node::gap).cloned().unwrap_or_default();
                    self.line(&gap, inner, index > 0);
                    let comma = group.commas && element.comma;
                    let mut element = element.clone();
                    self.soften(&mut element, usize::from(comma), depth);
                    self.nodes(&element.nodes, inner, usize::from(comma), depth);
                    if comma {
                        self.push(",");
                    }
                }
                self.closing_line(&group.close.gap, indent, !group.elements.is_empty());
            }
        }
        self.push(group.close.text);
    }

    fn mode(&self, group: &Group<'_>, tail: usize) -> Mode {
        if group.broken {
            return Mode::Broken;
        }
        match group.size.flat {
            Some(width) if self.column + width + tail <= WIDTH => Mode::Flat,
            Some(_) if !breakable(group) => Mode::Flat,
            Some(_) if hug(group).is_some_and(|head| self.column + head <= WIDTH) => Mode::Inline,
            None if self.column + group.size.head <= WIDTH => Mode::Inline,
            Some(_) | None => Mode::Broken,
        }
    }

    /// Breaks an element between its own tokens, where it is too wide for its line and has places
    /// for that: clauses, branches, the parts of a condition.
    fn soften(&self, element: &mut Element<'_>, tail: usize, depth: usize) {
        let too_wide = element.size.flat.is_some_and(|width| self.column + width + tail > WIDTH);
        if !too_wide {
            return;
        }
        let nodes = &element.nodes;
        let has = |word| nodes.iter().any(|node| is_keyword(node, word));
        let all = |word| -> Vec<usize> {
            (1..nodes.len()).filter(|&index| is_keyword(&nodes[index], word)).collect()
        };
        let clauses: Vec<usize> =
            (1..nodes.len()).filter(|&i| depth > 0 && is_clause(nodes, i)).collect();
        let bodies = bodies(nodes);
        let places = if !clauses.is_empty() {
            clauses
        } else if !bodies.is_empty() {
            bodies
        } else if has("else") {
            all("else")
        } else if has("or") {
            all("or")
        } else {
            all("and")
        };
        for place in places {
            if let Some(node) = element.nodes.get_mut(place) {
                node.break_before();
            }
        }
    }
}

/// Whether a token begins a clause of a comprehension.
fn is_clause(nodes: &[Node<'_>], index: usize) -> bool {
    let Some(node) = nodes.get(index) else { return false };
    let before = nodes.get(..index).unwrap_or_default();
    is_keyword(node, "for")
        || is_keyword(node, "if") && before.iter().any(|node| is_keyword(node, "for"))
}

/// Where the bodies of local bindings begin: after the `in` of each `let`.
fn bodies(nodes: &[Node<'_>]) -> Vec<usize> {
    let mut open = 0usize;
    let mut places = Vec::new();
    // The first `let` of an item is its keyword.
    for (index, node) in nodes.iter().enumerate().skip(2) {
        if is_keyword(node, "let") {
            open += 1;
        } else if is_keyword(node, "in") && open > 0 {
            open -= 1;
            places.push(index + 1);
        }
    }
    places
}

/// How much must follow on a line: as far as the next place that can be broken.
fn lead(nodes: &[Node<'_>], tail: usize) -> usize {
    let mut width = 0;
    for node in nodes {
        if node.gap().newline {
            return width;
        }
        width += usize::from(node.first().space);
        let stops = match node {
            Node::Leaf(_) => node.size().flat.is_none(),
            Node::Group(group) => group.size.flat.is_none() || breakable(group),
        };
        if stops {
            let opener = matches!(node, Node::Group(_));
            return width + if opener { 1 } else { node.size().head };
        }
        width += node.size().head;
    }
    width + tail
}

/// What follows each element of an inline group on its line.
fn tails(group: &Group<'_>, tail: usize) -> Vec<usize> {
    let mut next = usize::from(group.padded) + 1 + tail;
    let mut tails: Vec<usize> = Vec::with_capacity(group.elements.len());
    for element in group.elements.iter().rev() {
        tails.push(next);
        let mut nodes = element.nodes.iter();
        // The first token's space is the one after the comma.
        let space = nodes.next().map_or(0, |node| usize::from(node.first().space));
        next = 2 + lead(&element.nodes, next).saturating_sub(space);
    }
    tails.reverse();
    tails
}

/// Whether breaking a group could make its line shorter; an index, or one word, never is broken.
fn breakable(group: &Group<'_>) -> bool {
    let index = group.open.kind == Kind::Open(b'[') && group.open.gap.touching && !group.open.space;
    let bare = match group.elements.as_slice() {
        [] => true,
        [only] => matches!(only.nodes.as_slice(), [Node::Leaf(_)]),
        [_, _, ..] => false,
    };
    !(bare || index && group.elements.len() == 1)
}

/// How wide a group is as far as the bracket of its last element, where that bracket may be broken
/// instead: `f({` … `})`, `f(a, env: {` … `})`, `[{` … `}]`.
fn hug(group: &Group<'_>) -> Option<usize> {
    let (last, before) = group.elements.split_last()?;
    let paren = group.open.kind == Kind::Open(b'(');
    let list = group.open.kind == Kind::Open(b'[');
    if !(paren || list && before.is_empty()) {
        return None;
    }
    let plain =
        |element: &Element<'_>| element.nodes.iter().all(|node| matches!(node, Node::Leaf(_)));
    let (inner, name) = match last.nodes.as_slice() {
        [Node::Group(inner)] => (inner, 0),
        [Node::Leaf(name), Node::Leaf(colon), Node::Group(inner)] if colon.kind == Kind::Colon => {
            (inner, name.text.chars().count() + 2)
        }
        _ => return None,
    };
    let hugs = inner.open.kind != Kind::Open(b'(') && breakable(inner) && before.iter().all(plain);
    let widths: usize = before.iter().map(|element| element.size.head + 2).sum();
    hugs.then_some(1 + widths + name + 1)
}
