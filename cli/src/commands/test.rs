//! `berth test`: the tests that the text holds, a line each, with no node asked.

use std::collections::BTreeMap;
use std::path::Path;

use berth_lang::{Snapshot, TestReport, TestRequest};

use super::{Ended, fmt};
use crate::Global;
use crate::exit::Exit;
use crate::project::{ProjectError, Read, find, read};
use crate::shown::{self, count};
use crate::verdicts;

/// How often expected values are written and the tests run again: of two that overlap, the earlier one
/// waits for the next round.
const MAX_ROUNDS: usize = 16;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this
    name: Option<String>,
    /// Write what was found in the place of every literal that a test expected instead
    #[arg(long)]
    update: bool,
    /// How it went: for people, as JSON (berth.tests/1), or as JUnit's XML
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// How it is said how the tests went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let root = find(global)?;
    let request = TestRequest { filter: args.name.clone(), now_ms: Some(crate::fleet::now_ms()) };
    let once = || -> Result<(Snapshot, TestReport), ProjectError> {
        let Read { workspace, packages: _ } = read(&root)?;
        let snapshot = workspace.snapshot();
        let report = snapshot.test(&request);
        Ok((snapshot, report))
    };
    let (mut snapshot, mut report) = once()?;
    let mut written = 0;
    for _ in 0..MAX_ROUNDS {
        let more = if args.update { update(&root, &snapshot, &report)? } else { 0 };
        if more == 0 {
            break;
        }
        written += more;
        (snapshot, report) = once()?;
    }
    if written > 0 {
        let values = if written == 1 { "value" } else { "values" };
        hint!("{written} expected {values} written; read them with `git diff`");
    }
    if let (Some(name), true, true) = (&args.name, report.tests.is_empty(), report.passed()) {
        return Err(format!("no test has `{name}` in its name").into());
    }
    match args.format {
        Format::Json => put!("{}", verdicts::json(&report, &snapshot)),
        Format::Junit => put!("{}", verdicts::junit(&report, &snapshot)),
        Format::Text => tell(&report, &snapshot)?,
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Mistake })
}

/// Says for people how the tests went.
fn tell(report: &TestReport, snapshot: &Snapshot) -> Result<(), ProjectError> {
    shown::tell(&report.diagnostics, snapshot);
    if report.tests.is_empty() && !report.passed() {
        return Err(ProjectError::Mistakes(count(&report.diagnostics)));
    }
    for test in &report.tests {
        if test.failures.is_empty() {
            say!("{} {}", crate::paint::good("ok  "), test.name);
        } else {
            say!("{} {}", crate::paint::error("FAIL"), test.name);
        }
        shown::tell(&test.failures, snapshot);
    }
    let failed = report.tests.iter().filter(|test| !test.failures.is_empty()).count();
    let passed = report.tests.len() - failed;
    match (failed, report.tests.len()) {
        (_, 0) => say!("no tests; write `test \"…\" {{ expect … }}` in any `.berth` file"),
        (0, _) => say!("{}", crate::paint::good(&format!("{passed} passed"))),
        (_, _) => say!("{}", crate::paint::error(&format!("{failed} failed, {passed} passed"))),
    }
    Ok(())
}

/// Puts every fix of a failure into its file, from the last to the first; gives how many. Nothing is
/// written where the text itself has mistakes.
fn update(root: &Path, snapshot: &Snapshot, report: &TestReport) -> Result<usize, ProjectError> {
    let mut fixes: BTreeMap<&str, Vec<(usize, usize, &str)>> = BTreeMap::new();
    for fix in report.tests.iter().flat_map(|test| &test.failures).filter_map(|f| f.fix.as_ref()) {
        let (start, end) = (fix.span.start as usize, fix.span.end as usize);
        fixes.entry(&fix.span.file).or_default().push((start, end, &fix.replacement));
    }
    let mut written = 0;
    for (file, mut edits) in fixes {
        let Some(source) = snapshot.file(file) else { continue };
        edits.sort_unstable();
        edits.dedup();
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
        fmt::write(&root.join(file), &text)?;
    }
    Ok(written)
}
