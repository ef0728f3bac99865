//! A project on disk: its files into a workspace, what they say into the graph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_agentless::image::Registries;
use berth_engine::plan::canon::digest_of;
use berth_engine::plan::etcd::Etcd;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::lockfile::LockfileError;
use berth_engine::plan::lower;
use berth_engine::plan::names::ImageDigest;
use berth_engine::plan::secret;
use berth_lang::{
    CompileRequest, Diagnostic, OwnPackage, Program, Resource, Severity, Snapshot, Waived,
    Workspace,
};

use crate::Global;
use crate::packages::{self, Digests};
use crate::pins::{NewLock, Pinning, Pins};
use crate::secrets;
use crate::shown;

/// The most text that one project may hold, in bytes.
pub(crate) const TEXT_LIMIT: u64 = 64 << 20;
/// How deep folders are looked through for `.berth` files.
const DEPTH_LIMIT: usize = 16;

/// A project that compiled.
pub(crate) struct Project {
    /// Its folder.
    pub(crate) root: PathBuf,
    /// What it says.
    pub(crate) graph: Graph,
    /// The digest of the text, its inputs and its pins.
    pub(crate) program: String,
    /// What the text came to, to find places in it.
    pub(crate) resources: Vec<Resource>,
    /// The text.
    pub(crate) snapshot: Snapshot,
    /// Where images come from that are not beside it.
    pub(crate) registries: Arc<Registries>,
    /// The cluster that keeps the ledger, if no node does.
    pub(crate) etcd: Option<Etcd>,
    /// Whether only signed commits of it are to be applied.
    pub(crate) signed: bool,
    /// Whether its nodes give each other large layers.
    pub(crate) fan_out: bool,
    /// Which files it was read from, those of packages included.
    pub(crate) files: Vec<String>,
}

/// Why a project could not be used. Mistakes in the text have been printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectError {
    /// There is no project here.
    #[error(
        "there is no `.berth` file in {0} or above it; write one (see `examples/`), or name the project with --project"
    )]
    NotFound(PathBuf),
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// A file is not text.
    #[error("{path}{}: this is not UTF-8 text; save the file as UTF-8", shown(place))]
    NotText {
        /// Which file.
        path: PathBuf,
        /// The line, and the first byte of it that cannot be read.
        place: Option<(usize, u8)>,
    },
    /// A link leads out of the project.
    #[error("{0} is a link that leads out of the project; copy the file into it")]
    Outside(PathBuf),
    /// There is too much text.
    #[error("the project holds more than 64 MiB of text; is --project right?")]
    TooMuch,
    /// A package holds too much.
    #[error(
        "the package in {0} holds more than a package may, 64 MiB or 10,000 files; is its path right?"
    )]
    PackageTooLarge(PathBuf),
    /// A file of a package whose name is not text.
    #[error("{0}: the name of this file is not UTF-8 text; rename it")]
    Name(PathBuf),
    /// The folder is a package, which runs nothing.
    #[error("this is the package `{}`, which projects use: it runs nothing by itself; `berth check` and `berth test` look at it", .0.name)]
    Package(OwnPackage),
    /// The text has mistakes.
    #[error("{0}")]
    Mistakes(String),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockfileError),
    /// The lock file would change, and must not.
    #[error("berth.lock does not pin {0}; run without --locked, and commit the file")]
    Locked(String),
    /// The environment's name cannot be used.
    #[error("`{0}` cannot name an environment; use at most 30 lower-case letters, digits and `-`")]
    Environment(String),
}

fn shown(place: &Option<(usize, u8)>) -> String {
    place.map_or_else(String::new, |(line, byte)| format!(":{line}: byte {byte:#04x}"))
}

/// A project that was looked through.
pub(crate) struct Examined {
    /// The texts that the diagnostics point into.
    pub(crate) snapshot: Snapshot,
    /// What was found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What a waiver lets pass.
    pub(crate) waived: Vec<Waived>,
    /// The project, if nothing of that is an error.
    pub(crate) project: Option<Project>,
    /// What the folder is instead of a project, if nothing of that is an error.
    pub(crate) package: Option<OwnPackage>,
    /// What is worth saying, and no mistake.
    notes: Vec<String>,
    /// The new `berth.lock`, if it changes.
    lock: Option<NewLock>,
}

impl Project {
    /// Loads, compiles and lowers the project; prints every mistake. Writes new pins to
    /// `berth.lock`, unless told not to.
    pub(crate) fn load(global: &Global, pins: Pins) -> Result<Self, ProjectError> {
        Self::load_again(global, pins, &mut None)
    }

