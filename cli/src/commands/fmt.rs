//! `berth fmt`: the project's files in the one style.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::project::{ProjectError, Text, find, read, texts, utf8};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files to lay out; every `.berth` file of the project if absent, but for its packages; `-` reads standard input
    /// and writes standard output
    files: Vec<PathBuf>,
    /// Write nothing: show what would change, and end with 2 if anything would
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    if args.files.iter().any(|file| file == Path::new("-")) {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        let name = PathBuf::from("<stdin>");
        let text = utf8(bytes, &name)?;
        let done = one(&Text { name: "<stdin>".to_owned(), path: name, text }, args.check, true)?;
        return Ok(exit(&[done], args.check));
    }
    let found = if args.files.is_empty() {
        own(&find(global)?)?
    } else {
        args.files.iter().map(|path| Text::read(path)).collect::<Result<_, _>>()?
    };
    let mut done = Vec::new();
    for text in &found {
        done.push(one(text, args.check, false)?);
    }
    let changed = done.iter().filter(|file| file.differs).count();
    let all = if found.len() == 1 { "1 file".to_owned() } else { format!("{} files", found.len()) };
    match (changed, args.check) {
        (0, _) => hint!("{all} in the style"),
        (changed, true) => hint!("{changed} of {all} not in the style"),
        (changed, false) => hint!("{changed} of {all} laid out anew"),
    }
    Ok(exit(&done, args.check))
}

/// The project's own files: those of its packages are their authors', and pinned as they are.
fn own(root: &Path) -> Result<Vec<Text>, ProjectError> {
    let mut own = texts(root)?;
    let folders = read(root)?.packages.into_keys();
    let folders: Vec<String> = folders.map(|folder| folder + "/").collect();
    own.retain(|text| !folders.iter().any(|folder| text.name.starts_with(folder.as_str())));
    Ok(own)
}

/// What became of a file.
struct Done {
    /// Whether it was not in the style.
    differs: bool,
    /// Items left alone, because their syntax is wrong.
    left: usize,
}

fn exit(done: &[Done], check: bool) -> Exit {
    if done.iter().any(|file| file.left > 0) {
        Exit::Mistake
    } else if check && done.iter().any(|file| file.differs) {
        Exit::Differs
    } else {
        Exit::Done
    }
}

fn one(text: &Text, check: bool, to_stdout: bool) -> Result<Done, ProjectError> {
    let formatted = berth_lang::format(&text.text);
    let differs = formatted.text != text.text;
    if check {
        put!(
            "{}",
            crate::paint::diff(&crate::diff::unified(&text.name, &text.text, &formatted.text))
        );
    } else if to_stdout {
        put!("{}", formatted.text);
    } else if differs {
        write(&text.path, &formatted.text)?;
        say!("{}", text.name);
    }
    if formatted.left > 0 {
        let items = match formatted.left {
            1 => "1 item was".to_owned(),
            left => format!("{left} items were"),
        };
        hint!("{}: {items} left alone: the syntax is wrong, see `berth check`", text.name);
    }
    Ok(Done { differs, left: formatted.left })
}

/// Replaces a file whole: what was there stands until the new text is on the disk.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), ProjectError> {
    let fail = |error| ProjectError::File { path: path.to_path_buf(), error };
    // Through a link, the file that it leads to is replaced, and not the link.
    let target = path.canonicalize().map_err(fail)?;
    let mut beside = target.clone().into_os_string();
    beside.push(".berth-new");
    let beside = PathBuf::from(beside);
    let written = std::fs::metadata(&target).and_then(|facts| {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(facts.permissions())?;
        file.sync_all()?;
        std::fs::rename(&beside, &target)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(fail)
}
