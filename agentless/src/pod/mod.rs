//! Pods: one replica's namespaces, addresses, snapshot, container and task, made and removed.

pub(crate) mod cdi;
pub(crate) mod confine;
pub(crate) mod connections;
pub(crate) mod ensure;
mod files;
pub(crate) mod labels;
pub(crate) mod part;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod spec;
