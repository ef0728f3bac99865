//! Pure planning: desired graph, observation and ledger head into a plan that can be read.

pub mod action;
pub mod body;
pub mod canon;
pub mod capacity;
pub mod change;
pub mod check;
mod check_place;
pub mod drift;
pub mod explain;
pub mod freshness;
pub mod graph;
pub mod ledger;
pub mod lockfile;
pub mod lower;
pub mod names;
pub mod observation;
pub mod place;
pub mod planner;
pub mod render;
pub mod rollout;
pub mod satisfied;
pub mod steps;
pub mod undo;
pub mod whatif;
pub mod why;
pub mod world;
