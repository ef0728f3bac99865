//! Diagnostics as JSON, `berth.diagnostics/1`; its schema is in `docs/schemas/`.
//!
//! Lines and columns count from 1, columns in characters; offsets count bytes from 0. An end is the
//! place after the last character.

use berth_lang::{Diagnostic, Label, Severity, Snapshot, Span, Waived};
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Finding<'a>>,
    /// Breaches of policies that somebody answers for until a day.
    waived: Vec<Waiver<'a>>,
}

#[derive(Serialize)]
struct Waiver<'a> {
    policy: &'a str,
    resource: &'a str,
    message: &'a str,
    until: &'a str,
    owner: &'a str,
    reason: &'a str,
    place: Place<'a>,
}

/// A diagnostic.
#[derive(Serialize)]
pub(crate) struct Finding<'a> {
    severity: &'static str,
    code: &'a str,
    message: &'a str,
    primary: Place<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Edit<'a>>,
}

/// A place, and what is to be said of it.
#[derive(Serialize)]
pub(crate) struct Place<'a> {
    file: &'a str,
    start: Point,
    end: Point,
    label: &'a str,
}

#[derive(Serialize)]
struct Edit<'a> {
    file: &'a str,
    start: Point,
    end: Point,
    replacement: &'a str,
}

#[derive(Serialize)]
struct Point {
    offset: u32,
    line: u32,
    column: u32,
}

/// Prints every diagnostic, and what a waiver lets pass.
pub(crate) fn print(diagnostics: &[Diagnostic], waived: &[Waived], snapshot: &Snapshot) -> String {
    let count = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let report = Report {
        schema: "berth.diagnostics/1",
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        diagnostics: diagnostics.iter().map(|found| finding(found, snapshot)).collect(),
        waived: waived.iter().map(|waived| waiver(waived, snapshot)).collect(),
    };
    serde_json::to_string_pretty(&report).map_or_else(|error| error.to_string(), |text| text + "\n")
}

fn waiver<'a>(waived: &'a Waived, snapshot: &Snapshot) -> Waiver<'a> {
    let Waived { policy, resource, message, until, owner, reason, span } = waived;
    Waiver { policy, resource, message, until, owner, reason, place: place_of(span, snapshot) }
}

/// A diagnostic's form.
pub(crate) fn finding<'a>(diagnostic: &'a Diagnostic, snapshot: &Snapshot) -> Finding<'a> {
    let Diagnostic { severity, code, message, primary, secondary, help, fix } = diagnostic;
    Finding {
        severity: match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        code,
        message,
        primary: place(primary, snapshot),
        secondary: secondary.as_ref().map(|label| place(label, snapshot)),
        help: help.as_deref(),
        fix: fix.as_ref().map(|fix| {
            let (start, end) = points(&fix.span, snapshot);
            Edit { file: &fix.span.file, start, end, replacement: &fix.replacement }
        }),
    }
}

fn place<'a>(label: &'a Label, snapshot: &Snapshot) -> Place<'a> {
    let (start, end) = points(&label.span, snapshot);
    Place { file: &label.span.file, start, end, label: &label.text }
}

/// A place of which nothing is to be said.
pub(crate) fn place_of<'a>(span: &'a Span, snapshot: &Snapshot) -> Place<'a> {
    let (start, end) = points(span, snapshot);
    Place { file: &span.file, start, end, label: "" }
}

fn points(span: &Span, snapshot: &Snapshot) -> (Point, Point) {
    let file = snapshot.file(&span.file);
    let point = |offset| {
        let (line, column) = file.map_or((1, 1), |file| {
            let position = file.position(offset);
            (position.line, position.column)
        });
        Point { offset, line, column }
    };
    (point(span.start), point(span.end))
}
