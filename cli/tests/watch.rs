//! `berth check --watch` follows every file that a project is made of.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// A run that is ended with the test.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(project: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["check", "--watch", "--project"])
            .arg(project)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let (sender, lines) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("an output")),
            Box::new(child.stderr.take().expect("an output")),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines }
    }

    /// Waits for a line with some words.
    fn says(&self, words: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        let mut said = String::new();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            if line.contains(words) {
                return;
            }
            said.push_str(&line);
            said.push('\n');
        }
        panic!("nothing said `{words}`:\n{said}");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn data_and_packages_are_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write(
        "shop/web.berth",
        "project shop { keeper: n1 }\nnode n1 { host: \"192.0.2.11\" }\n\
         package acme { path: \"../acme\" }\nuse \"acme\" { one }\n\
         use \"./sizes.json\" as sizes: [Int]\nlet two = one + 1\n",
    );
    write("shop/sizes.json", "[1]");
    write("acme/package.berth", "package acme { version: \"1.0.0\" }\npub let one = 1\n");
    let watching = Watching::start(&folder.path().join("shop"));
    watching.says("no mistakes");
    write("shop/sizes.json", "[true]");
    watching.says("expected Int, found Bool");
    write("shop/sizes.json", "[2]");
    watching.says("no mistakes");
    write("acme/package.berth", "package acme { version: \"1.0.0\" }\npub let one = 2\n");
    watching.says("`../acme/package.berth` has changed");
}
