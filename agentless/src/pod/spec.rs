//! A container of a pod and its image's configuration as an OCI runtime specification.
//!
//! Safe by default: no new privileges, fourteen capabilities, masked and read-only paths, as
//! Docker has them; what a text says of them is [`super::confine`]'s. Source: runtime-spec v1.0.2,
//! `config.md` and `config-linux.md`.

use std::collections::BTreeMap;

use berth_engine::plan::action::PodSpec;
use berth_engine::plan::container::Settings;
use berth_engine::plan::names::PodId;
use serde_json::{Value, json};

use super::cdi::Found;
use super::confine::{self, Device, Disk};
use super::part::Part;
use crate::image::oci::RunConfig;
use crate::operate::channel::Size;
use crate::volume;

/// The search path if an image sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

/// Processes and threads of a container unless the text says how many.
const PIDS: u64 = 32_768;

/// Numeric ids, as a runtime wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Groups that its image puts it in.
    pub(crate) groups: Vec<u32>,
}

/// What only the node knows of what a specification names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    pub(crate) user: User,
    pub(crate) devices: Vec<Device>,
    /// What devices take that are named by their vendors.
    pub(crate) named: Found,
    /// The disks that it is on, by their numbers, where what it reads and writes is limited.
    pub(crate) disks: Vec<Disk>,
    /// The processor, as `uname -m` says it.
    pub(crate) machine: String,
}

/// Reads the user of an image where it needs no look-up: numbers, root, or nothing.
pub(crate) fn numeric_user(text: &str) -> Option<User> {
    match text.split_once(':') {
        Some((uid, gid)) => {
            Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()?, groups: Vec::new() })
        }
        None if matches!(text, "" | "0" | "root") => Some(User::default()),
        None => None,
    }
}

/// The command line of a container: its own words where it has some, else the image's.
pub(crate) fn command_line(part: &Part<'_>, image: &RunConfig) -> Vec<String> {
    let (command, args) = (part.command(), part.args());
    let entry = if command.is_empty() { &image.entrypoint } else { command };
    let args = if args.is_empty() && command.is_empty() { &image.cmd } else { args };
    entry.iter().chain(args).cloned().collect()
}

/// The environment: the image's, then the container's over it.
fn environment(part: &Part<'_>, image: &RunConfig) -> Vec<String> {
    let mut env: Vec<(String, String)> =
        vec![("PATH".into(), PATH.into()), ("HOSTNAME".into(), part.pod.id.replica())];
    let image = image.env.iter().filter_map(|pair| pair.split_once('='));
    let ours = part.env().iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in image.chain(ours) {
        match env.iter_mut().find(|(known, _)| known == key) {
            Some(pair) => pair.1 = value.to_owned(),
            None => env.push((key.to_owned(), value.to_owned())),
        }
    }
    env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// What of a pod's own container other containers may share, by its path there.
fn shared(pod: &PodSpec) -> BTreeMap<&str, Value> {
    let namespace = pod.tenant.namespace();
    let bind = |path: &str, source: String| {
        json!({ "destination": path, "type": "bind", "source": source,
                "options": ["rbind", "rprivate", "rw"] })
    };
    let volumes = pod
        .mounts
        .iter()
        .map(|(path, volume)| (path.as_str(), bind(path, volume::data(&namespace, volume))));
    let scratch = pod.scratch.iter().enumerate().map(|(number, path)| {
        (
            path.as_str(),
            bind(path, format!("/var/lib/berth/scratch/{namespace}/{}/{number}", pod.id)),
        )
    });
    let mut shared: BTreeMap<&str, Value> = volumes.chain(scratch).collect();
    if let Some(settings) = &pod.settings {
        shared.extend(confine::binds(settings));
    }
    shared
}

/// A file of the text, which its container only reads.
fn mount_of_file(path: &str, from: &str) -> Value {
    json!({ "destination": path, "type": "bind", "source": from,
            "options": ["rbind", "rprivate", "ro"] })
}

/// What the text puts into a container, by its path, so that a path comes before those inside it.
fn more<'a>(part: &Part<'a>, user: &User) -> BTreeMap<&'a str, Value> {
    let shared = shared(part.pod);
    let mut more = match part.companion {
        None => shared,
        Some(companion) => {
            let from = |(path, of): (&'a String, &String)| {
                let mut mount = shared.get(&**of)?.clone();
                mount["destination"] = json!(path);
                Some((path.as_str(), mount))
            };
            companion.share.iter().filter_map(from).collect()
        }
    };
    more.extend(part.named_files().map(|(path, file, name)| {
        (path, mount_of_file(path, &super::files::path(part.pod, file, &name)))
    }));
    if let Some(settings) = part.settings() {
        more.extend(
            confine::memory(settings, (user.uid, user.gid)).chain(confine::binds(settings)),
        );
    }
    more
}

