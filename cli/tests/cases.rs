//! The command line's cases: markdown in `tests/cases/cli`, run with the real binary in a folder of
//! their own.
//!
//! ` ```berth PATH ` and ` ```file PATH ` are files, ` ```sh COMMAND ` is a command and what it prints on
//! both outputs, with its exit code in the last line unless that is 0; ` ```after PATH ` is what a file
//! holds then. A command may read a file, `berth fmt - < PATH`, and show only the lines with some words,
//! `berth doc | WORDS`. Three backticks, which would end a fence, are shown as `'''`; the digest of the
//! standard library, which every change to it changes, as `STDLIB`.

use berth_engine::plan::lockfile::{file_digest, files_digest};
use berth_tests::cases::{Part, run_all};
use std::path::Path;
use std::process::{Command, Stdio};

fn run(case: &mut [Part]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = Vec::new();
    for part in case {
        let Part::Fence(fence) = part else { continue };
        let (word, rest) = fence.info.split_once(' ').unwrap_or((&fence.info, ""));
        let found = match word {
            "berth" | "file" => {
                let path = folder.path().join(rest);
                let parent = path.parent().expect("a parent");
                std::fs::create_dir_all(parent).expect("the file's folder");
                std::fs::write(path, &fence.body).expect("a file");
                continue;
            }
            "sh" => command(rest, folder.path()),
            "after" => {
                let text = std::fs::read_to_string(folder.path().join(rest)).expect("the file");
                text.replace(&stdlib(), "STDLIB")
            }
            _ => continue,
        };
        if found != fence.body {
            wrong.push(format!("{}\nexpected:\n{}found:\n{found}", fence.info, fence.body));
            fence.body = found;
        }
    }
    wrong
}

/// The digest of the standard library.
fn stdlib() -> String {
    let files = berth_lang::library().iter();
    let files = files.map(|(path, text)| ((*path).to_owned(), file_digest(text.as_bytes())));
    files_digest(&files.collect())
}

fn command(line: &str, folder: &Path) -> String {
    let (line, wanted) =
        line.split_once(" | ").map_or((line, None), |(line, words)| (line, Some(words)));
    let (line, input) =
        line.split_once(" < ").map_or((line, None), |(line, path)| (line, Some(path)));
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("berth"));
    let stdin = input.map_or_else(Stdio::null, |path| {
        Stdio::from(std::fs::File::open(folder.join(path)).expect("the input"))
    });
    let output = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(words)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env_remove("BERTH_IDENTITY")
        .env_remove("BERTH_KNOWN_HOSTS")
        .stdin(stdin)
        .output()
        .expect("the binary runs");
    let mut text = String::from_utf8(output.stdout).expect("text");
    text.push_str(&String::from_utf8(output.stderr).expect("text"));
    let here = folder.canonicalize().expect("the folder").display().to_string();
    let mut text = text.replace(&here, "PROJECT").replace("```", "'''");
    if let Some(words) = wanted {
        let lines = text.split_inclusive('\n').filter(|line| line.contains(words));
        text = lines.collect();
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => text.push_str(&format!("exit {code}\n")),
        None => text.push_str("killed\n"),
    }
    text
}

#[test]
fn cases_hold() {
    run_all("cases/cli", run);
}
