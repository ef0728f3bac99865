//! One file's tokens into what it declares.

use super::{FieldDoc, FileDoc, ItemDoc};
use crate::fmt::{Element, Group, Kind, Node, Piece, format, item, pieces};
use crate::syntax::{parse_item, split};
use std::collections::BTreeMap;

/// Reads a file.
pub(super) fn file(path: &str, text: &str) -> FileDoc {
    let mut doc = FileDoc { path: path.to_owned(), intro: Vec::new(), items: Vec::new() };
    let pieces = pieces(text);
    let at: BTreeMap<usize, &Piece<'_>> = pieces.iter().map(|piece| (piece.start, piece)).collect();
    let (slices, _) = split(text);
    for (index, slice) in slices.iter().enumerate() {
        let Some(keyword) = slice.keyword.filter(|_| !slice.broken) else { continue };
        let body = text.get(slice.start as usize..slice.end as usize).unwrap_or("");
        let tree = parse_item(keyword, body);
        if tree.item.is_none() || !tree.errors.is_empty() {
            continue;
        }
        let first = at.get(&(slice.start as usize));
        let comments = first.map(|piece| comments(piece)).unwrap_or_default();
        if index == 0 {
            doc.intro = comments.0;
        }
        doc.items.extend(declared(body, comments.1));
    }
    doc
}

/// The comments before an item: those that an empty line parts from it, and those right above it.
fn comments(piece: &Piece<'_>) -> (Vec<String>, Vec<String>) {
    let own = &piece.gap.own;
    let words: Vec<String> = own.iter().map(|comment| bare(comment.text)).collect();
    let start = if piece.gap.blank {
        own.len()
    } else {
        own.iter().rposition(|comment| comment.blank).unwrap_or(0)
    };
    let (apart, above) = words.split_at(start.min(words.len()));
    (apart.to_vec(), above.to_vec())
}

/// A comment's words.
fn bare(comment: &str) -> String {
    let words = comment.trim_start_matches('#');
    words.strip_prefix(' ').unwrap_or(words).to_owned()
}

fn declared(body: &str, text: Vec<String>) -> Option<ItemDoc> {
    let laid_out = format(body).text;
    let element = item(pieces(&laid_out))?;
    let mut nodes = element.nodes.iter().peekable();
    let public = nodes.next_if(|node| node.first().text == "pub").is_some();
    let keyword = nodes.next()?.first().text.to_owned();
    let name = nodes.next()?.first().text.trim_matches('"').to_owned();
    if keyword == "use" {
        return None;
    }
    let rest: Vec<&Node<'_>> = nodes.collect();
    let whole = matches!(keyword.as_str(), "type" | "enum" | "input" | "package");
    let end = if whole { None } else { body_start(&element) };
    let signature = laid_out.get(..end.unwrap_or(laid_out.len())).unwrap_or("").trim_end();
    Some(ItemDoc {
        fields: fields(&keyword, &rest),
        keyword,
        name,
        public,
        text,
        signature: signature.to_owned(),
    })
}

/// Where a body begins: at the first `=` or `{` outside brackets.
fn body_start(element: &Element<'_>) -> Option<usize> {
    let starts = |node: &&Node<'_>| match node {
        Node::Leaf(piece) => piece.text == "=",
        Node::Group(group) => group.open.kind == Kind::Open(b'{'),
    };
    element.nodes.iter().find(starts).map(|node| node.first().start)
}

fn fields(keyword: &str, nodes: &[&Node<'_>]) -> Vec<FieldDoc> {
    let group = nodes.iter().find_map(|node| match node {
        Node::Group(group) => Some(group),
        Node::Leaf(_) => None,
    });
    let Some(group) = group else { return Vec::new() };
    let wanted = match keyword {
        "fn" => group.open.kind == Kind::Open(b'('),
        // `= { … }`, and not `= [{ … }]`.
        "type" => group.padded && nodes.get(1).is_some_and(|node| matches!(node, Node::Group(_))),
        "enum" => true,
        _ => false,
    };
    if wanted { elements(group) } else { Vec::new() }
}

fn elements(group: &Group<'_>) -> Vec<FieldDoc> {
    let mut fields = Vec::new();
    for (index, element) in group.elements.iter().enumerate() {
        let Some(first) = element.nodes.first() else { continue };
        let mut text: Vec<String> =
            first.gap().own.iter().map(|comment| bare(comment.text)).collect();
        // A comment at the end of its line stands before the next token.
        let next = group.elements.get(index + 1).and_then(|next| next.nodes.first());
        let after = next.map_or(&group.close.gap, Node::gap);
        text.extend(after.trailing.map(bare));
        let rest = element.nodes.get(1..).unwrap_or_default();
        let equals = rest.iter().position(|node| node.first().text == "=");
        let (ty, default) = rest.split_at(equals.unwrap_or(rest.len()));
        let ty = match ty {
            [Node::Leaf(colon), ty @ ..] if colon.kind == Kind::Colon => ty,
            ty => ty,
        };
        fields.push(FieldDoc {
            name: first.first().text.to_owned(),
            ty: words(ty),
            default: words(default.get(1..).unwrap_or_default()),
            text,
        });
    }
    fields
}

/// Tokens on one line.
fn words(nodes: &[Node<'_>]) -> String {
    let mut out = String::new();
    for (index, node) in nodes.iter().enumerate() {
        let space = index > 0 && (node.first().space || node.gap().newline);
        out.push_str(if space { " " } else { "" });
        match node {
            Node::Leaf(piece) => out.push_str(piece.text),
            Node::Group(group) => {
                let pad = if group.padded { " " } else { "" };
                let inner: Vec<String> =
                    group.elements.iter().map(|element| words(&element.nodes)).collect();
                out.push_str(group.open.text);
                out.push_str(pad);
                out.push_str(&inner.join(", "));
                out.push_str(pad);
                out.push_str(group.close.text);
            }
        }
    }
    out
}
