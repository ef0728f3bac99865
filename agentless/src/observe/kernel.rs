//! What `observe` in `agentless/src/node/observe.sh` prints, parsed.
//!
//! A line is a key and values. An unknown key is skipped, so that an older engine reads a newer
//! node; a missing `end` means that the answer was cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use berth_engine::plan::action::{Endpoint, NodeNetwork, NodePort, Protocol, Reflex};
use berth_engine::plan::ledger::Mark;
use berth_engine::plan::names::{NodeName, VolumeId, WorkloadName};
use berth_engine::plan::observation::{Run, RunEnd, VolumeSpec};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_till1, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{map, map_opt, map_res, rest};
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};

/// What the kernel and our files know of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kernel {
    pub(crate) machine_id: String,
    pub(crate) memory_bytes: u64,
    pub(crate) cpus: u64,
    pub(crate) os: String,
    pub(crate) now_ms: i64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_bytes: u64,
    /// The worst of CPU's, memory's and I/O's share of the last minute that something waited, in
    /// hundredths of a percent.
    pub(crate) pressure: u32,
    /// Interface and address, in the node's order.
    pub(crate) addresses: Vec<(String, IpAddr)>,
    /// Ports that processes of the node itself listen on, and not just at a loopback address.
    pub(crate) listens: BTreeSet<NodePort>,
    pub(crate) missing: Vec<String>,
    pub(crate) mark: Option<Mark>,
    pub(crate) network: Option<NodeNetwork>,
    pub(crate) reflexes: BTreeMap<Reflex, u32>,
    pub(crate) claims: BTreeSet<Ipv4Addr>,
    pub(crate) tenant: bool,
    /// Other tenants that have folders, by namespace.
    pub(crate) tenants: BTreeSet<String>,
    /// The addresses of their endpoints.
    pub(crate) taken: BTreeSet<Ipv4Addr>,
    pub(crate) endpoints: BTreeMap<WorkloadName, Endpoint>,
    /// Pods that have files here, and whether their namespaces are pinned.
    pub(crate) wired: BTreeMap<String, bool>,
    /// Volumes of every tenant, by namespace.
    pub(crate) volumes: BTreeMap<String, BTreeMap<VolumeId, VolumeSpec>>,
    /// When each task started, in milliseconds since 1970.
    pub(crate) started_ms: BTreeMap<String, u64>,
    /// When each cron's pod is started next, in milliseconds since 1970; 0 if that is not known.
    pub(crate) timers: BTreeMap<String, u64>,
    /// Crons' pods that are being run.
    pub(crate) busy: BTreeSet<String>,
    /// How each cron's pod ran last.
    pub(crate) runs: BTreeMap<String, Run>,
}

/// The answer is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut;

