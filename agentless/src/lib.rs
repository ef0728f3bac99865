//! Verbs of the Host port into gRPC and commands over one guarded SSH session a node.
//!
//! The pipeline: a [`Target`] is connected to (TCP, host key, login); over that one connection
//! run a guarded session of the node's own shell and gRPC to the node's containerd; a verb of the
//! engine's port becomes calls of both; what a node says becomes an observation.
//!
//! Invariants:
//! - Nothing is authenticated before the host key is verified, and nothing is written without the
//!   node's lock. The lock lives and dies with the connection that the writes go over.
//! - Words reach a node's shell only through [`session::quote`], data only over standard input.
//! - Every write is recorded under the name that its action declares.
//! - Whatever a node says is bounded, escaped, and never a panic.
//!
//! Deliberately absent: the language, planning, retries of writes. No process of ours stays on a
//! node; what does stay is in `src/node/*.sh`.

mod care;
mod connect;
mod containerd;
mod endpoint;
pub mod etcd;
mod fault;
mod fetch;
mod host;
pub mod image;
mod ledger;
mod link;
mod network;
mod observe;
mod operate;
mod pod;
mod probe;
mod record;
mod reflex;
mod session;
mod tenant;
mod told;
mod volume;

pub use care::{Examined, Finding, Mend, Weight};
pub use connect::auth::Ask;
pub use connect::dial::{Options, Target};
pub use connect::scan::{HostKey, ScanError, scan_host_key};
pub use connect::ssh_config::SshConfig;
pub use host::SshHost;
pub use operate::channel::{Ending, Heard, Input, Size};
pub use operate::copy::{Copied, CopyError};
pub use operate::debug::Visit;
pub use operate::events::{Event, Happened};
pub use operate::exec::{Command, Exec};
pub use operate::forward::Stream;
pub use operate::inspect::{Inspected, Task};
pub use operate::logs::{Cursor, LogSeen, Start};
pub use operate::usage::{PodUsage, Pressures, Usage};
pub use record::Recorded;
