//! The pages' examples: every ` ```berth FILE ` of a page, compiled and lowered together.

use std::collections::BTreeMap;

use berth_engine::plan::lower;
use berth_engine::plan::names::ImageDigest;
use berth_lang::{CompileRequest, Workspace};
use berth_tests::cases::{Part, parts};

#[test]
fn scheduling_examples_compile() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scheduling.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let mut workspace = Workspace::new();
    let mut files = 0;
    for part in parts(&text) {
        let Part::Fence(fence) = part else { continue };
        if let Some(file) = fence.info.strip_prefix("berth ") {
            workspace.set_file(file, fence.body.as_str());
            files += 1;
        }
    }
    assert!(files > 0, "the page has examples");
    let snapshot = workspace.snapshot();
    let compiled = snapshot.compile(&CompileRequest::default());
    let words = |list: &[berth_lang::Diagnostic]| -> String {
        list.iter().map(|diagnostic| diagnostic.render_plain(&snapshot)).collect()
    };
    let program = compiled.program.unwrap_or_else(|| panic!("{}", words(&compiled.diagnostics)));
    let digests: BTreeMap<_, _> = lower::images(&program)
        .into_iter()
        .map(|(name, _)| (name, ImageDigest::new("sha256:0")))
        .collect();
    let lowered = lower::lower(&program, "default", &digests);
    let graph = lowered.unwrap_or_else(|mistakes| panic!("{}", words(&mistakes)));
    assert_eq!(graph.workloads.len(), 6);
}
