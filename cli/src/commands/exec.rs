//! `berth exec`: a command in a replica, with this terminal or these pipes as its own.

use std::io::{IsTerminal as _, Write};

use berth_agentless::{Command, Ending, Exec, Heard, Input, Size, SshHost};
use berth_engine::plan::names::ContainerId;
use berth_engine::run::observe::observe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, replicas, terminal};

/// What other tools end with, too, when they could not start a command: by a fault of their own, or
/// because there is none of that name.
const NOT_STARTED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The replica: `web[1]`, or a pod such as `web-1.g3`
    what: String,
    /// The container of that name beside the replica's own: a sidecar
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// The program and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND", default_values = ["sh"])]
    argv: Vec<String>,
    #[command(flatten)]
    streams: Streams,
    /// More environment, over the replica's own
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// A user and group by number instead of the replica's: `1000:1000`
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// A working directory instead of the replica's
    #[arg(short = 'w', long, value_name = "DIR")]
    directory: Option<String>,
}

/// What of this process a command gets.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Streams {
    /// Give it a terminal, though standard input or output is none
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// Give it no terminal, though there is one here
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Read nothing from standard input
    #[arg(short, long)]
    no_stdin: bool,
}

impl Streams {
    /// Whether it gets a terminal.
    pub(super) fn tty(self) -> bool {
        let both = || std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        self.tty || (!self.no_tty && both())
    }

    /// The terminal that it gets, if any.
    pub(super) fn terminal(self) -> Option<(String, Size)> {
        self.tty().then(|| (terminal::kind(), terminal::size()))
    }
}

/// Reads `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("say KEY=VALUE".to_owned())
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let ended = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = execute(&host, &project, args).await;
        host.close().await;
        ended
    })?;
    Ok(code(ended, &args.argv, &args.what))
}

/// The exit code of a command in a replica; what went wrong is said.
pub(super) fn code(
    ended: Result<Ending, Box<dyn std::error::Error>>,
    argv: &[String],
    what: &str,
) -> Exit {
    Exit::Code(match ended {
        Ok(Ending::Code(code)) => u8::try_from(code).unwrap_or(u8::MAX),
        Ok(Ending::NotStarted(why)) => {
            let program = argv.first().map_or("sh", String::as_str).escape_debug();
            hint!("{} `{program}` did not start in {what}: {why}", crate::paint::error("error:"));
            if why.contains("permission denied") { NOT_EXECUTABLE } else { NOT_FOUND }
        }
        Ok(Ending::Lost) => {
            hint!(
                "{} the connection ended; whether the command goes on is not known",
                crate::paint::error("error:")
            );
            NOT_STARTED
        }
        Err(error) => {
            crate::exit::report(error.as_ref());
            NOT_STARTED
        }
    })
}

async fn execute(
    host: &SshHost,
    project: &Project,
    args: &Args,
) -> Result<Ending, Box<dyn std::error::Error>> {
    let graph = &project.graph;
    let observation = observe(host, graph).await;
    let replica = replicas::one(&args.what, graph, &observation)
        .inspect_err(|_| _ = replicas::tell_unknown(&observation))?;
    let command = Command {
        argv: args.argv.clone(),
        env: args.set.clone(),
        user: args.user.clone(),
        directory: args.directory.clone(),
        terminal: args.streams.terminal(),
    };
    let container = ContainerId { pod: replica.pod, beside: args.container.clone() };
    let exec = host.exec(&replica.node, &graph.tenant, &container, &command).await?;
    Ok(attend(exec, args.streams).await?)
}

/// Carries everything between this process and a command, until that ends.
pub(super) async fn attend(exec: Exec, streams: Streams) -> std::io::Result<Ending> {
    let tty = streams.tty();
    let raw = if tty { terminal::Raw::enter() } else { None };
    // A terminal that nothing is to be typed at stays with the shell that started us.
    let reads = !streams.no_stdin && (tty || !std::io::stdin().is_terminal());
    let ending = carry(exec, reads, tty).await;
    drop(raw);
    ending
}

/// Carries bytes, sizes and signals between here and there, until the command ends.
async fn carry(mut exec: Exec, reads: bool, tty: bool) -> std::io::Result<Ending> {
    let input = exec.input();
    if reads {
        let mut parts = terminal::input();
        let input = input.clone();
        tokio::spawn(async move {
            while let Some(part) = parts.recv().await {
                if !input.write(part).await {
                    return;
                }
            }
            input.end().await;
        });
    } else {
        input.end().await;
    }
    forward_signals(&input, tty)?;
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    loop {
        let said = match exec.next().await {
            Heard::Out(bytes) => out.write_all(&bytes).and_then(|()| out.flush()),
            Heard::Err(bytes) => err.write_all(&bytes),
            Heard::Ended(ending) => return Ok(ending),
        };
        // Whoever read us is gone: so is the reason to go on, as for any command in a pipe.
        if said.is_err() {
            input.signal("PIPE").await;
            input.end().await;
            return Ok(Ending::Code(141));
        }
    }
}

/// Passes on what this process is told, and the terminal's new sizes.
fn forward_signals(input: &Input, tty: bool) -> std::io::Result<()> {
    let (sender, mut told) = mpsc::unbounded_channel::<&'static str>();
    let kinds = [
        (SignalKind::interrupt(), "INT"),
        (SignalKind::terminate(), "TERM"),
        (SignalKind::quit(), "QUIT"),
        (SignalKind::hangup(), "HUP"),
        (SignalKind::user_defined1(), "USR1"),
        (SignalKind::user_defined2(), "USR2"),
    ];
    for (kind, name) in kinds {
        let signals = signal(kind)?;
        tokio::spawn(pass(signals, name, sender.clone()));
    }
    let to = input.clone();
    tokio::spawn(async move {
        while let Some(name) = told.recv().await {
            to.signal(name).await;
        }
    });
    if tty {
        let mut resized = signal(SignalKind::window_change())?;
        let to = input.clone();
        tokio::spawn(async move {
            // First what it is now: it may have changed before anybody listened.
            loop {
                to.resize(terminal::size()).await;
                if resized.recv().await.is_none() {
                    break;
                }
            }
        });
    }
    Ok(())
}

async fn pass(mut signals: Signal, name: &'static str, to: mpsc::UnboundedSender<&'static str>) {
    while let Some(()) = signals.recv().await {
        let Ok(()) = to.send(name) else { break };
    }
}
