//! `berth test`: the tests that the text holds, a line each, with no node asked.

use std::collections::BTreeMap;

use berth_lang::{Snapshot, TestReport, TestRequest};

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::project::{ProjectError, count, find, read, render};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this
    name: Option<String>,
    /// Write what was found in the place of every literal that a test expected instead
    #[arg(long)]
    update: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let root = find(global)?;
    let snapshot = read(&root)?.workspace.snapshot();
    let request = TestRequest { filter: args.name.clone(), now_ms: Some(crate::fleet::now_ms()) };
    let report = snapshot.test(&request);
    if args.update && !report.passed() {
        let written = update(&root, &snapshot, &report)?;
        if written > 0 {
            say!("{written} expected values written; read them with `git diff`");
            return Ok(Exit::Done);
        }
    }
    for diagnostic in &report.diagnostics {
        crate::out::put_error(&render(diagnostic, &snapshot));
    }
    if report.tests.is_empty() && !report.passed() {
        return Err(ProjectError::Mistakes(count(&report.diagnostics)).into());
    }
    for test in &report.tests {
        if test.failures.is_empty() {
            say!("{} {}", crate::paint::good("ok  "), test.name);
        } else {
            say!("{} {}", crate::paint::error("FAIL"), test.name);
        }
        for failure in &test.failures {
            crate::out::put_error(&render(failure, &snapshot));
        }
    }
    let failed = report.tests.iter().filter(|test| !test.failures.is_empty()).count();
    let passed = report.tests.len() - failed;
    match (failed, report.tests.len()) {
        (_, 0) => match &args.name {
            Some(name) => return Err(format!("no test has `{name}` in its name").into()),
            None => say!("no tests; write `test \"…\" {{ expect … }}` in any `.berth` file"),
        },
        (0, _) => say!("{}", crate::paint::good(&format!("{passed} passed"))),
        (_, _) => say!("{}", crate::paint::error(&format!("{failed} failed, {passed} passed"))),
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Mistake })
}

/// Puts every fix of a failure into its file, from the last to the first; gives how many.
fn update(
    root: &std::path::Path,
    snapshot: &Snapshot,
    report: &TestReport,
) -> Result<usize, ProjectError> {
    let mut fixes: BTreeMap<&str, Vec<(usize, usize, &str)>> = BTreeMap::new();
    for fix in report.tests.iter().flat_map(|test| &test.failures).filter_map(|f| f.fix.as_ref()) {
        let (start, end) = (fix.span.start as usize, fix.span.end as usize);
        fixes.entry(&fix.span.file).or_default().push((start, end, &fix.replacement));
    }
    let mut written = 0;
    for (file, mut edits) in fixes {
        let Some(source) = snapshot.file(file) else { continue };
        edits.sort_unstable();
        let mut text = source.text().to_string();
        let mut before = text.len() + 1;
        for (start, end, replacement) in edits.into_iter().rev() {
            // Of two that overlap, the later is written now and the earlier in the next run.
            if end < before && text.get(start..end).is_some() {
                text.replace_range(start..end, replacement);
                before = start;
                written += 1;
            }
        }
        let path = root.join(file);
        std::fs::write(&path, text).map_err(|error| ProjectError::File { path, error })?;
    }
    Ok(written)
}
