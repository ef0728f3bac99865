//! The prune reflex through a real bash, on a node whose `ip` and `nft` are made up: the tables that it leaves are
//! held against what they should lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use berth_engine::plan::action::{Backend, Endpoint, EndpointPort, Protocol};
use berth_engine::plan::names::{PodId, WorkloadName};

use super::{PRUNE, run};
use crate::endpoint::elements;

/// What the elements of the maps lead to, by map and key.
type Tables = BTreeMap<String, String>;

/// `ip`: the neighbour table of a file, and every server on the one network.
const IP: &str = r#"case "$*" in
  "neigh show") cat "$AT/neigh" ;;
  "-force -batch -") cat >>"$AT/probed" ;;
  "-o -4 route get "*) echo "$5 dev eth0 src 10.77.0.11 uid 0" ;;
  "-o -6 route get "*) echo "$5 via fd00::1 dev eth0 src fd00:77::11 metric 1024" ;;
  *" route replace "*) echo "$*" >>"$AT/routed" ;;
  *) echo "ip $*" >&2 ;;
esac
"#;

struct Node {
    folder: tempfile::TempDir,
    tables: Tables,
}

impl Node {
    /// The first of so many nodes.
    fn new(nodes: u8) -> Self {
        let node = Self { folder: tempfile::tempdir().expect("a folder"), tables: Tables::new() };
        for folder in ["bin", "etc/node", "etc/tenants/berth.shop/endpoints", "run"] {
            std::fs::create_dir_all(node.at(folder)).expect("a folder");
        }
        for (name, text) in
            [("ip", IP), ("nft", "cat \"$2\" >>\"$AT/told\"; ! [ -e \"$AT/broken\" ]")]
        {
            let path = node.at("bin").join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{text}")).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                .expect("a mode");
        }
        node.write("etc/node/network", "10.88.1.1 fd00:88:0:1::1 …\n");
        let routes = (2..=nodes).map(|n| {
            format!("4 127.{n}.0.0/24 10.77.0.1{n}\n6 fd00:88:0:{n}::/64 fd00:77::1{n}\n")
        });
        node.write("etc/node/routes", &routes.collect::<String>());
        for n in 2..=9 {
            for via in [format!("10.77.0.1{n}"), format!("fd00:77::1{n}")] {
                std::fs::create_dir_all(node.at("udp").join(via)).expect("a folder");
            }
        }
        node.neighbours(&[]);
        node
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.at(path), text).expect("written");
    }

    /// What an engine does: the file is written, and the kernel has what it says.
    fn swap(&mut self, endpoint: &Endpoint) {
        let name = format!("etc/tenants/berth.shop/endpoints/{}.nft", endpoint.workload.slug());
        let (adds, _) = elements(endpoint);
        let of = format!(" {} . ", endpoint.address4);
        let of6 = format!(" {} . ", endpoint.address6);
        self.tables.retain(|key, _| !key.contains(&of) && !key.contains(&of6));
        self.tables.extend(read(&adds));
        self.write(&name, &adds);
    }

    /// The neighbour table, with who of them is in which state; the others answer.
    fn neighbours(&self, states: &[(&str, &str)]) {
        let mut text = String::from("192.0.2.1 dev eth0 lladdr aa:bb FAILED\n");
        for node in 2..=9 {
            for via in [format!("10.77.0.1{node}"), format!("fd00:77::1{node}")] {
                let found = states.iter().find(|(of, _)| *of == via).map(|(_, state)| *state);
                text += &match found.unwrap_or("REACHABLE") {
                    "" => String::new(),
                    "FAILED" => format!("{via} dev eth0  FAILED\n"),
                    state => format!("{via} dev eth0 lladdr aa:bb {state}\n"),
                };
            }
        }
        self.write("neigh", &text);
    }

    /// Runs the reflex at a moment, has the tables told what it tells them, and says what it said.
    fn tick(&mut self, now: u64) -> String {
        let said = run(PRUNE, self.folder.path(), now);
        for line in std::fs::read_to_string(self.at("told")).unwrap_or_default().lines() {
            let told = read(line);
            for (key, to) in told {
                assert!(self.tables.contains_key(&key), "{key} is not there");
                if line.starts_with("add ") {
                    self.tables.insert(key, to);
                }
            }
        }
        let _ = std::fs::remove_file(self.at("told"));
        said
    }

    /// The routes that were set since it was asked for the last time, in order of their names.
    fn routed(&self) -> String {
        let text = std::fs::read_to_string(self.at("routed")).unwrap_or_default();
        let _ = std::fs::remove_file(self.at("routed"));
        text.lines().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("\n")
    }

    /// Who gets traffic, of every map.
    fn led_to(&self) -> BTreeSet<IpAddr> {
        let to =
            |to: &String| to.split(' ').next().and_then(|ip| ip.parse().ok()).expect("an address");
        self.tables.iter().filter(|(key, _)| key.starts_with("be")).map(|(_, at)| to(at)).collect()
    }
}

