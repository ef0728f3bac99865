//! Images without a registry: an OCI layout or archive beside the project becomes blobs and
//! snapshots of a node's containerd.
//!
//! Archives are read where they lie and never extracted. Every byte that is sent is hashed on the
//! way, and a blob whose digest is not its name never becomes content.

pub(crate) mod archive;
mod blob;
pub(crate) mod oci;
pub(crate) mod push;
pub(crate) mod source;

pub use oci::ImageError;
pub use source::{ImageFacts, read_archive, read_layout, verify_archive, verify_layout};