/// Builds the specification.
pub(crate) fn runtime(part: &Part<'_>, image: &RunConfig, looked: &Looked) -> Value {
    let pod = part.pod;
    let usual = Settings::default();
    let settings = part.settings().unwrap_or(&usual);
    let of_pod = pod.settings.as_deref().unwrap_or(&usual);
    let Looked { user, devices, named: by_vendor, disks, machine } = looked;
    let (devices, allowed) = confine::devices(devices);
    let namespace = pod.tenant.namespace();
    let name = format!("{namespace}-{}", pod.id);
    let files = format!("/etc/berth/tenants/{namespace}/pods/{}", pod.id);
    let mut mounts = usual_mounts();
    mounts.extend(["hosts", "hostname", "resolv.conf"].map(|file| named(&files, file)));
    // After everything else, so that nothing hides them, and instead of what else would be there.
    let more = more(part, user);
    mounts.retain(|mount| mount["destination"].as_str().is_none_or(|at| !more.contains_key(at)));
    mounts.extend(more.into_values());
    let rules = std::iter::once(json!({ "allow": false, "access": "rwm" })).chain(allowed);
    let mut resources = json!({
        "devices": rules.collect::<Vec<_>>(),
        "pids": { "limit": settings.pids.unwrap_or(PIDS) },
    });
    let (cpu_millis, memory_bytes) = (part.cpu_millis(), part.memory_bytes());
    if cpu_millis > 0 {
        // A period of 100 ms, the kernel's own default; a quota below 1 ms is not accepted.
        resources["cpu"] = json!({
            "shares": (cpu_millis.saturating_mul(1024) / 1000).clamp(2, 262_144),
            "period": 100_000,
            "quota": cpu_millis.saturating_mul(100).max(1_000),
        });
    }
    if memory_bytes > 0 {
        resources["memory"] = json!({ "limit": memory_bytes });
    }
    if !settings.io.is_none() {
        resources["blockIO"] = confine::block_io(&settings.io, disks);
    }
    let cwd = match &settings.workdir {
        Some(path) => path,
        None if image.working_dir.is_empty() => "/",
        None => &image.working_dir,
    };
    let groups: Vec<u32> = user.groups.iter().chain(&settings.groups).copied().collect();
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": groups },
            "args": command_line(part, image),
            "env": environment(part, image),
            "cwd": cwd,
            "capabilities": confine::capability_sets(settings),
            "rlimits": confine::rlimits(settings),
            "noNewPrivileges": !settings.new_privileges,
        },
        "root": { "path": "rootfs", "readonly": settings.read_only },
        "hostname": pod.id.replica(),
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/{namespace}/{}", part.id()),
            "resources": resources,
            // The network and what belongs to it are the pod's.
            "sysctl": confine::sysctls(of_pod),
            "devices": devices,
            "namespaces": namespaces(&name, json!({ "type": "pid" })),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    if let Some(profile) = confine::seccomp(settings, machine) {
        spec["linux"]["seccomp"] = profile;
    }
    if let Some(profile) = &settings.apparmor {
        spec["process"]["apparmorProfile"] = json!(profile);
    }
    by_vendor.apply(&mut spec);
    spec
}

/// The namespaces of a container: the pod's, a mount namespace of its own, and processes as given.
fn namespaces(name: &str, processes: Value) -> Value {
    let pins = format!("/run/berth/pods/{name}");
    json!([
        processes,
        { "type": "mount" },
        { "type": "network", "path": format!("/run/netns/{name}") },
        { "type": "ipc", "path": format!("{pins}/ipc") },
        { "type": "uts", "path": format!("{pins}/uts") },
    ])
}

/// What every container has of the kernel's.
fn usual_mounts() -> Vec<Value> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        mount("/run", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ]
}

/// A file of a pod's that says names and addresses.
fn named(files: &str, file: &str) -> Value {
    json!({ "destination": format!("/etc/{file}"), "type": "bind",
            "source": format!("{files}/{file}"), "options": ["rbind", "rprivate", "ro"] })
}

