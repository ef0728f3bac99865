//! Words of others for the apply that is under way.
//!
//! Who applies holds the locks, so whoever wants a rollout taken back leaves a word beside the ledger. It is looked for
//! while something is waited for; a keeper that does not answer now is asked again.

use std::time::Duration;

use super::Executor;
use crate::plan::body::PlanBody;
use crate::run::clock::Clock;
use crate::run::host::{Ask, Host};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Waits for a word for this apply that differs from the last one.
pub(super) async fn next<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    body: &PlanBody,
    last: Option<Ask>,
) -> Ask {
    loop {
        executor.clock.sleep(PAUSE).await;
        match executor.host.asked(&body.keeper, &body.tenant).await {
            Ok(Some(ask)) if ask.apply == executor.apply && last.as_ref() != Some(&ask) => {
                return ask;
            }
            Ok(_) | Err(_) => {}
        }
    }
}
