//! How tests went, for machines: `berth.tests/1`, whose schema is in `docs/schemas/`, and JUnit's XML,
//! which most CI systems show.

use std::fmt::Write as _;

use berth_lang::{Diagnostic, Severity, Snapshot, TestReport, Tested};
use serde::Serialize;

use crate::findings::{Finding, Place, finding, place_of};

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    passed: usize,
    failed: usize,
    /// Mistakes in the text, with which no test runs.
    diagnostics: Vec<Finding<'a>>,
    tests: Vec<Verdict<'a>>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    name: &'a str,
    passed: bool,
    place: Place<'a>,
    failures: Vec<Finding<'a>>,
}

/// Prints the report as JSON.
pub(crate) fn json(report: &TestReport, snapshot: &Snapshot) -> String {
    let tests: Vec<Verdict<'_>> = report
        .tests
        .iter()
        .map(|test| Verdict {
            name: &test.name,
            passed: test.failures.is_empty(),
            place: place_of(&test.span, snapshot),
            failures: test.failures.iter().map(|found| finding(found, snapshot)).collect(),
        })
        .collect();
    let passed = tests.iter().filter(|test| test.passed).count();
    let report = Report {
        schema: "berth.tests/1",
        passed,
        failed: tests.len() - passed,
        diagnostics: report.diagnostics.iter().map(|found| finding(found, snapshot)).collect(),
        tests,
    };
    serde_json::to_string_pretty(&report).map_or_else(|error| error.to_string(), |text| text + "\n")
}

/// Prints the report as JUnit's XML: a suite a file; mistakes in the text are a suite with one error each.
pub(crate) fn junit(report: &TestReport, snapshot: &Snapshot) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let errors = report.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let errors: Vec<&Diagnostic> = errors.collect();
    if !errors.is_empty() {
        let count = errors.len();
        let _ = writeln!(out, "  <testsuite name=\"text\" tests=\"{count}\" errors=\"{count}\">");
        for found in errors {
            let name = escaped(&found.message);
            let _ = writeln!(out, "    <testcase name=\"{name}\">");
            failure(&mut out, "error", found, snapshot);
            out.push_str("    </testcase>\n");
        }
        out.push_str("  </testsuite>\n");
    }
    let mut files: Vec<(&str, Vec<&Tested>)> = Vec::new();
    for test in &report.tests {
        match files.iter_mut().find(|(file, _)| *file == &*test.span.file) {
            Some((_, tests)) => tests.push(test),
            None => files.push((&test.span.file, vec![test])),
        }
    }
    for (file, tests) in files {
        let failed = tests.iter().filter(|test| !test.failures.is_empty()).count();
        let (name, count) = (escaped(file), tests.len());
        let _ =
            writeln!(out, "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failed}\">");
        for test in tests {
            let title = escaped(&test.name);
            if test.failures.is_empty() {
                let _ = writeln!(out, "    <testcase name=\"{title}\" classname=\"{name}\"/>");
                continue;
            }
            let _ = writeln!(out, "    <testcase name=\"{title}\" classname=\"{name}\">");
            for found in &test.failures {
                failure(&mut out, "failure", found, snapshot);
            }
            out.push_str("    </testcase>\n");
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn failure(out: &mut String, element: &str, found: &Diagnostic, snapshot: &Snapshot) {
    let first = found.message.lines().next().unwrap_or_default();
    let (message, code) = (escaped(first), found.code);
    let text = escaped(&found.render_plain(snapshot));
    let _ =
        writeln!(out, "      <{element} message=\"{message}\" type=\"{code}\">{text}</{element}>");
}

/// Text as XML 1.0 holds it; control characters, which it cannot hold, become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
