//! Lines of many logs on one output: whole ones, each with the name of whose it is.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};

use berth_engine::plan::names::{ContainerId, NodeName};

use crate::paint;

/// The longest line that is waited for, in bytes; a longer one is shown in pieces.
const LINE_LIMIT: usize = 64 * 1024;

/// What was read and not yet shown.
pub(crate) struct Lines {
    json: bool,
    prefix: bool,
    width: usize,
    terminal: bool,
    begun: BTreeMap<(ContainerId, NodeName), Vec<u8>>,
}

impl Lines {
    /// Knows the names that there will be, as far as they are known now.
    pub(crate) fn new(json: bool, prefix: bool, containers: &[(&NodeName, &ContainerId)]) -> Self {
        let width =
            containers.iter().map(|(node, container)| name(node, container).chars().count()).max();
        Self {
            json,
            prefix,
            width: width.unwrap_or(0),
            terminal: io::stdout().is_terminal(),
            begun: BTreeMap::new(),
        }
    }

    /// Shows every line that is whole now.
    ///
    /// # Errors
    /// If the output takes no more.
    pub(crate) fn push(
        &mut self,
        node: &NodeName,
        container: &ContainerId,
        bytes: &[u8],
    ) -> io::Result<()> {
        let key = (container.clone(), node.clone());
        let mut held = self.begun.remove(&key).unwrap_or_default();
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        let mut out = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.show(&mut out, node, container, line);
            rest = after.get(1..).unwrap_or_default();
        }
        if rest.len() > LINE_LIMIT {
            self.show(&mut out, node, container, rest);
            rest = &[];
        }
        if !rest.is_empty() {
            self.begun.insert(key, rest.to_vec());
        }
        put(&out)
    }

    /// Shows what has no end yet.
    ///
    /// # Errors
    /// If the output takes no more.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        for ((container, node), line) in std::mem::take(&mut self.begun) {
            self.show(&mut out, &node, &container, &line);
        }
        put(&out)
    }

    fn show(&self, out: &mut Vec<u8>, node: &NodeName, container: &ContainerId, line: &[u8]) {
        if self.json {
            let line = String::from_utf8_lossy(line);
            let mut said = serde_json::json!({ "node": node, "pod": container.pod, "line": line });
            if let Some(name) = &container.beside {
                said["container"] = serde_json::json!(name);
            }
            out.extend_from_slice(said.to_string().as_bytes());
        } else {
            if self.prefix {
                let name = format!("{:width$} │ ", name(node, container), width = self.width);
                out.extend_from_slice(paint::one_of(container.pod.ordinal, &name).as_bytes());
            }
            if self.terminal {
                out.extend_from_slice(harmless(line).as_bytes());
            } else {
                out.extend_from_slice(line);
            }
        }
        out.push(b'\n');
    }
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn name(node: &NodeName, container: &ContainerId) -> String {
    format!("{container}@{node}")
}

/// A line that does nothing to a terminal but colour it: of control sequences only those that set
/// colours and weights stay, and they end with the line.
fn harmless(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::new();
    let mut coloured = false;
    let mut rest = text.trim_end_matches('\r');
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c == '\u{1b}'
            && let Some(length) = colour(after)
        {
            out.push(c);
            out.push_str(after.get(..length).unwrap_or_default());
            rest = after.get(length..).unwrap_or_default();
            coloured = true;
            continue;
        }
        match c {
            '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
        rest = after;
    }
    if coloured {
        out.push_str("\u{1b}[0m");
    }
    out
}

/// The length of what is behind an escape if it is `[`, digits and semicolons, `m`.
fn colour(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('[')?.bytes();
    let length = digits.take_while(|b| b.is_ascii_digit() || matches!(b, b';' | b':')).count();
    (text.as_bytes().get(length + 1) == Some(&b'm')).then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn only_colours_reach_a_terminal() {
        assert_eq!(harmless(b"a\tb\r"), "a\tb");
        assert_eq!(harmless(b"\x1b[1;31mred\x1b[0m"), "\u{1b}[1;31mred\u{1b}[0m\u{1b}[0m");
        assert_eq!(harmless(b"\x1b[2J\x1b]0;title\x07"), "\u{fffd}[2J\u{fffd}]0;title\u{fffd}");
        assert_eq!(harmless(b"\x1b[31"), "\u{fffd}[31");
        assert_eq!(harmless(&[0xff, b'a']), "\u{fffd}a");
    }
}
