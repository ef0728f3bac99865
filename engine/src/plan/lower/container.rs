//! Lowering of how a container runs: users, capabilities, limits, and what it sees of its node.
//!
//! A mistake here is a word that the kernel does not know, or a path that no container can have. What
//! only a node can know, such as whether it has a device, is found out when the container is made.

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Resource, Span, Value};

use super::volume::no_place_to_mount;
use super::{Lowering, list, list_of, number, origin, strings, text};
use crate::plan::container::{Bind, CAPABILITIES, Io, Settings, ULIMITS, signal};

/// Kernel settings that a network or an IPC namespace has of its own. Source: the runtime
/// specification's `config-linux.md`, "Sysctl", and namespaces(7).
const SYSCTLS: [&str; 4] = ["net.", "kernel.shm", "kernel.msg", "fs.mqueue."];

/// What is run before an end is one label of the container, and containerd takes labels of at most 4096
/// bytes; each byte of a word takes at most six there, and few do.
const MOST_WORDS: usize = 1_000;

/// A container in the text: a service's own, or one beside it.
pub(super) struct At<'a> {
    /// The service.
    pub(super) resource: &'a Resource,
    /// What the text says of the container.
    pub(super) value: &'a Value,
    /// The path of its fields from the service's, with a dot at its end; empty for the service's own.
    pub(super) path: String,
}

impl<'a> At<'a> {
    /// A service's own container.
    pub(super) fn main(resource: &'a Resource) -> Self {
        Self { resource, value: resource.value(), path: String::new() }
    }

    pub(super) fn origin(&self, field: &str) -> Span {
        let path = format!("{}{field}", self.path);
        origin(self.resource, path.trim_end_matches('.'))
    }
}

