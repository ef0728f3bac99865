//! `berth package`: the packages that the project needs, and which bytes of them are accepted.

use berth_lang::NeededPackage;

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::pins::{Pinning, pin};
use crate::project::{Read, find, read};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the packages, and whether they are what berth.lock pins
    List,
    /// Accept what packages hold now: say what changed, and pin it
    Update {
        /// Only this package
        name: Option<String>,
    },
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let root = find(global)?;
    let Read { workspace, packages: files } = read(&root)?;
    let needed = workspace.snapshot().packages();
    let mut pinning = Pinning::open(&root, global.locked)?;
    match &args.command {
        Command::List => {
            for package in &needed {
                let words = match (pin(package, &files), pinning.pinned(&package.folder)) {
                    (None, _) => "not there".to_owned(),
                    (Some(_), None) => "not pinned yet".to_owned(),
                    (Some((now, _)), Some(old)) if now.digest == old.digest => short(&now.digest),
                    (Some(_), Some(_)) => {
                        format!("changed; `berth package update {}`", package.name)
                    }
                };
                let version = package.version.as_deref().unwrap_or("?");
                say!("{}  {version}  {}  {words}", package.name, package.folder);
            }
            if needed.is_empty() {
                say!("no packages; write `package NAME {{ path: \"vendor/NAME\" }}`");
            }
            Ok(Exit::Done)
        }
        Command::Update { name } => {
            let wanted =
                |package: &&NeededPackage| name.as_ref().is_none_or(|n| *n == package.name);
            if let Some(name) = name
                && !needed.iter().any(|package| package.name == *name)
            {
                return Err(unknown(name, &needed).into());
            }
            for package in &needed {
                if !wanted(&package) {
                    pinning.keep_package(&package.folder);
                    continue;
                }
                let Some((now, digests)) = pin(package, &files) else {
                    let words = format!("there is no package in `{}`", package.folder);
                    return Err(words.into());
                };
                let version = now.version.clone();
                match pinning.pinned(&package.folder) {
                    None => say!("+ {}  {version}  {}", package.name, package.folder),
                    Some(old) if old.digest == now.digest => {
                        say!("  {}  {version}  {}  unchanged", package.name, package.folder);
                    }
                    Some(old) => {
                        let version = if old.version == version {
                            version
                        } else {
                            format!("{} → {version}", old.version)
                        };
                        say!("~ {}  {version}  {}", package.name, package.folder);
                        for (path, change) in old.changes(digests) {
                            say!("    {} {path}", change.sign());
                        }
                    }
                }
                pinning.new.packages.insert(package.folder.clone(), now);
            }
            pinning.keep_images();
            pinning.library();
            if let Some(lock) = pinning.finish()? {
                lock.write()?;
            }
            Ok(Exit::Done)
        }
    }
}

fn unknown(name: &str, needed: &[NeededPackage]) -> String {
    let names: Vec<&str> = needed.iter().map(|package| &*package.name).collect();
    match berth_lang::nearest(name, names.iter().copied()) {
        Some(near) => format!("there is no package `{name}`; did you mean `{near}`?"),
        None if names.is_empty() => format!("there is no package `{name}`, nor any other"),
        None => format!("there is no package `{name}`; there are: {}", names.join(", ")),
    }
}

/// A digest for people: nine digits.
fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(9).collect()
}
