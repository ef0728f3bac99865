//! Logs of pods, those of pods that are gone included, by position, so that a reader that was cut off
//! goes on where it was.
//!
//! A log is two files: what is written to, and, once the rotate reflex has put that away, the past
//! before it. A [`Cursor`] is a position in one of them; the node says which it is in now.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::names::{ContainerId, NodeName, Tenant};
use berth_engine::run::host::HostError;

use crate::fault::Fault;
use crate::host::SshHost;
use crate::link::said;
use crate::session::quote::Call;

/// The most that one read of one log brings, in bytes.
const PART_LIMIT: usize = 256 * 1024;
/// The most logs that one call reads.
const LOGS_LIMIT: usize = 16;
/// The turn of a position in the past: the node's own turns are moments.
const PAST: &str = "past";

/// A log on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSeen {
    /// When it was last put away, as the node spells the moment; `0` if never.
    turn: String,
    /// Bytes that were put away.
    past: u64,
    /// Bytes since.
    size: u64,
    /// When something was last written, in milliseconds since 1970 on the node's clock.
    pub written_at_ms: u64,
}

/// How far a log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    turn: String,
    position: u64,
}

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The position.
    pub cursor: Cursor,
    /// Whether earlier lines were left out because only so many were asked for.
    pub left_out: bool,
}

impl Cursor {
    /// The beginning of a log that appeared while others were read.
    pub fn beginning() -> Self {
        Self { turn: PAST.to_owned(), position: 0 }
    }

    /// Whether the log holds more than was read.
    pub fn behind(&self, seen: &LogSeen) -> bool {
        if self.turn == seen.turn {
            // A log that is shorter than what was read was emptied by hand.
            self.position != seen.size
        } else {
            seen.past > self.position || seen.size > 0 || seen.turn != "0"
        }
    }

    /// Goes on behind bytes that came in one read, when the log is in the given turn with so much
    /// of the past.
    fn advance(&mut self, came: u64, turn: &str, past: u64) {
        if self.turn == turn {
            self.position += came;
            return;
        }
        let rest = past.saturating_sub(self.position);
        if came < rest {
            self.position += came;
        } else {
            *self = Self { turn: turn.to_owned(), position: came - rest };
        }
    }
}

impl SshHost {
    /// Lists every log of a tenant that a node still keeps.
    ///
    /// # Errors
    /// If the node can't be reached.
    pub async fn logs_seen(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<BTreeMap<ContainerId, LogSeen>, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            let output = live.read(&Call::new("logs_seen").arg(tenant.namespace())).await?;
            Ok(seen(&output.text))
        })
        .await
    }

    /// Finds where the last lines of a log begin: of those that came in the last so many seconds,
    /// the last so many.
    ///
    /// # Errors
    /// If the node can't be reached, or keeps no log of that pod.
    pub async fn log_start(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        container: &ContainerId,
        ago_seconds: Option<u64>,
        tail: Option<u64>,
    ) -> Result<Start, HostError> {
        let link = self.link(node)?;
        let word = |number: Option<u64>| number.map_or("all".to_owned(), |n| n.to_string());
        self.reading(link, async {
            let live = link.live().await?;
            let call = Call::new("log_start").arg(tenant.namespace()).arg(container);
            let call = call.arg(word(ago_seconds)).arg(word(tail));
            let output = live.read(&call).await?;
            if output.status == 2 {
                return Err(Fault::failed("read a log", "this node has none of it"));
            }
            start(&output.text)
                .ok_or_else(|| Fault::failed("read a log", &said(output.status, &output.text)))
        })
        .await
    }

    /// Reads on in logs, at most a part of each, and moves their cursors.
    ///
    /// # Errors
    /// If the node can't be reached; the cursors are as they were.
    pub async fn logs_read(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        cursors: &mut BTreeMap<ContainerId, (LogSeen, Cursor)>,
    ) -> Result<BTreeMap<ContainerId, Vec<u8>>, HostError> {
        let behind: Vec<&ContainerId> = cursors
            .iter()
            .filter(|(_, (seen, cursor))| cursor.behind(seen))
            .map(|(pod, _)| pod)
            .take(LOGS_LIMIT)
            .collect();
        if behind.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut call = Call::new("logs_read").arg(tenant.namespace()).arg(PART_LIMIT);
        for pod in behind {
            if let Some((seen, cursor)) = cursors.get(pod) {
                let emptied = cursor.turn == seen.turn && cursor.position > seen.size;
                let position = if emptied { 0 } else { cursor.position };
                call = call.arg(pod).arg(&cursor.turn).arg(position);
            }
        }
        let link = self.link(node)?;
        let text = self
            .reading(link, async {
                let live = link.live().await?;
                Ok(live.read(&call).await?.text)
            })
            .await?;
        let mut parts = BTreeMap::new();
        for (pod, turn, past, bytes) in text.lines().filter_map(part) {
            let Some((seen, cursor)) = cursors.get_mut(&pod) else { continue };
            if cursor.turn == seen.turn && cursor.position > seen.size {
                cursor.position = 0;
            }
            cursor.advance(bytes.len() as u64, turn, past);
            parts.insert(pod, bytes);
        }
        Ok(parts)
    }
}