impl Lowering<'_> {
    /// How a container of a service runs.
    pub(super) fn settings(&mut self, at: &At<'_>) -> Option<Box<Settings>> {
        let value = at.value;
        let none = Value::Map(BTreeMap::new());
        let security = value.get("security").unwrap_or(&none);
        let flag = |name: &str| matches!(security.get(name), Some(Value::Bool(true)));
        let unconfined = matches!(security.get("seccomp"),
            Some(Value::Case { name, fields: _ }) if &**name == "unconfined");
        let ids = list_of(security.get("groups")).iter().filter_map(|id| match id {
            Value::Int(id) => u32::try_from(*id).ok(),
            _ => None,
        });
        let settings = Settings {
            user: self.user(at),
            groups: ids.collect(),
            workdir: self.workdir(at),
            add: self.capabilities(at, "add"),
            drop: self.capabilities(at, "drop"),
            read_only: flag("read_only"),
            new_privileges: flag("new_privileges"),
            unconfined,
            apparmor: text(security, "apparmor"),
            sysctls: self.sysctls(at),
            ulimits: self.ulimits(at),
            pids: value.get("limits").and_then(|limits| number(limits, "pids")),
            io: value.get("limits").and_then(|limits| limits.get("io")).map(io).unwrap_or_default(),
            tmpfs: self.tmpfs(at),
            binds: self.binds(at),
            devices: self.devices(at),
            stop_signal: self.stop_signal(at),
            before_stop: self.before_stop(at),
        };
        self.once(at, &settings);
        (!settings.is_default()).then(|| Box::new(settings))
    }

    fn user(&mut self, at: &At<'_>) -> Option<String> {
        let user = text(at.value, "user")?;
        let parts = user.split(':').count();
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
        if parts > 2 || user.split(':').any(str::is_empty) || user.contains(odd) {
            self.setting(
                at,
                "user",
                format!("`{}` names no user", user.escape_debug()),
                "write a number or a name that the image knows, and a group if need be: \"1000\", \"web\", \"1000:1000\"",
            );
        }
        Some(user)
    }

    fn workdir(&mut self, at: &At<'_>) -> Option<String> {
        let path = text(at.value, "workdir")?;
        if !path.starts_with('/') || path.contains(|c: char| c.is_control()) {
            self.setting(
                at,
                "workdir",
                format!("`{}` is no path to work in", path.escape_debug()),
                "begin it with `/`",
            );
        }
        Some(path)
    }

    fn capabilities(&mut self, at: &At<'_>, field: &str) -> BTreeSet<String> {
        let written = list(at.value.get("security").and_then(|s| s.get(field)));
        let mut known = BTreeSet::new();
        for (index, word) in written.iter().enumerate() {
            let name = word.strip_prefix("CAP_").unwrap_or(word);
            if name != "ALL" && !CAPABILITIES.contains(&name) {
                self.setting(
                    at,
                    &format!("security.{field}.{index}"),
                    format!("the kernel has no capability `{}`", word.escape_debug()),
                    "write one as capabilities(7) does: \"NET_ADMIN\", \"SYS_PTRACE\", or \"ALL\"",
                );
            }
            known.insert(name.to_owned());
        }
        known
    }

    fn sysctls(&mut self, at: &At<'_>) -> BTreeMap<String, String> {
        let sysctls = strings(at.value.get("sysctls"));
        for (name, value) in &sysctls {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            let own = SYSCTLS.iter().any(|of| name.starts_with(of)) || name == "kernel.sem";
            if !own || !name.chars().all(plain) || value.contains(|c: char| c.is_control()) {
                self.setting(
                    at,
                    &format!("sysctls.{name}"),
                    format!("`{}` is no setting that a container has of its own", name.escape_debug()),
                    "those of its network (`net.core.somaxconn`) and of its IPC (`kernel.shmmax`, `kernel.sem`, `fs.mqueue.msg_max`) are",
                );
            }
        }
        sysctls
    }

    fn ulimits(&mut self, at: &At<'_>) -> BTreeMap<String, u64> {
        let mut ulimits = BTreeMap::new();
        let Some(Value::Map(entries)) = at.value.get("ulimits") else { return ulimits };
        for (name, value) in entries.iter() {
            let Value::Int(limit) = value else { continue };
            let limit = u64::try_from(*limit).ok();
            if !ULIMITS.contains(&&**name) || limit.is_none() {
                self.setting(
                    at,
                    &format!("ulimits.{name}"),
                    format!("`{}` is no limit of processes, or is below 0", name.escape_debug()),
                    format!("these are: {}", ULIMITS.join(", ")),
                );
            }
            ulimits.insert(name.to_string(), limit.unwrap_or(0));
        }
        ulimits
    }

    fn tmpfs(&mut self, at: &At<'_>) -> BTreeMap<String, u64> {
        let mut tmpfs = BTreeMap::new();
        let Some(Value::Map(entries)) = at.value.get("tmpfs") else { return tmpfs };
        for (path, value) in entries.iter() {
            let Value::Bytes(bytes) = value else { continue };
            let field = format!("tmpfs.{path}");
            // The shared memory of POSIX is one that every container has, and may need to be larger.
            let wrong = no_place_to_mount(path).filter(|_| &**path != "/dev/shm");
            if let Some(why) = wrong.or((*bytes == 0).then_some("it is of no size")) {
                self.setting(
                    at,
                    &field,
                    format!("nothing can be in memory at `{}`: {why}", path.escape_debug()),
                    "write `tmpfs: { \"/cache\": 64MiB }`",
                );
            }
            tmpfs.insert(path.to_string(), *bytes);
        }
        tmpfs
    }

    fn binds(&mut self, at: &At<'_>) -> BTreeMap<String, Bind> {
        let mut binds = BTreeMap::new();
        let Some(Value::Map(entries)) = at.value.get("binds") else { return binds };
        for (path, value) in entries.iter() {
            let from = text(value, "from").unwrap_or_default();
            let whole = from.starts_with('/')
                && !from.contains(|c: char| c.is_control())
                && !from.split('/').any(|part| matches!(part, "." | ".."));
            let why = match no_place_to_mount(path) {
                Some(why) => Some(format!("{}: {why}", path.escape_debug())),
                None if !whole => {
                    Some(format!("{} is no whole path on a node", from.escape_debug()))
                }
                None => None,
            };
            if let Some(why) = why {
                self.setting(
                    at,
                    &format!("binds.{path}"),
                    format!("this shows nothing of the node: {why}"),
                    "write `binds: { \"/host/log\": { from: \"/var/log\" } }`",
                );
            }
            let writable = matches!(value.get("writable"), Some(Value::Bool(true)));
            binds.insert(path.to_string(), Bind { from, writable });
        }
        binds
    }

    fn devices(&mut self, at: &At<'_>) -> BTreeSet<String> {
        let devices = list(at.value.get("devices"));
        for (index, path) in devices.iter().enumerate() {
            let odd = |c: char| c.is_control() || c.is_whitespace();
            let is_path = path.starts_with("/dev/") && !path.contains(odd) && !path.contains("/..");
            if !is_path && !is_of_vendor(path) {
                self.setting(
                    at,
                    &format!("devices.{index}"),
                    format!("`{}` is no device", path.escape_debug()),
                    "name it by its path on the node, \"/dev/fuse\", or as its vendor does: \"nvidia.com/gpu=all\"",
                );
            }
        }
        devices.into_iter().collect()
    }

    fn stop_signal(&mut self, at: &At<'_>) -> Option<u32> {
        let written = text(at.value, "stop_signal")?;
        let number = signal(&written);
        if number.is_none() {
            self.setting(
                at,
                "stop_signal",
                format!("`{}` is no signal", written.escape_debug()),
                "write it as signal(7) does: \"SIGQUIT\", \"SIGINT\", \"SIGUSR1\"",
            );
        }
        number
    }

    fn before_stop(&mut self, at: &At<'_>) -> Vec<String> {
        let words = list(at.value.get("before_stop"));
        if words.iter().map(String::len).sum::<usize>() > MOST_WORDS {
            self.setting(
                at,
                "before_stop",
                format!("more than {MOST_WORDS} bytes of words are too many here"),
                "put the program into the image, or into a file of the node",
            );
        }
        words
    }

    /// Checks that one thing is at a path.
    fn once(&mut self, at: &At<'_>, settings: &Settings) {
        let mounts = strings_of_keys(at.value.get("mounts"));
        let also = |path: &&String| settings.tmpfs.contains_key(*path) || mounts.contains(*path);
        let both = settings.binds.keys().find(also);
        if let Some(path) = both.or(settings.tmpfs.keys().find(|path| mounts.contains(*path))) {
            self.setting(
                at,
                "mounts",
                format!("two things are at `{path}`"),
                "keep the volume, the memory or the node's folder there, one of them",
            );
        }
    }

    pub(super) fn setting(
        &mut self,
        at: &At<'_>,
        path: &str,
        message: String,
        help: impl Into<String>,
    ) {
        self.report("E0557", at.origin(path), message, help);
    }
}

fn strings_of_keys(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        Some(Value::Map(entries)) => entries.keys().map(ToString::to_string).collect(),
        Some(_) | None => BTreeSet::new(),
    }
}

/// What may be read and written in a second; 0 bytes is no limit.
fn io(value: &Value) -> Io {
    let bytes = |field: &str| match value.get(field) {
        Some(Value::Bytes(bytes)) if *bytes > 0 => Some(*bytes),
        Some(_) | None => None,
    };
    Io {
        read: bytes("read"),
        write: bytes("write"),
        reads: number(value, "reads"),
        writes: number(value, "writes"),
    }
}
/// Whether a device is named as the Container Device Interface has it: `vendor.com/class=name`.
fn is_of_vendor(name: &str) -> bool {
    let part = |text: &str, more: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.chars().all(plain) && ends(text.chars().next()) && ends(text.chars().last())
    };
    let parts =
        name.split_once('/').and_then(|(vendor, rest)| Some((vendor, rest.split_once('=')?)));
    parts.is_some_and(|(vendor, (class, name))| {
        part(vendor, "._-") && part(class, "_-") && part(name, "._-:")
    })
}
