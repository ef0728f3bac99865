//! Text into items: a hand scan cuts a file at its item keywords, and each slice is parsed alone.
//!
//! Ranges inside an item count from the item's first byte, so that an item parses to the same tree
//! wherever it stands and can be remembered by its text. Nothing here knows names or types.

pub(crate) mod ast;
mod error;
pub(crate) mod literal;
mod parse;
mod scan;
mod split;

pub(crate) use error::{SyntaxError, SyntaxErrorKind};
pub(crate) use parse::{ItemTree, parse_item};
pub(crate) use scan::{Scanner, Token, TokenKind};
pub(crate) use split::{
    Keyword, MAX_ERRORS, MAX_FILE, MAX_ITEMS, Slice, is_keyword, split, split_between,
};