/// The elements that a script of nft's adds or deletes.
fn read(script: &str) -> Tables {
    let mut tables = Tables::new();
    for line in script.lines() {
        let (head, body) = line.split_once(" { ").expect("elements");
        let map = head.rsplit(' ').next().expect("a map");
        for pair in body.trim_end_matches(" }").split(", ") {
            let (key, to) = pair.split_once(" : ").unwrap_or((pair, ""));
            tables.insert(format!("{map} {key}"), to.to_owned());
        }
    }
    tables
}

fn web(protocols: &[Protocol], backends: &[(u8, u8)]) -> Endpoint {
    Endpoint {
        workload: WorkloadName::new("web"),
        address4: "10.99.0.1".parse().expect("address"),
        address6: "fd00:99::1".parse().expect("address"),
        ports: (80..)
            .zip(protocols)
            .map(|(port, protocol)| EndpointPort { protocol: *protocol, port, target: port + 8000 })
            .collect(),
        split: None,
        backends: backends
            .iter()
            .map(|(node, n)| Backend {
                pod: PodId { workload: "web".into(), ordinal: u32::from(*n), generation: 1 },
                ip4: ip4(*node, *n),
                ip6: ip6(*node, *n),
            })
            .collect(),
    }
}

/// Addresses of loopback, so that what a test listens at can be reached.
fn ip4(node: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, node, 0, n)
}

fn ip6(node: u8, n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x88, 0, node.into(), 0, 0, 0, n.into())
}

fn all(of: &[(u8, u8)]) -> BTreeSet<IpAddr> {
    of.iter().flat_map(|(node, n)| [ip4(*node, *n).into(), ip6(*node, *n).into()]).collect()
}

#[test]
fn traffic_is_led_past_a_server_that_does_not_answer_and_back_when_its_replica_takes_connections() {
    let mut node = Node::new(3);
    node.swap(&web(&[Protocol::Tcp], &[(1, 1), (2, 2), (3, 3)]));
    let whole = node.tables.clone();
    assert_eq!(node.tick(100), "");
    let probed = std::fs::read_to_string(node.at("probed")).expect("probes");
    assert_eq!(probed.lines().count(), 4);
    assert!(probed.contains("neigh change 10.77.0.13 dev eth0 nud probe\n"), "{probed}");
    // It is asked, and has not answered yet.
    node.neighbours(&[("10.77.0.13", "PROBE"), ("fd00:77::13", "PROBE")]);
    assert_eq!(node.tick(102), "");
    assert_eq!(node.tables, whole);
    node.neighbours(&[("10.77.0.13", "FAILED"), ("fd00:77::13", "FAILED")]);
    let said = node.tick(104);
    assert!(said.contains("<4>10.77.0.13 does not answer"), "{said}");
    assert_eq!(node.led_to(), all(&[(1, 1), (2, 2)]));
    let pruned = node.tables.clone();
    // The kernel asks again and again; an entry may go meanwhile, or be of a time before.
    for (now, state) in
        [(106, "INCOMPLETE"), (108, "FAILED"), (110, ""), (112, "STALE"), (114, "DELAY")]
    {
        node.neighbours(&[("10.77.0.13", state), ("fd00:77::13", state)]);
        assert_eq!(node.tick(now), "", "{state}");
        assert_eq!(node.tables, pruned, "{state}");
    }
    node.neighbours(&[]);
    let said = node.tick(120);
    assert!(said.contains("<5>10.77.0.13 answers again after 16 s"), "{said}");
    assert_eq!(node.tables, pruned, "its replica has not started yet");
    let _replica = TcpListener::bind((ip4(3, 3), 8080)).expect("a port");
    assert_eq!(node.tick(122), "");
    assert_eq!(node.led_to(), &all(&[(1, 1), (2, 2)]) | &[ip4(3, 3).into()].into(), "by IPv4");
    // Of IPv6 nobody takes a connection: a minute is enough.
    node.tick(179);
    assert_ne!(node.tables, whole);
    node.tick(180);
    assert_eq!(node.tables, whole);
    assert_eq!(std::fs::read_to_string(node.at("run/prune/away")).expect("a file"), "");
}

