//! Carrying plans out through ports.

pub mod host;
