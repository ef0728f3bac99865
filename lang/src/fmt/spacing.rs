//! Which tokens of one line are parted by a space.
//!
//! Where the language gives a meaning to touching (a call, an index, a percentage), what was
//! touching stays so, and what was not is not joined.

use super::pieces::{Kind, Piece};

/// Operators that stand between two values.
const BETWEEN: [&str; 14] =
    ["=", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "->", "=>"];

/// Sets [`Piece::space`] of every piece. What stands next to a bracket's inside is left to the layout.
pub(super) fn space(pieces: &mut [Piece<'_>]) {
    let mut state = State { generics: 0, prefix: false, head: 0 };
    for index in 0..pieces.len() {
        let (before, rest) = pieces.split_at_mut(index);
        let Some(piece) = rest.first_mut() else { return };
        piece.space = match before.last() {
            None => false,
            Some(previous) => state.parted(before, previous, piece),
        };
        state.advance(before.last(), piece);
    }
}

struct State {
    /// Type arguments that are open: `Secret<`.
    generics: usize,
    /// Whether the last piece is an operator in front of a value.
    prefix: bool,
    /// Words since a word began an item's line; the second one is its name.
    head: usize,
}

impl State {
    fn parted(&self, before: &[Piece<'_>], previous: &Piece<'_>, piece: &Piece<'_>) -> bool {
        let touching = piece.gap.touching;
        match (previous.kind, piece.kind) {
            (_, Kind::Comma | Kind::Colon) => false,
            (Kind::Comma | Kind::Colon, _) => true,
            (Kind::Symbol, _) if self.prefix || matches!(previous.text, "." | ".." | "..=") => {
                false
            }
            (_, Kind::Symbol) if matches!(piece.text, "." | ".." | "..=" | "?") => false,
            (_, Kind::Symbol) if self.opens_generics(Some(previous), piece) => false,
            (_, Kind::Symbol) if self.generics > 0 && piece.text == ">" => false,
            (Kind::Symbol, _) if previous.text == "<" && self.generics > 0 => false,
            (Kind::Symbol, Kind::Open(b'(')) if previous.text == ">" && !previous.space => {
                !touching
            }
            (_, Kind::Symbol) if BETWEEN.contains(&piece.text) => true,
            (Kind::Symbol, _) if BETWEEN.contains(&previous.text) || previous.text == "?" => true,
            (Kind::Symbol, _) | (_, Kind::Symbol) => !touching,
            (Kind::Open(_), _) | (_, Kind::Close(_)) => false,
            (Kind::Keyword, _) | (_, Kind::Keyword) => true,
            (_, Kind::Open(b'{')) => true,
            (Kind::Word, Kind::Open(_)) if self.head == 2 && declares(before) => false,
            (Kind::Word | Kind::Str | Kind::Number | Kind::Close(_), Kind::Open(_)) => !touching,
            (
                Kind::Word | Kind::Str | Kind::Number | Kind::Close(_),
                Kind::Word | Kind::Str | Kind::Number,
            ) => true,
        }
    }

    fn advance(&mut self, previous: Option<&Piece<'_>>, piece: &Piece<'_>) {
        // Asked before the piece counts: the name of a declaration is still the last word.
        let opens = self.opens_generics(previous, piece);
        let margin = previous.is_none() || piece.gap.newline;
        self.head = match piece.kind {
            Kind::Word if piece.text == "pub" => 0,
            Kind::Word | Kind::Keyword if margin || self.head == 0 && previous_is_pub(previous) => {
                1
            }
            Kind::Word if self.head == 1 => 2,
            _ => 3,
        };
        self.prefix = piece.kind == Kind::Symbol
            && matches!(piece.text, "-" | "!" | "@" | "$" | "&")
            && !previous.is_some_and(Piece::ends_value);
        if opens {
            self.generics += 1;
        } else if piece.text == ">" {
            self.generics = self.generics.saturating_sub(1);
        } else if piece.gap.newline {
            self.generics = 0;
        }
    }

    /// `Secret<Str>`, `fn map<T>`: after the name of a type or of a declaration, touching it.
    fn opens_generics(&self, previous: Option<&Piece<'_>>, piece: &Piece<'_>) -> bool {
        let Some(previous) = previous.filter(|previous| previous.kind == Kind::Word) else {
            return false;
        };
        piece.text == "<"
            && piece.gap.touching
            && (self.head == 2 || previous.text.starts_with(|c: char| c.is_ascii_uppercase()))
    }
}

fn previous_is_pub(previous: Option<&Piece<'_>>) -> bool {
    previous.is_some_and(|previous| previous.text == "pub")
}

/// Whether the last word is the name in a declaration that a bracket may follow.
fn declares(before: &[Piece<'_>]) -> bool {
    let keyword = before.len().checked_sub(2).and_then(|index| before.get(index));
    keyword.is_some_and(|piece| {
        matches!(piece.text, "fn" | "node" | "service" | "job" | "cron" | "volume" | "environment")
    })
}
