//! Printing that never fails: a reader that went away (`berth plan | head`) ends the words, not the
//! work.

use std::fmt::Arguments;
use std::io::Write as _;

/// Prints a line on standard output.
macro_rules! say {
    () => { $crate::out::put(format_args!("\n")) };
    ($($words:tt)*) => { $crate::out::put(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints on standard output, without ending the line.
macro_rules! put {
    ($($words:tt)*) => { $crate::out::put(format_args!($($words)*)) };
}

/// Prints a line on standard error.
macro_rules! hint {
    ($($words:tt)*) => { $crate::out::put_error(&format!("{}\n", format_args!($($words)*))) };
}

/// Writes to standard output; what cannot be written is not missed.
pub(crate) fn put(words: Arguments<'_>) {
    let _ = std::io::stdout().lock().write_fmt(words);
}

/// Writes to standard error; what cannot be written is not missed.
pub(crate) fn put_error(words: &str) {
    let _ = std::io::stderr().lock().write_all(words.as_bytes());
}
