//! A pod and its image's configuration as an OCI runtime specification.
//!
//! Safe by default: no new privileges, fourteen capabilities, masked and read-only paths, as
//! Docker has them. Source: runtime-spec v1.0.2, `config.md` and `config-linux.md`.

use berth_engine::plan::action::PodSpec;
use serde_json::{Value, json};

use crate::image::oci::RunConfig;
use crate::volume;

/// The search path if an image sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Numeric ids, as a runtime wants them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Reads the user of an image where it needs no look-up: numbers, root, or nothing.
pub(crate) fn numeric_user(text: &str) -> Option<User> {
    match text.split_once(':') {
        Some((uid, gid)) => Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? }),
        None if matches!(text, "" | "0" | "root") => Some(User::default()),
        None => None,
    }
}

/// The command line of a pod: its own words where it has some, else the image's.
pub(crate) fn command_line(pod: &PodSpec, image: &RunConfig) -> Vec<String> {
    let entry = if pod.command.is_empty() { &image.entrypoint } else { &pod.command };
    let args = if pod.args.is_empty() && pod.command.is_empty() { &image.cmd } else { &pod.args };
    entry.iter().chain(args).cloned().collect()
}

/// The environment: the image's, then the pod's over it.
fn environment(pod: &PodSpec, image: &RunConfig) -> Vec<String> {
    let mut env: Vec<(String, String)> =
        vec![("PATH".into(), PATH.into()), ("HOSTNAME".into(), pod.id.replica())];
    let image = image.env.iter().filter_map(|pair| pair.split_once('='));
    let ours = pod.env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in image.chain(ours) {
        match env.iter_mut().find(|(known, _)| known == key) {
            Some(pair) => pair.1 = value.to_owned(),
            None => env.push((key.to_owned(), value.to_owned())),
        }
    }
    env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Builds the specification.
pub(crate) fn runtime(pod: &PodSpec, image: &RunConfig, user: User) -> Value {
    let namespace = pod.tenant.namespace();
    let name = format!("{namespace}-{}", pod.id);
    let files = format!("/etc/berth/tenants/{namespace}/pods/{}", pod.id);
    let pins = format!("/run/berth/pods/{name}");
    let bind = |file: &str| {
        json!({ "destination": format!("/etc/{file}"), "type": "bind",
                "source": format!("{files}/{file}"), "options": ["rbind", "rprivate", "ro"] })
    };
    let volumes = pod.mounts.iter().map(|(path, volume)| {
        json!({ "destination": path, "type": "bind",
                "source": volume::data(&namespace, volume), "options": ["rbind", "rprivate", "rw"] })
    });
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let mut resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "pids": { "limit": 32768 },
    });
    if pod.cpu_millis > 0 {
        // A period of 100 ms, the kernel's own default; a quota below 1 ms is not accepted.
        resources["cpu"] = json!({
            "shares": (pod.cpu_millis.saturating_mul(1024) / 1000).clamp(2, 262_144),
            "period": 100_000,
            "quota": pod.cpu_millis.saturating_mul(100).max(1_000),
        });
    }
    if pod.memory_bytes > 0 {
        resources["memory"] = json!({ "limit": pod.memory_bytes });
    }
    let cwd = if image.working_dir.is_empty() { "/" } else { &image.working_dir };
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": user.uid, "gid": user.gid },
            "args": command_line(pod, image),
            "env": environment(pod, image),
            "cwd": cwd,
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": pod.id.replica(),
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
            mount("/run", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            bind("hosts"),
            bind("hostname"),
            bind("resolv.conf"),
        ],
        "linux": {
            "cgroupsPath": format!("/{namespace}/{}", pod.id),
            "resources": resources,
            "sysctl": { "net.ipv4.ip_unprivileged_port_start": "0" },
            "namespaces": [
                { "type": "pid" },
                { "type": "mount" },
                { "type": "network", "path": format!("/run/netns/{name}") },
                { "type": "ipc", "path": format!("{pins}/ipc") },
                { "type": "uts", "path": format!("{pins}/uts") },
            ],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    // After everything else, so that nothing hides them; a path comes before those inside it.
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.extend(volumes);
    }
    spec
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use berth_engine::plan::names::{ImageDigest, SpecDigest, Tenant, WorkloadName};

    pub(crate) fn pod() -> PodSpec {
        PodSpec {
            publish: std::collections::BTreeMap::new(),
            mounts: std::collections::BTreeMap::new(),
            id: "web-0.g1".parse().expect("id"),
            tenant: Tenant { project: "shop".into(), environment: "default".into() },
            workload: WorkloadName::new("web"),
            digest: SpecDigest::new("d"),
            image: ImageDigest::new("sha256:i"),
            command: vec![],
            args: vec![],
            env: [("A".to_owned(), "ours".to_owned())].into(),
            cpu_millis: 1,
            memory_bytes: 1 << 20,
            asks: None,
            ip4: "10.88.1.11".parse().expect("ip"),
            ip6: "fd00::11".parse().expect("ip"),
            grace_ms: 1000,
            revision: 3,
        }
    }

    fn image() -> RunConfig {
        RunConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["cmd".into()],
            env: vec!["A=image".into(), "B=image".into()],
            ..RunConfig::default()
        }
    }

    #[test]
    fn words_of_the_pod_replace_the_image_s() {
        let line = |command: &[&str], args: &[&str]| {
            let own = |w: &[&str]| w.iter().map(|w| (*w).to_owned()).collect();
            let pod = PodSpec { command: own(command), args: own(args), ..pod() };
            command_line(&pod, &image()).join(" ")
        };
        assert_eq!(line(&[], &[]), "/entry cmd");
        assert_eq!(line(&[], &["x"]), "/entry x");
        assert_eq!(line(&["y"], &[]), "y");
        assert_eq!(line(&["y"], &["x"]), "y x");
    }

    #[test]
    fn the_pod_s_environment_is_over_the_image_s() {
        let env = environment(&pod(), &image());
        assert_eq!(env[1..], ["HOSTNAME=web-0", "A=ours", "B=image"]);
    }

    #[test]
    fn a_tiny_quota_is_one_that_the_kernel_takes() {
        let spec = runtime(&pod(), &image(), User::default());
        assert_eq!(spec["linux"]["resources"]["cpu"]["quota"], 1000);
        assert_eq!(spec["process"]["noNewPrivileges"], true);
    }

    #[test]
    fn users_that_need_no_look_up() {
        assert_eq!(numeric_user(""), Some(User::default()));
        assert_eq!(numeric_user("7:8"), Some(User { uid: 7, gid: 8 }));
        assert_eq!(numeric_user("7"), None);
        assert_eq!(numeric_user("web:web"), None);
    }
}
