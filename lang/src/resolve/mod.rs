//! Items into declarations: every item gets an identity, every file a scope, every written type a type.
//!
//! Imports are followed from the files in the project's root; cycles of imports, types, functions
//! and bindings end here, each as one mistake with its whole path. Expressions stay as written:
//! looking inside them for more than names is `check`'s.

mod binding;
mod cycles;
mod decls;
mod error;
mod imports;
mod manifests;
mod names;
mod packages;
mod rings;
mod scopes;
pub(crate) mod ty;
mod types;

pub(crate) use decls::{CaseTy, Decls, Def, FieldTy, ResourceDecl, Site, TypeBody};
pub(crate) use imports::{Roots, data_files};
pub(crate) use names::{mentions, resource_mentions};
pub(crate) use packages::find as find_packages;
pub(crate) use scopes::{MAX_CASES, resolve};
pub(crate) use ty::{Bound, Ty, TypeParam};
