//! The pages' examples: every ` ```berth FILE ` of a page, compiled and lowered together.

use std::collections::BTreeMap;

use berth_engine::plan::explain;
use berth_engine::plan::lower;
use berth_engine::plan::names::ImageDigest;
use berth_engine::plan::secret;
use berth_lang::{CompileRequest, Diagnostic, Snapshot, TestRequest, Workspace};
use berth_tests::cases::{Part, parts};

fn page(name: &str) -> Vec<Part> {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    parts(&std::fs::read_to_string(path).expect("the page"))
}

fn words(list: &[Diagnostic], snapshot: &Snapshot) -> String {
    list.iter().map(|diagnostic| diagnostic.render_plain(snapshot)).collect()
}

#[test]
fn examples_compile() {
    assert_eq!(workloads("scheduling.md"), 10);
    assert_eq!(workloads("rollouts.md"), 1);
    assert_eq!(workloads("containers.md"), 6);
    assert_eq!(workloads("jobs.md"), 2);
    assert_eq!(workloads("crons.md"), 2);
}

/// Counts the services of a page's examples. A page that shows no fleet has a node all the same.
fn workloads(name: &str) -> usize {
    let mut workspace = Workspace::new();
    workspace.set_file("fleet.berth", "project shop {}\nnode n1 { host: \"10.0.0.1\" }\n");
    let mut files = 0;
    for part in page(name) {
        let Part::Fence(fence) = part else { continue };
        if let Some(file) = fence.info.strip_prefix("berth ") {
            workspace.set_file(file, fence.body.as_str());
            files += 1;
        } else if let Some(file) = fence.info.strip_prefix("data ") {
            workspace.set_file(file, fence.body.as_str());
        }
    }
    assert!(files > 0, "the page has examples");
    let snapshot = workspace.snapshot();
    let compiled = snapshot.compile(&CompileRequest::default());
    let program =
        compiled.program.unwrap_or_else(|| panic!("{}", words(&compiled.diagnostics, &snapshot)));
    let digests: BTreeMap<_, _> = lower::images(&program)
        .into_iter()
        .map(|(name, _)| (name, ImageDigest::new("sha256:0")))
        .collect();
    let lowered = lower::lower(&program, "default", &digests, &secret::as_if(&program));
    let graph = lowered.unwrap_or_else(|mistakes| panic!("{}", words(&mistakes, &snapshot)));
    graph.workloads.len()
}

/// The manual: the files of a section are a project. ` ```berth FILE ` compiles without a word, its tests pass,
/// ` ```berth FILE E0301 E0302 ` put after it gives exactly these codes, in this order; ` ```value ` is
/// what the project evaluates to, or a part of that; ` ```data FILE ` is a data file. No fence of the language goes unread.
#[test]
fn language_examples_do_what_is_said() {
    let mut workspace = Workspace::new();
    let (mut sound, mut wrong, mut values) = (0, 0, 0);
    for part in page("language.md") {
        let fence = match part {
            Part::Line(line) if line.starts_with("## ") || line.starts_with("### ") => {
                workspace = Workspace::new();
                continue;
            }
            Part::Line(_) => continue,
            Part::Fence(fence) => fence,
        };
        let mut info = fence.info.split(' ');
        let kind = info.next();
        if kind == Some("value") {
            let compiled = workspace.snapshot().compile(&CompileRequest::default());
            let program = compiled.program.expect("a program");
            let printed = program.print();
            assert!(printed.contains(fence.body.trim_end()), "{}is not in\n{printed}", fence.body);
            values += 1;
        }
        if kind == Some("data") {
            let file = info.next().unwrap_or_else(|| panic!("data needs a file:\n{}", fence.body));
            workspace.set_file(file, fence.body.as_str());
            continue;
        }
        if kind != Some("berth") {
            continue;
        }
        let file = info.next().unwrap_or_else(|| panic!("a fence needs a file:\n{}", fence.body));
        let expected: Vec<&str> = info.collect();
        let laid_out = berth_lang::format(&fence.body).text;
        assert_eq!(laid_out, fence.body, "the manual is in the one style");
        let mut tried = workspace.clone();
        let before = workspace.text(file).filter(|_| !expected.is_empty());
        let before = before.map_or_else(String::new, |text| format!("{text}\n"));
        tried.set_file(file, before + &fence.body);
        let snapshot = tried.snapshot();
        let compiled = snapshot.compile(&CompileRequest::default());
        let found: Vec<&str> = compiled.diagnostics.iter().map(|found| found.code).collect();
        let said = words(&compiled.diagnostics, &snapshot);
        assert_eq!(found, expected, "{}{said}", fence.body);
        if expected.is_empty() {
            let report = snapshot.test(&TestRequest::default());
            let failures: Vec<Diagnostic> =
                report.tests.into_iter().flat_map(|test| test.failures).collect();
            assert!(failures.is_empty(), "{}", words(&failures, &snapshot));
            workspace = tried;
            sound += 1;
        } else {
            wrong += 1;
        }
    }
    assert!(sound > 10 && wrong > 8 && values > 2, "{sound} sound, {wrong} wrong, {values} values");
}

/// Every code that lowering reports has a page, which begins with it.
#[test]
fn codes_of_lowering_have_pages() {
    let plan = format!("{}/../engine/src/plan", env!("CARGO_MANIFEST_DIR"));
    let folder = std::fs::read_dir(format!("{plan}/lower")).expect("a folder");
    let files = folder.map(|file| file.expect("a file").path());
    let mut found = 0;
    for file in files.chain([format!("{plan}/lower.rs").into()]) {
        let text = std::fs::read_to_string(file).expect("a text");
        for code in text.split("\"E0").skip(1).filter_map(|rest| rest.get(..3)) {
            let code = format!("E0{code}");
            let page = explain::explain(&code).unwrap_or_else(|| panic!("{code} has no page"));
            assert!(page.starts_with(&format!("# {code}: ")), "{code}");
            found += 1;
        }
    }
    assert!(found > explain::CODES.len(), "{found} are reported");
}
