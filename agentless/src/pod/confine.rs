//! What a container may do and sees of its node, in the words of an OCI runtime specification.
//!
//! Calls that the kernel refuses are named rather than those that it allows: a list of what is allowed
//! breaks programs with every new kernel. Sources: runtime-spec v1.0.2 `config-linux.md`;
//! docs.docker.com/engine/security/seccomp, "Significant syscalls blocked"; capabilities(7).

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::container::{Bind, CAPABILITIES, Io, Settings, USUAL};
use serde_json::{Value, json};

/// Calls that change the node itself or its kernel, and what a capability has to be added for.
const REFUSED: [(&str, &[&str]); 12] = [
    ("BPF", &["bpf"]),
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("PERFMON", &["perf_event_open"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "swapoff",
            "swapon",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["kexec_file_load", "kexec_load", "reboot"]),
    ("SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp"]),
    ("SYS_RAWIO", &["ioperm", "iopl"]),
    ("SYS_TIME", &["clock_adjtime", "clock_settime", "settimeofday", "stime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYSLOG", &["syslog"]),
];

/// Calls that no capability makes safe: keys are not of a namespace, the others are old or wide doors.
const NEVER: [&str; 14] = [
    "_sysctl",
    "add_key",
    "create_module",
    "get_kernel_syms",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "nfsservctl",
    "query_module",
    "request_key",
    "uselib",
    "userfaultfd",
    "vm86",
];

/// `CLONE_NEW*` of clone(2): mount, cgroup, uts, ipc, user, pid and net.
const NEW_NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// ENOSYS: C libraries fall back from clone3 to clone, whose flags can be looked at.
const ENOSYS: u32 = 38;

/// The capabilities that a container has.
pub(super) fn capabilities(settings: &Settings) -> BTreeSet<&str> {
    let Settings { add, drop, .. } = settings;
    let all = |words: &BTreeSet<String>| words.contains("ALL");
    let mut has: BTreeSet<&str> = if all(drop) { BTreeSet::new() } else { USUAL.into() };
    has.retain(|name| !drop.contains(*name));
    if all(add) {
        has.extend(CAPABILITIES.iter().filter(|name| !drop.contains(**name)));
    }
    has.extend(add.iter().map(String::as_str).filter(|name| *name != "ALL"));
    has
}

/// The same as the specification has it. Those that the text adds are ambient, so that a process that
/// is not root has them too.
pub(super) fn capability_sets(settings: &Settings) -> Value {
    let named = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("CAP_{name}")).collect::<Vec<_>>()
    };
    let has = named(&mut capabilities(settings).into_iter());
    let added = settings.add.iter().map(String::as_str).filter(|name| *name != "ALL");
    let ambient = named(&mut added.into_iter());
    json!({
        "bounding": has, "effective": has, "permitted": has,
        "inheritable": ambient, "ambient": ambient,
    })
}

/// The calls that the kernel refuses, if any.
pub(super) fn seccomp(settings: &Settings, machine: &str) -> Option<Value> {
    if settings.unconfined {
        return None;
    }
    let has = capabilities(settings);
    let mut refused: BTreeSet<&str> = NEVER.into();
    for (capability, calls) in REFUSED {
        if !has.contains(capability) {
            refused.extend(calls);
        }
    }
    // What two capabilities allow, one is enough for.
    for (capability, calls) in REFUSED {
        if has.contains(capability) {
            refused.retain(|call| !calls.contains(call));
        }
    }
    let mut rules = vec![json!({ "names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 })];
    if !has.contains("SYS_ADMIN") {
        rules.extend(NEW_NAMESPACES.map(|flag| {
            json!({
                "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                "args": [{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }],
            })
        }));
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }));
    }
    // Programs for the same processor's older words come by the same rules.
    let architectures: &[&str] = match machine {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &[],
    };
    let form = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules });
    Some(form)
}

