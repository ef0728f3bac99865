//! Images: an OCI layout or archive beside the project, or a registry's, becomes blobs and snapshots
//! of a node's containerd.
//!
//! Archives are read where they lie and never extracted. Every byte that is sent is hashed on the
//! way, and a blob whose digest is not its name never becomes content.

pub(crate) mod archive;
mod blob;
mod credentials;
pub(crate) mod fanout;
pub(crate) mod oci;
mod pull;
pub(crate) mod push;
mod registry;
mod signature;
pub(crate) mod source;
mod unpack;

pub use oci::ImageError;
pub use registry::{Registries, RegistryError};
pub use signature::KeyError;
pub use source::{ImageFacts, read_archive, read_layout, verify_archive, verify_layout};
