//! What operators do to what runs: look, read logs, run a command, forward a port, copy files.
//!
//! Everything goes over the node's one connection: calls of its shell, containerd's API, and, where
//! bytes have to flow, a channel of that same connection that ends with it. None of this takes the
//! lock, changes a resource, or leaves anything on the node but the image of a debug container; planning
//! does not know of it.

pub(crate) mod channel;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod cron;
pub(crate) mod debug;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod forward;
pub(crate) mod inspect;
pub(crate) mod logs;
pub(crate) mod usage;
