//! How images of a registry are read: what the text says beside their references.
//!
//! None of it changes what runs, only the way there, so it is no part of the graph and of no digest.

/// How one registry is read, or a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Hosts that are asked before it, in this order.
    pub mirrors: Vec<String>,
    /// Whether it speaks plain HTTP.
    pub http: bool,
    /// A file of certificates to trust beside the usual ones; relative to the project.
    pub ca: Option<String>,
    /// Files of public keys, relative to the project: only what one of them signed is taken.
    pub signed_by: Vec<String>,
    /// Who pulls the layers.
    pub puller: Puller,
}

/// Who pulls an image's layers from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Puller {
    /// Each node by itself, with a login of this machine's for that moment.
    #[default]
    Nodes,
    /// This machine, which sends them on: nodes need no way to the registry.
    Engine,
}