    /// Loads it once more; what was told the last time is not told again.
    pub(crate) fn load_again(
        global: &Global,
        pins: Pins,
        told: &mut Option<String>,
    ) -> Result<Self, ProjectError> {
        let Examined { snapshot, diagnostics, waived, project, package, notes, lock } =
            examine(global, pins)?;
        if let Some(package) = package {
            return Err(ProjectError::Package(package));
        }
        let words = shown::words(&diagnostics, &snapshot);
        let is_news = told.as_ref() != Some(&words);
        if is_news {
            crate::out::put_error(&words);
            *told = Some(words);
        }
        let Some(project) = project else {
            return Err(ProjectError::Mistakes(shown::count(&diagnostics)));
        };
        if is_news {
            say_waived(&waived);
        }
        for note in notes {
            hint!("{note}");
        }
        if let Some(lock) = lock {
            lock.write()?;
        }
        Ok(project)
    }
}

/// Compiles and lowers the project, and writes nothing.
pub(crate) fn examine(global: &Global, pins: Pins) -> Result<Examined, ProjectError> {
    let environment = environment(global)?;
    let root = find(global)?;
    let Read { workspace, packages } = read(&root)?;
    let snapshot = workspace.snapshot();
    let compiled = snapshot.compile(&request(environment));
    let mut diagnostics = compiled.diagnostics;
    let sound = |diagnostics: &[Diagnostic]| {
        !diagnostics.iter().any(|found| found.severity == Severity::Error)
    };
    let nothing = |snapshot, diagnostics| Examined {
        snapshot,
        diagnostics,
        waived: Vec::new(),
        project: None,
        package: None,
        notes: Vec::new(),
        lock: None,
    };
    if let Some(own) = snapshot.own_package() {
        let package = Some(own).filter(|_| sound(&diagnostics));
        return Ok(Examined { package, ..nothing(snapshot, diagnostics) });
    }
    let mut pinning = Pinning::open(&root, global.locked)?;
    pinning.packages(&snapshot.packages(), &packages, &mut diagnostics);
    let Some(program) = compiled.program else {
        return Ok(nothing(snapshot, diagnostics));
    };
    pinning.library();
    let registries = Arc::new(Registries::new(root.clone(), lower::registries(&program)));
    let digests =
        pinning.images(&root, &registries, (&program, environment), pins, &mut diagnostics);
    let mut vault = secret::as_if(&program);
    vault.extend(secrets::vault(&root, &program, &mut diagnostics));
    let graph = match lower::lower(&program, environment, &digests, &vault) {
        Ok(graph) => Some(Graph { revoked: secrets::revoked(&root, &program), ..graph }),
        Err(more) => {
            diagnostics.extend(more);
            // Instances of one declaration have its mistake in common.
            diagnostics.dedup();
            None
        }
    };
    if !sound(&diagnostics) {
        return Ok(Examined { waived: program.waived, ..nothing(snapshot, diagnostics) });
    }
    let images: BTreeMap<String, &ImageDigest> =
        digests.iter().map(|(name, digest)| (name.to_string(), digest)).collect();
    let packages: BTreeMap<&str, &str> =
        pinning.new.packages.iter().map(|(folder, pin)| (&**folder, &*pin.digest)).collect();
    let secrets: BTreeMap<&str, &str> =
        vault.iter().map(|(name, sealed)| (&**name, &*sealed.fingerprint)).collect();
    let revoked = graph.as_ref().map(|graph| &graph.revoked);
    let digest = digest_of(
        "berth-program/4",
        &(&program.digest()[..], environment, images, packages, secrets, revoked),
    );
    let (signed, fan_out) = (lower::signed(&program), lower::fan_out(&program));
    let etcd = lower::etcd(&program);
    let files = program.paths().map(str::to_owned).chain(secrets::files(&program)).collect();
    let Program { resources, waived, .. } = program;
    let text = snapshot.clone();
    let project = graph.map(|graph| Project {
        root,
        graph,
        program: digest,
        resources,
        snapshot: text,
        registries,
        etcd,
        signed,
        fan_out,
        files,
    });
    let notes = std::mem::take(&mut pinning.notes);
    let lock = pinning.finish()?;
    Ok(Examined { snapshot, diagnostics, waived, project, package: None, notes, lock })
}

/// Says what a waiver lets pass, so that it is not forgotten.
pub(crate) fn say_waived(waived: &[Waived]) {
    for waived in waived {
        hint!(
            "{} (waived until {} by {}: {})",
            waived.message,
            waived.until,
            waived.owner,
            waived.reason
        );
    }
}

/// A program, with the texts that it came from.
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) snapshot: Snapshot,
}