/// Limits of processes, hard and soft alike.
pub(super) fn rlimits(settings: &Settings) -> Vec<Value> {
    let one = |(name, limit): (&String, &u64)| json!({ "type": format!("RLIMIT_{}", name.to_uppercase()), "hard": limit, "soft": limit });
    settings.ulimits.iter().map(one).collect()
}

/// Settings of the kernel: the text's over ours.
pub(super) fn sysctls(settings: &Settings) -> BTreeMap<&str, &str> {
    let mut sysctls: BTreeMap<&str, &str> = [("net.ipv4.ip_unprivileged_port_start", "0")].into();
    sysctls.extend(settings.sysctls.iter().map(|(name, value)| (&**name, &**value)));
    sysctls
}

/// What is in memory, by its path. It belongs to the container's user: up to 1.1, runc gives it the mode
/// of the folder that it hides, whatever is asked for.
pub(super) fn memory(
    settings: &Settings,
    (uid, gid): (u32, u32),
) -> impl Iterator<Item = (&str, Value)> {
    settings.tmpfs.iter().map(move |(path, bytes)| {
        let (size, uid, gid) =
            (format!("size={bytes}"), format!("uid={uid}"), format!("gid={gid}"));
        let options = ["nosuid", "nodev", "mode=1777", &size, &uid, &gid];
        (
            &**path,
            json!({ "destination": path, "type": "tmpfs", "source": "tmpfs", "options": options }),
        )
    })
}

/// What is of the node, by its path.
pub(super) fn binds(settings: &Settings) -> impl Iterator<Item = (&str, Value)> {
    settings.binds.iter().map(|(path, bind)| {
        let Bind { from, writable } = bind;
        let options = ["rbind", "rprivate", if *writable { "rw" } else { "ro" }];
        (
            &**path,
            json!({ "destination": path, "type": "bind", "source": from, "options": options }),
        )
    })
}

/// A device of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) path: String,
    /// `b` or `c`.
    pub(crate) kind: String,
    pub(crate) major: i64,
    pub(crate) minor: i64,
}

/// Reads what the node says of a device: `c a e5 /dev/fuse`, its numbers in hexadecimal.
pub(super) fn device(line: &str) -> Option<Device> {
    let mut words = line.splitn(4, ' ');
    let kind = words.next().filter(|kind| matches!(*kind, "b" | "c"))?.to_owned();
    let mut hex = || i64::from_str_radix(words.next()?, 16).ok();
    let (major, minor) = (hex()?, hex()?);
    Some(Device { path: words.next()?.to_owned(), kind, major, minor })
}

