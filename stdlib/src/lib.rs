//! The nouns that users write, in the Berth language itself.
//!
//! The files are text here; the language's crate compiles them like any other. Every `pub` item of
//! them is visible in every file of every project.

/// The files of the standard library, by path.
pub const FILES: &[(&str, &str)] = &[
    ("prelude.berth", include_str!("../prelude.berth")),
    ("builtins.berth", include_str!("../builtins.berth")),
];
