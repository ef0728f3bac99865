//! Looking after servers: what one lacks of what Berth needs, and the commands that mend it.
//!
//! The pipeline: a script of plain sh (`agentless/src/node/doctor.sh`) over one SSH session says facts;
//! [`facts`] reads them; [`judge`] turns them into findings, each with what to do; [`run`] is the way
//! there and back. A server is looked at without the guarded session, which needs bash already.
//!
//! Invariants: looking writes nothing. A command that is offered to be run installs packages or
//! starts a service; what guards a server (a firewall, sshd's settings, SELinux) is only ever named.

pub(crate) mod facts;
pub(crate) mod fence;
pub(crate) mod judge;
mod run;

pub use judge::{Finding, Mend, Weight};
pub use run::Examined;
