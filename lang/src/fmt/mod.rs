//! A file's text into the same text in the one style.
//!
//! ```text
//! text ─ pieces ─▶ tokens with what stands between them ─ spacing, tree ─▶ groups of elements ─ layout ─▶ text
//! ```
//!
//! It works on tokens and brackets, not on the parser's tree, so that new syntax is laid out without a
//! change here. It moves white space, and drops or keeps commas; every other token and every comment
//! comes out as it went in. What was written on one line stays on one where it fits in 100 columns;
//! what was broken stays broken. An item with a mistake of syntax keeps its bytes.
//!
//! Nothing here knows names, types or values.

mod chunks;
mod layout;
mod pieces;
mod spacing;
mod tree;

pub use chunks::{Formatted, format};
pub(crate) use pieces::{Kind, Piece, pieces};
pub(crate) use tree::{Element, Group, Node, item};

/// How wide a line may be where it can be broken at all, in characters.
const WIDTH: usize = 100;
/// How far each level is indented.
const INDENT: usize = 2;