/// Devices as the specification has them: the files, and the rules of their control group.
pub(super) fn devices(devices: &[Device]) -> (Vec<Value>, Vec<Value>) {
    let file = |device: &Device| {
        let Device { path, kind, major, minor } = device;
        json!({ "path": path, "type": kind, "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0 })
    };
    let rule = |device: &Device| {
        let Device { path: _, kind, major, minor } = device;
        json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" })
    };
    (devices.iter().map(file).collect(), devices.iter().map(rule).collect())
}

/// A whole disk of a node, by its major and minor number.
pub(crate) type Disk = (i64, i64);

/// Reads what the node says of a disk: `254 0`.
pub(super) fn disk(line: &str) -> Option<Disk> {
    let (major, minor) = line.split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What may be read and written, of each disk alike.
pub(super) fn block_io(io: &Io, disks: &[Disk]) -> Value {
    let disks: BTreeSet<&Disk> = disks.iter().collect();
    let Io { read, write, reads, writes } = io;
    let limits = [
        ("throttleReadBpsDevice", read),
        ("throttleWriteBpsDevice", write),
        ("throttleReadIOPSDevice", reads),
        ("throttleWriteIOPSDevice", writes),
    ];
    let said = limits.into_iter().filter_map(|(name, rate)| Some((name, (*rate)?)));
    let of_disks = |rate: u64| {
        let one = |(major, minor): &&Disk| json!({ "major": major, "minor": minor, "rate": rate });
        disks.iter().map(one).collect::<Vec<_>>()
    };
    said.map(|(name, rate)| (name.to_owned(), json!(of_disks(rate)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_written_is_limited_on_each_disk_once() {
        let io = Io { read: Some(1 << 20), writes: Some(7), ..Io::default() };
        let disks: Vec<Disk> =
            ["254 0", "254 0", "8 16"].iter().filter_map(|line| disk(line)).collect();
        let both = |rate: u64| json!([{ "major": 8, "minor": 16, "rate": rate }, { "major": 254, "minor": 0, "rate": rate }]);
        let wanted =
            json!({ "throttleReadBpsDevice": both(1 << 20), "throttleWriteIOPSDevice": both(7) });
        assert_eq!(block_io(&io, &disks), wanted);
        for line in ["", "254", "254:0", "a b", "btrfs"] {
            assert_eq!(disk(line), None, "{line}");
        }
    }

    fn settings(add: &[&str], drop: &[&str]) -> Settings {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Settings { add: words(add), drop: words(drop), ..Settings::default() }
    }

    #[test]
    fn capabilities_of_what_is_added_and_dropped() {
        let count = |add: &[&str], drop: &[&str]| capabilities(&settings(add, drop)).len();
        assert_eq!(count(&[], &[]), 14);
        assert_eq!(count(&["NET_ADMIN"], &["CHOWN", "KILL"]), 13);
        assert_eq!(count(&["NET_RAW"], &["ALL"]), 1);
        assert_eq!(count(&["ALL"], &[]), 41);
        assert_eq!(count(&["ALL"], &["SYS_ADMIN"]), 40);
    }

    #[test]
    fn only_what_is_added_is_ambient() {
        let sets = capability_sets(&settings(&["NET_ADMIN"], &["ALL"]));
        assert_eq!(sets["ambient"], json!(["CAP_NET_ADMIN"]));
        assert_eq!(sets["bounding"], json!(["CAP_NET_ADMIN"]));
        assert_eq!(capability_sets(&settings(&["ALL"], &[]))["ambient"], json!([]));
    }

    #[test]
    fn a_capability_allows_its_calls() {
        let refuses = |settings: &Settings, call: &str| {
            seccomp(settings, "x86_64").is_some_and(|all| {
                let rules = all["syscalls"].as_array().cloned().unwrap_or_default();
                rules.iter().any(|rule| {
                    rule["names"].as_array().is_some_and(|names| names.contains(&json!(call)))
                })
            })
        };
        let usual = settings(&[], &[]);
        for call in ["mount", "keyctl", "bpf", "clone", "clone3", "reboot", "settimeofday"] {
            assert!(refuses(&usual, call), "{call}");
        }
        assert!(!refuses(&usual, "ptrace") && !refuses(&usual, "chroot"));
        let admin = settings(&["SYS_ADMIN"], &[]);
        assert!(!refuses(&admin, "mount") && !refuses(&admin, "bpf") && !refuses(&admin, "clone"));
        assert!(refuses(&admin, "keyctl") && refuses(&admin, "reboot"));
        assert!(!refuses(&settings(&["BPF"], &[]), "bpf"));
        let unconfined = Settings { unconfined: true, ..Settings::default() };
        assert_eq!(seccomp(&unconfined, "x86_64"), None);
    }

    #[test]
    fn devices_as_nodes_say_them() {
        let fuse = Device { path: "/dev/fuse".into(), kind: "c".into(), major: 10, minor: 229 };
        assert_eq!(device("c a e5 /dev/fuse"), Some(fuse));
        for line in ["", "d 0 0 /dev/x", "c a /dev/fuse", "c zz 1 /dev/x", "c 1 1"] {
            assert_eq!(device(line), None, "{line}");
        }
    }
}
