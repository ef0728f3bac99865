//! Lowering of volumes, and of the paths at which services mount them.
//!
//! A mistake here is one that no observation could mend: a path that no container can have, a volume
//! of each replica that two services mount, a name that another volume's folder would have.

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Program, Resource, ResourceKind, Value};

use super::{Lowering, number, of_kind, origin, workloads};
use crate::plan::graph::{Mount, Volume};
use crate::plan::names::{NodeName, VolumeName};
use crate::plan::observation::{OnDelete, VolumeSpec};

/// Where nothing of the user's can be mounted: the kernel's own file systems.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Volumes of one service: their names are one label of its containers, and containerd takes labels of
/// at most 4096 bytes.
const MOST_MOUNTS: usize = 64;

impl Lowering<'_> {
    pub(super) fn volumes(&mut self, program: &Program) -> BTreeMap<VolumeName, Volume> {
        let mut volumes = BTreeMap::new();
        for resource in of_kind(program, ResourceKind::Volume) {
            let name = VolumeName::new(&*resource.name);
            let id = name.id(None);
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            if !id.as_str().bytes().all(allowed) || id.as_str().len() > 40 || id.replica().is_some()
            {
                self.report(
                    "E0549",
                    resource.span(),
                    format!("`{}` cannot name a volume's folder", resource.name),
                    "use at most 40 letters, digits, `_` and `-`, in the key too, and no `-` before a number at its end",
                );
            }
            volumes.insert(name, volume(resource.value()));
        }
        volumes
    }

    /// The volumes that a service mounts; `own` names those of which each replica has one.
    pub(super) fn mounts(
        &mut self,
        resource: &Resource,
        own: &BTreeSet<&str>,
    ) -> BTreeMap<String, Mount> {
        let Some(Value::Map(entries)) = resource.value().get("mounts") else {
            return BTreeMap::new();
        };
        let mut mounts = BTreeMap::new();
        for (path, value) in entries.iter() {
            let Value::Ref { kind: _, name } = value else { continue };
            if let Some(why) = no_place_to_mount(path) {
                self.report(
                    "E0547",
                    origin(resource, &format!("mounts.{path}")),
                    format!("`{}` is no path to mount a volume at: {why}", path.escape_debug()),
                    "write it as \"/var/lib/data\"",
                );
            }
            let each_replica = own.contains(&**name);
            let mount = Mount { volume: VolumeName::new(&**name), each_replica };
            if mounts.values().any(|other| *other == mount) {
                self.report(
                    "E0548",
                    origin(resource, &format!("mounts.{path}")),
                    format!("`{}` is mounted twice by this service", mount.volume),
                    "mount it at one path",
                );
            }
            mounts.insert(path.to_string(), mount);
        }
        if mounts.len() > MOST_MOUNTS {
            self.report(
                "E0548",
                origin(resource, "mounts"),
                format!("a service mounts at most {MOST_MOUNTS} volumes"),
                "keep what belongs together in one volume",
            );
        }
        if !mounts.is_empty()
            && matches!(resource.value().get("every_node"), Some(Value::Bool(true)))
        {
            self.report(
                "E0548",
                origin(resource, "mounts"),
                "a service on every node cannot mount volumes: each of these is on one node",
                "leave `every_node` out, or `mounts`",
            );
        }
        mounts
    }

    /// Checks that each volume of which every replica has one is mounted by one service.
    pub(super) fn mounted_once(&mut self, program: &Program, own: &BTreeSet<&str>) {
        let mut first: BTreeMap<&str, &Resource> = BTreeMap::new();
        for resource in workloads(program) {
            let Some(Value::Map(entries)) = resource.value().get("mounts") else { continue };
            for (path, value) in entries.iter() {
                let Value::Ref { kind: _, name } = value else { continue };
                let Some(name) = own.get(&**name) else { continue };
                if let Some(other) = first.get(name).filter(|other| other.name != resource.name) {
                    let words = format!(
                        "`{name}` has a folder for each replica, and `{}` mounts it already",
                        other.name
                    );
                    self.report(
                        "E0548",
                        origin(resource, &format!("mounts.{path}")),
                        words,
                        "give each of the two services a volume of its own",
                    );
                }
                first.entry(name).or_insert(resource);
            }
        }
    }
}

/// Names the volumes of which each replica has one.
pub(super) fn of_each_replica(program: &Program) -> BTreeSet<&str> {
    of_kind(program, ResourceKind::Volume)
        .filter(|volume| is_each_replica(volume.value()))
        .map(|volume| &*volume.name)
        .collect()
}

fn is_each_replica(value: &Value) -> bool {
    matches!(value.get("each_replica"), Some(Value::Bool(true)))
}

fn volume(value: &Value) -> Volume {
    let on = match value.get("on") {
        Some(Value::Ref { kind: _, name }) => Some(NodeName::new(&**name)),
        Some(_) | None => None,
    };
    let size_bytes = match value.get("size") {
        Some(Value::Bytes(bytes)) => *bytes,
        Some(_) | None => 0,
    };
    let on_delete = match value.get("on_delete") {
        Some(Value::Case { name, fields: _ }) if &**name == "destroy" => OnDelete::Destroy,
        Some(_) | None => OnDelete::Retain,
    };
    let spec = VolumeSpec {
        size_bytes,
        user: number(value, "user").unwrap_or(0),
        group: number(value, "group").unwrap_or(0),
        on_delete,
        protect: matches!(value.get("protect"), Some(Value::Bool(true))),
        // What its folder is called is not the text's to say.
        called: None,
    };
    Volume { on, each_replica: is_each_replica(value), spec }
}

/// Why a path is none to mount at, if so.
pub(super) fn no_place_to_mount(path: &str) -> Option<&'static str> {
    let inside = |folder: &&str| {
        path.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !path.starts_with('/') {
        return Some("it does not begin with `/`");
    }
    if path.len() < 2 || path.ends_with('/') {
        return Some("it names no folder, or ends with `/`");
    }
    if path.contains(|c: char| c.is_control()) || path.len() > 255 {
        return Some("it is too long, or holds a control character");
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Some("it holds an empty part, `.` or `..`");
    }
    KERNEL.iter().any(inside).then_some("the kernel's own files are there")
}
