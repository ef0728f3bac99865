//! What git says of a project's folder.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command of git's in a folder, with pipes and English words. What was put in the place of a commit on this
/// machine alone is not looked at.
pub(crate) fn git(root: &Path, args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(args).env("LC_ALL", "C").env("GIT_NO_REPLACE_OBJECTS", "1");
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    git
}

/// What git prints, if it ends well.
///
/// # Errors
/// If there is no git.
pub(crate) fn said(root: &Path, args: &[&str]) -> std::io::Result<Option<String>> {
    let output = git(root, args).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(text))
}
