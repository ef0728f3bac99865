//! Carrying plans out through ports.
//!
//! [`apply`] takes the locks, makes sure that the world is still the plan's, writes the intent to
//! the ledger, lets the [`executor`] run the steps, and writes the outcome. Ports are small
//! traits: [`host::Host`], [`clock::Clock`], [`journal::Journal`]; [`twin`] is their in-memory
//! side, for the simulation and for `berth demo --simulated`.

pub mod apply;
pub mod clock;
pub mod event;
pub mod executor;
pub mod fold;
pub mod host;
pub mod journal;
pub mod ledger;
pub mod observe;
pub mod reconcile;
pub mod record;
pub mod relocate;
pub mod store;
pub mod tenure;
pub mod twin;
