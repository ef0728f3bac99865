//! Tokens into groups of elements, by brackets, commas and line ends; with the widths that the
//! layout decides by.
//!
//! A line end parts two elements exactly where the grammar would: after what may end a value, before
//! what cannot go on with one.

use super::WIDTH;
use super::pieces::{Gap, Kind, Piece};

/// What an element is made of.
#[derive(Clone, Debug)]
pub(crate) enum Node<'t> {
    /// A token.
    Leaf(Piece<'t>),
    /// A bracket and what it holds.
    Group(Box<Group<'t>>),
}

/// A bracket and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Group<'t> {
    pub(crate) open: Piece<'t>,
    pub(crate) elements: Vec<Element<'t>>,
    pub(crate) close: Piece<'t>,
    /// Whether a line ends between its own tokens.
    pub(crate) broken: bool,
    /// Whether elements could run into each other without their commas.
    pub(crate) commas: bool,
    /// Whether a space stands inside its brackets: `{ a: 1 }`, but `{Str: Int}`.
    pub(crate) padded: bool,
    pub(crate) size: Size,
}

/// What stands between two separators.
#[derive(Clone, Debug, Default)]
pub(crate) struct Element<'t> {
    pub(crate) nodes: Vec<Node<'t>>,
    /// Whether a comma follows it.
    pub(crate) comma: bool,
    pub(crate) size: Size,
}

/// How wide something is on one line, in characters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    /// All of it; nothing where it holds a line end.
    pub(crate) flat: Option<usize>,
    /// As far as its first line end.
    pub(crate) head: usize,
}

impl<'t> Node<'t> {
    /// What stands before it.
    pub(crate) fn gap(&self) -> &Gap<'t> {
        match self {
            Self::Leaf(piece) => &piece.gap,
            Self::Group(group) => &group.open.gap,
        }
    }

    /// Its first token.
    pub(crate) fn first(&self) -> &Piece<'t> {
        match self {
            Self::Leaf(piece) => piece,
            Self::Group(group) => &group.open,
        }
    }

    /// Its last token.
    pub(crate) fn last(&self) -> &Piece<'t> {
        match self {
            Self::Leaf(piece) => piece,
            Self::Group(group) => &group.close,
        }
    }

    /// Its size, without the space before it.
    pub(crate) fn size(&self) -> Size {
        match self {
            Self::Leaf(piece) => leaf_size(piece.text),
            Self::Group(group) => group.size,
        }
    }

    /// Starts a new line before it.
    pub(super) fn break_before(&mut self) {
        match self {
            Self::Leaf(piece) => piece.gap.newline = true,
            Self::Group(group) => group.open.gap.newline = true,
        }
    }
}

/// An item, or nothing where its brackets do not match.
pub(crate) fn item<'t>(pieces: Vec<Piece<'t>>) -> Option<Element<'t>> {
    let mut builder = Builder { open: Vec::new(), current: Level::default() };
    for piece in pieces {
        match piece.kind {
            Kind::Open(_) => {
                builder.separate(&piece);
                let piece = builder.current.take_pending(piece);
                builder.open.push((piece, std::mem::take(&mut builder.current)));
            }
            Kind::Close(byte) => {
                let (open, outer) = builder.open.pop()?;
                if open.kind != Kind::Open(opener(byte)) {
                    return None;
                }
                let inner = std::mem::replace(&mut builder.current, outer);
                let group = group(open, inner, piece);
                builder.current.element.nodes.push(Node::Group(Box::new(group)));
            }
            Kind::Comma if !builder.open.is_empty() && !builder.current.speaks() => {
                builder.comma(piece);
            }
            Kind::Word
            | Kind::Keyword
            | Kind::Number
            | Kind::Str
            | Kind::Comma
            | Kind::Colon
            | Kind::Symbol => {
                builder.separate(&piece);
                let piece = builder.current.take_pending(piece);
                builder.current.element.nodes.push(Node::Leaf(piece));
            }
        }
    }
    let mut element = builder.current.element;
    element.size = element_size(&element.nodes);
    builder.open.is_empty().then_some(element)
}

struct Builder<'t> {
    open: Vec<(Piece<'t>, Level<'t>)>,
    current: Level<'t>,
}

/// What is being read between two brackets.
#[derive(Default)]
struct Level<'t> {
    elements: Vec<Element<'t>>,
    element: Element<'t>,
    /// What stood around a comma that was dropped.
    pending: Option<Gap<'t>>,
}

impl<'t> Builder<'t> {
    /// Ends the element where the line ends before a token that cannot go on with it.
    fn separate(&mut self, piece: &Piece<'t>) {
        let inside = !self.open.is_empty();
        let level = &mut self.current;
        let Some(last) = level.element.nodes.last() else { return };
        let clause = piece.kind == Kind::Keyword && piece.text == "if" && level.comprehends()
            || matches!(piece.text, "until" | "by" | "because") && level.begins("waive");
        let parted = inside
            && piece.gap.newline
            && last.last().ends_value()
            && !piece.continues_value()
            && !clause;
        // What a policy or a test says next may stand on the same line.
        let block = self.open.last().is_some_and(|(open, _)| open.kind == Kind::Open(b'{'));
        let entry = block && last.last().ends_value() && starts_entry(piece);
        if parted || entry {
            level.end(false);
        }
    }

