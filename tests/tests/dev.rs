//! `./dev` itself: what it says of the lab's tests is how they ended.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `./dev`'s loop over tests that are these scripts, the first of them alone.
fn run(scripts: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in scripts {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file");
    }
    Command::new("bash")
        .args(["-c", "script=$1; shift; tests=(\"$@\"); set -- help; source \"$script\" >/dev/null; run_lab_tests \"${tests[@]}\""])
        .arg("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev"))
        .args(scripts.iter().map(|(name, _)| folder.path().join(name)))
        .env("LOAD", folder.path().join("load"))
        .output()
        .expect("bash")
}

#[test]
fn lab_tests_that_are_well_exit_with_0() {
    let output = run(&[
        ("selftest", "echo one"),
        ("test-a", "sleep 0.2; echo two"),
        ("test-b", "echo three"),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("all 3 of the lab's tests are well"), "{said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    for line in ["one", "two", "three"] {
        assert!(printed.contains(line), "{printed}");
    }
}

#[test]
fn one_that_fails_is_named_and_exits_with_1() {
    let output =
        run(&[("selftest", "true"), ("test-a", "exit 3"), ("test-b", "true"), ("test-c", "true")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/test-a: FAILED (3)"), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(
        last.contains("failed: ") && last.contains("/test-a") && !last.contains("test-b"),
        "{said}"
    );
}

#[test]
fn one_that_fails_beside_another_and_not_by_itself_is_said() {
    let output = run(&[
        ("selftest", "true"),
        ("test-a", "[[ -e $0.was ]] && exit 0; touch $0.was; exit 3"),
        ("test-b", "true"),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("/test-a: FAILED (3)"), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(last.contains("not at first: ") && last.contains("/test-a"), "{said}");
    assert!(!last.contains("test-b"), "{said}");
}

#[test]
fn where_many_fail_none_is_tried_again() {
    let fails = "echo x >> $0.runs; (( $(wc -l <$0.runs) > 1 )) && exit 0; exit 1";
    let output =
        run(&[("selftest", "true"), ("test-a", fails), ("test-b", fails), ("test-c", fails)]);
    assert_eq!(output.status.code(), Some(1));
}
