//! Every test of this package, as one program.

mod abort;
mod checker;
mod checker_shares;
mod checker_volumes;
mod damage;
mod dev;
mod docs;
mod fmt_cases;
mod fmt_properties;
mod lang_cases;
mod lang_incremental;
mod lang_limits;
mod lang_properties;
mod lang_typos;
mod lang_workspace;
mod ledger_moves;
mod place_exact;
mod place_picture;
mod place_plans;
mod place_properties;
mod plan_cases;
mod planted;
mod sim;
mod stdlib;
mod story;
mod unreachable;
