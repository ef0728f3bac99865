//! How a container runs beside what its image says: its user, what it may do, what it sees.
//!
//! Nothing said is the safe default: the image's user, fourteen capabilities, no new privileges, the
//! calls refused that containers rarely need. What a container is made of (image, words, resources)
//! is [`super::graph::PodTemplate`]'s.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How a container runs where the text says anything of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The user as OCI images name one: `1000`, `1000:1000`, `web`, `web:web`; the image's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Groups beside the user's own, by number.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<u32>,
    /// The working directory; the image's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Capabilities beside the usual ones, as the kernel names them without `CAP_`; `ALL` is all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub add: BTreeSet<String>,
    /// Capabilities that it has not; `ALL` is all but those to add.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub drop: BTreeSet<String>,
    /// Whether nothing can be written in it but volumes and what is in memory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Whether programs may gain privileges, as set-user-id ones do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub new_privileges: bool,
    /// Whether the kernel refuses no calls.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unconfined: bool,
    /// A profile of AppArmor that its node has loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// Settings of the kernel for its own network and IPC.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Limits of its processes, by the names that `setrlimit` has in lower case, without `RLIMIT_`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, u64>,
    /// How many processes and threads it may have; 32,768 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// How much it may read and write.
    #[serde(skip_serializing_if = "Io::is_none")]
    pub io: Io,
    /// Folders in memory, by their paths, with the most bytes that they take.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, u64>,
    /// Files and folders of its node, by their paths in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub binds: BTreeMap<String, Bind>,
    /// Devices of its node, by their paths, which are the same in it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<String>,
    /// The signal that asks it to end, by number; the image's if absent, else 15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<u32>,
    /// A program that is run in it before it is asked to end, within its grace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_stop: Vec<String>,
}

/// How much may be read and written in a second, of each disk that containers and volumes are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Io {
    /// Bytes that are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes that are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<u64>,
    /// How often something is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<u64>,
    /// How often something is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
}

impl Io {
    /// Says whether there is no limit.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A file or folder of a node as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bind {
    /// Its path on the node.
    pub from: String,
    /// Whether the container may write there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable: bool,
}

impl Settings {
    /// Says whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the kernel calls its capabilities, without `CAP_`. Source: `linux/capability.h` of 6.1.
pub const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// What a container may unless the text says otherwise; Docker's default. Source:
/// docs.docker.com/engine/security, "Linux kernel capabilities".
pub const USUAL: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Limits of processes. Source: getrlimit(2).
pub const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Signals by their names without `SIG`, as x86-64 and arm64 number them. Source: signal(7).
const SIGNALS: [(&str, u32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Reads a signal as images and the text name it: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub fn signal(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    // What C libraries leave to programs begins at 34.
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let above =
            if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<u32>().ok()? };
        return (above <= 30).then_some(34 + above);
    }
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Names a signal: `SIGQUIT`.
pub fn signal_name(number: u32) -> String {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None if number >= 34 => format!("SIGRTMIN+{}", number - 34),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_every_name() {
        for (text, number) in
            [("SIGTERM", Some(15)), ("QUIT", Some(3)), ("9", Some(9)), ("SIGRTMIN+3", Some(37))]
        {
            assert_eq!(signal(text), number, "{text}");
        }
        for text in ["", "0", "65", "SIGNOPE", "sigterm", "SIGRTMIN+31", "SIGRTMIN3", "-1"] {
            assert_eq!(signal(text), None, "{text}");
        }
        for number in (1..=31).chain(34..=64) {
            assert_eq!(signal(&signal_name(number)), Some(number));
        }
    }

    #[test]
    fn the_usual_capabilities_are_known_ones() {
        assert!(USUAL.iter().all(|usual| CAPABILITIES.contains(usual)));
        assert!(CAPABILITIES.is_sorted() && ULIMITS.is_sorted());
    }
}
