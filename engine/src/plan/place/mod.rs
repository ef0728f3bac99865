//! Placement: which node takes a replica, and why the others do not.
//!
//! Filter, score, choose. Each constraint is a file in [`filter`], each preference a file in
//! [`score`]; both know one node and one replica, and nothing of how the search goes. Scores are
//! compared in the order of their registry, first difference decides, and ties go to the node's
//! name, so that the reason for a choice can be said in a few words and is the same everywhere.
//! All numbers are integers.
//!
//! [`naive`] does that for every node, and is what "right" means. [`index`] finds the same node
//! without looking at every one:
//! - nodes that no constraint can tell apart, but for what lies on them, are one *node class*
//!   (the labels that some constraint names, taints, intake, pressure, capacity): what depends on
//!   the class alone is decided once a class;
//! - replicas are counted per workload, per node and per value of each label that a constraint
//!   names, so that a required spread, affinity or anti-affinity is a look at a counter;
//! - in a class, nodes lie in cells of a grid by their free share of CPU and of memory; a cell's
//!   score is computed once, and cells are looked at best first;
//! - which nodes hold a workload is a set of bits, so that "not where one of it is" is an `and`.
//!
//! So a replica costs the number of node classes and of cells in use, not the number of nodes, and
//! a hard constraint costs little more than none. [`preempt`] looks for who would yield when no
//! node takes a replica, and [`exact`] for a place for all together where one after the other found
//! none. [`price`] says what a node's remaining room is worth, for nodes that are
//! to be filled densely.
//!
//! Deliberately absent: the plan, the observation, time. What a step frees for later steps comes
//! in as a credit; how pods leave is the rollout's.

pub mod ask;
pub mod bits;
pub mod exact;
pub mod filter;
pub mod fleet;
pub mod grid;
pub mod index;
pub mod mend;
pub mod naive;
pub mod preempt;

pub mod price;
pub mod score;
pub mod want;

pub use ask::{Ask, Place, Slot};
pub use fleet::{Fleet, Verdict};
