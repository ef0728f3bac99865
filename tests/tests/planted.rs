//! Every planted bug is caught: by the checker, by the twin after a write, or at a history's end.
//!
//! `BERTH_PLANTED=1000` says how many histories each gets at most, and prints how many it took.

use berth_tests::drive::simulate;
use berth_tests::history::{FAULTS, canary, history, one_fault, shop_by};
use berth_tests::planted::Bug;
use berth_tests::project::{ROLLING, image};

/// How a history with a bug in its engines is found out, if it is.
fn caught(bug: Bug, seed: u64) -> Option<String> {
    let told = std::panic::catch_unwind(|| {
        // In turns: anything at all, and one fault in the midst of a canary that falls over.
        if seed.is_multiple_of(2) {
            return simulate(history(seed, Some(bug))).map(drop);
        }
        let (from, to) =
            (shop_by(image('a'), ROLLING), shop_by(image('e'), canary(&[1000], 30_000)));
        let fault = FAULTS[(seed / 2) as usize % FAULTS.len()];
        let ends = image('a');
        simulate(one_fault((&from, &to), &ends, seed % 97, fault, Some(bug))).map(drop)
    });
    match told {
        Ok(told) => told.err(),
        Err(_) => Some("the checker turned a plan down, or an engine panicked".to_owned()),
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "numbers for docs/simulation.md")]
fn every_bug_is_caught() {
    let most = std::env::var("BERTH_PLANTED").ok().and_then(|n| n.parse().ok());
    // The panics of others are told.
    let (here, usual) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != here {
            usual(panic);
        }
    }));
    let mut missed = Vec::new();
    let mut took = Vec::new();
    for (bug, words) in Bug::ALL {
        let found = (0..most.unwrap_or(3000)).find_map(|seed| Some((seed, caught(*bug, seed)?)));
        match found {
            Some((seed, how)) => {
                took.push(seed + 1);
                if most.is_some() {
                    let how = how.lines().next().unwrap_or_default().to_owned();
                    eprintln!(
                        "| {bug:?} |{words} | {} | {} |",
                        seed + 1,
                        how.chars().take(100).collect::<String>()
                    );
                }
            }
            None => missed.push(format!("{bug:?}")),
        }
    }
    let _ = std::panic::take_hook();
    took.sort_unstable();
    assert!(missed.is_empty(), "not caught: {missed:?}");
    assert!(took.len() >= 30);
    if most.is_some() {
        eprintln!("median {}, most {}", took[took.len() / 2], took.last().unwrap_or(&0));
    }
}
