//! A command in a pod, through the node's `runc exec`: with the pod's namespaces, limits, user,
//! environment and capabilities.
//!
//! containerd's own exec wants named pipes on the node for its streams, and someone there to carry
//! them. `runc exec` is what its shim runs in the end; on an SSH channel it has streams, a terminal
//! and its size, and an exit code, and a terminal that is gone hangs it up. Nothing stays.

use std::sync::Arc;

use berth_engine::plan::names::{ContainerId, NodeName, Tenant};
use berth_engine::run::host::{HostError, Refusal};

use super::channel::{Ending, Heard, Input, Running, Size};
use super::inspect::task_pid;
use crate::fault::{Fault, words};
use crate::host::SshHost;
use crate::link::Live;

/// How runc begins when it could not start a command: in a container, and with one of its own.
const REFUSED: [&str; 2] = ["exec failed: ", "runc run failed: "];
/// The longest line with the process's number; a login's own greeting may come before it.
const GREETING_LIMIT: usize = 4096;

/// What to run in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// More environment, over the pod's own.
    pub env: Vec<(String, String)>,
    /// A user and group by number, `1000:1000`, instead of the pod's.
    pub user: Option<String>,
    /// A working directory instead of the pod's.
    pub directory: Option<String>,
    /// A terminal, as `TERM` names it, and its size.
    pub terminal: Option<(String, Size)>,
}

/// A command that runs in a pod.
pub struct Exec {
    running: Running,
    /// What came together with the greeting.
    rest: Option<Heard>,
    first: bool,
    failed: String,
}

impl Exec {
    /// Starts an argv on a node, and waits for its first word, which is the process's number.
    pub(super) async fn start(
        live: Arc<Live>,
        words: Vec<String>,
        command: &Command,
    ) -> Result<Self, Fault> {
        // A shell that says its number and becomes the program, which passes signals on.
        let shell = ["sh", "-c", "echo berth-exec $$; exec \"$@\"", "sh"].map(str::to_owned);
        let words: Vec<String> = shell.into_iter().chain(words).collect();
        let terminal = command.terminal.as_ref().map(|(kind, size)| (&**kind, *size));
        let running = Running::start(live, &words, terminal).await?;
        let mut exec = Self { running, rest: None, first: true, failed: String::new() };
        exec.greeted().await?;
        Ok(exec)
    }

    /// Where to write; cheap to clone.
    pub fn input(&self) -> Input {
        self.running.input.clone()
    }

    /// Waits for what comes next.
    pub async fn next(&mut self) -> Heard {
        loop {
            let heard = match self.rest.take() {
                Some(heard) => heard,
                None => self.running.next().await,
            };
            match heard {
                Heard::Out(bytes) | Heard::Err(bytes)
                    if (self.first && REFUSED.iter().any(|r| bytes.starts_with(r.as_bytes())))
                        || !self.failed.is_empty() =>
                {
                    self.failed.push_str(&String::from_utf8_lossy(&bytes));
                }
                Heard::Ended(Ending::Code(_)) if !self.failed.is_empty() => {
                    let why = self.failed.trim();
                    let why = REFUSED.iter().find_map(|r| why.strip_prefix(r)).unwrap_or(why);
                    let why = why.trim_start_matches("unable to start container process: ");
                    return Heard::Ended(Ending::NotStarted(words(why)));
                }
                heard => {
                    self.first = false;
                    return heard;
                }
            }
        }
    }

    /// Reads the number of the process, which comes before all else.
    async fn greeted(&mut self) -> Result<(), Fault> {
        let mut said = Vec::new();
        let mut complaint = Vec::new();
        loop {
            match self.running.next().await {
                Heard::Out(bytes) => said.extend_from_slice(&bytes),
                Heard::Err(bytes) => complaint.extend_from_slice(&bytes),
                Heard::Ended(ending) => {
                    complaint.extend_from_slice(&said);
                    let why = words(&String::from_utf8_lossy(&complaint));
                    return Err(Fault::failed(
                        "start a command",
                        &match ending {
                            Ending::Lost => "the connection ended".to_owned(),
                            Ending::Code(_) | Ending::NotStarted(_) => why,
                        },
                    ));
                }
            }
            while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = said.drain(..=end).collect();
                let number = String::from_utf8_lossy(&line);
                if let Some(pid) = number.trim().strip_prefix("berth-exec ") {
                    self.running.input.pid = pid.parse().ok();
                    self.rest = (!said.is_empty()).then_some(Heard::Out(said));
                    return Ok(());
                }
            }
            if said.len() > GREETING_LIMIT {
                return Err(Fault::failed("start a command", "the node's shell says too much"));
            }
        }
    }
}

impl SshHost {
    /// Runs a command in a container that runs.
    ///
    /// # Errors
    /// If the node can't be reached, the container is not there, or it does not run.
    pub async fn exec(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        container: &ContainerId,
        command: &Command,
    ) -> Result<Exec, HostError> {
        let link = self.link(node)?;
        let namespace = tenant.namespace();
        self.reading(link, async {
            let live = link.live().await?;
            task_pid(&live, &namespace, container).await?;
            Exec::start(live, line(&namespace, container, command), command).await
        })
        .await
    }
}

/// The argv: runc's.
fn line(namespace: &str, container: &ContainerId, command: &Command) -> Vec<String> {
    let Command { argv, env, user, directory, terminal } = command;
    let mut line: Vec<String> = ["runc", "--log", "/dev/null", "--root"].map(str::to_owned).into();
    line.push(format!("/run/containerd/runc/{namespace}"));
    line.push("exec".to_owned());
    if terminal.is_some() {
        line.push("--tty".to_owned());
    }
    let term = terminal.as_ref().map(|(kind, _)| ("TERM".to_owned(), kind.clone()));
    for (key, value) in term.iter().chain(env) {
        line.extend(["--env".to_owned(), format!("{key}={value}")]);
    }
    if let Some(user) = user {
        line.extend(["--user".to_owned(), user.clone()]);
    }
    if let Some(directory) = directory {
        line.extend(["--cwd".to_owned(), directory.clone()]);
    }
    // Its options end with the container: what follows may begin with a dash.
    line.push(container.to_string());
    line.extend(argv.iter().cloned());
    line
}

/// A container that does not run, in words.
pub(super) fn not_running(container: &ContainerId, state: &str) -> Fault {
    Refusal::InUse(format!("{container} {state}; `berth ps` shows what runs")).into()
}
