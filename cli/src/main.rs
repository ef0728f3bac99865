//! The `berth` binary: wires the crates, prints, exits. Nothing is decided here.

#[macro_use]
mod out;

mod commands;
mod data;
mod decision;
mod diff;
mod exit;
mod findings;
mod fleet;
mod git;
mod lines;
mod packages;
mod paint;
mod pins;
mod project;
mod provenance;
mod published;
mod replicas;
mod sarif;
mod saved;
mod secrets;
mod shown;
mod signers;
mod table;
mod telling;
mod terminal;
mod verdicts;
mod watch;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::exit::Exit;

/// A compilation asks for memory a million times, from all cores: glibc's allocator takes a quarter of
/// its time (docs/benchmarks/language.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Containers on your own servers, from a text in git: plan what will happen, then apply it.
#[derive(Debug, Parser)]
#[command(name = "berth", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The project's folder; the nearest one above with a `.berth` file otherwise
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// The environment: a name for what this checkout runs, apart from others on the same nodes
    #[arg(short, long, global = true, value_name = "NAME", default_value = "default")]
    env: String,
    /// A file of trusted host keys, besides ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
    #[arg(long, global = true, value_name = "FILE", env = "BERTH_KNOWN_HOSTS")]
    known_hosts: Option<PathBuf>,
    /// The ssh configuration that says how hosts are reached, instead of ~/.ssh/config and /etc/ssh/ssh_config; `none` for none
    #[arg(long, global = true, value_name = "FILE", env = "BERTH_SSH_CONFIG")]
    ssh_config: Option<PathBuf>,
    /// A private key to offer to every node whose text names none, and to jump hosts
    #[arg(long, global = true, value_name = "FILE", env = "BERTH_IDENTITY")]
    identity: Option<PathBuf>,
    /// Refuse to change berth.lock
    #[arg(long, global = true)]
    locked: bool,
    /// Say more: -v for what is done on nodes, -vv for each call
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Add a server: to the text, to those that are trusted, and what it lacks to itself
    Add(commands::node::AddArgs),
    /// Take a server out of the text that nothing of this environment is on, and Berth off it
    Remove(commands::node::RemoveArgs),
    /// Give the name of a server that is lost to another one, which begins empty
    Replace(commands::node::ReplaceArgs),
    /// Forget a node that is gone for good, or whose machine was replaced: what was there starts elsewhere
    Forget(commands::overrides::ForgetArgs),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the text: every mistake, with its place and what to do
    Check(commands::check::Args),
    /// Run the tests that the text holds
    Test(commands::test::Args),
    /// Put the text in the one style: spacing and line breaks, and nothing else
    Fmt(commands::fmt::Args),
    /// Show what the text says once everything is worked out; --origin says who set it
    Show(commands::show::Args),
    /// Write a reference of what the text declares, as one HTML page or as Markdown
    Doc(commands::doc::Args),
    /// Show what apply would do: what, where, why, and what goes back on failure
    Plan(commands::plan::Args),
    /// Make the nodes what the text says
    Apply(commands::apply::Args),
    /// Draw the desired graph, coloured by what a plan would do
    Graph(commands::graph::Args),
    /// Tell how many more replicas fit, and which losses of nodes are survived
    Capacity(commands::capacity::Args),
    /// Tell who set a field (berth why web.replicas), or why a replica is where it is (berth why web[1])
    Why(commands::why::Args),
    /// Tell what keeps a replica off a node, and what would help: berth why-not web[1] n7
    WhyNot(commands::why_placement::NotArgs),
    /// Show what runs
    Status,
    /// List every replica: where it is, its state, restarts, age, image and address
    Ps(commands::ps::Args),
    /// List what acts on the nodes without an engine, and in which version
    Reflexes(commands::reflexes::Args),
    /// Show what replicas said; -f goes on with what comes
    Logs(commands::logs::Args),
    /// Run a cron now, whatever its schedule says: berth run nightly --wait
    Run(commands::run_cron::Args),
    /// Run a command in a replica: berth exec web[1] -- sh
    Exec(commands::exec::Args),
    /// Show everything of one replica, down to its process
    Inspect(commands::inspect::Args),
    /// Lead ports of this machine to a replica: berth port-forward web[1] 8080:80
    PortForward(commands::port_forward::Args),
    /// Copy files between this machine and a replica: berth cp web[1]:/var/log/app .
    Cp(commands::cp::Args),
    /// Show what nodes and replicas use: CPU, memory, disks, and what waits for them
    Top(commands::top::Args),
    /// Tell what happens to replicas as it happens: starts, exits, kills for want of memory
    Events(commands::events::Args),
    /// Close nodes for new replicas; what is there stays
    Cordon(commands::overrides::CordonArgs),
    /// Close nodes, and move what is there to others
    Drain(commands::overrides::DrainArgs),
    /// Open nodes again that were cordoned or drained
    Uncordon(commands::overrides::UncordonArgs),
    /// Say that nodes are switched off: what has no data there starts elsewhere
    Fence(commands::overrides::DrainArgs),
    /// Take back that nodes are switched off
    Unfence(commands::overrides::UncordonArgs),
    /// Nodes that come, leave, or are gone: berth node add n4 10.0.0.14
    #[command(subcommand)]
    Node(NodeCommand),
    /// Keep services at their release, whatever the text says
    Pause(commands::overrides::PauseArgs),
    /// Let paused services go on
    Resume(commands::overrides::ResumeArgs),
    /// Take back what another apply is rolling out: its next gate fails
    Abort(commands::abort::Args),
    /// Give a service another number of replicas, within the text's `scale`
    Scale(commands::overrides::ScaleArgs),
    /// Stop services: no replica runs
    Stop(commands::overrides::StopArgs),
    /// Give services the text's number of replicas again
    Start(commands::overrides::StartArgs),
    /// Replace replicas by new ones of the same release: berth restart web, berth restart web[1]
    Restart(commands::restart::Args),
    /// Put services back to an earlier release, until their text changes
    Rollback(commands::rollback::Args),
    /// Let the text's release of services be tried again that was put back
    Unpin(commands::overrides::ResumeArgs),
    /// Tell how the nodes differ from what was last applied (exit code 2 if they do)
    Drift(commands::drift::Args),
    /// List what was applied, when, by whom, and how it ended
    History(commands::history::Args),
    /// Show where the ledger is, and its copies; move it to another keeper
    Ledger(commands::ledger::Args),
    /// Verify, rebuild, export, import or tidy what Berth remembers
    State(commands::state::Args),
    /// Take everything of this environment off the nodes
    Destroy(commands::destroy::Args),
    /// Look at servers for what they lack of what Berth needs
    Doctor(commands::doctor::Args),
    /// Mend what `berth doctor` finds and can be mended by a command; shows it first, and asks
    Bootstrap(commands::doctor::BootstrapArgs),
    /// Show a node's host key, and trust it
    Trust(commands::trust::Args),
    /// Set, show and share what the text's secrets hold, kept encrypted beside it
    Secret(commands::secret::Args),
    /// Pin images anew in berth.lock
    Image(commands::image::Args),
    /// List the packages that the project needs, and accept what they hold now
    Package(commands::package::Args),
    /// Explain a mistake's code: berth explain E0203
    Explain(commands::explain::Args),
    /// Look into a replica whose image has no shell; or show what Berth itself works with
    Debug(commands::debug::Args),
    /// Walk the whole story on simulated nodes, anywhere, in seconds
    Demo(commands::demo::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to say more.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { Exit::Done } else { Exit::Mistake }.into();
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_env_filter(match cli.global.verbose {
            0 => "warn",
            1 => "warn,berth=info,berth_agentless=info,berth_engine=info",
            _ => "warn,berth=debug,berth_agentless=debug,berth_engine=debug",
        })
        .init();
    let global = cli.global;
    let ended = match cli.command {
        Command::Check(args) => commands::check::run(&global, &args),
        Command::Test(args) => commands::test::run(&global, &args),
        Command::Fmt(args) => commands::fmt::run(&global, &args),
        Command::Show(args) => commands::show::run(&global, &args),
        Command::Doc(args) => commands::doc::run(&global, &args),
        Command::Plan(args) => commands::plan::run(&global, &args),
        Command::Apply(args) => commands::apply::run(&global, &args),
        Command::Graph(args) => commands::graph::run(&global, &args),
        Command::Capacity(args) => commands::capacity::run(&global, &args),
        Command::Why(args) => commands::why::run(&global, &args),
        Command::WhyNot(args) => commands::why_placement::run_not(&global, &args),
        Command::Status => commands::status::run(&global),
        Command::Ps(args) => commands::ps::run(&global, &args),
        Command::Reflexes(args) => commands::reflexes::run(&global, &args),
        Command::Logs(args) => commands::logs::run(&global, &args),
        Command::Run(args) => commands::run_cron::run(&global, &args),
        Command::Exec(args) => commands::exec::run(&global, &args),
        Command::Inspect(args) => commands::inspect::run(&global, &args),
        Command::PortForward(args) => commands::port_forward::run(&global, &args),
        Command::Cp(args) => commands::cp::run(&global, &args),
        Command::Top(args) => commands::top::run(&global, &args),
        Command::Events(args) => commands::events::run(&global, &args),
        Command::Cordon(args) => commands::overrides::cordon(&global, &args),
        Command::Drain(args) => commands::overrides::drain(&global, &args),
        Command::Uncordon(args) => commands::overrides::uncordon(&global, &args),
        Command::Fence(args) => commands::overrides::fence(&global, &args),
        Command::Unfence(args) => commands::overrides::unfence(&global, &args),
        Command::Node(NodeCommand::Add(args)) => commands::node::add(&global, &args),
        Command::Node(NodeCommand::Remove(args)) => commands::node::remove(&global, &args),
        Command::Node(NodeCommand::Replace(args)) => commands::node::replace(&global, &args),
        Command::Node(NodeCommand::Forget(args)) => commands::overrides::forget(&global, &args),
        Command::Pause(args) => commands::overrides::pause(&global, &args),
        Command::Resume(args) => commands::overrides::resume(&global, &args),
        Command::Abort(args) => commands::abort::run(&global, &args),
        Command::Scale(args) => commands::overrides::scale(&global, &args),
        Command::Stop(args) => commands::overrides::stop(&global, &args),
        Command::Start(args) => commands::overrides::start(&global, &args),
        Command::Restart(args) => commands::restart::run(&global, &args),
        Command::Rollback(args) => commands::rollback::run(&global, &args),
        Command::Unpin(args) => commands::overrides::unpin(&global, &args),
        Command::Drift(args) => commands::drift::run(&global, &args),
        Command::History(args) => commands::history::run(&global, &args),
        Command::Ledger(args) => commands::ledger::run(&global, &args),
        Command::State(args) => commands::state::run(&global, &args),
        Command::Destroy(args) => commands::destroy::run(&global, &args),
        Command::Doctor(args) => commands::doctor::run(&global, &args),
        Command::Bootstrap(args) => commands::doctor::bootstrap(&global, &args),
        Command::Secret(args) => commands::secret::run(&global, &args),
        Command::Trust(args) => commands::trust::run(&global, &args),
        Command::Image(args) => commands::image::run(&global, &args),
        Command::Package(args) => commands::package::run(&global, &args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Debug(args) => commands::debug::run(&global, &args),
        Command::Demo(args) => commands::demo::run(&args),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            exit::report(error.as_ref());
            Exit::of(error.as_ref()).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
