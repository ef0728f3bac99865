//! A command in a pod, through the node's `runc exec`: with the pod's namespaces, limits, user,
//! environment and capabilities.
//!
//! containerd's own exec wants named pipes on the node for its streams, and someone there to carry
//! them. `runc exec` is what its shim runs in the end; on an SSH channel it has streams, a terminal
//! and its size, and an exit code, and a terminal that is gone hangs it up. Nothing stays.

use std::sync::Arc;

use berth_engine::plan::names::{ContainerId, NodeName, Tenant};
use berth_engine::run::host::{HostError, Refusal};
use serde_json::{Value, json};

use super::channel::{Ending, Heard, Input, Running, Size};
use super::inspect::running;
use crate::fault::{Fault, words};
use crate::host::SshHost;
use crate::link::Live;

/// How runc begins when it could not start a command: in a container, and with one of its own.
const REFUSED: [&str; 2] = ["exec failed: ", "runc run failed: "];
/// The longest line with the process's number; a login's own greeting may come before it.
const GREETING_LIMIT: usize = 4096;
/// The longest description of a process that is sent as a word: Linux takes 128 KiB.
const DESCRIPTION_LIMIT: usize = 100_000;

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
        Self::start_with(live, "exec \"$@\"", words, command).await
    }

    /// As [`Self::start`], through a script whose last act is to become the program.
    async fn start_with(
        live: Arc<Live>,
        script: &str,
        words: Vec<String>,
        command: &Command,
    ) -> Result<Self, Fault> {
        // A shell that says its number and becomes the program, which passes signals on.
        let script = format!("echo berth-exec $$; {script}");
        let shell = ["sh", "-c", &script, "sh"].map(str::to_owned);
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
            let (_, spec) = running(&live, &namespace, container).await?;
            match described(&spec, command) {
                Some(process) => {
                    let script = format!("exec 4<<'BERTH'\n{process}\nBERTH\nexec \"$@\"");
                    let line = line_of_described(&namespace, container);
                    Exec::start_with(live, &script, line, command).await
                }
                None => Exec::start(live, line(&namespace, container, command), command).await,
            }
        })
        .await
    }
}

/// The process at a terminal, as runc takes it from a file, if it has one and is not too long: its options know no size of a
/// terminal, so that a program which asks at once would be told 0 by 0.
fn described(spec: &Value, command: &Command) -> Option<String> {
    let Command { argv, env, user, directory, terminal } = command;
    let (kind, size) = terminal.as_ref()?;
    let mut process = spec.get("process").filter(|process| process.is_object())?.clone();
    process["args"] = json!(argv);
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({ "width": size.columns, "height": size.rows });
    let more = env.iter().map(|(key, value)| json!(format!("{key}={value}")));
    let all = process["env"].as_array().cloned().unwrap_or_default();
    process["env"] = all.into_iter().chain([json!(format!("TERM={kind}"))]).chain(more).collect();
    if let Some(user) = user {
        let (uid, gid) = user.split_once(':').map_or((&**user, None), |(u, g)| (u, Some(g)));
        process["user"]["uid"] = json!(uid.parse::<u32>().ok()?);
        if let Some(gid) = gid {
            process["user"]["gid"] = json!(gid.parse::<u32>().ok()?);
        }
    }
    if let Some(directory) = directory {
        process["cwd"] = json!(directory);
    }
    let process = process.to_string();
    (process.len() <= DESCRIPTION_LIMIT).then_some(process)
}

/// The argv: runc's, for a process that file descriptor 4 describes.
fn line_of_described(namespace: &str, container: &ContainerId) -> Vec<String> {
    let mut line = runc_exec(namespace);
    line.extend(["--process".to_owned(), "/dev/fd/4".to_owned(), container.to_string()]);
    line
}

fn runc_exec(namespace: &str) -> Vec<String> {
    let root = format!("/run/containerd/runc/{namespace}");
    ["runc", "--log", "/dev/null", "--root", &root, "exec"].map(str::to_owned).into()
}

/// The argv: runc's.
fn line(namespace: &str, container: &ContainerId, command: &Command) -> Vec<String> {
    let Command { argv, env, user, directory, terminal } = command;
    let mut line = runc_exec(namespace);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at_terminal(user: Option<&str>) -> Command {
        Command {
            argv: vec!["sh".to_owned()],
            env: vec![("A".to_owned(), "it's".to_owned())],
            user: user.map(str::to_owned),
            directory: Some("/tmp".to_owned()),
            terminal: Some(("xterm".to_owned(), Size { columns: 101, rows: 33 })),
        }
    }

    #[test]
    fn a_process_at_a_terminal_is_the_containers_with_what_the_command_asks() {
        let spec = json!({ "process": {
            "args": ["/web"], "env": ["B=1"], "cwd": "/", "noNewPrivileges": true,
            "user": { "uid": 5, "gid": 6, "additionalGids": [7] },
        } });
        let process = |user| described(&spec, &at_terminal(user));
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let expected = json!({
            "args": ["sh"], "env": ["B=1", "TERM=xterm", "A=it's"], "cwd": "/tmp",
            "noNewPrivileges": true, "terminal": true,
            "consoleSize": { "width": 101, "height": 33 },
            "user": { "uid": 1000, "gid": 6, "additionalGids": [7] },
        });
        assert_eq!(read(&process(Some("1000")).expect("one")), expected);
        let both = read(&process(Some("1000:1001")).expect("one"));
        assert_eq!(both["user"]["gid"], json!(1001));
        // runc says what is wrong with a user that is no number.
        assert_eq!(process(Some("web")), None);
    }

    #[test]
    fn what_a_shell_would_not_take_goes_as_options() {
        let long = "x".repeat(DESCRIPTION_LIMIT);
        let spec = json!({ "process": { "args": [], "env": [format!("A={long}")], "user": {} } });
        assert_eq!(described(&spec, &at_terminal(None)), None);
        assert_eq!(described(&json!({}), &at_terminal(None)), None);
        let without = Command { terminal: None, ..at_terminal(None) };
        assert_eq!(described(&json!({ "process": {} }), &without), None);
    }
}
