//! The standard library, tested in the language itself: `stdlib/tests/*.berth`.

use std::path::Path;

use berth_lang::{TestRequest, Workspace};

#[test]
fn the_library_passes_its_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stdlib/tests");
    let mut workspace = Workspace::new();
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the library's tests") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a file of tests");
        workspace.set_file(&format!("tests/{name}"), text);
        files += 1;
    }
    let snapshot = workspace.snapshot();
    let report = snapshot.test(&TestRequest::default());
    let failures = report.tests.iter().flat_map(|test| &test.failures);
    let said: Vec<String> = report
        .diagnostics
        .iter()
        .chain(failures)
        .map(|mistake| mistake.render_plain(&snapshot))
        .collect();
    assert!(report.passed(), "{}", said.join("\n"));
    assert!(report.tests.len() >= 3 * files, "{} tests in {files} files", report.tests.len());
}