enum Fact<'a> {
    Machine(&'a str),
    MemoryKib(u64),
    Cpus(u64),
    Os(&'a str),
    Now(i64),
    Disk(u64, u64),
    DiskTotal(u64, u64),
    Pressure(u32),
    Address(&'a str, IpAddr),
    Listens(NodePort),
    Missing(&'a str),
    Mark(Mark),
    Network(Box<NodeNetwork>),
    Reflex(Reflex, u32),
    Claim(Ipv4Addr),
    Tenant,
    Other(&'a str),
    Taken(Ipv4Addr),
    Endpoint(Box<Endpoint>),
    Wired(&'a str, bool),
    Started(u64, &'a str),
    Volume(&'a str, &'a str, Box<VolumeSpec>),
    Timer(&'a str, u64),
    Busy(&'a str),
    Run(&'a str, Run),
    End,
}

/// Reads the whole answer.
pub(crate) fn parse(text: &str) -> Result<Kernel, Cut> {
    let mut kernel = Kernel::default();
    let mut whole = false;
    for line in text.lines() {
        let Ok((_, fact)) = fact(line) else { continue };
        match fact {
            Fact::Machine(id) => kernel.machine_id = id.to_owned(),
            Fact::MemoryKib(kib) => kernel.memory_bytes = kib.saturating_mul(1024),
            Fact::Cpus(n) => kernel.cpus = n,
            Fact::Os(name) => kernel.os = name.trim_matches('"').to_owned(),
            Fact::Now(ms) => kernel.now_ms = ms,
            Fact::Disk(blocks, size) => kernel.disk_free_bytes = blocks.saturating_mul(size),
            Fact::DiskTotal(blocks, size) => kernel.disk_bytes = blocks.saturating_mul(size),
            Fact::Pressure(share) => kernel.pressure = kernel.pressure.max(share),
            Fact::Address(interface, ip) => kernel.addresses.push((interface.to_owned(), ip)),
            Fact::Listens(port) => {
                kernel.listens.insert(port);
            }
            Fact::Missing(what) => kernel.missing.push(what.to_owned()),
            Fact::Mark(mark) => kernel.mark = Some(mark),
            Fact::Network(network) => kernel.network = Some(*network),
            Fact::Reflex(reflex, version) => {
                kernel.reflexes.insert(reflex, version);
            }
            Fact::Claim(ip) => {
                kernel.claims.insert(ip);
            }
            Fact::Tenant => kernel.tenant = true,
            Fact::Other(namespace) => {
                kernel.tenants.insert(namespace.to_owned());
            }
            Fact::Taken(ip) => {
                kernel.taken.insert(ip);
            }
            Fact::Endpoint(endpoint) => {
                kernel.endpoints.insert(endpoint.workload.clone(), *endpoint);
            }
            Fact::Wired(id, pinned) => {
                kernel.wired.insert(id.to_owned(), pinned);
            }
            Fact::Started(ms, id) => {
                kernel.started_ms.insert(id.to_owned(), ms);
            }
            Fact::Volume(namespace, id, spec) => {
                let volumes = kernel.volumes.entry(namespace.to_owned()).or_default();
                volumes.insert(VolumeId::new(id), *spec);
            }
            Fact::Timer(id, next_at_ms) => {
                kernel.timers.insert(id.to_owned(), next_at_ms);
            }
            Fact::Busy(id) => {
                kernel.busy.insert(id.to_owned());
            }
            Fact::Run(id, run) => {
                kernel.runs.insert(id.to_owned(), run);
            }
            Fact::End => whole = true,
        }
    }
    if whole { Ok(kernel) } else { Err(Cut) }
}

fn word(input: &str) -> IResult<&str, &str> {
    take_till1(|c: char| c == ' ')(input)
}

/// A name that a folder of ours can have: nothing else is believed, or printed.
fn folder(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric() || "_-.".contains(c))(input)
}

fn number(input: &str) -> IResult<&str, u64> {
    map_res(digit1, str::parse).parse(input)
}

fn json<'a, T: serde::de::DeserializeOwned>(input: &'a str) -> IResult<&'a str, Box<T>> {
    map_opt(rest, |text: &'a str| serde_json::from_str(text).ok().map(Box::new)).parse(input)
}

fn small(input: &str) -> IResult<&str, u32> {
    map_res(digit1, str::parse).parse(input)
}

fn reflex(input: &str) -> IResult<&str, Reflex> {
    map_opt(word, |name| Reflex::CURRENT.iter().map(|(r, _)| *r).find(|r| r.name() == name))
        .parse(input)
}

/// Seconds with a fraction, as `stat` prints them; either mark may stand before the fraction.
fn seconds(input: &str) -> IResult<&str, u64> {
    map_opt((number, take_till(|c: char| c == ' ')), |(whole, fraction): (u64, &str)| {
        let digits: String =
            fraction.chars().filter(char::is_ascii_digit).chain("000".chars()).take(3).collect();
        whole.checked_mul(1000)?.checked_add(digits.parse().ok()?)
    })
    .parse(input)
}

/// A share in percent with a fraction, as the kernel prints it.
fn hundredths(input: &str) -> IResult<&str, u32> {
    map_opt((small, take_till(|c: char| c == ' ')), |(whole, fraction): (u32, &str)| {
        let digits: String =
            fraction.chars().filter(char::is_ascii_digit).chain("00".chars()).take(2).collect();
        whole.checked_mul(100)?.checked_add(digits.parse().ok()?)
    })
    .parse(input)
}

/// The folder of a task, by the path of its `init.pid`.
fn task(input: &str) -> IResult<&str, &str> {
    map_opt(rest, |path: &str| path.strip_suffix("/init.pid")?.rsplit('/').next()).parse(input)
}

fn address(input: &str) -> IResult<&str, IpAddr> {
    map_opt(rest, |text: &str| text.split('/').next()?.parse().ok()).parse(input)
}

/// A transport and a listening socket as `ss` prints it: `tcp 0.0.0.0:22`, `udp [::]:53`,
/// `tcp 10.0.0.1%eth0:80`. One at a loopback address is in nobody's way.
fn listening(input: &str) -> IResult<&str, NodePort> {
    map_opt((word, char(' '), rest), |(transport, _, socket): (&str, char, &str)| {
        let protocol = match transport {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let (address, port) = socket.rsplit_once(':')?;
        let address = address.trim_matches(['[', ']']);
        let address = address.split('%').next().and_then(|text| text.parse::<IpAddr>().ok());
        let local = address.is_some_and(|ip| ip.is_loopback());
        let port = port.parse().ok().filter(|_| !local)?;
        Some(NodePort { port, protocol })
    })
    .parse(input)
}

/// Reads what a node remembers of the ledger, alone.
pub(crate) fn parse_mark(text: &str) -> Option<Mark> {
    preceded(tag("mark "), mark).parse(text.trim_end()).ok().map(|(_, mark)| mark)
}

/// What is remembered of the ledger: `BYTES EPOCH LINES KEEPER`.
fn mark(input: &str) -> IResult<&str, Mark> {
    let space = || char(' ');
    map(
        (number, space(), number, space(), number, space(), rest),
        |(bytes, _, epoch, _, lines, _, keeper)| Mark {
            epoch,
            lines,
            keeper: NodeName::new(keeper),
            bytes,
        },
    )
    .parse(input)
}

/// How a cron's container ran: `BEGAN ENDED HOW`. What has not ended and does not run was cut short.
fn run(input: &str) -> IResult<&str, Run> {
    let end = map_opt(rest, |how: &str| match how {
        "late" => Some(RunEnd::TimedOut),
        "unstarted" => Some(RunEnd::NotStarted),
        "cut" | "-" => Some(RunEnd::CutShort),
        code => code.parse().ok().map(RunEnd::Code),
    });
    let fields = (number, char(' '), number, char(' '), end);
    map(fields, |(began, _, ended, _, end)| Run {
        began_at_ms: began.saturating_mul(1000),
        ended_at_ms: ended.saturating_mul(1000),
        end,
    })
    .parse(input)
}

fn fact(line: &str) -> IResult<&str, Fact<'_>> {
    alt((
        alt((
            map(preceded(tag("machine "), rest), Fact::Machine),
            map(preceded(tag("memory "), number), Fact::MemoryKib),
            map(preceded(tag("cpus "), number), Fact::Cpus),
            map(preceded(tag("os "), rest), Fact::Os),
            map(preceded(tag("now "), map_res(digit1, str::parse)), Fact::Now),
            map(preceded(tag("disk "), separated_pair(number, char(' '), number)), |(n, s)| {
                Fact::Disk(n, s)
            }),
            map(
                preceded(tag("disktotal "), separated_pair(number, char(' '), number)),
                |(n, s)| Fact::DiskTotal(n, s),
            ),
            map(preceded(tag("pressure "), hundredths), Fact::Pressure),
            map(
                preceded(tag("addr "), (word, alt((tag(" inet6 "), tag(" inet "))), address)),
                |(name, _, ip)| Fact::Address(name, ip),
            ),
            map(preceded(tag("listens "), listening), Fact::Listens),
            map(preceded(tag("missing "), rest), Fact::Missing),
            map(preceded(tag("mark "), mark), Fact::Mark),
        )),
        alt((
            map(preceded(tag("network "), json), Fact::Network),
            map(preceded(tag("reflex "), separated_pair(reflex, char(' '), small)), |(r, v)| {
                Fact::Reflex(r, v)
            }),
            map(preceded(tag("claim "), map_res(rest, str::parse)), Fact::Claim),
            map(preceded(tag("endpoint "), json), Fact::Endpoint),
            map(preceded(tag("wired "), rest), |id| Fact::Wired(id, true)),
            map(preceded(tag("unwired "), rest), |id| Fact::Wired(id, false)),
            map(preceded(tag("started "), separated_pair(seconds, char(' '), task)), |(ms, id)| {
                Fact::Started(ms, id)
            }),
            map(
                preceded(tag("volume "), (folder, char(' '), folder, char(' '), json)),
                |(namespace, _, id, _, spec)| Fact::Volume(namespace, id, spec),
            ),
            map(preceded(tag("timer "), (folder, char(' '), number)), |(id, _, next)| {
                Fact::Timer(id, next.saturating_mul(1000))
            }),
            map(preceded(tag("busy "), folder), Fact::Busy),
            map(preceded(tag("run "), (folder, char(' '), run)), |(id, _, run)| Fact::Run(id, run)),
            map(tag("tenant"), |_| Fact::Tenant),
            map(preceded(tag("other "), folder), Fact::Other),
            map(preceded(tag("taken "), map_opt(rest, |ip: &str| ip.parse().ok())), Fact::Taken),
            map(tag("end"), |_| Fact::End),
        )),
    ))
    .parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &str = "machine 0123abc
memory 2048
cpus 2
os \"Debian GNU/Linux 12 (bookworm)\"
now 1795000000123
disk 10 4096
disktotal 40 4096
pressure 0.07
pressure 12.5
pressure 3.00
addr lo inet 10.88.1.1/32
addr host0 inet6 fd77::11/64
listens tcp 0.0.0.0:22
listens tcp 127.0.0.1:631
listens tcp [::1]:631
listens udp [fe80::1%host0]:546
listens udp *:53
listens sctp *:9
listens tcp 0.0.0.0:99999
missing nft
unheard-of 3
mark 2817 4 17 n[\"b 2\"]
reflex boot 1
reflex sing 9
claim 10.88.1.11
tenant
wired web-0.g1
unwired web-1.g2
network {broken
volume berth.shop.default data-0 {\"size_bytes\":7,\"user\":9,\"on_delete\":\"destroy\"}
volume berth.shop.default data-1 {\"size_bytes\":-7}
volume berth.shop.default \u{1b}[31mred {}
timer nightly-0.g1 1795003600
busy nightly-2.g1
run nightly-0.g1 1795000000 1795000012 3
run nightly-1.g1 1795000000 1795000000 -
run nightly-2.g1 1 2 soon
started 1795000000.5 /run/containerd/io.containerd.runtime.v2.task/berth.shop.default/web-0.g1/init.pid
end
";

    #[test]
    fn every_key_is_read() {
        let kernel = parse(WHOLE).expect("whole");
        assert_eq!(kernel.memory_bytes, 2048 * 1024);
        assert_eq!(kernel.os, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(kernel.disk_free_bytes, 40_960);
        assert_eq!((kernel.disk_bytes, kernel.pressure), (163_840, 1250));
        assert_eq!(kernel.addresses.len(), 2);
        let listens: Vec<String> = kernel.listens.iter().map(ToString::to_string).collect();
        assert_eq!(listens, ["22", "53/udp", "546/udp"]);
        assert_eq!(kernel.missing, ["nft"]);
        let keeper = NodeName::new("n[\"b 2\"]");
        assert_eq!(kernel.mark, Some(Mark { epoch: 4, lines: 17, keeper, bytes: 2817 }));
        assert_eq!(kernel.reflexes, BTreeMap::from([(Reflex::Boot, 1)]));
        assert_eq!(kernel.claims.len(), 1);
        assert!(kernel.tenant && kernel.network.is_none());
        assert!(!kernel.wired["web-1.g2"]);
        let volumes: Vec<_> = kernel.volumes["berth.shop.default"].iter().collect();
        assert_eq!(volumes.len(), 1);
        assert_eq!((volumes[0].0.as_str(), volumes[0].1.size_bytes), ("data-0", 7));
        assert_eq!(kernel.started_ms["web-0.g1"], 1_795_000_000_500);
        assert_eq!(kernel.timers["nightly-0.g1"], 1_795_003_600_000);
        assert!(kernel.busy.contains("nightly-2.g1") && kernel.busy.len() == 1);
        let ends: Vec<_> =
            kernel.runs.values().map(|run| (run.ended_at_ms - run.began_at_ms, run.end)).collect();
        assert_eq!(ends, [(12_000, RunEnd::Code(3)), (0, RunEnd::CutShort)]);
    }

    proptest! {
        #[test]
        fn a_cut_answer_is_not_believed(at in 0..WHOLE.len() - 4) {
            prop_assert_eq!(parse(&WHOLE[..at]), Err(Cut));
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_line_with_a_known_key_panics(key in 0..23_usize, text in ".{0,80}") {
            let key = ["timer", "run", "busy", "machine", "memory", "cpus", "os", "now", "disk", "addr", "missing", "mark",
                "network", "reflex", "claim", "endpoint", "wired", "started", "tenant", "disktotal", "pressure",
                "listens", "volume"][key];
            let _ = parse(&format!("{key} {text}\nend"));
        }
    }
}
