//! One file a command. Adding one is one new file and one line here and in `main`.

pub(crate) mod abort;
pub(crate) mod apply;
pub(crate) mod capacity;
pub(crate) mod check;
pub(crate) mod cp;
pub(crate) mod debug;
pub(crate) mod debug_pod;
pub(crate) mod debug_sim;
pub(crate) mod demo;
pub(crate) mod destroy;
pub(crate) mod doc;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod node;
pub(crate) mod overrides;
pub(crate) mod package;
pub(crate) mod plan;
pub(crate) mod port_forward;
pub(crate) mod ps;
pub(crate) mod reconcile;
pub(crate) mod reflexes;
pub(crate) mod restart;
pub(crate) mod rollback;
pub(crate) mod run_cron;
pub(crate) mod secret;
pub(crate) mod show;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod top;
pub(crate) mod trust;
pub(crate) mod why;
pub(crate) mod why_placement;

/// What a command gives back: how it ended, or why it could not.
pub(crate) type Ended = Result<crate::exit::Exit, Box<dyn std::error::Error>>;
