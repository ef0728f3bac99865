//! A process on a node with its streams: one more channel of the node's connection.
//!
//! sshd allows ten sessions a connection unless told otherwise. Where it allows one, the guarded
//! session, which holds no lock here, ends and makes room. What reads must drain: one channel that is
//! not read stops all others of its connection.

use std::sync::Arc;
use std::time::Duration;

use berth_engine::run::host::Layer;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};

use crate::fault::Fault;
use crate::link::Live;
use crate::session::quote::{Call, argv};

/// How often a channel is asked for again once the guarded session has ended.
const TRIES: u32 = 40;
/// How long nothing has to come after a process has ended, until nothing more is waited for.
const QUIET: Duration = Duration::from_secs(1);
/// The pause between.
const PAUSE: Duration = Duration::from_millis(50);

/// What the process said, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Bytes of its standard output.
    Out(Vec<u8>),
    /// Bytes of its standard error.
    Err(Vec<u8>),
    /// It ended; nothing comes after this.
    Ended(Ending),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this exit code; 128 and its number for a signal.
    Code(u32),
    /// It never began: the node's words.
    NotStarted(String),
    /// The connection ended first, so that nobody knows.
    Lost,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many in a line.
    pub columns: u32,
    /// How many lines.
    pub rows: u32,
}

/// The end of a process that is written to. Cheap to clone.
#[derive(Clone)]
pub struct Input {
    pub(super) writer: Arc<ChannelWriteHalf<Msg>>,
    pub(super) live: Arc<Live>,
    pub(super) pid: Option<u32>,
}

impl Input {
    /// Writes to its standard input; waits while it does not read. False once it is gone.
    pub async fn write(&self, bytes: Vec<u8>) -> bool {
        self.writer.data_bytes(bytes).await.is_ok()
    }

    /// Ends its standard input.
    pub async fn end(&self) {
        let _ = self.writer.eof().await;
    }

    /// Tells its terminal a new size.
    pub async fn resize(&self, size: Size) {
        let _ = self.writer.window_change(size.columns, size.rows, 0, 0).await;
    }

    /// Sends it a signal by name, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        // sshd sends no signals to root's sessions before its version 10, so our own session does.
        if let Some(pid) = self.pid.filter(|_| self.live.shell.alive()) {
            let call = Call::new("process_signal").arg(name).arg(pid);
            let _ = self.live.read(&call).await;
        } else {
            let _ = self.writer.signal(Sig::Custom(name.to_owned())).await;
        }
    }
}

/// A process that runs on a node, for as long as this lives.
pub(super) struct Running {
    pub(super) reader: ChannelReadHalf,
    pub(super) input: Input,
    ended: Option<Ending>,
    /// Nothing more is said.
    silent: bool,
}

impl Running {
    /// Starts an argv, at a terminal if one is given.
    pub(super) async fn start(
        live: Arc<Live>,
        words: &[String],
        terminal: Option<(&str, Size)>,
    ) -> Result<Self, Fault> {
        let channel = open(&live).await?;
        if let Some((kind, Size { columns, rows })) = terminal {
            channel
                .request_pty(false, kind, columns, rows, 0, 0, &[])
                .await
                .map_err(|error| broken(&error))?;
        }
        channel.exec(false, command(&live, words)).await.map_err(|error| broken(&error))?;
        let (reader, writer) = channel.split();
        let input = Input { writer: Arc::new(writer), live, pid: None };
        Ok(Self { reader, input, ended: None, silent: false })
    }

    /// Waits for what comes next. A process that it left behind may hold the streams for ever: once
    /// it has ended, only what comes without a pause still counts.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            if self.silent
                && let Some(ended) = self.ended.take()
            {
                return Heard::Ended(ended);
            }
            let waited = match self.ended {
                Some(_) => tokio::time::timeout(QUIET, self.reader.wait()).await,
                None => Ok(self.reader.wait().await),
            };
            match waited {
                Ok(Some(ChannelMsg::Data { data })) => return Heard::Out(data.to_vec()),
                Ok(Some(ChannelMsg::ExtendedData { data, ext: _ })) => {
                    return Heard::Err(data.to_vec());
                }
                Ok(Some(ChannelMsg::ExitStatus { exit_status })) => {
                    self.ended = Some(Ending::Code(exit_status));
                }
                Ok(Some(ChannelMsg::ExitSignal { signal_name, .. })) => {
                    self.ended = Some(Ending::Code(128 + number(&signal_name)));
                }
                Ok(Some(ChannelMsg::Eof)) => self.silent = true,
                Ok(Some(ChannelMsg::Close) | None) | Err(_) => {
                    return Heard::Ended(self.ended.take().unwrap_or(Ending::Lost));
                }
                Ok(Some(_)) => {}
            }
        }
    }
}

/// Starts an argv whose streams are carried as they are.
pub(super) async fn start(live: &Live, words: &[String]) -> Result<Channel<Msg>, Fault> {
    let channel = open(live).await?;
    channel.exec(false, command(live, words)).await.map_err(|error| broken(&error))?;
    Ok(channel)
}

fn broken(error: &russh::Error) -> Fault {
    Fault::Unreachable { layer: Layer::Session, why: format!("no process: {error}") }
}

/// An argv as the login's shell takes it, under sudo where the login needs it.
fn command(live: &Live, words: &[String]) -> String {
    let sudo = if live.root { "" } else { "sudo -n " };
    format!(
        "exec {sudo}env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin {}",
        argv(words)
    )
}

/// Opens a session channel, if need be by ending the guarded session.
async fn open(live: &Live) -> Result<Channel<Msg>, Fault> {
    let mut left = TRIES;
    loop {
        match live.session().await {
            Ok(channel) => return Ok(channel),
            Err(russh::Error::ChannelOpenFailure(_)) if left > 0 => {
                if left == TRIES {
                    live.shell.bye();
                }
                left -= 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                return Err(Fault::Unreachable {
                    layer: Layer::Session,
                    why: format!(
                        "sshd opens no other session on this connection ({error}); see MaxSessions in sshd_config"
                    ),
                });
            }
        }
    }
}

/// The numbers of signals on Linux, as shells add them to 128.
fn number(signal: &Sig) -> u32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 0,
    }
}