    fn comma(&mut self, piece: Piece<'t>) {
        let level = &mut self.current;
        let gap = match level.pending.take() {
            Some(before) => before.join(piece.gap),
            None => piece.gap,
        };
        level.pending = Some(gap);
        level.end(true);
    }
}

impl<'t> Level<'t> {
    fn end(&mut self, comma: bool) {
        let mut element = std::mem::take(&mut self.element);
        if element.nodes.is_empty() {
            // A comma after a line end closes the element before.
            if let Some(last) = self.elements.last_mut() {
                last.comma |= comma;
            }
            return;
        }
        element.comma = comma;
        element.size = element_size(&element.nodes);
        self.elements.push(element);
    }

    fn take_pending(&mut self, mut piece: Piece<'t>) -> Piece<'t> {
        if let Some(before) = self.pending.take() {
            piece.gap = before.join(piece.gap);
        }
        piece
    }

    /// Whether the element is a comprehension.
    fn comprehends(&self) -> bool {
        self.element.nodes.iter().any(|node| is_keyword(node, "for"))
    }

    /// Whether the element's first token is this one.
    fn begins(&self, word: &str) -> bool {
        self.element.nodes.first().is_some_and(|node| node.first().text == word)
    }

    /// Whether a comma does not end the element: in `expect a, "words"`, and in `for k, v in m`.
    fn speaks(&self) -> bool {
        let nodes = &self.element.nodes;
        let binds =
            nodes.iter().rev().find(|node| is_keyword(node, "for") || is_keyword(node, "in"));
        self.begins("expect") || binds.is_some_and(|node| is_keyword(node, "for"))
    }
}

/// Whether an element of a policy or a test starts here, wherever that is.
fn starts_entry(piece: &Piece<'_>) -> bool {
    matches!(piece.text, "expect" | "waive")
}

/// Whether a node is this keyword.
pub(super) fn is_keyword(node: &Node<'_>, word: &str) -> bool {
    matches!(node, Node::Leaf(piece) if piece.kind == Kind::Keyword && piece.text == word)
}

fn group<'t>(open: Piece<'t>, mut level: Level<'t>, close: Piece<'t>) -> Group<'t> {
    let close = level.take_pending(close);
    level.end(false);
    let elements = level.elements;
    let own_line_end = |element: &Element<'t>| element.nodes.iter().any(|n| n.gap().newline);
    let comments = close.gap.comments();
    // A comma between them would be a part of the one before.
    let entry = |element: &Element<'t>| {
        element.nodes.first().is_some_and(|node| starts_entry(node.first()))
    };
    let broken = comments
        || elements.iter().skip(1).any(entry)
        || elements.iter().any(own_line_end)
        || (close.gap.newline && !elements.is_empty());
    let commas = elements
        .iter()
        .skip(1)
        .any(|element| element.nodes.first().is_some_and(|node| node.first().kind == Kind::Symbol));
    let padded = open.kind == Kind::Open(b'{') && !elements.is_empty() && !is_map(&elements);
    let mut group = Group { open, elements, close, broken, commas, padded, size: Size::default() };
    group.size = group_size(&group);
    group
}

/// `{Str: Int}`, a type.
fn is_map(elements: &[Element<'_>]) -> bool {
    match elements {
        [only] => match only.nodes.as_slice() {
            [Node::Leaf(key), Node::Leaf(colon), ..] => {
                key.text == "Str" && colon.kind == Kind::Colon
            }
            _ => false,
        },
        _ => false,
    }
}

/// The size of tokens one after the other.
pub(super) fn element_size(nodes: &[Node<'_>]) -> Size {
    let mut head = 0;
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            if node.gap().newline {
                return Size { flat: None, head };
            }
            head += usize::from(node.first().space);
        }
        let size = node.size();
        head += size.head;
        if size.flat.is_none() {
            return Size { flat: None, head };
        }
    }
    Size { flat: Some(head), head }
}

fn group_size(group: &Group<'_>) -> Size {
    let mut head = 1;
    if group.broken {
        return Size { flat: None, head };
    }
    let pad = usize::from(group.padded);
    head += pad;
    for (index, element) in group.elements.iter().enumerate() {
        head += if index > 0 { 2 } else { 0 } + element.size.head;
        if element.size.flat.is_none() {
            return Size { flat: None, head };
        }
    }
    head += pad + 1;
    Size { flat: Some(head), head }
}

fn leaf_size(text: &str) -> Size {
    // Columns beyond the width are all alike.
    let count = |text: &str| {
        if text.len() > 4 * WIDTH { text.len() / 4 } else { text.chars().count() }
    };
    match text.split_once('\n') {
        None => Size { flat: Some(count(text)), head: count(text) },
        Some((first, _)) => Size { flat: None, head: count(first) },
    }
}

fn opener(byte: u8) -> u8 {
    match byte {
        b'}' => b'{',
        b']' => b'[',
        _ => b'(',
    }
}