/// Lines such as `file 120 1795000000.123 web-0.g1.log`.
fn seen(text: &str) -> BTreeMap<ContainerId, LogSeen> {
    let mut logs: BTreeMap<ContainerId, LogSeen> = BTreeMap::new();
    let mut pasts: Vec<(ContainerId, u64, String)> = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("file ") else { continue };
        let mut fields = rest.splitn(3, ' ');
        let (Some(size), Some(time), Some(file)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Ok(size) = size.parse() else { continue };
        if let Some(Ok(pod)) = file.strip_suffix(".log").map(str::parse) {
            let written_at_ms = millis(time);
            logs.insert(pod, LogSeen { turn: "0".to_owned(), past: 0, size, written_at_ms });
        } else if let Some(Ok(pod)) = file.strip_suffix(".log.1").map(str::parse) {
            pasts.push((pod, size, time.to_owned()));
        }
    }
    for (pod, past, turn) in pasts {
        if let Some(log) = logs.get_mut(&pod) {
            log.past = past;
            log.turn = turn;
        }
    }
    logs
}

/// A moment with a fraction of a second.
fn millis(time: &str) -> u64 {
    let (seconds, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let seconds: u64 = seconds.parse().unwrap_or(0);
    let fraction: u64 = fraction.get(..3).and_then(|ms| ms.parse().ok()).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(fraction)
}

/// Such as `1795000000.123 120 1`, or `past 120 1`.
fn start(text: &str) -> Option<Start> {
    let mut words = text.split_whitespace();
    let (turn, position, left) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    Some(Start { cursor: Cursor { turn: turn.to_owned(), position }, left_out: left == "1" })
}

/// Such as `web-0.g1 1795000000.123 4096 aGVsbG8K`.
fn part(line: &str) -> Option<(ContainerId, &str, u64, Vec<u8>)> {
    let mut words = line.splitn(4, ' ');
    let (pod, turn, past) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let bytes = STANDARD.decode(words.next()?.trim()).ok()?;
    Some((pod, turn, past.parse().ok()?, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// The node's functions through a real bash, over a folder of logs in place of the node's own.
    fn node(folder: &std::path::Path, line: &str) -> String {
        let library = include_str!("../node/operate.sh");
        let output = Command::new("bash")
            .args([
                "--noprofile",
                "--norc",
                "-c",
                &format!("{library}\n{line}")
                    .replace("/var/log/berth/", &format!("{}/", folder.display())),
            ])
            .env("LC_ALL", "C")
            .output()
            .expect("bash");
        String::from_utf8(output.stdout).expect("text")
    }

    fn rotate(folder: &std::path::Path) {
        let script = include_str!("../node/rotate.sh")
            .replace("/var/log/berth", &folder.display().to_string())
            .replace("10485760", "100");
        let done = Command::new("sh").args(["-c", &script]).output().expect("sh");
        assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Puts the past's moment back, so that it counts as settled.
    fn settle(folder: &std::path::Path, seconds: u64) {
        let past = folder.join("t/a-0.g1.log.1");
        let at = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
        if let Ok(file) = std::fs::File::options().append(true).open(past) {
            file.set_modified(at).expect("times");
        }
    }

    /// Reads on until nothing more comes.
    fn drain(folder: &std::path::Path, cursor: &mut Cursor, out: &mut Vec<u8>) {
        let pod: ContainerId = "a-0.g1".parse().expect("pod");
        for _ in 0..100 {
            let all = seen(&node(folder, "logs_seen t"));
            if !cursor.behind(&all[&pod]) {
                return;
            }
            let call = format!("logs_read t 64 a-0.g1 {} {}", cursor.turn, cursor.position);
            for line in node(folder, &call).lines() {
                let (_, turn, past, bytes) = part(line).expect("a part");
                cursor.advance(bytes.len() as u64, turn, past);
                out.extend_from_slice(&bytes);
            }
        }
        panic!("it never ends");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        /// Whatever is written between reads, and wherever a log is put away, each byte is read once.
        #[test]
        fn each_byte_is_read_once(writes in prop::collection::vec(("[a-z\n]{0,90}", any::<bool>()), 1..6)) {
            let folder = tempfile::tempdir().expect("a folder");
            let log = folder.path().join("t/a-0.g1.log");
            std::fs::create_dir(folder.path().join("t")).expect("a folder");
            std::fs::write(&log, "").expect("a log");
            let (mut cursor, mut read, mut wrote) = (Cursor::beginning(), Vec::new(), String::new());
            for (turn, (text, put_away)) in writes.iter().enumerate() {
                use std::io::Write as _;
                let mut file = std::fs::File::options().append(true).open(&log).expect("open");
                file.write_all(text.as_bytes()).expect("write");
                wrote.push_str(text);
                let length = || std::fs::metadata(&log).map_or(0, |log| log.len());
                let before = length();
                if *put_away {
                    rotate(folder.path());
                }
                // An empty log is not put away, and the past's moment stays what it was.
                if before > 0 && length() == 0 {
                    settle(folder.path(), 1000 - 10 * turn as u64);
                }
                drain(folder.path(), &mut cursor, &mut read);
            }
            prop_assert_eq!(String::from_utf8(read).expect("text"), wrote);
        }

        #[test]
        fn no_words_of_a_node_panic(text in ".{0,200}") {
            let _ = (seen(&text), start(&text), part(&text));
            let _ = seen(&format!("file {text}"));
        }
    }

    #[test]
    fn lines_are_counted_from_the_end_over_both_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join("t").join(name);
        std::fs::create_dir(folder.path().join("t")).expect("a folder");
        std::fs::write(at("a-0.g1.log.1"), "1\n2\n3\n").expect("the past");
        std::fs::write(at("a-0.g1.log"), "4\n5\n").expect("a log");
        let turn = node(folder.path(), "stat -c %.3Y /var/log/berth/t/a-0.g1.log.1");
        let from = |ago: &str, tail: &str| {
            let said = node(folder.path(), &format!("log_start t a-0.g1 {ago} {tail}"));
            said.replace(turn.trim(), "log")
        };
        assert_eq!(from("all", "all"), "past 0 0");
        assert_eq!(from("all", "1"), "log 2 1");
        assert_eq!(from("all", "2"), "log 0 1");
        assert_eq!(from("all", "3"), "past 4 1");
        assert_eq!(from("all", "9"), "past 0 0");
        assert_eq!(from("60", "all"), "past 0 0", "without notes of the time nothing is left out");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("a clock").as_secs();
        std::fs::write(at("a-0.g1.log.1.times"), format!("{} 2\n", now - 900)).expect("times");
        std::fs::write(at("a-0.g1.log.times"), format!("{} 2\n", now - 300)).expect("times");
        assert_eq!(from("1000", "all"), "past 0 0");
        assert_eq!(from("600", "all"), "past 2 0");
        assert_eq!(from("60", "all"), "log 2 0");
        assert_eq!(from("600", "1"), "log 2 1");
        assert_eq!(from("60", "5"), "log 2 0");
    }

    #[test]
    fn each_minute_notes_how_long_a_log_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a-0.g1.log"), "1\n").expect("a log");
        rotate(folder.path());
        rotate(folder.path());
        std::fs::write(at("a-0.g1.log"), "12345678\n".repeat(20)).expect("a log");
        rotate(folder.path());
        let notes = std::fs::read_to_string(at("a-0.g1.log.1.times")).expect("notes");
        let sizes: Vec<&str> = notes.lines().filter_map(|l| Some(l.split_once(' ')?.1)).collect();
        assert_eq!(sizes, ["2", "180"]);
        assert_eq!(std::fs::metadata(at("a-0.g1.log")).expect("a log").len(), 0);
        assert_eq!(std::fs::metadata(at("a-0.g1.log.1")).expect("the past").len(), 180);
        assert!(!at("a-0.g1.log.times").exists());
    }
}
