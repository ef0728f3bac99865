//! Switching a node off: a program on this machine, which asks a power supply or a cloud.
//!
//! It is told the node's name in `BERTH_NODE`, and has this machine's environment otherwise, where its credentials are. No
//! shell reads it. Whether the node is off is what its exit code says, and nothing else; what it says on standard error is part of
//! the reason if not.

use std::process::Stdio;
use std::time::Duration;

use berth_engine::plan::names::NodeName;
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStderr, Command};

/// How much of what it says is kept, in bytes.
const MOST_SAID: usize = 16 * 1024;
/// How much of what it says is part of a reason, in characters.
const LONGEST_WORDS: usize = 300;

/// Runs the program, at most so long; it is ended then.
///
/// # Errors
/// Why the node does not count as switched off.
pub(crate) async fn run(
    node: &NodeName,
    command: &[String],
    deadline: Duration,
) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("it names no program".to_owned());
    };
    let child = Command::new(program)
        .args(arguments)
        .env("BERTH_NODE", node.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("`{program}` could not be run: {error}"))?;
    let said = child.stderr.take();
    // What it says is read to its end, so that it is never held up, and only the last of it is kept.
    let (ended, said) =
        match tokio::time::timeout(deadline, async { tokio::join!(child.wait(), last_of(said)) })
            .await
        {
            Ok((Ok(ended), said)) => (ended, said),
            Ok((Err(error), _)) => return Err(format!("`{program}` was lost: {error}")),
            Err(_) => {
                return Err(format!("`{program}` did not end within {} s", deadline.as_secs()));
            }
        };
    if ended.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let last: String =
        last.trim().chars().take(LONGEST_WORDS).flat_map(char::escape_debug).collect();
    let how = match ended.code() {
        Some(code) => format!("exited with {code}"),
        None => "was killed".to_owned(),
    };
    Err(if last.is_empty() {
        format!("`{program}` {how}")
    } else {
        format!("`{program}` {how}: {last}")
    })
}

/// The end of what somebody says, at most [`MOST_SAID`] bytes.
async fn last_of(from: Option<ChildStderr>) -> Vec<u8> {
    let (mut last, mut piece) = (Vec::new(), vec![0; MOST_SAID]);
    let Some(mut from) = from else { return last };
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        last.extend_from_slice(&piece[..read]);
        last.drain(..last.len().saturating_sub(MOST_SAID));
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str], deadline_ms: u64) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let deadline = Duration::from_millis(deadline_ms);
        runtime.expect("a runtime").block_on(super::run(&NodeName::new("n3"), &words, deadline))
    }

    #[test]
    fn only_exit_code_0_says_that_it_is_off() {
        assert_eq!(run(&["sh", "-c", "test $BERTH_NODE = n3"], 5000), Ok(()));
        let told = run(&["sh", "-c", "echo no such outlet >&2; echo; exit 7"], 5000);
        assert_eq!(told, Err("`sh` exited with 7: no such outlet".to_owned()));
        let told = run(&["sh", "-c", "printf 'a\\033[2Jb' >&2; kill -9 $$"], 5000);
        assert_eq!(told, Err("`sh` was killed: a\\u{1b}[2Jb".to_owned()));
        let much =
            "head -c 9000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo in the end >&2; exit 3";
        assert_eq!(
            run(&["sh", "-c", much], 9000),
            Err("`sh` exited with 3: in the end".to_owned())
        );
        let told = run(&["sleep", "9"], 100);
        assert_eq!(told, Err("`sleep` did not end within 0 s".to_owned()));
        assert!(run(&["/nowhere/fence"], 100).is_err_and(|why| why.contains("could not be run")));
    }
}
