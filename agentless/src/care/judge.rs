//! Facts into findings: what is wrong with a server for Berth, how much, and what mends it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::{Facts, Packages, Way};

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It is as it should be.
    Good,
    /// Berth works, and somebody should know.
    Warning,
    /// Berth does not work there, or not all of it.
    Bad,
}

impl Weight {
    /// One word, for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// What mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Packages to install, which `berth bootstrap` does.
    Install(BTreeSet<&'static str>),
    /// A command that `berth bootstrap` runs.
    Run(&'static str),
    /// What a person has to decide, in words.
    Person(String),
}

/// Something that was looked at on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// How it is.
    pub weight: Weight,
    /// What was found.
    pub says: String,
    /// What to do, unless it is as it should be.
    pub mend: Option<Mend>,
}

/// What of the fleet the judgement of one server takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Ranges that Berth will route there.
    pub(crate) pools: Vec<IpNet>,
    /// Other nodes by their addresses.
    pub(crate) others: BTreeMap<IpAddr, String>,
    /// Other nodes by their machine ids.
    pub(crate) ids: BTreeMap<String, Vec<String>>,
    /// The login.
    pub(crate) login: String,
    /// This machine's clock when the server told its own, in seconds since 1970.
    pub(crate) now: u64,
}

/// What a name on the path comes with: Debian's, Fedora's and Alpine's package.
const TOOLS: [(&str, &str, [&str; 3]); 18] = [
    ("bash", "the session runs in it", ["bash", "bash", "bash"]),
    ("containerd", "it runs the containers", ["containerd", "containerd", "containerd"]),
    ("ctr", "nodes pull images with it", ["containerd", "containerd", "containerd-ctr"]),
    ("runc", "containerd starts containers with it", ["runc", "runc", "runc"]),
    ("nft", "endpoints are its tables", ["nftables", "nftables", "nftables"]),
    ("ip", "it sets addresses and routes", ["iproute2", "iproute", "iproute2"]),
    ("ss", "it tells which ports are taken", ["iproute2", "iproute", "iproute2-ss"]),
    ("unshare", "it makes pods' namespaces", ["util-linux", "util-linux-core", "util-linux-misc"]),
    ("nsenter", "it enters pods' namespaces", ["util-linux", "util-linux-core", "util-linux-misc"]),
    ("flock", "the node's lock is one of its", ["util-linux", "util-linux-core", "flock"]),
    ("tac", "", ["coreutils", "coreutils", "coreutils"]),
    ("tail", "", ["coreutils", "coreutils", "coreutils"]),
    ("mktemp", "", ["coreutils", "coreutils", "coreutils"]),
    ("timeout", "", ["coreutils", "coreutils", "coreutils"]),
    ("sync", "", ["coreutils", "coreutils", "coreutils"]),
    ("stat", "", ["coreutils", "coreutils", "coreutils"]),
    ("nproc", "", ["coreutils", "coreutils", "coreutils"]),
    ("find", "", ["findutils", "findutils", "findutils"]),
];
/// Sets how often containerd looks for dead containers, where it has no configuration. Pods live through its restart.
const RESTART_NEW: &str = "mkdir -p /etc/containerd && printf 'version = 2\\n\\n[plugins.\"io.containerd.internal.v1.restart\"]\\n  interval = \"1s\"\\n' >/etc/containerd/config.toml && systemctl restart containerd";
/// The same where it has one, which is tried before it counts.
const RESTART_MORE: &str = "cp -a /etc/containerd/config.toml /etc/containerd/config.toml.new && printf '\\n[plugins.\"io.containerd.internal.v1.restart\"]\\n  interval = \"1s\"\\n' >>/etc/containerd/config.toml.new && containerd -c /etc/containerd/config.toml.new config dump >/dev/null && mv /etc/containerd/config.toml.new /etc/containerd/config.toml && systemctl restart containerd";
/// The oldest containerd that the tests run on.
const CONTAINERD: (u32, u32) = (1, 6);
/// Below so much free space images hardly fit.
const DISK: u64 = 2 << 30;
/// Clocks may differ by so much, in seconds, before somebody should know.
const SKEW: u64 = 5;
const GIB: u64 = 1 << 30;

/// Judges a server; what matters most comes first.
pub(crate) fn judge(facts: &Facts, fleet: &Fleet) -> Vec<Finding> {
    let mut found = Findings { facts, all: Vec::new() };
    found.login(fleet);
    found.system();
    found.tools();
    found.containerd();
    found.restarts();
    found.kernel();
    found.network(fleet);
    found.sshd();
    found.room();
    found.clock(fleet);
    found.all.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    found.all
}