#[test]
fn the_last_backends_are_kept_and_each_port_is_seen_for_itself() {
    let mut node = Node::new(3);
    node.swap(&web(&[Protocol::Tcp, Protocol::Udp], &[(2, 1), (3, 2)]));
    let whole = node.tables.clone();
    node.neighbours(&[("10.77.0.12", "FAILED"), ("10.77.0.13", "FAILED")]);
    node.tick(100);
    assert_eq!(node.tables, whole, "there is nobody else");
    node.neighbours(&[("10.77.0.13", "FAILED")]);
    let _replica = TcpListener::bind((ip4(2, 1), 8080)).expect("a port");
    node.tick(102);
    // By IPv4 to the second; by IPv6 to both.
    let led: BTreeSet<IpAddr> = [ip4(2, 1).into(), ip6(2, 1).into(), ip6(3, 2).into()].into();
    assert_eq!(node.led_to(), led);
    assert!(node.tables.iter().all(|(key, to)| !key.contains("tcp . 80")
        || to.ends_with(". 8080")
        || to.starts_with("goto")));
    assert!(node.tables.iter().all(|(key, to)| !key.contains("udp . 81")
        || to.ends_with(". 8081")
        || to.starts_with("goto")));
}

#[test]
fn what_an_engine_writes_meanwhile_is_led_past_it_too() {
    let mut node = Node::new(3);
    node.swap(&web(&[Protocol::Udp], &[(1, 1), (3, 3)]));
    node.neighbours(&[("10.77.0.13", "FAILED"), ("fd00:77::13", "FAILED")]);
    node.tick(100);
    assert_eq!(node.led_to(), all(&[(1, 1)]));
    node.swap(&web(&[Protocol::Udp], &[(1, 1), (2, 2), (3, 3), (3, 4)]));
    assert_eq!(node.led_to(), all(&[(1, 1), (2, 2), (3, 3), (3, 4)]));
    node.tick(102);
    assert_eq!(node.led_to(), all(&[(1, 1), (2, 2)]));
    // The endpoint goes, and its server comes back.
    node.swap(&web(&[Protocol::Udp], &[]));
    std::fs::remove_file(node.at("etc/tenants/berth.shop/endpoints/web.nft")).expect("removed");
    node.neighbours(&[]);
    node.tick(104);
    assert_eq!(node.led_to(), BTreeSet::new());
    // What the kernel refuses is tried again when something changes.
    node.swap(&web(&[Protocol::Udp], &[(1, 1), (3, 3)]));
    node.neighbours(&[("10.77.0.13", "FAILED"), ("fd00:77::13", "FAILED")]);
    node.write("broken", "");
    node.tick(106);
    std::fs::remove_file(node.at("broken")).expect("removed");
    node.swap(&web(&[Protocol::Udp], &[(1, 1), (3, 3)]));
    node.tick(108);
    assert_eq!(node.led_to(), all(&[(1, 1)]));
    // A server that leaves the fleet is not a server that is away.
    node.write("etc/node/routes", "4 127.2.0.0/24 10.77.0.12\n");
    node.tick(110);
    assert_eq!(node.led_to(), all(&[(1, 1), (3, 3)]));
}

