//! The engine's end of the guarded session: calls out, answers in, a heartbeat in between.
//!
//! The node's end is `agentless/src/node/session.sh`, which states the frames. Many calls may be
//! under way at once. When nothing is heard for 15 s the node ends the SSH session by itself, so
//! the heartbeat here is what keeps the lock, and a paused engine loses it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::names::{NodeName, Tenant};
use berth_engine::run::host::{Layer, LockClaim};
use russh::ChannelMsg;
use russh::client::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::quote::Call;
use crate::connect::dial::Checker;
use crate::fault::{Fault, words};
use crate::told::Teller;

/// Pause between heartbeats; the node waits for five of them.
const BEAT: Duration = Duration::from_secs(3);
/// How long the node may take to start the loop.
const GREETING: Duration = Duration::from_secs(10);
/// The most that one call may print.
const OUTPUT_LIMIT: usize = 8 * 1024 * 1024;
/// The longest frame; the node writes at most 3000 bytes a frame, escaped.
const FRAME_LIMIT: usize = 16 * 1024;
/// Longer calls follow their frame's line, where the node reads them in one go.
const LINE_LIMIT: usize = 2_000;

/// All that the node's shell knows of Berth: the loop, and the functions that calls name.
const LIBRARY: &str = concat!(
    include_str!("../node/session.sh"),
    include_str!("../node/wiring.sh"),
    include_str!("../node/verbs.sh"),
    include_str!("../node/observe.sh"),
    include_str!("../node/operate.sh"),
    "serve\n",
);

/// What a call printed, and its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) status: u32,
    pub(crate) text: String,
}

/// The session ended before an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    done: Option<oneshot::Sender<Output>>,
}

#[derive(Default)]
struct Calls {
    pending: HashMap<u64, Pending>,
    ended: bool,
}

/// One guarded session.
pub(crate) struct Shell {
    out: mpsc::UnboundedSender<Vec<u8>>,
    calls: Arc<Mutex<Calls>>,
    next: AtomicU64,
    tasks: Vec<JoinHandle<()>>,
    pub(crate) teller: Teller,
    /// The node's machine, as `uname -m` names it.
    pub(crate) machine: String,
    /// The node's own address that the connection came to, as its sshd says.
    pub(crate) reached: Option<IpAddr>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn ended(why: impl Into<String>) -> Fault {
    Fault::Unreachable { layer: Layer::Session, why: why.into() }
}

impl Shell {
    /// Starts the loop on a node.
    pub(crate) async fn start(
        handle: &Handle<Checker>,
        user: &str,
        teller: Teller,
    ) -> Result<Self, Fault> {
        match tokio::time::timeout(GREETING, Self::open(handle, user, teller)).await {
            Ok(shell) => shell,
            Err(_) => Err(ended(format!("the node's shell did not answer in {GREETING:?}"))),
        }
    }

    async fn open(handle: &Handle<Checker>, user: &str, teller: Teller) -> Result<Self, Fault> {
        let broken = |error: russh::Error| ended(format!("no shell: {error}"));
        let channel = handle.channel_open_session().await.map_err(broken)?;
        // Words of an SSH command reach the login's shell, whichever it is: nothing here needs
        // more of it than single quotes.
        let sudo = if user == "root" { "" } else { "sudo -n " };
        let command = format!(
            "exec {sudo}env LC_ALL=C BERTH_REACHED=\"$SSH_CONNECTION\" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
             bash --noprofile --norc -c 'eval \"$(head -c {})\"'",
            LIBRARY.len()
        );
        channel.exec(false, command).await.map_err(broken)?;
        channel.data_bytes(LIBRARY.as_bytes().to_vec()).await.map_err(broken)?;
        let (mut reader, writer) = channel.split();

        let mut frames = Frames::default();
        let mut said = Vec::new();
        let (machine, reached) = loop {
            match reader.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    frames
                        .push(&data)
                        .map_err(|Ended| ended("the node's shell prints too much"))?;
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => said.extend_from_slice(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    return Err(not_started(exit_status, &said));
                }
                Some(_) => {}
                None => return Err(not_started(0, &said)),
            }
            let mut greeting = None;
            while let Some(line) = frames.next_line() {
                if let Some(machine) = line.strip_prefix(b"hello ") {
                    let words = String::from_utf8_lossy(machine);
                    let (machine, address) = words.split_once(' ').unwrap_or((&words, ""));
                    greeting = Some((machine.to_owned(), address.parse().ok()));
                }
            }
            if let Some(machine) = greeting {
                break machine;
            }
        };

