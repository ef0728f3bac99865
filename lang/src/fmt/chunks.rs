//! A file into items to lay out, items to leave alone, and the comments between them.

use super::layout::Printer;
use super::pieces::{Gap, Kind, Piece, pieces};
use super::tree::item;
use crate::syntax::{parse_item, split};

/// A file in the one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatted {
    /// The whole text.
    pub text: String,
    /// How many items were left as they were, because their syntax is wrong.
    pub left: usize,
}

/// Puts a file in the one style; any text is taken. Laying out the result again changes nothing, and
/// it means what the text meant.
pub fn format(text: &str) -> Formatted {
    let (slices, errors) = split(text);
    // A file that is not read at all, or nothing but strays.
    if slices.is_empty() && !errors.is_empty() {
        return Formatted { text: text.to_owned(), left: 1 };
    }
    let tokens = pieces(text);
    let end = tokens.last().map_or(0, |piece| piece.start + piece.text.len());
    let rest = Gap::read(text.get(end..).unwrap_or(""), tokens.is_empty());
    let ranges: Vec<(usize, usize, bool)> = slices
        .iter()
        .map(|slice| {
            let (start, end) = (slice.start as usize, slice.end as usize);
            let body = text.get(start..end).unwrap_or("");
            let sound = slice.keyword.filter(|_| !slice.broken).is_some_and(|keyword| {
                let tree = parse_item(keyword, body);
                tree.item.is_some() && tree.errors.is_empty()
            });
            (start, end, sound)
        })
        .collect();
    let chunks = chunks(tokens, &ranges);
    let left = chunks.iter().filter(|chunk| !chunk.sound).count();
    let out = print(text, chunks, &rest);
    debug_assert!(same(text, &out), "laying out lost a token or a comment");
    if same(text, &out) {
        Formatted { text: out, left }
    } else {
        Formatted { text: text.to_owned(), left: left.max(1) }
    }
}

/// Tokens that are laid out together, or left alone together.
struct Chunk<'t> {
    pieces: Vec<Piece<'t>>,
    sound: bool,
    /// The slice that they belong to; tokens outside every item have none.
    slice: Option<usize>,
}

fn chunks<'t>(pieces: Vec<Piece<'t>>, ranges: &[(usize, usize, bool)]) -> Vec<Chunk<'t>> {
    let mut chunks: Vec<Chunk<'t>> = Vec::new();
    let mut at = 0;
    for piece in pieces {
        while ranges.get(at).is_some_and(|&(_, end, _)| end <= piece.start) {
            at += 1;
        }
        let inside = ranges.get(at).filter(|(start, _, _)| *start <= piece.start);
        let slice = inside.map(|_| at);
        let sound = inside.is_some_and(|(_, _, sound)| *sound);
        match chunks.last_mut() {
            Some(chunk) if chunk.slice == slice => chunk.pieces.push(piece),
            // What shares a line with a mistake is left alone with it.
            Some(chunk) if !(piece.gap.newline || chunk.sound && sound) => {
                chunk.sound = false;
                chunk.slice = slice;
                chunk.pieces.push(piece);
            }
            Some(_) | None => chunks.push(Chunk { pieces: vec![piece], sound, slice }),
        }
    }
    chunks
}

fn print(text: &str, chunks: Vec<Chunk<'_>>, rest: &Gap<'_>) -> String {
    let mut printer = Printer::default();
    let mut first = true;
    for chunk in chunks {
        let Some(head) = chunk.pieces.first() else { continue };
        let gap = head.gap.clone();
        if first {
            first_gap(&mut printer, &gap);
            first = false;
        } else {
            printer.line(&gap, 0, true);
        }
        let tail = chunk.pieces.last().unwrap_or(head);
        let (start, end) = (head.start, tail.start + tail.text.len());
        let line = text.get(..start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
        let laid_out = if chunk.sound { item(chunk.pieces) } else { None };
        match laid_out {
            Some(item) => printer.item(item),
            None => {
                let indent = text.get(line..start).filter(|blanks| blanks.trim().is_empty());
                printer.out.push_str(indent.unwrap_or(""));
                printer.out.push_str(text.get(start..end).unwrap_or(""));
            }
        }
    }
    let nothing = first;
    if nothing {
        first_gap(&mut printer, rest);
    } else {
        if let Some(comment) = rest.trailing {
            printer.out.push(' ');
            printer.out.push_str(comment);
        }
        printer.own_comments(rest, 0, true);
    }
    let mut out = printer.out;
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// The comments at a file's head.
fn first_gap(printer: &mut Printer, gap: &Gap<'_>) {
    for (index, comment) in gap.own.iter().enumerate() {
        if index > 0 && comment.blank {
            printer.out.push('\n');
        }
        printer.out.push_str(comment.text);
        printer.out.push('\n');
    }
    if gap.blank && !gap.own.is_empty() {
        printer.out.push('\n');
    }
}

/// Whether two texts have the same tokens but for commas, and the same comments, in order.
fn same(before: &str, after: &str) -> bool {
    type Words<'t> = (Vec<&'t str>, Vec<&'t str>);
    fn words(text: &str) -> Words<'_> {
        let mut tokens = Vec::new();
        let mut comments = Vec::new();
        let mut end = 0;
        let mut first = true;
        for piece in pieces(text) {
            comments.extend(comments_of(text.get(end..piece.start).unwrap_or(""), first));
            end = piece.start + piece.text.len();
            first = false;
            if piece.kind != Kind::Comma {
                tokens.push(piece.text);
            }
        }
        comments.extend(comments_of(text.get(end..).unwrap_or(""), first));
        (tokens, comments)
    }
    words(before) == words(after)
}

/// The comments between two tokens.
fn comments_of(text: &str, first: bool) -> Vec<&str> {
    let gap = Gap::read(text, first);
    gap.trailing.into_iter().chain(gap.own.into_iter().map(|comment| comment.text)).collect()
}
