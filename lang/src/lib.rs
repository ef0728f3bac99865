//! Files into a checked program and one value: the Berth language.
//!
//! ```text
//! Workspace ─ syntax ─▶ items ─ resolve ─▶ declarations ─ check ─▶ typed trees ─ eval ─▶ Program
//!             (split, parse)   (scopes)                  (types)                (values, origins)
//! ```
//!
//! - `syntax` cuts a file into items and parses each alone. Only `syntax::parse` knows pest.
//! - `resolve` gives every item an identity, follows imports, and lowers what was written as types.
//! - `check` turns untyped trees into typed ones, against expectations that flow inwards.
//! - `eval` runs the typed trees once, in dependency order, and remembers which text set what.
//!
//! Invariants: no phase edits its input; parsing never fails; a mistake yields one diagnostic and
//! from there on an error type that silences whatever follows from it; a well-typed tree meets no
//! type error at run time; the same files give the same bytes on any machine.
//!
//! **Deliberately absent**: I/O, clocks, environment and network (text comes in through
//! [`Workspace::set_file`]); the terminal (diagnostics are data, the command line paints them);
//! nodes, plans and images; recursion, laziness, null, floating point.

mod builtin;
mod check;
mod cores;
mod data;
mod decimal;
mod diagnostic;
mod doc;
mod eval;
mod explain;
mod fmt;
mod ids;
mod mend;
mod nearest;
mod notation;
mod packages;
mod pattern;
mod places;
mod print;
mod program;
mod resolve;
mod session;
mod span;
mod syntax;
mod testing;
mod value;
mod workspace;

pub use cores::write_in_order;
pub use decimal::Decimal;
pub use diagnostic::{Diagnostic, Fix, Label, Severity};
pub use doc::{Docs, document};
pub use eval::{Origins, Setting};
pub use explain::{CODES, explain};
pub use fmt::{Formatted, format};
pub use mend::{Mended, mend};
pub use nearest::nearest;
pub use notation::cron_fields;
pub use packages::{NeededPackage, OwnPackage, library};
pub use program::{CompileRequest, Compiled, Program, Resource, ResourceKind, Secret, Waived};
pub use session::{GraphDelta, Session, Step};
pub use span::{Position, SourceFile, Span};
pub use testing::{TestReport, TestRequest, Tested};
pub use value::{SecretPart, Value};
pub use workspace::{Snapshot, Workspace};
