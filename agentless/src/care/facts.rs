//! What a server said of itself, read from lines that it may have written in any way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::fault::words;

/// The facts of one server. What it did not say is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Whether it said everything.
    pub(crate) whole: bool,
    /// Who asked, as it counts logins; 0 is root.
    pub(crate) user: Option<u32>,
    pub(crate) os: String,
    pub(crate) kernel: String,
    pub(crate) machine: String,
    /// The first process's name.
    pub(crate) init: String,
    pub(crate) id: String,
    pub(crate) packages: Option<Packages>,
    pub(crate) tools: BTreeSet<String>,
    pub(crate) cni: BTreeSet<String>,
    pub(crate) containerd: String,
    /// containerd's unit: whether it is active, and enabled, in systemd's words.
    pub(crate) service: (String, String),
    pub(crate) socket: bool,
    /// How often containerd looks for containers to start again, as Go writes a duration.
    pub(crate) restart: String,
    /// containerd's configuration: its version, `none` if there is no file, `own` if it sets that.
    pub(crate) config: String,
    pub(crate) overlay: bool,
    pub(crate) cgroup: String,
    /// What nft says of a table like Berth's.
    pub(crate) nft: Option<String>,
    /// Chains that drop what is forwarded: `inet filter forward`.
    pub(crate) drops: Vec<String>,
    /// Whether a reload of nftables would flush every table.
    pub(crate) flushes: bool,
    /// Bytes free and altogether.
    pub(crate) disk: Option<(u64, u64)>,
    /// Inodes free and altogether.
    pub(crate) inodes: Option<(u64, u64)>,
    pub(crate) memory: Option<u64>,
    pub(crate) ntp: Option<bool>,
    pub(crate) selinux: String,
    /// sshd's settings, in its own lower-case names.
    pub(crate) sshd: BTreeMap<String, String>,
    /// How other nodes are reached.
    pub(crate) routes: BTreeMap<IpAddr, Way>,
    /// Ranges that are on routes, with their devices.
    pub(crate) ranges: Vec<(IpNet, String)>,
    /// Seconds since 1970, by its clock.
    pub(crate) now: Option<u64>,
}

/// How a node reaches an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On a network of its own.
    Direct,
    /// Through a router.
    Router,
    /// Not at all.
    None,
}

/// What installs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packages {
    Apt,
    Dnf,
    Apk,
}

impl Facts {
    /// Reads a server's answer; lines that say nothing known are skipped.
    pub(crate) fn read(answer: &str) -> Self {
        let mut facts = Self::default();
        for line in answer.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            facts.line(key, value.trim());
        }
        facts
    }

    fn line(&mut self, key: &str, value: &str) {
        let text = || words(value);
        let both = |scale: u64| {
            let (left, right) = value.split_once(' ')?;
            let number = |text: &str| text.parse::<u64>().ok().map(|n| n.saturating_mul(scale));
            Some((number(left)?, number(right)?))
        };
        match key {
            "end" => self.whole = true,
            "user" => self.user = value.parse().ok(),
            "os" => self.os = text(),
            "kernel" => self.kernel = text(),
            "machine" => self.machine = text(),
            "init" => self.init = text(),
            "id" => self.id = text(),
            "packages" => {
                self.packages = match value {
                    "apt-get" => Some(Packages::Apt),
                    "dnf" => Some(Packages::Dnf),
                    "apk" => Some(Packages::Apk),
                    _ => None,
                };
            }
            "tool" => {
                self.tools.insert(text());
            }
            "cni" => {
                self.cni.insert(text());
            }
            "containerd" => self.containerd = text(),
            "service" => {
                let (active, enabled) = value.split_once(' ').unwrap_or((value, ""));
                self.service = (words(active), words(enabled));
            }
            "socket" => self.socket = true,
            "restart" => self.restart = text(),
            "config" => self.config = text(),
            "overlay" => self.overlay = true,
            "cgroup" => self.cgroup = text(),
            "nft" => self.nft = Some(text()),
            "drops" if self.drops.len() < 16 => self.drops.push(text()),
            "flushes" => self.flushes = true,
            "disk" => self.disk = both(1024),
            "inodes" => self.inodes = both(1),
            "memory" => self.memory = value.parse().ok().map(|kib: u64| kib.saturating_mul(1024)),
            "ntp" => self.ntp = Some(value == "yes"),
            "selinux" => self.selinux = text(),
            "sshd" => {
                if let Some((key, value)) = value.split_once(' ') {
                    self.sshd.insert(words(key), words(value));
                }
            }
            "route" => {
                if let Some((address, way)) = value.split_once(' ')
                    && let Ok(address) = address.parse()
                {
                    let way = match way {
                        "direct" => Way::Direct,
                        "via" => Way::Router,
                        _ => Way::None,
                    };
                    self.routes.insert(address, way);
                }
            }
            "range" => {
                if let Some((range, device)) = value.split_once(' ')
                    && let Ok(range) = range.parse()
                    && self.ranges.len() < 4096
                {
                    self.ranges.push((range, words(device)));
                }
            }
            "now" => self.now = value.parse().ok(),
            _ => {}
        }
    }
}
