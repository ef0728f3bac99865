//! What is wrong with a text, as data: a code, a sentence, the exact place, and a fix where there is one.
//!
//! Each phase words its own diagnostics beside its code; this module only holds their shape and the
//! plain rendering that the cases use. Colour belongs to the command line.

use crate::span::Span;
use crate::workspace::Snapshot;
use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program cannot be used.
    Error,
    /// The program can be used, and probably says something else than was meant.
    Warning,
}

/// A place and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; may be empty where the message says it all.
    pub text: String,
}

/// A replacement of text that would mend the mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fix {
    /// What to replace; empty for an insertion.
    pub span: Span,
    /// What to put there.
    pub replacement: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The stable code, `E0101`; [`crate::explain`] has a page for each.
    pub code: &'static str,
    /// The sentence; its first line stands alone.
    pub message: String,
    /// The exact place.
    pub primary: Label,
    /// The other place that matters: where an expectation was decided, or the first of two.
    pub secondary: Option<Label>,
    /// What to do.
    pub help: Option<String>,
    /// A replacement that would mend it.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// Starts an error at a place.
    pub(crate) fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: clipped(message.into()),
            primary: Label { span, text: String::new() },
            secondary: None,
            help: None,
            fix: None,
        }
    }

    /// Starts a warning at a place.
    pub(crate) fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Says something at the primary place.
    pub(crate) fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = clipped(text.into());
        self
    }

    /// Points at a second place.
    pub(crate) fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary = Some(Label { span, text: clipped(text.into()) });
        self
    }

    /// Says what to do.
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(clipped(text.into()));
        self
    }

    /// Offers a replacement.
    pub(crate) fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }

    /// Renders without colour, the same on every machine; lines end with `\n`.
    pub fn render_plain(&self, snapshot: &Snapshot) -> String {
        let mut out = String::new();
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let _ = writeln!(out, "{severity}[{}]: {}", self.code, self.message);
        render_label(&mut out, snapshot, &self.primary, '^');
        if let Some(secondary) = &self.secondary {
            render_label(&mut out, snapshot, secondary, '-');
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "  help: {help}");
        }
        if let Some(fix) = &self.fix {
            let at = snapshot
                .file(&fix.span.file)
                .map_or_else(String::new, |file| file.position(fix.span.start).to_string());
            let verb = if fix.span.start == fix.span.end { "insert" } else { "write" };
            let replacement = clipped(fix.replacement.clone());
            let _ = writeln!(out, "  fix: {}:{at}: {verb} `{replacement}`", fix.span.file);
        }
        out
    }
}

/// The most bytes of a sentence: the rest of one that a name of a megabyte makes long is left out.
const MAX_WORDS: usize = 4_000;

fn clipped(mut text: String) -> String {
    if text.len() > MAX_WORDS {
        let end = (0..=MAX_WORDS).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// The most characters of a line that are shown.
const MAX_LINE: usize = 240;

/// The part of a line around a column, counted from 1, and that column in it.
fn window(line: &str, column: u32) -> (String, u32) {
    if line.len() <= MAX_LINE {
        return (line.to_owned(), column);
    }
    let from = (column as usize).saturating_sub(MAX_LINE / 3);
    let mut shown: String = line.chars().skip(from).take(MAX_LINE).collect();
    if line.chars().nth(from + MAX_LINE).is_some() {
        shown.push('…');
    }
    if from == 0 {
        return (shown, column);
    }
    (format!("…{shown}"), column - from as u32 + 1)
}

fn render_label(out: &mut String, snapshot: &Snapshot, label: &Label, mark: char) {
    let Some(file) = snapshot.file(&label.span.file) else {
        let _ = writeln!(out, "  --> {}: {}", label.span.file, label.text);
        return;
    };
    let from = file.position(label.span.start);
    let to = file.position(label.span.end);
    let line = file.line(from.line);
    let width = if to.line == from.line {
        to.column.saturating_sub(from.column)
    } else {
        (line.chars().count() as u32 + 1).saturating_sub(from.column)
    };
    let gutter = from.line.to_string();
    let _ = writeln!(out, "  --> {}:{from}", label.span.file);
    let (line, column) = window(line, from.column);
    let _ = writeln!(out, "{gutter:>4} | {}", line.replace('\t', " "));
    let pad = " ".repeat(column.saturating_sub(1) as usize);
    let marks = mark.to_string().repeat(width.clamp(1, 120) as usize);
    let text = format!("     | {pad}{marks} {}", label.text);
    let _ = writeln!(out, "{}", text.trim_end());
}
