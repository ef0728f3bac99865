//! Terraform over as many `terraform_data`, which need no provider from elsewhere, where it is on the machine.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it took.
pub(crate) struct Times {
    pub(crate) apply: Duration,
    pub(crate) plan: Duration,
}

/// Applies so many resources from nothing, and plans once more.
pub(crate) fn times(resources: u32) -> Option<Times> {
    let folder = tempfile::tempdir().ok()?;
    let mut text = String::new();
    for number in 0..resources {
        let _ = writeln!(text, "resource \"terraform_data\" \"r{number}\" {{ input = {number} }}");
    }
    std::fs::write(folder.path().join("main.tf"), text).ok()?;
    let run = |args: &[&str]| {
        let began = Instant::now();
        let mut terraform = Command::new("terraform");
        terraform.current_dir(&folder).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        terraform.status().ok().filter(std::process::ExitStatus::success).map(|_| began.elapsed())
    };
    run(&["init", "-input=false"])?;
    let apply = run(&["apply", "-auto-approve", "-input=false"])?;
    let plan = run(&["plan", "-input=false"])?;
    Some(Times { apply, plan })
}
