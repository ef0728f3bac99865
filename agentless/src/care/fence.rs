//! Switching a node off: a program on this machine, which asks a power supply or a cloud.
//!
//! It is told the node's name in `BERTH_NODE`, and has this machine's environment otherwise, where its credentials are. No
//! shell reads it. Whether the node is off is what its exit code says, and nothing else.

use std::process::Stdio;
use std::time::Duration;

use berth_engine::plan::names::NodeName;
use tokio::process::Command;

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
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let ended = match tokio::time::timeout(deadline, child).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Err(format!("`{program}` could not be run: {error}")),
        Err(_) => return Err(format!("`{program}` did not end within {} s", deadline.as_secs())),
    };
    if ended.status.success() {
        return Ok(());
    }
    let said = [ended.stderr, ended.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let last: String =
        last.trim().chars().take(LONGEST_WORDS).flat_map(char::escape_debug).collect();
    let how = match ended.status.code() {
        Some(code) => format!("exited with {code}"),
        None => "was killed".to_owned(),
    };
    Err(if last.is_empty() {
        format!("`{program}` {how}")
    } else {
        format!("`{program}` {how}: {last}")
    })
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
        let told = run(&["sh", "-c", "printf 'a\\033[2Jb'; kill -9 $$"], 5000);
        assert_eq!(told, Err("`sh` was killed: a\\u{1b}[2Jb".to_owned()));
        let told = run(&["sleep", "9"], 100);
        assert_eq!(told, Err("`sleep` did not end within 0 s".to_owned()));
        assert!(run(&["/nowhere/fence"], 100).is_err_and(|why| why.contains("could not be run")));
    }
}
