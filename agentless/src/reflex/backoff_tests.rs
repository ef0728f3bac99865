//! The backoff reflex through a real bash, on a node whose `ctr` and restart monitor are made up.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{BACKOFF, run};

const NAMESPACE: &str = "berth.shop.default";

/// `ctr`: notes labels, and says whether a container is held.
const CTR: &str = r#"#!/bin/bash
case "$4" in
  label) echo "$*" >>"$AT/told"; [ "${7#*=}" = true ] && >"$AT/held-$5" || rm -f "$AT/held-$5" ;;
  info) [ ! -f "$AT/held-$5" ] || echo '  "containerd.io/restart.explicitly-stopped": "true",' ;;
esac
"#;

/// A container, as the monitor sees it.
struct Container {
    /// Its process, and when that started.
    process: u32,
    started: u64,
    runs: bool,
    /// How long a process of it runs.
    lasts: u64,
    starts: u32,
    /// Whether the monitor goes by it.
    status: String,
}

struct Node {
    folder: tempfile::TempDir,
    containers: BTreeMap<String, Container>,
    next: u32,
    now: u64,
    said: String,
}

impl Node {
    /// With containers that last so long, of one pod each but those with a name after another dot.
    fn new(lasting: &[(&str, u64)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut node = Self {
            folder,
            containers: BTreeMap::new(),
            next: 100,
            now: 2_000_000,
            said: String::new(),
        };
        std::fs::create_dir_all(node.at("bin")).expect("a folder");
        let ctr = node.at("bin/ctr");
        std::fs::write(&ctr, CTR).expect("written");
        std::fs::set_permissions(&ctr, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        for (id, lasts) in lasting {
            let pod = node.at(&format!("etc/tenants/{NAMESPACE}/pods/{id}"));
            if id.matches('.').count() == 1 {
                std::fs::create_dir_all(&pod).expect("a folder");
                std::fs::write(pod.join("pod"), "10.88.0.2 fd00::2\n").expect("written");
            }
            let container = Container {
                process: 0,
                started: 0,
                runs: false,
                lasts: *lasts,
                starts: 0,
                status: "running".to_owned(),
            };
            node.containers.insert((*id).to_owned(), container);
            node.start(id);
        }
        node
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn start(&mut self, id: &str) {
        let process = self.next;
        self.next += 1;
        let (task, about) = (format!("tasks/{NAMESPACE}/{id}"), format!("proc/{process}"));
        for folder in [&task, &about] {
            std::fs::create_dir_all(self.at(folder)).expect("a folder");
        }
        std::fs::write(self.at(&task).join("init.pid"), process.to_string()).expect("written");
        let group = format!("1:cpu:/other\n0::/{NAMESPACE}/{id}\n");
        std::fs::write(self.at(&about).join("cgroup"), group).expect("written");
        let now = self.now;
        let container = self.containers.get_mut(id).expect("a container");
        (container.process, container.started, container.runs) = (process, now, true);
        container.starts += 1;
    }

    /// Lets seconds go by: processes end, the monitor looks every second, the reflex every two.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let ids: Vec<String> = self.containers.keys().cloned().collect();
            for id in ids {
                let now = self.now;
                let container = self.containers.get_mut(&id).expect("a container");
                if !container.runs && container.status == "running" {
                    self.start(&id);
                } else if container.runs && now >= container.started + container.lasts {
                    container.runs = false;
                    let process = container.process;
                    std::fs::remove_dir_all(self.at(&format!("proc/{process}"))).expect("it was");
                }
            }
            if self.now.is_multiple_of(2) {
                self.tick();
            }
        }
    }

    fn tick(&mut self) {
        let said = run(BACKOFF, self.folder.path(), self.now);
        self.said += &said;
        for line in std::fs::read_to_string(self.at("told")).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let ["-n", NAMESPACE, "containers", "label", id, status, _] = words[..] else {
                panic!("{line}")
            };
            let status = status.strip_prefix("containerd.io/restart.status=").expect("the label");
            status.clone_into(&mut self.containers.get_mut(id).expect("a container").status);
        }
        let _ = std::fs::remove_file(self.at("told"));
    }

