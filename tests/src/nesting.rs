//! Valid texts that nest as deep as somebody likes, one kind of bracket each.

/// What opens, what stands inside, what closes. Interpolations are not here: each counts twice, as a text
/// and as an expression, so that 64 of them are refused.
pub const KINDS: [(&str, &str, &str); 8] = [
    ("[", "1", "]"),
    ("(", "1", ")"),
    ("{ a: ", "1", " }"),
    ("f(", "1", ")"),
    ("f(x: ", "1", ")"),
    ("if true then ", "1", " else 2"),
    ("let x = 1 in ", "1", ""),
    ("match 1 { _ -> ", "1", " }"),
];

/// A binding whose value nests so deep.
pub fn text((open, inside, close): (&str, &str, &str), depth: usize) -> String {
    format!("let a = {}{inside}{}\n", open.repeat(depth), close.repeat(depth))
}
