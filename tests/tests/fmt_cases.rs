//! The formatter's cases: markdown in `cases/fmt`. ` ```berth ` is a file, ` ```formatted ` what it becomes.

use berth_tests::cases::{Part, run_all};

fn run(case: &mut [Part]) -> Vec<String> {
    let mut source = String::new();
    let mut wrong = Vec::new();
    for part in case {
        let Part::Fence(fence) = part else { continue };
        if fence.info == "berth" {
            source.clone_from(&fence.body);
        }
        if fence.info != "formatted" {
            continue;
        }
        let found = berth_lang::format(&source).text;
        assert_eq!(berth_lang::format(&found).text, found, "laying out twice changes something");
        if found != fence.body {
            wrong.push(format!("expected:\n{}found:\n{found}", fence.body));
            fence.body = found;
        }
    }
    wrong
}

#[test]
fn cases_hold() {
    run_all("cases/fmt", run);
}