    fn of(&self, id: &str) -> &Container {
        self.containers.get(id).expect("a container")
    }
}

#[test]
fn what_ends_at_once_is_started_ever_less_often_and_nothing_else_is_held() {
    let mut node = Node::new(&[
        ("web-0.g1", 1),
        ("web-1.g1", u64::MAX / 2),
        ("web-1.g1.proxy", 1),
        ("web-0.g11", 90),
    ]);
    node.pass(20);
    let quick = node.of("web-0.g1").starts;
    assert!((5..=9).contains(&quick), "{quick} starts");
    assert_eq!(node.of("web-0.g1").status, "");
    node.pass(980);
    // After 10, 20, 40, 80, 160 and 300 s.
    let starts = node.of("web-0.g1").starts - quick;
    assert!((6..=8).contains(&starts), "{starts} more starts");
    let beside = node.of("web-1.g1.proxy").starts;
    assert!((12..=17).contains(&beside), "{beside} starts");
    for (wait, times) in [(10, 2), (20, 2), (40, 2), (80, 2), (160, 2), (300, 6)] {
        let said = format!("started again in {wait} s");
        assert_eq!(node.said.matches(&said).count(), times, "{said}: {}", node.said);
    }
    assert!(!node.said.contains("web-1.g1:") && !node.said.contains("web-0.g11"), "{}", node.said);
    assert_eq!(node.of("web-1.g1").starts, 1);
    assert_eq!(node.of("web-0.g11").starts, 11, "it runs for long enough each time");
}

#[test]
fn what_runs_again_is_well_again() {
    let mut node = Node::new(&[("web-0.g1", 1)]);
    node.pass(40);
    node.containers.get_mut("web-0.g1").expect("it").lasts = u64::MAX / 2;
    node.pass(120);
    assert!(node.of("web-0.g1").runs);
    assert_eq!(node.of("web-0.g1").status, "running");
    assert!(node.said.contains("it is started at once again"), "{}", node.said);
    let starts = node.of("web-0.g1").starts;
    // It dies, and is back at once.
    node.containers.get_mut("web-0.g1").expect("it").lasts = 0;
    node.pass(1);
    node.containers.get_mut("web-0.g1").expect("it").lasts = u64::MAX / 2;
    node.pass(1);
    assert!(node.of("web-0.g1").runs);
    assert_eq!(node.of("web-0.g1").starts, starts + 1);
}

/// An engine that takes a container away takes the monitor's labels first.
#[test]
fn what_an_engine_takes_away_is_not_given_back() {
    let mut node = Node::new(&[("web-0.g1", 1)]);
    node.pass(21);
    assert_eq!(node.of("web-0.g1").status, "");
    let starts = node.of("web-0.g1").starts;
    std::fs::remove_file(node.at("held-web-0.g1")).expect("it is held");
    node.pass(60);
    assert_eq!((node.of("web-0.g1").starts, &*node.of("web-0.g1").status), (starts, ""));
}

/// The kernel gives its number to another process; the node boots; the clock is set back.
#[test]
fn what_waits_is_started_whatever_happens_meanwhile() {
    let mut node = Node::new(&[("web-0.g1", 1), ("web-0.g1.proxy", 1)]);
    node.pass(30);
    let starts = |node: &Node| node.of("web-0.g1").starts + node.of("web-0.g1.proxy").starts;
    let before = starts(&node);
    let process = node.of("web-0.g1").process;
    let other = node.at(&format!("proc/{process}"));
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(other.join("cgroup"), format!("0::/{NAMESPACE}/web-0.g11\n")).expect("written");
    std::fs::remove_dir_all(node.at("tasks")).expect("a boot");
    node.now -= 1_000_000;
    node.pass(90);
    assert!(starts(&node) >= before + 2, "{} and {}", before, starts(&node));
}
