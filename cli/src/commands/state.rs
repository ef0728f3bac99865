//! `berth state`: whether what Berth remembers is whole, and what to do if it is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_agentless::SshHost;
use berth_engine::plan::etcd;
use berth_engine::plan::ledger::{self, Entry, Ledger};
use berth_engine::run::fold::fold;
use berth_engine::run::journal;
use berth_engine::run::ledger::{believed, newest, read_all};
use berth_engine::run::observe::{observe, survey};
use berth_engine::run::relocate::{MoveError, Wish, relocate};

use super::Ended;
use super::apply::agreed;
use super::ledger::{behind, kept, size, told, wish};
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, paint};

/// The largest ledger that is imported, in bytes.
const IMPORT_LIMIT: u64 = 1 << 30;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check every link of the ledger, of its copies and of this folder's journals
    Verify,
    /// Begin a ledger again when it is lost with every copy, with what the nodes say
    Rebuild(Lost),
    /// Write the ledger to a file
    Export {
        /// The file; it must not be there yet
        file: PathBuf,
    },
    /// Go on with a ledger from a file, when the nodes have none that is newer
    Import {
        /// A file that `berth state export` wrote
        file: PathBuf,
        #[command(flatten)]
        lost: Lost,
    },
    /// Fold the ledger's oldest revisions, and forget what this folder keeps of them
    Gc {
        /// How many revisions to keep
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        keep: u64,
    },
}

/// What commands take that need the ledger to be lost.
#[derive(Debug, clap::Args)]
struct Lost {
    /// A node that is off, and stays off until it is told of the new ledger: it counts as one that agrees
    #[arg(long, value_name = "NODE")]
    fenced: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = match &args.command {
            Command::Verify => verify(&host, &project).await,
            Command::Rebuild(lost) => rebuild(&host, &project, lost).await,
            Command::Export { file } => export(&host, &project, file).await,
            Command::Import { file, lost } => import(&host, &project, file, lost).await,
            Command::Gc { keep } => gc(&host, &project, *keep).await,
        };
        host.close().await;
        ended
    })?
}

async fn verify(host: &SshHost, project: &Project) -> Ended {
    let graph = &project.graph;
    let observation = observe(host, graph).await;
    let mut whole = true;
    let mut bad = |words: String| {
        whole = false;
        say!("{} {words}", paint::error("bad"));
    };
    let held = read_all(host, graph, &observation).await;
    let main = match held.iter().find(|(node, _)| *node == graph.keeper) {
        Some((keeper, Ok(ledger))) => {
            match believed(graph, &observation, &ledger.head) {
                Ok(()) => say!(
                    "{} ledger on {keeper}: {} lines, revision {}, epoch {}, {}",
                    paint::good("ok "),
                    ledger.head.lines,
                    ledger.head.revision,
                    ledger.head.epoch,
                    size(ledger.length)
                ),
                Err(fault) => bad(fault.to_string()),
            }
            Some(ledger)
        }
        Some((keeper, Err(fault))) => {
            bad(format!("ledger on {keeper}: {fault}"));
            None
        }
        None if newest(&observation).is_none()
            && (observation.seen(&graph.keeper).is_some() || etcd::keeps(&graph.keeper)) =>
        {
            say!("{} no ledger yet: the first apply begins one", paint::good("ok "));
            None
        }
        None => {
            bad(format!("{} does not show the ledger", graph.keeper));
            None
        }
    };
    for (node, copy) in held.iter().filter(|(node, _)| *node != graph.keeper) {
        match (copy, main) {
            (Ok(copy), Some(main)) => {
                say!("{} copy on {node}: {}", paint::good("ok "), behind(copy, main));
            }
            (Ok(copy), None) => say!("    copy on {node}: {} lines", copy.head.lines),
            (Err(fault), _) => bad(format!("copy on {node}: {fault}")),
        }
    }
    if let Some(main) = main {
        let Journals { sound, elsewhere, problems } = journals(project, main);
        problems.into_iter().for_each(&mut bad);
        say!("{} journals in .berth: {sound}", paint::good("ok "));
        if elsewhere > 0 {
            say!("    journals of other environments, or of folded revisions: {elsewhere}");
        }
    }
    Ok(if whole { Exit::Done } else { Exit::Partial })
}

/// This folder's journals, which all environments share, against one ledger.
#[derive(Default)]
struct Journals {
    /// How many hang on a line of the ledger and are whole.
    sound: usize,
    /// How many hang on none of its lines.
    elsewhere: usize,
    /// Words for those that hang on one and are not whole.
    problems: Vec<String>,
}

fn journals(project: &Project, ledger: &Ledger) -> Journals {
    let begins = begins(ledger);
    let mut found = Journals::default();
    for (name, path) in journal_files(project) {
        let Some(anchor) = begins.iter().find(|hash| hash.starts_with(&name)) else {
            found.elsewhere += 1;
            continue;
        };
        match std::fs::read(&path).map(|bytes| journal::read(&bytes, anchor)) {
            Ok((_, false)) => found.sound += 1,
            // The engine was killed while it wrote: what came before is whole.
            Ok((records, true)) => found.problems.push(format!(
                "journal {name}: only its first {} records can be believed",
                records.len()
            )),
            Err(error) => found.problems.push(format!("journal {name}: {error}")),
        }
    }
    found
}