        let (out, mut outgoing) = mpsc::unbounded_channel::<Vec<u8>>();
        let calls = Arc::new(Mutex::new(Calls::default()));
        let write = tokio::spawn(async move {
            while let Some(bytes) = outgoing.recv().await {
                if writer.data_bytes(bytes).await.is_err() {
                    break;
                }
            }
        });
        let answers = calls.clone();
        let read = tokio::spawn(async move {
            while let Some(message) = reader.wait().await {
                match message {
                    ChannelMsg::Data { data } => {
                        let read = frames.push(&data).and_then(|()| answer(&mut frames, &answers));
                        let Ok(()) = read else { break };
                    }
                    ChannelMsg::ExtendedData { data, .. } => {
                        tracing::debug!(said = %words(&String::from_utf8_lossy(&data)), "session");
                    }
                    ChannelMsg::Close | ChannelMsg::ExitStatus { .. } => break,
                    _ => {}
                }
            }
            let mut calls = answers.lock().unwrap_or_else(PoisonError::into_inner);
            calls.ended = true;
            calls.pending.clear();
        });
        let beats = out.clone();
        let beat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                if beats.send(b"beat\n".to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            out,
            calls,
            next: AtomicU64::new(1),
            tasks: vec![write, read, beat],
            teller,
            machine,
            reached,
        })
    }

    /// Whether the session still runs, as far as is known.
    pub(crate) fn alive(&self) -> bool {
        !self.calls.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Runs a function of the node's library.
    pub(crate) async fn run(&self, call: &Call) -> Result<Output, Ended> {
        let line = call.line();
        let frame = |id| {
            if line.len() > LINE_LIMIT || line.contains('\n') {
                format!("{id} {}\n{line}", line.len())
            } else {
                format!("{id} 0 {line}\n")
            }
        };
        self.told(call.shown(), frame).await
    }

    /// Takes the node's lock for this session.
    pub(crate) async fn lock(&self, claim: &LockClaim) -> Result<(), Fault> {
        let json = serde_json::to_string(claim)
            .map_err(|error| Fault::failed("lock", &error.to_string()))?
            .replace('\n', " ");
        let call = Call::new("take_lock").arg(claim.epoch).arg(claim.lines).arg(&claim.keeper);
        let call = call.arg(claim.tenant.namespace()).arg(json);
        let arguments = call.line().strip_prefix("take_lock ").unwrap_or_default().to_owned();
        let answer = self
            .told("lock", |id| format!("lock {id} {arguments}\n"))
            .await
            .map_err(|Ended| ended("the session ended while it took the lock"))?;
        match answer.status {
            0 => Ok(()),
            75 => Err(Fault::Locked(Box::new(holder(&answer.text)))),
            76 => {
                let (theirs, keeper) = answer.text.trim().split_once(' ').unwrap_or_default();
                let theirs = theirs.parse().unwrap_or(u64::MAX);
                Err(Fault::Fenced { ours: claim.epoch, theirs, keeper: words(keeper) })
            }
            _ => Err(Fault::failed("lock", &answer.text)),
        }
    }

    /// Gives the lock back.
    pub(crate) async fn unlock(&self) -> Result<(), Ended> {
        self.told("unlock", |id| format!("unlock {id}\n")).await.map(drop)
    }

    /// Ends the loop on the node.
    pub(crate) fn bye(&self) {
        let _ = self.out.send(b"bye\n".to_vec());
    }

    async fn told(&self, call: &str, frame: impl FnOnce(u64) -> String) -> Result<Output, Ended> {
        let start = Instant::now();
        let answer = self.exchange(frame).await;
        let ended = match &answer {
            Ok(Output { status: 0, text: _ }) => "ok".to_owned(),
            Ok(Output { status, text: _ }) => format!("status {status}"),
            Err(Ended) => "the session ended".to_owned(),
        };
        self.teller.tell(call, start.elapsed(), &ended);
        answer
    }

    async fn exchange(&self, frame: impl FnOnce(u64) -> String) -> Result<Output, Ended> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            if calls.ended {
                return Err(Ended);
            }
            calls.pending.insert(id, Pending { text: Vec::new(), done: Some(done) });
        }
        self.out.send(frame(id).into_bytes()).map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

fn holder(json: &str) -> LockClaim {
    serde_json::from_str(json).unwrap_or_else(|_| LockClaim {
        holder: "someone".to_owned(),
        since_ms: 0,
        purpose: "an unknown purpose".to_owned(),
        tenant: Tenant { project: String::new(), environment: String::new() },
        epoch: 0,
        keeper: NodeName::new(""),
        lines: 0,
    })
}

fn not_started(status: u32, said: &[u8]) -> Fault {
    let said = words(&String::from_utf8_lossy(said));
    ended(match status {
        126 | 127 => format!("the node has no bash, or may not run it ({said}); install bash"),
        _ if said.contains("sudo") => format!(
            "the login may not use sudo without a password ({said}); allow it, or log in as root"
        ),
        _ => format!("the node's shell ended at once with status {status}: {said}"),
    })
}

