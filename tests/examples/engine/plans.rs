//! Plans on nodes where everything runs already: nothing to do, and one release back.

use std::time::Instant;

use berth_engine::plan::body::{Goal, PlanBody};
use berth_engine::plan::graph::Graph;
use berth_engine::run::observe::{Survey, survey};
use berth_engine::run::twin::Twin;
use berth_tests::drive::{agreed, simulate, turn};

use crate::{median, ms, shop, terraform, world};

const TIMES: usize = 11;
const SIZES: [u32; 3] = [10, 100, 300];

/// Plans several times; gives the last plan, and the usual time of it alone, and of it with reading all nodes.
async fn planned(twin: &Twin, graph: &Graph) -> (PlanBody, [std::time::Duration; 2]) {
    let (mut alone, mut whole, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..TIMES {
        let began = Instant::now();
        let seen: Survey = survey(twin, graph).await.expect("a ledger");
        let read = Instant::now();
        last = Some(agreed(&seen, graph, Goal::Converge));
        alone.push(read.elapsed());
        whole.push(began.elapsed());
    }
    (last.expect("a plan"), [median(alone), median(whole)])
}

/// Prints the table.
pub(crate) fn plans() {
    println!("## Plans on nodes where everything runs\n");
    println!(
        "| services | nothing to do: plan and checker | with reading 30 simulated nodes | one release back: plan and checker | with reading |"
    );
    println!("|---|---|---|---|---|");
    let mut noop = None;
    for services in SIZES {
        let (old, new) = (shop(services, 'a'), shop(services, 'b'));
        let (nothing, back) = simulate(async {
            let twin = world(&old);
            turn(&twin, &old, Goal::Converge).await;
            turn(&twin, &new, Goal::Converge).await;
            let (empty, nothing) = planned(&twin, &new).await;
            assert!(empty.is_empty());
            let (one, back) = planned(&twin, &old).await;
            assert_eq!(one.changes.len(), 1, "one service changes");
            (nothing, back)
        });
        println!(
            "| {services} | {} | {} | {} | {} |",
            ms(nothing[0]),
            ms(nothing[1]),
            ms(back[0]),
            ms(back[1])
        );
        noop = Some(nothing[1]);
    }
    println!("\nMedians of {TIMES}, by the clock.\n");
    let noop = noop.expect("three sizes");
    let most = SIZES[SIZES.len() - 1];
    match terraform::times(most) {
        Some(peer) => println!(
            "`terraform plan` over {most} `terraform_data`: {}, {:.0} times as long.\n",
            ms(peer.plan),
            peer.plan.as_secs_f64() / noop.as_secs_f64()
        ),
        None => println!("Terraform is not on this machine.\n"),
    }
}