/// The hashes of the lines that began an apply: what journals hang on.
fn begins(ledger: &Ledger) -> Vec<&str> {
    let begins = ledger.lines.iter().filter(|line| matches!(line.entry, Entry::Begin { .. }));
    begins.map(|line| line.hash.as_str()).collect()
}

fn journal_files(project: &Project) -> Vec<(String, PathBuf)> {
    let folder = fleet::folder(project).join("journal");
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_suffix(".journal")?.to_owned(), entry.path()))
    });
    let mut files: Vec<_> = named.collect();
    files.sort();
    files
}

async fn rebuild(host: &SshHost, project: &Project, lost: &Lost) -> Ended {
    let recalled = fleet::store(project).map(|store| store.recall(&project.graph.tenant));
    let recalled = recalled.transpose()?.unwrap_or_default();
    if !lost.yes && !agreed("The ledger is lost with every copy, and begins again?", "y")? {
        return Ok(Exit::Mistake);
    }
    let wish = Wish { rebuild: true, fenced: fleet::nodes(project, &lost.fenced)?, ..wish() };
    // What this folder remembers knows more than the nodes say: pins, decisions, earlier releases.
    let bytes: Vec<u8> = recalled.iter().flat_map(ledger::Line::bytes).collect();
    let given = ledger::parse(&bytes).ok().filter(|ledger| ledger.head.lines > 0);
    let wish = Wish { given, ..wish };
    finish(project, relocate(host, &project.graph, &wish).await)
}

fn finish(
    project: &Project,
    moved: Result<berth_engine::run::relocate::Moved, MoveError>,
) -> Ended {
    match moved {
        Ok(moved) => Ok(told(project, &moved)),
        Err(MoveError::Here(keeper)) => {
            let words = format!("{keeper} keeps the ledger, and it is whole; nothing was done");
            Err(words.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn export(host: &SshHost, project: &Project, file: &Path) -> Ended {
    let ledger = kept(host, project).await?;
    if ledger.lines.is_empty() {
        return Err(format!("{} has no ledger yet", project.graph.tenant).into());
    }
    let said = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).open(file).map_err(said)?;
    std::io::Write::write_all(&mut out, &ledger.bytes()).map_err(said)?;
    out.sync_all().map_err(said)?;
    let head = &ledger.head;
    say!("{}: revision {}, {} lines", file.display(), head.revision, head.lines);
    Ok(Exit::Done)
}

async fn import(host: &SshHost, project: &Project, file: &Path, lost: &Lost) -> Ended {
    let said = |words: String| format!("{}: {words}", file.display());
    let size = std::fs::metadata(file).map_err(|error| said(error.to_string()))?.len();
    if size > IMPORT_LIMIT {
        return Err(said(format!("{size} bytes are more than a ledger has")).into());
    }
    let bytes = std::fs::read(file).map_err(|error| said(error.to_string()))?;
    let given = ledger::parse(&bytes).map_err(|error| said(error.to_string()))?;
    let of = given.lines.iter().find_map(|line| match &line.entry {
        Entry::Begin { plan, .. } => Some(&plan.tenant),
        _ => None,
    });
    if let Some(tenant) = of.filter(|tenant| **tenant != project.graph.tenant) {
        let words = format!("it is the ledger of {tenant}, and this is {}", project.graph.tenant);
        return Err(said(words).into());
    }
    if given.lines.is_empty() || given.torn {
        return Err(said("it is not a whole ledger".to_owned()).into());
    }
    if !lost.yes && !agreed("The nodes' ledger is lost, and this file takes its place?", "y")? {
        return Ok(Exit::Mistake);
    }
    let fenced: BTreeSet<_> = fleet::nodes(project, &lost.fenced)?;
    let wish = Wish { take_over: true, fenced, given: Some(given), ..wish() };
    finish(project, relocate(host, &project.graph, &wish).await)
}

async fn gc(host: &SshHost, project: &Project, keep: u64) -> Ended {
    let seen = survey(host, &project.graph).await?;
    let at = (fleet::now_ms(), fleet::who());
    let folded = fold(host, &project.graph, &seen, keep, (at.0, &at.1)).await?;
    match folded.lines {
        0 => say!("the ledger has no more than {keep} revisions; it has {}", size(folded.before)),
        lines => say!(
            "{lines} lines of the ledger were folded: {} instead of {}",
            size(folded.after),
            size(folded.before)
        ),
    }
    folded.behind.iter().for_each(|line| hint!("{} {line}", paint::notice("note:")));
    let ledger = kept(host, project).await?;
    // Only what hung on a line that is folded now: the other journals are of other environments.
    let (before, after) = (begins(&seen.ledger), begins(&ledger));
    let is_of = |begins: &[&str], name: &str| begins.iter().any(|hash| hash.starts_with(name));
    let mut gone = 0;
    for (name, path) in journal_files(project) {
        if is_of(&before, &name) && !is_of(&after, &name) && std::fs::remove_file(path).is_ok() {
            gone += 1;
        }
    }
    say!("{gone} journals of folded revisions were removed from .berth");
    if let Some(store) = fleet::store(project) {
        store.remember(&project.graph.tenant, &ledger.lines)?;
    }
    Ok(Exit::Done)
}