/// Cuts the session's output into lines.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
    start: usize,
}

impl Frames {
    fn push(&mut self, data: &[u8]) -> Result<(), Ended> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(data);
        let longest = self.buffer.len() > FRAME_LIMIT && !self.buffer.contains(&b'\n');
        if longest { Err(Ended) } else { Ok(()) }
    }

    fn next_line(&mut self) -> Option<&[u8]> {
        let rest = self.buffer.get(self.start..)?;
        let length = rest.iter().position(|b| *b == b'\n')?;
        let from = self.start;
        self.start += length + 1;
        self.buffer.get(from..from + length)
    }
}

fn answer(frames: &mut Frames, calls: &Mutex<Calls>) -> Result<(), Ended> {
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(line) = frames.next_line() {
        let Some((id, rest)) = split_id(line) else {
            continue;
        };
        let Some(pending) = calls.pending.get_mut(&id) else {
            continue;
        };
        if pending.text.len() > OUTPUT_LIMIT {
            return Err(Ended);
        }
        if let Some(chunk) = rest.strip_prefix(b"+ ") {
            unescape(chunk, &mut pending.text);
        } else if let Some(chunk) = rest.strip_prefix(b"* ") {
            pending.text.extend(STANDARD.decode(chunk).map_err(|_| Ended)?);
        } else if let Some(status) = rest.strip_prefix(b"= ") {
            let status = std::str::from_utf8(status).ok().and_then(|s| s.trim().parse().ok());
            if let Some(mut pending) = calls.pending.remove(&id)
                && let Some(done) = pending.done.take()
            {
                let text = String::from_utf8_lossy(&pending.text).into_owned();
                let _ = done.send(Output { status: status.unwrap_or(255), text });
            }
        }
    }
    Ok(())
}

fn split_id(line: &[u8]) -> Option<(u64, &[u8])> {
    let space = line.iter().position(|b| *b == b' ')?;
    let id = std::str::from_utf8(line.get(..space)?).ok()?.parse().ok()?;
    Some((id, line.get(space + 1..)?))
}

fn unescape(chunk: &[u8], out: &mut Vec<u8>) {
    let mut bytes = chunk.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(c) => out.push(*c),
                None => {}
            },
            b => out.push(*b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// Runs frames through the real loop in a real bash, and returns the answers.
    fn through_bash(frames: &str) -> Vec<u8> {
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc", "-c"])
            .arg(format!("eval \"$(head -c {})\"", LIBRARY.len()))
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(LIBRARY.as_bytes()).expect("write");
        stdin.write_all(frames.as_bytes()).expect("write");
        stdin.write_all(b"3 0 wait; sleep 0.2\n").expect("write");
        drop(stdin);
        child.wait_with_output().expect("output").stdout
    }

    fn one_answer(bytes: &[u8]) -> Output {
        let (done, mut answer_in) = oneshot::channel();
        let calls = Mutex::new(Calls::default());
        let pending = Pending { text: Vec::new(), done: Some(done) };
        calls.lock().expect("lock").pending.insert(7, pending);
        let mut frames = Frames::default();
        for part in bytes.chunks(1000) {
            frames.push(part).expect("push");
            answer(&mut frames, &calls).expect("answer");
        }
        answer_in.try_recv().expect("an answer")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn what_a_call_prints_comes_back(text in "[^\0]{0,9000}", times in 1..5_usize) {
            let text = text.repeat(times);
            let script = Call::new("printf").arg("%s").arg(format!("{text}.")).line().to_owned();
            let out = through_bash(&format!("7 {}\n{script}", script.len()));
            let answer = one_answer(&out);
            prop_assert_eq!(answer, Output { status: 0, text: format!("{text}.") });
        }

        #[test]
        fn no_bytes_from_a_node_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut frames = Frames::default();
            if frames.push(&bytes).is_ok() {
                let _ = answer(&mut frames, &Mutex::new(Calls::default()));
            }
        }
    }

    /// A ledger of a hundred revisions is some megabytes, which took bash half a minute by itself.
    #[test]
    fn much_comes_back_without_bash() {
        let out = through_bash("7 0 head -c 3000000 /dev/zero | tr '\\0' '\\\\'; printf .\n");
        let answer = one_answer(&out);
        assert_eq!((answer.status, answer.text.len()), (0, 3_000_001));
        assert!(answer.text.starts_with("\\\\") && answer.text.ends_with("\\."));
        assert!(out.windows(4).all(|at| at != b"7 + "), "bash cut it up");
    }

    #[test]
    fn a_status_comes_back() {
        let answer = one_answer(&through_bash("7 0 (exit 3)\n"));
        assert_eq!(answer, Output { status: 3, text: String::new() });
    }
}
