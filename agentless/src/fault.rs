//! What went wrong inside a verb, before the node's name is put to it.
//!
//! Every module of this crate has its own error where it has something of its own to say; here
//! they become the port's words. What a node said is bounded and escaped on the way.

use berth_engine::plan::names::NodeName;
use berth_engine::run::host::{HostError, Layer, LockClaim, Refusal};
use tonic::{Code, Status};

/// How much of a node's words a message may hold.
const WORDS_LIMIT: usize = 1_500;

/// A verb's failure on a node that the caller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// See [`HostError::Unreachable`].
    Unreachable { layer: Layer, why: String },
    /// See [`HostError::Lost`].
    Lost(String),
    /// See [`HostError::Locked`].
    Locked(Box<LockClaim>),
    /// See [`HostError::Fenced`].
    Fenced { ours: u64, theirs: u64, keeper: String },
    /// See [`HostError::Refused`].
    Refused(Refusal),
}

impl Fault {
    /// Names the node.
    pub(crate) fn at(self, node: &NodeName) -> HostError {
        let node = node.clone();
        match self {
            Self::Unreachable { layer, why } => HostError::Unreachable { node, layer, why },
            Self::Lost(what) => HostError::Lost { node, what },
            Self::Locked(claim) => HostError::Locked { node, claim },
            Self::Fenced { ours, theirs, keeper } => {
                HostError::Fenced { node, ours, theirs, keeper: NodeName::new(keeper) }
            }
            Self::Refused(refusal) => HostError::Refused { node, refusal },
        }
    }

    /// Says what failed, in the node's words.
    pub(crate) fn failed(what: &str, why: &str) -> Self {
        if why.contains("o space left on device") {
            return Self::Refused(Refusal::DiskFull { path: full_path(what).to_owned() });
        }
        Self::Refused(Refusal::Failed { what: what.to_owned(), why: words(why) })
    }

    /// Turns the failure of a gRPC call into a refusal, or into [`Fault::Lost`] if no answer came.
    pub(crate) fn grpc(what: &str, status: &Status) -> Self {
        if unanswered(status) {
            return Self::Lost(what.to_owned());
        }
        Self::failed(what, status.message())
    }

    /// Turns the failure of a gRPC read, which can be repeated, into a fault of its layer.
    pub(crate) fn read(what: &str, status: &Status) -> Self {
        if unanswered(status) {
            return Self::Unreachable {
                layer: Layer::Containerd,
                why: format!("{what}: no answer from containerd: {}", words(status.message())),
            };
        }
        Self::failed(what, status.message())
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A status that the transport made up, as opposed to one that containerd sent.
fn unanswered(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
        || matches!(status.code(), Code::Unavailable | Code::Cancelled)
}

fn full_path(what: &str) -> &'static str {
    if what.starts_with("containerd") { "/var/lib/containerd" } else { "/etc/berth" }
}

/// Bounds and escapes what a node said: one line, no control characters.
pub(crate) fn words(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        if out.len() > WORDS_LIMIT {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push_str("; "),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_one_bounded_line() {
        assert_eq!(words(" a\nb\x1b[31m\u{7} "), "a; b\\u{1b}[31m\\u{7}");
        assert!(words(&"x".repeat(10_000)).len() < WORDS_LIMIT + 8);
    }

    #[test]
    fn a_full_disk_is_known_by_its_words() {
        let fault = Fault::failed("containerd: write content", "write /x: no space left on device");
        assert!(matches!(fault, Fault::Refused(Refusal::DiskFull { .. })));
    }
}
