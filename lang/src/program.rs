//! What a compilation takes and gives.

use crate::diagnostic::Diagnostic;
use crate::eval::{Origins, Traced};
use crate::ids::Loc;
use crate::places::Places;
use crate::print;
use crate::span::Span;
use crate::value::{Value, write_json_string};
use crate::workspace::ParsedFile;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What a compilation takes besides the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompileRequest {
    /// Values for the project's inputs, as text.
    pub inputs: BTreeMap<String, String>,
    /// The environment to compile for: one that the project declares, or the name of an overlay.
    pub environment: Option<String>,
    /// When it is, in milliseconds since 1970: only the waivers of policies look at it, which all stand
    /// without it.
    pub now_ms: Option<u64>,
}

/// What a compilation gives.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The program; nothing when any diagnostic is an error.
    pub program: Option<Program>,
    /// Every mistake that was found, ordered by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// A checked and evaluated project.
#[derive(Clone, Debug)]
pub struct Program {
    /// The resources, sorted by kind and then name, keyed instances in the order of their keys.
    pub resources: Vec<Resource>,
    /// The secrets that the project names, sorted by name.
    pub secrets: Vec<Secret>,
    /// Breaches of policies that somebody has waived.
    pub waived: Vec<Waived>,
    /// The files of the project that were read, sorted by path.
    pub(crate) files: Vec<Arc<ParsedFile>>,
    /// The inputs' values, defaults included, as text.
    pub inputs: BTreeMap<String, String>,
    pub(crate) digest: OnceLock<[u8; 32]>,
}

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// The project itself.
    Project,
    /// A server.
    Node,
    /// A replicated container with its address.
    Service,
    /// A container that runs to its end, once.
    Job,
    /// A container that runs to its end, time and again.
    Cron,
    /// Data that outlives the containers that use it.
    Volume,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Project, Self::Node, Self::Service, Self::Job, Self::Cron, Self::Volume];

    /// The word that declares it.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Node => "node",
            Self::Service => "service",
            Self::Job => "job",
            Self::Cron => "cron",
            Self::Volume => "volume",
        }
    }

    /// The prelude's type of its body.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Project => "Project",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::Job => "Job",
            Self::Cron => "CronJob",
            Self::Volume => "Volume",
        }
    }
}

/// A resource, or one instance of a keyed resource. A copy shares everything.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name: `web`, `n[1]`, `worker["mail"]`.
    pub name: Arc<str>,
    body: Arc<Body>,
    places: Arc<Places>,
}

/// What a resource is, and which text made it so.
#[derive(Debug)]
pub(crate) struct Body {
    /// The name in the declaration.
    pub(crate) at: Loc,
    pub(crate) traced: Traced,
    /// What there was before each overlay, with its name.
    pub(crate) layers: Vec<(Arc<str>, Traced)>,
    value: OnceLock<Box<Value>>,
}

impl Body {
    pub(crate) fn new(at: Loc, traced: Traced, layers: Vec<(Arc<str>, Traced)>) -> Self {
        Self { at, traced, layers, value: OnceLock::new() }
    }
}

impl Resource {
    pub(crate) fn new(
        kind: ResourceKind,
        name: Arc<str>,
        body: Arc<Body>,
        places: Arc<Places>,
    ) -> Self {
        Self { kind, name, body, places }
    }

    pub(crate) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// The place of its name in the declaration.
    pub fn span(&self) -> Span {
        self.places.span(self.body.at)
    }

    /// Which text set which field.
    pub fn origins(&self) -> Origins<'_> {
        Origins::new(&self.body, &self.places)
    }

    /// Its body, a record with every default filled in; made when somebody first asks.
    pub fn value(&self) -> &Value {
        let record =
            || self.body.traced.to_value().unwrap_or_else(|| Value::Record(BTreeMap::new()));
        self.body.value.get_or_init(|| Box::new(record()))
    }

    /// Appends its body as [`Value::to_json`] prints it, without making a value.
    pub fn write_json(&self, out: &mut String) {
        self.body.traced.write_json(out);
    }

    /// Prints it in the language's own notation, with a line end.
    pub fn print(&self) -> String {
        let mut out = String::new();
        print::resource(&mut out, self);
        out
    }
}

/// A secret: what it holds is nowhere in the program.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The place of its name in the declaration.
    pub span: Span,
    /// Where what it holds is kept, a case of the prelude's `SecretSource`.
    pub source: Value,
}

/// A breach of a policy that somebody has waived, for now.
#[derive(Clone, Debug)]
pub struct Waived {
    /// The policy's name.
    pub policy: String,
    /// The resource that breaks it.
    pub resource: String,
    /// What the policy says of it.
    pub message: String,
    /// The last day of the waiver, `2026-12-31`.
    pub until: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The place of the waiver.
    pub span: Span,
}

impl Program {
    /// The files of the project that were read, sorted by path.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| &**file.source.path())
    }

    /// Every file of the project that was read, with the SHA-256 of its text, sorted by path; each is
    /// computed when somebody first asks.
    pub fn sources(&self) -> impl Iterator<Item = (&str, [u8; 32])> {
        self.files.iter().map(|file| (&**file.source.path(), file.digest()))
    }

    /// SHA-256 over the resources' canonical JSON, the secrets' sources and the inputs; neither
    /// paths nor places count. Computed when somebody first asks.
    pub fn digest(&self) -> [u8; 32] {
        *self.digest.get_or_init(|| self.hashed())
    }

    fn hashed(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut line = String::new();
        for resource in &self.resources {
            line.clear();
            line.push_str(resource.kind.keyword());
            line.push(' ');
            write_json_string(&mut line, &resource.name);
            resource.write_json(&mut line);
            line.push('\n');
            hasher.update(line.as_bytes());
        }
        for secret in &self.secrets {
            line.clear();
            line.push_str("secret ");
            write_json_string(&mut line, &secret.name);
            secret.source.write_json(&mut line);
            line.push('\n');
            hasher.update(line.as_bytes());
        }
        for (name, value) in &self.inputs {
            line.clear();
            write_json_string(&mut line, name);
            write_json_string(&mut line, value);
            hasher.update(line.as_bytes());
        }
        hasher.finalize().into()
    }

    /// Prints every resource in the language's own notation, for `berth debug` and the cases.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for secret in &self.secrets {
            print::secret_item(&mut out, secret);
        }
        for resource in &self.resources {
            print::resource(&mut out, resource);
        }
        out
    }
}
