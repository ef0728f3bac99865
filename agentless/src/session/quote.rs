//! The only place where words become a command line for a node's shell.
//!
//! A [`Call`] is a function of the node's library (`agentless/src/node/*.sh`) with quoted
//! arguments. It goes over the session's standard input, never into an argv on the node.

use std::fmt;

/// A command line: a function of the node's library and its arguments.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Call {
    function: &'static str,
    line: String,
    secret: bool,
}

impl Call {
    /// Calls a function that the node's library defines.
    pub(crate) fn new(function: &'static str) -> Self {
        debug_assert!(function.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        Self { function, line: function.to_owned(), secret: false }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, word: impl fmt::Display) -> Self {
        self.line.push(' ');
        quote_into(&word.to_string(), &mut self.line);
        self
    }

    /// Adds an argument whose value is data: it is left out of the record of writes.
    pub(crate) fn data(mut self, word: &str) -> Self {
        self.secret = true;
        self.arg(word)
    }

    /// Borrows the whole command line.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Names the function, for messages.
    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// Prints the call for the record of writes, without data.
    pub(crate) fn shown(&self) -> &str {
        if self.secret { self.function } else { &self.line }
    }
}

/// Spells an argv for the login's shell, which takes the command of an SSH channel. Only for words
/// that are an argv on the node in the end.
pub(crate) fn argv(words: &[String]) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        quote_into(word, &mut line);
    }
    line
}

/// Quotes one word for a POSIX shell, in such a way that it stays on one line where it can. A NUL,
/// which no shell can hold, is dropped.
fn quote_into(word: &str, out: &mut String) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        out.push_str(word);
        return;
    }
    out.push('\'');
    for c in word.chars() {
        match c {
            '\'' => out.push_str("'\\''"),
            '\0' => {}
            c => out.push(c),
        }
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// Prints each argument followed by a line that no argument holds, through a real shell.
    fn through_sh(shell: &str, words: &[String]) -> Vec<u8> {
        let mut call = Call::new("show");
        for word in words {
            call = call.arg(word);
        }
        let script = format!("show() {{ printf '%s\\001' \"$@\"; }}\n{}\n", call.line());
        let mut child = Command::new(shell)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        child.stdin.take().expect("stdin").write_all(script.as_bytes()).expect("write");
        child.wait_with_output().expect("output").stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_word_arrives_as_it_was(words in prop::collection::vec("[^\0\u{1}]{0,40}", 1..6)) {
            let mut expected = Vec::new();
            for word in &words {
                expected.extend_from_slice(word.as_bytes());
                expected.push(1);
            }
            for shell in ["sh", "bash"] {
                prop_assert_eq!(&through_sh(shell, &words), &expected);
            }
        }
    }

    #[test]
    fn nasty_words_arrive() {
        let words: Vec<String> =
            ["", "'", "''", "$(id)", "`id`", "\\", "a\nb", "-n", "*", "~", "!x", "\"", ";&|", " "]
                .map(String::from)
                .into();
        let expected: String = words.iter().map(|w| format!("{w}\u{1}")).collect();
        assert_eq!(through_sh("sh", &words), expected.into_bytes());
    }

    #[test]
    fn data_stays_out_of_the_record() {
        let call = Call::new("ledger_append").arg("n").data("c2VjcmV0");
        assert_eq!(call.shown(), "ledger_append");
        assert!(call.line().contains("c2VjcmV0"));
    }
}