struct Findings<'a> {
    facts: &'a Facts,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn good(&mut self, what: &'static str, says: impl Into<String>) {
        self.all.push(Finding { what, weight: Weight::Good, says: says.into(), mend: None });
    }

    fn bad(&mut self, what: &'static str, says: impl Into<String>, mend: Mend) {
        let says = says.into();
        self.all.push(Finding { what, weight: Weight::Bad, says, mend: Some(mend) });
    }

    fn warn(&mut self, what: &'static str, says: impl Into<String>, mend: &str) {
        let (says, mend) = (says.into(), Some(Mend::Person(mend.to_owned())));
        self.all.push(Finding { what, weight: Weight::Warning, says, mend });
    }

    /// A package by its name for this server; a person's business where it has no known installer.
    fn install(&self, names: [&'static str; 3]) -> Mend {
        let [apt, dnf, apk] = names;
        match self.facts.packages {
            Some(Packages::Apt) => Mend::Install(BTreeSet::from([apt])),
            Some(Packages::Dnf) => Mend::Install(BTreeSet::from([dnf])),
            Some(Packages::Apk) => Mend::Install(BTreeSet::from([apk])),
            None => Mend::Person(format!("install {apt}, as its package is called on Debian")),
        }
    }

    fn login(&mut self, fleet: &Fleet) {
        match self.facts.user {
            Some(0) => self.good("login", format!("{} has root's rights", fleet.login)),
            Some(_) | None => self.bad(
                "login",
                format!("`{}` is not root, and `sudo -n` does not work for it", fleet.login),
                Mend::Person(format!(
                    "log in as root, or let it: `{} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/berth",
                    fleet.login
                )),
            ),
        }
    }

    fn system(&mut self) {
        let Facts { os, machine, init, id, .. } = self.facts;
        match init.as_str() {
            "systemd" => self.good("system", format!("{os} on {machine}, with systemd")),
            other => self.bad(
                "system",
                format!("{os} was started by `{other}`; what brings pods back after a reboot are units of systemd"),
                Mend::Person("use a system with systemd; this one is not supported".to_owned()),
            ),
        }
        if id.len() == 32 {
            self.good("machine id", id.clone());
        } else {
            let again = Mend::Run("systemd-machine-id-setup");
            self.bad("machine id", "/etc/machine-id is empty, and nodes are known by it", again);
        }
    }

    fn tools(&mut self) {
        let mut lacks: BTreeMap<[&'static str; 3], Vec<(&str, &str)>> = BTreeMap::new();
        for (name, why, packages) in TOOLS {
            if !self.facts.tools.contains(name) {
                lacks.entry(packages).or_default().push((name, why));
            }
        }
        if lacks.is_empty() {
            self.good("tools", format!("all {} are there", TOOLS.len()));
        }
        for (packages, names) in lacks {
            let named = |(name, why): (&str, &str)| match why {
                "" => format!("`{name}` is missing"),
                why => format!("`{name}` is missing: {why}"),
            };
            let says = names.into_iter().map(named).collect::<Vec<_>>().join("; ");
            let mend = self.install(packages);
            self.bad("tools", says, mend);
        }
        let plugins = ["ptp", "static"];
        let missing: Vec<&str> =
            plugins.into_iter().filter(|name| !self.facts.cni.contains(*name)).collect();
        match missing.as_slice() {
            [] => self.good("CNI plugins", "ptp and static are there"),
            missing => {
                let mend = self.install([
                    "containernetworking-plugins",
                    "containernetworking-plugins",
                    "cni-plugins",
                ]);
                let says = format!(
                    "{} missing from /usr/lib/cni, /opt/cni/bin and /usr/libexec/cni: pods' networks are made with them",
                    missing.join(" and ")
                );
                self.bad("CNI plugins", says, mend);
            }
        }
        if self.facts.tools.contains("perl") {
            self.good("perl", "there");
        } else {
            let says = "perl is missing: `berth cp` needs it, and logins that are not root";
            let mend = self.install(["perl-base", "perl-interpreter", "perl"]);
            self.all.push(Finding {
                what: "perl",
                weight: Weight::Warning,
                says: says.to_owned(),
                mend: Some(mend),
            });
        }
    }

    fn containerd(&mut self) {
        let Facts { containerd, service: (active, enabled), socket, .. } = self.facts;
        if !self.facts.tools.contains("containerd") {
            return;
        }
        match version(containerd) {
            Some(found) if found >= CONTAINERD => self.good("containerd", containerd.clone()),
            Some(_) | None => {
                let (major, minor) = CONTAINERD;
                let words = format!("upgrade to containerd {major}.{minor} or later");
                let says = format!("its version is `{containerd}`");
                self.bad("containerd", says, Mend::Person(words));
            }
        }
        match (active.as_str(), enabled.as_str(), *socket) {
            ("active", "enabled", true) => {
                self.good("service", "containerd runs, and does at boot")
            }
            ("active", "enabled", false) => self.bad(
                "service",
                "containerd runs, but not at /run/containerd/containerd.sock",
                Mend::Person(
                    "set `address` under `[grpc]` in /etc/containerd/config.toml".to_owned(),
                ),
            ),
            (active, enabled, _) => {
                let says = format!("containerd is {active} now, and {enabled} at boot");
                self.bad("service", says, Mend::Run("systemctl enable --now containerd"));
            }
        }
    }

    /// How soon containerd's restart monitor sees that a process has died. Its own default is 10 s.
    fn restarts(&mut self) {
        let Facts { restart, config, .. } = self.facts;
        let says = || format!("a process that dies is started again after up to {restart}");
        let mend = match (restart.as_str(), config.as_str()) {
            ("", _) => return,
            ("1s", _) => return self.good("restarts", says()),
            (_, "none") => Mend::Run(RESTART_NEW),
            (_, "2" | "3") => Mend::Run(RESTART_MORE),
            (_, _) => Mend::Person(
                "set `interval = \"1s\"` under `[plugins.\"io.containerd.internal.v1.restart\"]` in /etc/containerd/config.toml, and restart containerd: pods go on".to_owned(),
            ),
        };
        let says = says();
        self.all.push(Finding {
            what: "restarts",
            weight: Weight::Warning,
            says,
            mend: Some(mend),
        });
    }

    fn kernel(&mut self) {
        let Facts { kernel, overlay, cgroup, nft, .. } = self.facts;
        if *overlay {
            self.good("overlay", "the kernel has it");
        } else {
            let words = "use a kernel with overlayfs; images are stacked with it".to_owned();
            self.bad("overlay", format!("kernel {kernel} has none"), Mend::Person(words));
        }
        match cgroup.as_str() {
            "cgroup2fs" => self.good("control groups", "version 2"),
            "tmpfs" => self.good("control groups", "version 1"),
            other => self.bad(
                "control groups",
                format!("/sys/fs/cgroup is `{other}`"),
                Mend::Person("mount cgroup2 there, as systemd does".to_owned()),
            ),
        }
        match nft.as_deref() {
            None => {}
            Some("ok") => {
                self.good("nftables", format!("kernel {kernel} takes a table like Berth's"))
            }
            Some(_) if self.facts.user != Some(0) => {}
            Some(why) => {
                let words = "a kernel of 5.10 or later with nf_tables, nft_nat, nft_numgen and nft_fib; containers and some virtual servers cannot load modules".to_owned();
                self.bad(
                    "nftables",
                    format!("the kernel takes no table like Berth's: {why}"),
                    Mend::Person(words),
                );
            }
        }
        if self.facts.selinux == "Enforcing" {
            self.warn(
                "SELinux",
                "it is enforcing, which the tests do not cover",
                "look at `ausearch -m avc` if a pod does not start; leave it on",
            );
        }
    }

    fn network(&mut self, fleet: &Fleet) {
        if self.facts.drops.is_empty() {
            self.good("forwarding", "no table drops what is forwarded");
        } else {
            let says = format!(
                "{} drops what it does not know: pods would not be reached from other nodes",
                self.facts.drops.join(", ")
            );
            let ranges: Vec<String> = fleet.pools.iter().map(ToString::to_string).collect();
            let words = format!(
                "let {} through there, in both directions; Berth does not touch other tables",
                ranges.join(", ")
            );
            self.warn("forwarding", says, &words);
        }
        if self.facts.flushes {
            self.warn(
                "nftables.service",
                "a reload of it flushes every table, Berth's included",
                "in /etc/nftables.conf, write `flush table …` for your own instead of `flush ruleset`; `berth apply` brings Berth's back",
            );
        }
        let far: Vec<String> = self
            .facts
            .routes
            .iter()
            .filter(|(_, way)| **way != Way::Direct)
            .filter_map(|(address, way)| {
                let name = fleet.others.get(address)?;
                Some(match way {
                    Way::None => format!("there is no route to {name} ({address})"),
                    Way::Router | Way::Direct => format!("{name} ({address}) is behind a router"),
                })
            })
            .collect();
        match (far.as_slice(), self.facts.routes.is_empty()) {
            (_, true) => {}
            ([], false) => self.good("segment", "the other nodes are on a network of its own"),
            (far, false) => self.bad(
                "segment",
                far.join("; "),
                Mend::Person("name addresses of one network segment as `host`: pods are routed between nodes".to_owned()),
            ),
        }
        let taken = |pool: &IpNet| {
            let meets =
                |range: &IpNet| range.contains(&pool.network()) || pool.contains(&range.network());
            let found =
                self.facts.ranges.iter().find(|(range, _)| range.prefix_len() > 0 && meets(range));
            found.map(|(range, device)| format!("{pool} meets {range}, which is on {device}"))
        };
        let taken: Vec<String> = fleet.pools.iter().filter_map(taken).collect();
        match taken.as_slice() {
            [] => self.good("ranges", "the project's are free"),
            taken => self.bad(
                "ranges",
                taken.join("; "),
                Mend::Person("give the project others: `project NAME { network: { pods: \"10.90.0.0/16\" } }`".to_owned()),
            ),
        }
    }

    fn sshd(&mut self) {
        let said = |key: &str| self.facts.sshd.get(key).map(String::as_str);
        let Some(sessions) = said("maxsessions").and_then(|n| n.parse::<u32>().ok()) else {
            return;
        };
        let closed = |key: &str| matches!(said(key), Some("no" | "remote"));
        let shut = closed("allowstreamlocalforwarding")
            || closed("allowtcpforwarding")
            || said("disableforwarding") == Some("yes");
        if sessions < 4 {
            self.warn(
                "sshd",
                format!("MaxSessions is {sessions}: `berth exec` and `logs` of several replicas wait for each other"),
                "set `MaxSessions 10` (the usual value) in /etc/ssh/sshd_config",
            );
        }
        if shut {
            self.warn(
                "sshd",
                "it forwards nothing: Berth goes through a relay, more slowly, and `berth port-forward` does not work",
                "set `AllowStreamLocalForwarding local` and `AllowTcpForwarding local` for this login, if you may",
            );
        } else if sessions >= 4 {
            self.good("sshd", format!("forwards, and takes {sessions} sessions"));
        }
    }

    fn room(&mut self) {
        if let Some((free, all)) = self.facts.disk {
            let says = format!("{} of {} GiB are free for images", free / GIB, all / GIB);
            match free < DISK {
                true => self.warn("disk", says, "make room where /var/lib/containerd is"),
                false => self.good("disk", says),
            }
        }
        if let Some((free, all)) = self.facts.inodes
            && free.saturating_mul(20) < all
        {
            let says = format!("{free} of {all} inodes are free");
            self.warn("inodes", says, "remove small files where /var/lib/containerd is");
        }
    }

    fn clock(&mut self, fleet: &Fleet) {
        if let Some(theirs) = self.facts.now {
            let skew = theirs.abs_diff(fleet.now);
            if skew > SKEW {
                let side = if theirs > fleet.now { "ahead of" } else { "behind" };
                let says = format!("{skew} s {side} this machine's");
                self.warn(
                    "clock",
                    says,
                    "let both follow a time server: `timedatectl set-ntp true`",
                );
            } else {
                self.good("clock", "as this machine's");
            }
        }
        if self.facts.ntp == Some(false) {
            self.warn(
                "time server",
                "its clock follows none",
                "`apt-get install systemd-timesyncd` or chrony, then `timedatectl set-ntp true`",
            );
        }
        if let Some(same) = fleet.ids.get(&self.facts.id).filter(|same| !same.is_empty()) {
            self.bad(
                "machine id",
                format!("{} has the same: one was copied from the other", same.join(", ")),
                Mend::Person(
                    "on the copy: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot"
                        .to_owned(),
                ),
            );
        }
    }
}

/// Major and minor of a version, `v` before it or not.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '~', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The commands that mend findings without a person's judgement, in order; each can be run again.
pub(crate) fn commands(packages: Option<Packages>, findings: &[Finding]) -> Vec<String> {
    let mut install: BTreeSet<&str> = BTreeSet::new();
    let mut run: Vec<&str> = Vec::new();
    for mend in findings.iter().filter_map(|finding| finding.mend.as_ref()) {
        match mend {
            Mend::Install(names) => install.extend(names),
            Mend::Run(command) if !run.contains(command) => run.push(command),
            Mend::Run(_) | Mend::Person(_) => {}
        }
    }
    let mut commands = Vec::new();
    if !install.is_empty() {
        let names = install.iter().copied().collect::<Vec<_>>().join(" ");
        match packages {
            Some(Packages::Apt) => commands.extend([
                "apt-get update -q".to_owned(),
                format!(
                    "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends {names}"
                ),
            ]),
            Some(Packages::Dnf) => commands.push(format!("dnf install -q -y {names}")),
            Some(Packages::Apk) => commands.push(format!("apk add {names}")),
            None => {}
        }
        if install.contains("containerd")
            && !run.iter().any(|command| command.contains("containerd"))
        {
            run.push("systemctl enable --now containerd");
        }
    }
    commands.extend(run.into_iter().map(str::to_owned));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A Debian server that lacks nothing.
    const WHOLE: &str = "user 0\nos Debian GNU/Linux 12 (bookworm)\nkernel 6.1.0-21-amd64\nmachine x86_64\ninit systemd\nid 0123456789abcdef0123456789abcdef\npackages apt-get\ntool bash\ntool containerd\ntool ctr\ntool runc\ntool nft\ntool ip\ntool ss\ntool unshare\ntool nsenter\ntool flock\ntool systemctl\ntool tac\ntool find\ntool tail\ntool head\ntool mktemp\ntool timeout\ntool sync\ntool stat\ntool perl\ntool nproc\ncni ptp\ncni static\ncontainerd 1.6.20~ds1\nservice active enabled\nsocket\nrestart 1s\nconfig 2\noverlay\ncgroup cgroup2fs\nnft ok\ndisk 40000000 60000000\ninodes 900 1000\nmemory 2000000\nntp yes\nsshd maxsessions 10\nsshd allowtcpforwarding yes\nsshd allowstreamlocalforwarding yes\nroute 10.0.0.2 direct\nrange 10.0.0.0/24 eth0\nnow 1000\nend\n";

    fn fleet() -> Fleet {
        Fleet {
            pools: vec![
                "10.88.0.0/16".parse().expect("a range"),
                "fd00:88::/48".parse().expect("one"),
            ],
            others: BTreeMap::from([("10.0.0.2".parse().expect("ip"), "n2".to_owned())]),
            ids: BTreeMap::new(),
            login: "root".to_owned(),
            now: 1001,
        }
    }

    /// What is not good of a server that says this, and what would be run.
    fn judged(answer: &str, fleet: &Fleet) -> (Vec<String>, Vec<String>) {
        let facts = Facts::read(answer);
        let findings = judge(&facts, fleet);
        let commands = commands(facts.packages, &findings);
        let wrong = findings.iter().filter(|finding| finding.weight != Weight::Good);
        let line = |finding: &Finding| {
            assert!(finding.mend.is_some(), "{finding:?} says what to do");
            format!("{} {}: {}", finding.weight.word(), finding.what, finding.says)
        };
        (wrong.map(line).collect(), commands)
    }

    #[test]
    fn a_whole_server_has_nothing_to_mend() {
        assert_eq!(judged(WHOLE, &fleet()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_bare_server_is_told_everything_once() {
        let lines = WHOLE.lines().filter(|line| {
            let lacking = ["containerd", "ctr", "runc", "nft", "perl"];
            !lacking.iter().any(|name| **line == format!("tool {name}"))
                && !line.starts_with("cni ")
                && !["containerd ", "service ", "socket"].iter().any(|key| line.starts_with(key))
                && !line.starts_with("nft ")
        });
        let bare: String = lines.map(|line| format!("{line}\n")).collect();
        let (wrong, commands) = judged(&bare, &fleet());
        assert_eq!(wrong.len(), 6, "{wrong:#?}");
        assert_eq!(
            commands,
            [
                "apt-get update -q",
                "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends containerd containernetworking-plugins nftables perl-base runc",
                "systemctl enable --now containerd",
            ]
        );
        let fedora = bare.replace("packages apt-get", "packages dnf");
        assert_eq!(
            judged(&fedora, &fleet()).1[0],
            "dnf install -q -y containerd containernetworking-plugins nftables perl-interpreter runc"
        );
        let alpine =
            bare.replace("packages apt-get", "packages apk").replace("init systemd", "init init");
        let (wrong, commands) = judged(&alpine, &fleet());
        assert!(wrong.iter().any(|line| line.contains("was started by `init`")), "{wrong:#?}");
        assert_eq!(commands[0], "apk add cni-plugins containerd containerd-ctr nftables perl runc");
        let other = bare.replace("packages apt-get\n", "");
        assert_eq!(judged(&other, &fleet()).1, Vec::<String>::new());
    }

    #[test]
    fn a_configuration_is_added_to_only_where_that_cannot_break_it() {
        let with = |config: &str| {
            judged(
                &WHOLE.replace("restart 1s\nconfig 2", &format!("restart 10s\nconfig {config}")),
                &fleet(),
            )
            .1
        };
        assert_eq!(with("2"), [RESTART_MORE]);
        assert_eq!(with("none"), [RESTART_NEW]);
        assert_eq!(with("own"), Vec::<String>::new());
        assert_eq!(with("1"), Vec::<String>::new());
        assert_eq!(with(""), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        let same = Fleet {
            ids: BTreeMap::from([(
                "0123456789abcdef0123456789abcdef".to_owned(),
                vec!["n3".to_owned()],
            )]),
            ..fleet()
        };
        let cases = [
            ("user 0", "user 1000", "bad login"),
            ("init systemd", "init busybox", "bad system"),
            ("id 0123456789abcdef0123456789abcdef", "id ", "bad machine id"),
            (
                "containerd 1.6.20~ds1",
                "containerd v1.4.13",
                "bad containerd: its version is `v1.4.13`",
            ),
            (
                "service active enabled",
                "service inactive disabled",
                "bad service: containerd is inactive now, and disabled at boot",
            ),
            ("service active enabled", "service active disabled", "bad service"),
            ("socket\n", "", "bad service: containerd runs, but not at"),
            (
                "restart 1s",
                "restart 10s",
                "warning restarts: a process that dies is started again after up to 10s",
            ),
            ("restart 1s\nconfig 2", "restart 10s\nconfig own", "warning restarts"),
            ("overlay\n", "", "bad overlay"),
            ("cgroup cgroup2fs", "cgroup ", "bad control groups"),
            (
                "nft ok",
                "nft Error: Could not process rule",
                "bad nftables: the kernel takes no table like Berth's: Error",
            ),
            (
                "nft ok",
                "nft ok\ndrops ip filter FORWARD",
                "warning forwarding: ip filter FORWARD drops",
            ),
            ("nft ok", "nft ok\nflushes", "warning nftables.service"),
            ("nft ok", "nft ok\nselinux Enforcing", "warning SELinux"),
            ("disk 40000000", "disk 400000", "warning disk: 0 of 57 GiB"),
            ("inodes 900", "inodes 9", "warning inodes"),
            ("ntp yes", "ntp no", "warning time server"),
            ("sshd maxsessions 10", "sshd maxsessions 1", "warning sshd: MaxSessions is 1"),
            (
                "allowtcpforwarding yes",
                "allowtcpforwarding no",
                "warning sshd: it forwards nothing",
            ),
            (
                "route 10.0.0.2 direct",
                "route 10.0.0.2 via",
                "bad segment: n2 (10.0.0.2) is behind a router",
            ),
            (
                "route 10.0.0.2 direct",
                "route 10.0.0.2 none",
                "bad segment: there is no route to n2",
            ),
            (
                "range 10.0.0.0/24 eth0",
                "range 10.88.0.0/16 cni-podman0",
                "bad ranges: 10.88.0.0/16 meets 10.88.0.0/16, which is on cni-podman0",
            ),
            ("range 10.0.0.0/24 eth0", "range 10.88.7.0/24 br0", "bad ranges"),
            ("now 1000", "now 900", "warning clock: 101 s behind this machine's"),
        ];
        for (from, to, wanted) in cases {
            assert!(WHOLE.contains(from), "{from}");
            let (wrong, _) = judged(&WHOLE.replace(from, to), &fleet());
            assert!(wrong.iter().any(|line| line.starts_with(wanted)), "{wanted}: {wrong:#?}");
        }
        let (wrong, _) = judged(WHOLE, &same);
        assert_eq!(wrong, ["bad machine id: n3 has the same: one was copied from the other"]);
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in "((user|disk|range|route|sshd|now|tool|service|inodes|x)( [ -~]{0,20})?\n){0,20}") {
            let _ = judge(&Facts::read(&answer), &fleet());
        }
    }
}
