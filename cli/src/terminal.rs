//! This machine's terminal while a command elsewhere has it: raw, and given back however that ends.

use std::io::{IsTerminal as _, Read as _};

use berth_agentless::Size;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// How much is read of standard input at once, in bytes.
const PART: usize = 32 * 1024;

/// The terminal in raw mode: every key is a byte, none acts here.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes the terminal raw; nothing if standard input is none.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = stdin.is_terminal().then(|| tcgetattr(&stdin).ok())??;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody to tell if it can't be given back.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// What the terminal is named; `xterm` if it does not say.
pub(crate) fn kind() -> String {
    let kind = std::env::var("TERM").ok().filter(|kind| !kind.is_empty());
    kind.unwrap_or_else(|| "xterm".to_owned())
}

/// The terminal's size; that of the oldest terminals if it does not say.
pub(crate) fn size() -> Size {
    let said = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin()));
    match said {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        Ok(_) | Err(_) => Size { columns: 80, rows: 24 },
    }
}

/// Standard input, part by part, until it ends. The thread that reads ends with the program: a read
/// of a terminal can't be called off.
pub(crate) fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, parts) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut part = vec![0; PART];
        loop {
            match stdin.read(&mut part) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = part.get(..count).unwrap_or_default().to_vec();
                    let Ok(()) = sender.blocking_send(bytes) else { break };
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    parts
}