/// Its link is down, and with it the way to anybody.
#[test]
fn a_server_that_is_alone_leads_to_its_own() {
    let mut node = Node::new(3);
    node.swap(&web(&[Protocol::Tcp], &[(1, 1), (2, 2), (3, 3)]));
    let whole = node.tables.clone();
    let none: Vec<_> = ["10.77.0.12", "10.77.0.13", "fd00:77::12", "fd00:77::13"].into();
    let gone: Vec<_> = none.iter().map(|via| (*via, "")).collect();
    node.neighbours(&gone);
    // Nobody was spoken to yet.
    assert_eq!(node.tick(100), "");
    assert_eq!(node.tables, whole);
    let ways = "-4 route replace 127.2.0.0/24 via 10.77.0.12 dev eth0 onlink
-4 route replace 127.3.0.0/24 via 10.77.0.13 dev eth0 onlink";
    assert_eq!(node.routed(), ways, "those of IPv6 are behind a router");
    std::fs::rename(node.at("udp"), node.at("udp.off")).expect("moved");
    assert_eq!(node.tick(102).lines().count(), 4);
    assert_eq!(node.led_to(), all(&[(1, 1)]));
    std::fs::rename(node.at("udp.off"), node.at("udp")).expect("moved");
    assert_eq!(node.tick(104), "");
    assert_eq!(node.led_to(), all(&[(1, 1)]));
    node.routed();
    node.neighbours(&[]);
    node.tick(106);
    assert_eq!(node.routed(), ways, "the link may have lost them");
    node.tick(108);
    assert_eq!(node.routed(), "");
    node.tick(166);
    assert_eq!(node.tables, whole);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    /// Whatever endpoints there are, and whoever goes and comes: what is led to answers, where anybody does, and
    /// those that answer keep what they had.
    #[test]
    fn any_fleet(
        backends in proptest::collection::btree_set((1_u8..=6, 1_u8..=9), 0..30),
        more in proptest::collection::btree_set((1_u8..=6, 1_u8..=9), 0..30),
        rounds in proptest::collection::vec(proptest::collection::btree_set(2_u8..=6, 0..6), 1..5),
    ) {
        let mut node = Node::new(6);
        let backends: Vec<_> = backends.into_iter().collect();
        let more: Vec<_> = more.into_iter().collect();
        for (round, away) in (1_u64..).zip(&rounds) {
            let now = if round % 2 == 1 { &backends } else { &more };
            node.swap(&web(&[Protocol::Udp, Protocol::Udp], now));
            let whole = node.tables.clone();
            let down: Vec<_> =
                away.iter().flat_map(|n| [format!("10.77.0.1{n}"), format!("fd00:77::1{n}")]).collect();
            node.neighbours(&down.iter().map(|via| (via.as_str(), "FAILED")).collect::<Vec<_>>());
            node.tick(round * 100);
            let is_away = |to: &str| now.iter().any(|(n, i)| {
                let (four, six) = (ip4(*n, *i).to_string(), ip6(*n, *i).to_string());
                away.contains(n) && (to.starts_with(&format!("{four} ")) || to.starts_with(&format!("{six} ")))
            });
            let nobody = now.iter().all(|(n, _)| away.contains(n));
            for (key, to) in &whole {
                let leads = node.tables.get(key).expect("the key stays");
                if nobody || !is_away(to) {
                    assert_eq!(leads, to, "{key}");
                } else {
                    assert!(!is_away(leads), "{key} leads to {leads}");
                    assert!(whole.values().any(|one| one == leads));
                }
            }
        }
    }
}
