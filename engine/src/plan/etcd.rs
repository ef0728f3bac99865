//! A ledger that etcd keeps, in the place of a node: how it is reached.
//!
//! Only the way there: none of it is in the graph or in a digest. As a keeper it has a name that no node can have.

use super::names::NodeName;

/// The name of etcd as keeper.
const KEEPER: &str = "(etcd)";

/// An etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// The URLs of its members.
    pub endpoints: Vec<String>,
    /// A file of certificates to trust, relative to the project.
    pub ca: Option<String>,
    /// Who logs in by a password, if anybody.
    pub user: Option<String>,
}

/// Etcd, as the keeper of a ledger.
pub fn keeper() -> NodeName {
    NodeName::new(KEEPER)
}

/// Whether a keeper is etcd.
pub fn keeps(keeper: &NodeName) -> bool {
    keeper.as_str() == KEEPER
}