/// Compiles the project and stops there: neither images nor pins are looked at. Prints every mistake.
pub(crate) fn compile(global: &Global) -> Result<Compiled, ProjectError> {
    let environment = environment(global)?;
    let snapshot = read(&find(global)?)?.workspace.snapshot();
    let compiled = snapshot.compile(&request(environment));
    let Some(program) = compiled.program else {
        return Err(mistakes(&compiled.diagnostics, &snapshot));
    };
    shown::tell(&compiled.diagnostics, &snapshot);
    Ok(Compiled { program, snapshot })
}

/// The environment's name, if it can be one.
pub(crate) fn environment(global: &Global) -> Result<&str, ProjectError> {
    let name = &global.env;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 30 || !name.bytes().all(allowed) {
        return Err(ProjectError::Environment(name.clone()));
    }
    Ok(name)
}

/// What a compilation for an environment takes besides the files.
pub(crate) fn request(environment: &str) -> CompileRequest {
    CompileRequest {
        inputs: BTreeMap::new(),
        environment: Some(environment.to_owned()),
        now_ms: Some(crate::fleet::now_ms()),
    }
}

/// The project's folder: the one named, or the nearest above that holds a `.berth` file.
pub(crate) fn find(global: &Global) -> Result<PathBuf, ProjectError> {
    let here = match &global.project {
        Some(folder) => folder.clone(),
        None => PathBuf::from("."),
    };
    let absolute =
        here.canonicalize().map_err(|error| ProjectError::File { path: here.clone(), error })?;
    let above: Vec<&Path> = match global.project {
        Some(_) => vec![&absolute],
        None => absolute.ancestors().collect(),
    };
    let holds = |folder: &&&Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.is_file() && is_berth(&path))
    };
    let found = above.iter().find(holds);
    found.map(|folder| folder.to_path_buf()).ok_or(ProjectError::NotFound(absolute.clone()))
}

fn is_berth(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "berth")
}

/// A project's texts, and the files of its packages.
pub(crate) struct Read {
    /// The texts.
    pub(crate) workspace: Workspace,
    /// The digest of each file of each package, by its folder.
    pub(crate) packages: BTreeMap<String, Digests>,
}

/// Puts every `.berth` file below a folder into a workspace, with those of the packages that they need
/// and the data files that they import.
pub(crate) fn read(root: &Path) -> Result<Read, ProjectError> {
    let mut workspace = Workspace::new();
    let mut total = 0;
    for text in texts(root)? {
        total += text.text.len() as u64;
        workspace.set_file(&text.name, text.text);
    }
    let packages = packages::load(root, &mut workspace, &mut total)?;
    crate::data::load(root, &mut workspace, &packages, total)?;
    Ok(Read { workspace, packages })
}

/// A file of a project.
pub(crate) struct Text {
    /// Its path from the project's root, with `/`.
    pub(crate) name: String,
    /// Its path on this machine.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) text: String,
}

impl Text {
    /// Reads one file under the name that it was asked for by.
    pub(crate) fn read(path: &Path) -> Result<Self, ProjectError> {
        let fail = |error| ProjectError::File { path: path.to_path_buf(), error };
        let bytes = std::fs::read(path).map_err(fail)?;
        let text = utf8(bytes, path)?;
        Ok(Self { name: path.display().to_string(), path: path.to_path_buf(), text })
    }
}

/// Bytes as text, or the place where they are none.
pub(crate) fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String, ProjectError> {
    String::from_utf8(bytes).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes.iter().take(end).filter(|byte| **byte == b'\n').count();
        let place = bytes.get(end).map(|byte| (line, *byte));
        ProjectError::NotText { path: path.to_path_buf(), place }
    })
}

/// Reads every `.berth` file below a folder, in the order of their names. Hidden folders, `target` and
/// `node_modules` are passed over, and links are not followed.
pub(crate) fn texts(root: &Path) -> Result<Vec<Text>, ProjectError> {
    let mut texts: Vec<Text> = Vec::new();
    let mut total = 0;
    let mut folders = vec![(root.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let fail = |error| ProjectError::File { path: folder.clone(), error };
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() {
                let passed = name.starts_with('.') || name == "target" || name == "node_modules";
                if !passed && depth < DEPTH_LIMIT {
                    folders.push((path, depth + 1));
                }
            } else if kind.is_file() && is_berth(&path) {
                // Its size is asked first: what is too much is not read.
                total += entry.metadata().map_err(fail)?.len();
                if total > TEXT_LIMIT {
                    return Err(ProjectError::TooMuch);
                }
                let mut text = Text::read(&path)?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                let parts: Vec<_> =
                    relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
                text.name = parts.join("/");
                texts.push(text);
            }
        }
    }
    texts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(texts)
}

fn mistakes(diagnostics: &[Diagnostic], snapshot: &Snapshot) -> ProjectError {
    shown::tell(diagnostics, snapshot);
    ProjectError::Mistakes(shown::count(diagnostics))
}