/// Who comes to look at a pod: a process in its namespaces, on an image of its own.
pub(crate) struct Visitor<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a PodId,
    /// The process whose processes it sees.
    pub(crate) process: u32,
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a [(String, String)],
    pub(crate) user: User,
    pub(crate) directory: Option<&'a str>,
    /// What its terminal is named, and its size, if it has one.
    pub(crate) terminal: Option<(&'a str, Size)>,
    pub(crate) machine: &'a str,
}

/// Builds a visitor's specification: as a pod's own, and with what a debugger needs.
pub(crate) fn visiting(visitor: &Visitor<'_>, image: &RunConfig) -> Value {
    let Visitor { namespace, pod, process, user, .. } = visitor;
    let settings = Settings { add: ["SYS_PTRACE".to_owned()].into(), ..Settings::default() };
    let name = format!("{namespace}-{pod}");
    let files = format!("/etc/berth/tenants/{namespace}/pods/{pod}");
    let mut mounts = usual_mounts();
    mounts.extend(["hosts", "hostname", "resolv.conf"].map(|file| named(&files, file)));
    let mut env = vec![format!("PATH={PATH}"), format!("HOSTNAME={}", pod.replica())];
    env.extend(image.env.iter().cloned());
    env.extend(visitor.terminal.map(|(kind, _)| format!("TERM={kind}")));
    env.extend(visitor.env.iter().map(|(key, value)| format!("{key}={value}")));
    let line = || image.entrypoint.iter().chain(&image.cmd).cloned().collect();
    let argv: Vec<String> = if visitor.argv.is_empty() { line() } else { visitor.argv.to_vec() };
    let cwd = visitor.directory.unwrap_or(&image.working_dir);
    let processes = json!({ "type": "pid", "path": format!("/proc/{process}/ns/pid") });
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": visitor.terminal.is_some(),
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
            "args": argv,
            "env": env,
            "cwd": if cwd.is_empty() { "/" } else { cwd },
            "capabilities": confine::capability_sets(&settings),
            "rlimits": confine::rlimits(&settings),
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": false },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/berth-debug/{name}"),
            "resources": {
                "devices": [{ "allow": false, "access": "rwm" }],
                "pids": { "limit": PIDS },
            },
            "namespaces": namespaces(&name, processes),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    if let Some(profile) = confine::seccomp(&settings, visitor.machine) {
        spec["linux"]["seccomp"] = profile;
    }
    // From the start: runc tells its own terminal's size only once the program runs.
    if let Some((_, Size { columns, rows })) = visitor.terminal {
        spec["process"]["consoleSize"] = json!({ "width": columns, "height": rows });
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
            files: std::collections::BTreeMap::new(),
            cpu_millis: 1,
            memory_bytes: 1 << 20,
            asks: None,
            ip4: "10.88.1.11".parse().expect("ip"),
            ip6: "fd00::11".parse().expect("ip"),
            settings: None,
            scratch: std::collections::BTreeSet::new(),
            companions: vec![],
            liveness: None,
            ends: false,
            cron: None,
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
            command_line(&Part::own(&pod), &image()).join(" ")
        };
        assert_eq!(line(&[], &[]), "/entry cmd");
        assert_eq!(line(&[], &["x"]), "/entry x");
        assert_eq!(line(&["y"], &[]), "y");
        assert_eq!(line(&["y"], &["x"]), "y x");
    }

    #[test]
    fn the_pod_s_environment_is_over_the_image_s() {
        let env = environment(&Part::own(&pod()), &image());
        assert_eq!(env[1..], ["HOSTNAME=web-0", "A=ours", "B=image"]);
    }

    #[test]
    fn a_tiny_quota_is_one_that_the_kernel_takes() {
        let spec = runtime(&Part::own(&pod()), &image(), &Looked::default());
        assert_eq!(spec["linux"]["resources"]["cpu"]["quota"], 1000);
        assert_eq!(spec["process"]["noNewPrivileges"], true);
    }

    #[test]
    fn users_that_need_no_look_up() {
        assert_eq!(numeric_user(""), Some(User::default()));
        assert_eq!(numeric_user("7:8"), Some(User { uid: 7, gid: 8, groups: vec![] }));
        assert_eq!(numeric_user("7"), None);
        assert_eq!(numeric_user("web:web"), None);
    }
}
