//! From a target to an authenticated SSH connection, or to the layer where that ended.

pub(crate) mod auth;
pub(crate) mod dial;
pub(crate) mod host_certificate;
mod known_hosts;
pub(crate) mod scan;
pub(crate) mod ssh_config;
pub(crate) mod tcp;
mod way;
