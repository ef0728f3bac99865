//! Diagnostics for people: with the lines that they point at, and no more of them than anybody reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use berth_lang::{Diagnostic, Label, Severity, Snapshot, SourceFile};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};

/// The most diagnostics that are shown at once; machines are given all.
const MAX_SHOWN: usize = 200;
/// The longest line that is shown as it is, in bytes.
const MAX_LINE: usize = 400;

/// Says every diagnostic, and how many more there are.
pub(crate) fn tell(diagnostics: &[Diagnostic], snapshot: &Snapshot) {
    crate::out::put_error(&words(diagnostics, snapshot));
}

/// What is said of diagnostics.
pub(crate) fn words(diagnostics: &[Diagnostic], snapshot: &Snapshot) -> String {
    let shown = diagnostics.iter().take(MAX_SHOWN);
    let mut words: String = shown.map(|diagnostic| render(diagnostic, snapshot)).collect();
    if diagnostics.len() > MAX_SHOWN {
        let more = diagnostics.len() - MAX_SHOWN;
        let _ = writeln!(words, "… and {more} more; `berth check --format json` has all of them");
    }
    words
}

/// Whether the lines around every place fit on a screen.
fn readable(diagnostic: &Diagnostic, snapshot: &Snapshot) -> bool {
    let labels = std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary);
    labels.into_iter().all(|Label { span, text: _ }| {
        let Some(file) = snapshot.file(&span.file) else { return false };
        let (from, to) = (file.position(span.start).line, file.position(span.end).line);
        let near = from.saturating_sub(1).max(1)..=to.saturating_add(1);
        to - from < 100 && near.into_iter().all(|line| file.line(line).len() <= MAX_LINE)
    })
}

/// `1 mistake`, `3 mistakes in 2 files`.
pub(crate) fn count(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    let files: BTreeSet<_> = errors.iter().map(|d| &d.primary.span.file).collect();
    let mistakes = if errors.len() == 1 {
        "1 mistake".to_owned()
    } else {
        format!("{} mistakes", errors.len())
    };
    if files.len() > 1 { format!("{mistakes} in {} files", files.len()) } else { mistakes }
}

/// Renders a diagnostic for a terminal.
pub(crate) fn render(diagnostic: &Diagnostic, snapshot: &Snapshot) -> String {
    if !readable(diagnostic, snapshot) {
        return diagnostic.render_plain(snapshot);
    }
    let theme = if crate::paint::colour() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    let mut out = String::new();
    let shown = Shown::new(diagnostic, snapshot);
    match handler.render_report(&mut out, &shown) {
        Ok(()) => out,
        Err(_) => diagnostic.render_plain(snapshot),
    }
}

/// A diagnostic as miette wants it: labels of the primary file, and whatever lies in another file
/// as a note of its own.
#[derive(Debug)]
struct Shown<'s> {
    message: String,
    code: String,
    severity: miette::Severity,
    help: Option<String>,
    source: Excerpt<'s>,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Shown<'s>>,
}

impl<'s> Shown<'s> {
    fn new(diagnostic: &'s Diagnostic, snapshot: &'s Snapshot) -> Self {
        let Diagnostic { severity, code, message, primary, secondary, help, fix } = diagnostic;
        let same = secondary.iter().filter(|label| label.span.file == primary.span.file);
        let labels = std::iter::once(primary).chain(same).map(labelled).collect();
        let other = secondary.iter().filter(|label| label.span.file != primary.span.file);
        let help = match (help, fix) {
            (Some(help), _) => Some(help.clone()),
            (None, Some(fix)) => Some(format!("write `{}`", fix.replacement)),
            (None, None) => None,
        };
        Self {
            message: message.clone(),
            code: (*code).to_owned(),
            severity: match severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            help,
            source: Excerpt::of(&primary.span.file, snapshot),
            labels,
            elsewhere: other
                .map(|label| Self {
                    message: label.text.clone(),
                    code: String::new(),
                    severity: miette::Severity::Advice,
                    help: None,
                    source: Excerpt::of(&label.span.file, snapshot),
                    labels: vec![labelled(label)],
                    elsewhere: Vec::new(),
                })
                .collect(),
        }
    }
}

fn labelled(label: &Label) -> LabeledSpan {
    let length = (label.span.end - label.span.start) as usize;
    let text = Some(label.text.clone()).filter(|text| !text.is_empty());
    LabeledSpan::new(text, label.span.start as usize, length)
}

/// A file, of which only the lines around a place are looked at.
#[derive(Debug)]
struct Excerpt<'s> {
    name: &'s str,
    file: Option<&'s SourceFile>,
}

impl<'s> Excerpt<'s> {
    fn of(name: &'s str, snapshot: &'s Snapshot) -> Self {
        Self { name, file: snapshot.file(name) }
    }
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let file = self.file.ok_or(MietteError::OutOfBounds)?;
        let text = file.text().as_bytes();
        let line = |offset: usize| file.position(u32::try_from(offset).unwrap_or(u32::MAX)).line;
        let lines = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let last = line(span.offset() + span.len()).saturating_add(lines(after));
        let first = line(span.offset()).saturating_sub(lines(before)).max(1);
        let (start, end) = (file.line_start(first), file.line_start(last.saturating_add(1)));
        let data = text.get(start..end).ok_or(MietteError::OutOfBounds)?;
        let (line, count) = (first as usize - 1, (last - first) as usize + 1);
        let span = SourceSpan::from((start, end - start));
        let name = self.name.to_owned();
        Ok(Box::new(MietteSpanContents::new_named(name, data, span, line, 0, count)))
    }
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.code.is_empty()).then(|| Box::new(&self.code) as Box<dyn std::fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(self.elsewhere.iter().map(|shown| shown as &dyn miette::Diagnostic)))
    }
}
