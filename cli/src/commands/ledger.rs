//! `berth ledger`: where the ledger is and who has copies; its way to another keeper.

use berth_agentless::SshHost;
use berth_engine::plan::etcd;
use berth_engine::plan::ledger::Ledger;
use berth_engine::plan::names::NodeName;
use berth_engine::plan::observation::{NodeView, Observation};
use berth_engine::run::ledger::{read, read_all};
use berth_engine::run::observe::observe;
use berth_engine::run::relocate::{MoveError, Moved, Source, Wish, relocate};

use super::Ended;
use super::apply::agreed;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Move the ledger to the node that the text names as keeper
    Move(MoveArgs),
}

/// What `berth ledger move` takes.
#[derive(Debug, clap::Args)]
struct MoveArgs {
    /// Go on with the newest copy: the keeper is lost for good
    #[arg(long)]
    take_over: bool,
    /// A node that is off, and stays off until it is told of the new keeper: it counts as one that agrees
    #[arg(long, value_name = "NODE", requires = "take_over")]
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
            None => show(&host, &project).await,
            Some(Command::Move(args)) => go(&host, &project, args).await,
        };
        host.close().await;
        ended
    })?
}

/// Shows the ledger and its copies, as the nodes have them.
async fn show(host: &SshHost, project: &Project) -> Ended {
    let graph = &project.graph;
    let observation = observe(host, graph).await;
    let held = read_all(host, graph, &observation).await;
    let newest = newest(&observation, &graph.keeper);
    let main = held.iter().find(|(node, _)| *node == newest).map(|(_, read)| read);
    let mut exit = Exit::Done;
    match main {
        Some(Ok(ledger)) => say!(
            "{}  {} keeps the ledger: revision {}, {} lines, {}, epoch {}",
            paint::bold(&graph.tenant.to_string()),
            newest,
            ledger.head.revision,
            ledger.head.lines,
            size(ledger.length),
            ledger.head.epoch
        ),
        Some(Err(fault)) => {
            say!("{}  {}", graph.tenant, paint::error(&format!("{newest}: {fault}")));
            exit = Exit::Partial;
        }
        None if held.is_empty()
            && (observation.seen(&newest).is_some() || etcd::keeps(&newest)) =>
        {
            say!("{}  no ledger yet: the first apply begins one", graph.tenant);
        }
        None => {
            let words = format!("{newest} keeps the ledger, and does not show it");
            say!("{}  {}", graph.tenant, paint::error(&words));
            exit = Exit::Partial;
        }
    }
    if newest != graph.keeper {
        say!(
            "! the text names {} as keeper: `berth ledger move` brings it there, or write {}",
            graph.keeper,
            written(&newest)
        );
        exit = Exit::Partial;
    }
    let whole = main.and_then(|read| read.as_ref().ok());
    for (node, copy) in held.iter().filter(|(node, _)| *node != newest) {
        let words = match (copy, whole) {
            (Err(fault), _) => paint::error(&fault.to_string()),
            (Ok(copy), Some(whole)) => behind(copy, whole),
            (Ok(copy), None) => {
                format!("revision {}, {} lines", copy.head.revision, copy.head.lines)
            }
        };
        say!("  {node}  copy  {words}");
    }
    for (node, view) in &observation.nodes {
        if let NodeView::Unknown { why, .. } = view {
            say!("  {node}  {}", paint::notice(&format!("does not answer: {why}")));
        }
    }
    Ok(exit)
}

/// How a text says who keeps the ledger.
pub(crate) fn written(keeper: &NodeName) -> String {
    if etcd::keeps(keeper) {
        "`etcd: { endpoints: … }`".to_owned()
    } else {
        format!("`keeper: {keeper}`")
    }
}

/// How a copy stands to the ledger.
pub(crate) fn behind(copy: &Ledger, whole: &Ledger) -> String {
    let is_known = copy.head.hash.is_empty()
        || whole.head.hash == copy.head.hash
        || whole.lines.iter().any(|line| line.prev == copy.head.hash);
    match whole.head.lines.checked_sub(copy.head.lines) {
        Some(0) if is_known => paint::good("whole"),
        Some(lines) if is_known => paint::notice(&format!("{lines} lines behind")),
        Some(_) | None => paint::error("of another past: the next apply writes it anew"),
    }
}

/// Whom the nodes know as keeper; whom the text names if none of them knows one.
fn newest(observation: &Observation, named: &NodeName) -> NodeName {
    let mark = berth_engine::run::ledger::newest(observation);
    mark.map_or(named, |mark| &mark.keeper).clone()
}

/// A number of bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

async fn go(host: &SshHost, project: &Project, args: &MoveArgs) -> Ended {
    let graph = &project.graph;
    let fenced = fleet::nodes(project, &args.fenced)?;
    let question = format!(
        "The keeper is lost for good, and {} goes on with the newest copy of the ledger?",
        graph.keeper
    );
    if args.take_over && !args.yes && !agreed(&question, "y")? {
        return Ok(Exit::Mistake);
    }
    let wish = Wish { take_over: args.take_over, fenced, ..wish() };
    match relocate(host, graph, &wish).await {
        Ok(moved) => Ok(told(project, &moved)),
        Err(MoveError::Here(keeper)) => {
            say!("{keeper} keeps the ledger already; nothing was done");
            Ok(Exit::Done)
        }
        Err(error) => Err(error.into()),
    }
}

/// A wish of this login's, now.
pub(crate) fn wish() -> Wish {
    Wish { who: fleet::who(), at_ms: fleet::now_ms(), ..Wish::default() }
}

/// Says what came of a move.
pub(crate) fn told(project: &Project, moved: &Moved) -> Exit {
    let Moved { from, ledger, untold } = moved;
    let keeper = &project.graph.keeper;
    let words = match from {
        Source::Keeper(old) => format!("{keeper} keeps the ledger now, from {old}"),
        Source::Copy(node) => format!("{keeper} took the ledger over, with {node}'s copy"),
        Source::Given => format!("{keeper} has the ledger that was given"),
        Source::Nodes(_) => format!("{keeper} has a new ledger, with what the nodes say"),
    };
    let head = &ledger.head;
    say!(
        "{}: revision {}, {} lines, epoch {}",
        paint::good(&words),
        head.revision,
        head.lines,
        head.epoch
    );
    if let Source::Nodes(unknown) = from {
        unknown.iter().for_each(|line| say!("  not known any more: {line}"));
    }
    if let Source::Copy(_) | Source::Given = from {
        say!(
            "  what was decided or applied after its last line is not in it; `berth plan` shows where the nodes differ"
        );
    }
    untold.iter().for_each(|line| say!("  not told yet: {line}"));
    if let Some(store) = fleet::store(project)
        && let Err(error) = store.remember(&project.graph.tenant, &ledger.lines)
    {
        tracing::warn!("going on without the local store: {error}");
    }
    Exit::Done
}

/// Reads the ledger from whom the text names.
///
/// # Errors
/// As the engine's.
pub(crate) async fn kept(
    host: &SshHost,
    project: &Project,
) -> Result<Ledger, Box<dyn std::error::Error>> {
    let graph = &project.graph;
    Ok(read(host, &graph.keeper, &graph.tenant).await?)
}
