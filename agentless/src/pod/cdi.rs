//! Devices by the names that their vendors give them: the Container Device Interface.
//!
//! A node says in `/etc/cdi` and `/var/run/cdi` (`*.json`, `*.yaml`) what a device such as `nvidia.com/gpu=all` takes: device
//! files, mounts, environment, hooks. What is in the second folder goes before what is in the first; a name that two files
//! of one folder have is nobody's. Source: the CDI specification, version 1.0.0 (`SPEC.md`); what later versions add is
//! refused where a device has it, not left out.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::confine::Device;

/// Whether a device is named by its vendor, not by its path.
pub(super) fn is_name(device: &str) -> bool {
    !device.starts_with('/')
}

/// A file as the node shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    path: String,
    text: String,
}

/// Reads what the node shows: `PATH BASE64`, a line each, those that go before others last.
pub(super) fn files(output: &str) -> Vec<File> {
    let file = |line: &str| {
        let (path, text) = line.split_once(' ')?;
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        Some(File { path: path.to_owned(), text })
    };
    output.lines().filter_map(file).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cdi_version: String,
    kind: String,
    #[serde(default)]
    devices: Vec<Named>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What a device takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edits {
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    device_nodes: Vec<Node>,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    hooks: Vec<Hook>,
    #[serde(default, rename = "additionalGids", alias = "additionalGIDs")]
    additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Node {
    path: String,
    host_path: Option<String>,
    r#type: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mount {
    host_path: String,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
    r#type: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Hook {
    hook_name: String,
    path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<u32>,
}

/// All that the named devices take, in the order in which it is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found(Vec<Edits>);

impl Node {
    fn host(&self) -> &str {
        self.host_path.as_deref().unwrap_or(&self.path)
    }

    fn is_whole(&self) -> bool {
        self.r#type.is_some() && self.major.is_some() && self.minor.is_some()
    }
}

/// Finds devices by their names.
///
/// # Errors
/// Which name is nobody's or two files', or which file cannot be read, in words.
pub(super) fn find<'a>(
    files: &[File],
    names: impl Iterator<Item = &'a String>,
) -> Result<Found, String> {
    let folder =
        |file: &File| file.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut known: BTreeMap<String, (usize, Edits)> = BTreeMap::new();
    let mut twice: BTreeMap<String, [String; 2]> = BTreeMap::new();
    let (mut specs, mut bad) = (BTreeMap::new(), None);
    for (index, file) in files.iter().enumerate() {
        let spec = match read(file) {
            Ok(spec) => spec,
            // It concerns nobody whose device is in another.
            Err(why) => {
                bad.get_or_insert(why);
                continue;
            }
        };
        for device in &spec.devices {
            let name = format!("{}={}", spec.kind, device.name);
            let edits = device.container_edits.clone();
            let Some((earlier, _)) = known.insert(name.clone(), (index, edits)) else { continue };
            match files.get(earlier) {
                Some(other) if folder(other) == folder(file) => {
                    twice.insert(name, [other.path.clone(), file.path.clone()]);
                }
                // What goes before it is alone again.
                Some(_) | None => drop(twice.remove(&name)),
            }
        }
        specs.insert(index, spec);
    }
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for name in names {
        if let Some([one, two]) = twice.get(name) {
            return Err(format!("both {one} and {two} have it"));
        }
        let Some((index, edits)) = known.get(name) else {
            if let Some(bad) = bad {
                return Err(bad);
            }
            let mut there: Vec<_> = known.keys().map(String::as_str).take(20).collect();
            if there.is_empty() {
                there.push("none");
            }
            return Err(format!(
                "its node knows no such device; in /etc/cdi and /var/run/cdi there is {}",
                there.join(", ")
            ));
        };
        if used.insert(*index) {
            found.extend(specs.get(index).map(|spec| spec.container_edits.clone()));
        }
        found.push(edits.clone());
    }
    Ok(Found(found))
}

fn read(file: &File) -> Result<Spec, String> {
    let File { path, text } = file;
    let bad = |why: &str| format!("{path}: {why}");
    // JSON is YAML, but errors of a reader of its own are better.
    let spec: Spec = if path.ends_with(".json") {
        serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?
    } else {
        serde_saphyr::from_str(text).map_err(|error| bad(&error.to_string()))?
    };
    let major = spec.cdi_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major > 1) {
        return Err(bad(&format!(
            "it is of CDI version {}, and this Berth knows 1",
            spec.cdi_version
        )));
    }
    let all = spec.devices.iter().map(|device| &device.container_edits);
    for edits in all.chain([&spec.container_edits]) {
        let nodes = edits.device_nodes.iter().flat_map(|node| [node.path.as_str(), node.host()]);
        let mounts = edits.mounts.iter().flat_map(|m| [&*m.host_path, &*m.container_path]);
        let hooks = edits.hooks.iter().map(|hook| hook.path.as_str());
        if let Some(odd) = nodes.chain(mounts).chain(hooks).find(|path| !path.starts_with('/')) {
            return Err(bad(&format!("`{}` is no whole path", odd.escape_debug())));
        }
        if let Some(odd) = edits.hooks.iter().find(|hook| kind_of(&hook.hook_name).is_none()) {
            return Err(bad(&format!("there is no hook `{}`", odd.hook_name.escape_debug())));
        }
        if let Some(odd) = edits.env.iter().find(|pair| !pair.contains('=')) {
            return Err(bad(&format!("`{}` is no variable", odd.escape_debug())));
        }
    }
    Ok(spec)
}

/// A kind of hooks, as the runtime specification names it.
fn kind_of(name: &str) -> Option<&'static str> {
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        .into_iter()
        .find(|kind| *kind == name)
}

impl Found {
    /// Device files whose numbers only the node knows.
    pub(super) fn unknown(&self) -> BTreeSet<&str> {
        let nodes = self.0.iter().flat_map(|edits| &edits.device_nodes);
        nodes.filter(|node| !node.is_whole()).map(Node::host).collect()
    }

    /// Takes in what the node says of them.
    ///
    /// # Errors
    /// The first that it does not have.
    pub(super) fn learn(&mut self, known: &[Device]) -> Result<(), String> {
        for node in self.0.iter_mut().flat_map(|edits| &mut edits.device_nodes) {
            if node.is_whole() {
                continue;
            }
            let at = known.iter().find(|device| device.path == node.host());
            let Some(at) = at else { return Err(format!("its node has none at {}", node.host())) };
            node.r#type = Some(at.kind.clone());
            (node.major, node.minor) = (Some(at.major), Some(at.minor));
        }
        Ok(())
    }

    /// Puts it into a specification.
    pub(super) fn apply(&self, spec: &mut Value) {
        for edits in &self.0 {
            for pair in &edits.env {
                let name = |pair: &str| pair.split('=').next().map(str::to_owned);
                change(&mut spec["process"]["env"], |env| {
                    env.retain(|known| known.as_str().and_then(name) != name(pair));
                    env.push(json!(pair));
                });
            }
            for node in &edits.device_nodes {
                let (kind, major, minor) = (&node.r#type, node.major, node.minor);
                let file = json!({
                    "path": node.path, "type": kind, "major": major, "minor": minor,
                    "fileMode": node.file_mode.unwrap_or(0o666),
                    "uid": node.uid.unwrap_or(0), "gid": node.gid.unwrap_or(0),
                });
                let access = node.permissions.as_deref().unwrap_or("rwm");
                let rule = json!({
                    "allow": true, "type": kind, "major": major, "minor": minor, "access": access,
                });
                change(&mut spec["linux"]["devices"], |devices| devices.push(file));
                change(&mut spec["linux"]["resources"]["devices"], |rules| rules.push(rule));
            }
            for mount in &edits.mounts {
                let one = json!({
                    "destination": mount.container_path, "source": mount.host_path,
                    "type": mount.r#type.as_deref().unwrap_or("bind"), "options": mount.options,
                });
                change(&mut spec["mounts"], |mounts| {
                    mounts.retain(|known| known["destination"] != mount.container_path.as_str());
                    mounts.push(one);
                });
            }
            for hook in &edits.hooks {
                let Some(kind) = kind_of(&hook.hook_name) else { continue };
                let mut said = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
                if let Some(timeout) = hook.timeout {
                    said["timeout"] = json!(timeout);
                }
                change(&mut spec["hooks"][kind], |hooks| hooks.push(said));
            }
            let groups = edits.additional_gids.iter().map(|gid| json!(gid));
            change(&mut spec["process"]["user"]["additionalGids"], |all| all.extend(groups));
        }
    }
}

/// Changes a list of a specification, which begins where there is none.
fn change(value: &mut Value, how: impl FnOnce(&mut Vec<Value>)) {
    if !value.is_array() {
        *value = json!([]);
    }
    if let Value::Array(list) = value {
        how(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `nvidia-ctk cdi generate` writes it, shortened.
    const NVIDIA: &str = r#"---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-ctk
    - hook
    - update-ldcache
    hookName: createContainer
    path: /usr/bin/nvidia-ctk
  mounts:
  - containerPath: /usr/bin/nvidia-smi
    hostPath: /usr/bin/nvidia-smi
    options: [ro, nosuid, nodev, bind]
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/nvidia1
      hostPath: /dev/other1
      type: c
      major: 195
      minor: 1
      permissions: rw
  name: all
kind: nvidia.com/gpu
"#;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn found(files: &[File], names: &[&str]) -> Result<Found, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        find(files, names.iter())
    }

    fn one(kind: &str, name: &str, edits: Value) -> String {
        json!({ "cdiVersion": "0.6.0", "kind": kind, "devices": [{ "name": name, "containerEdits": edits }] })
            .to_string()
    }

    #[test]
    fn a_vendors_file_becomes_what_a_runtime_takes() {
        let files = [file("/etc/cdi/nvidia.yaml", NVIDIA)];
        let mut found = found(&files, &["nvidia.com/gpu=all"]).expect("it is there");
        let asked: Vec<_> = found.unknown().into_iter().collect();
        assert_eq!(asked, ["/dev/nvidia0", "/dev/nvidiactl"]);
        let device =
            |path: &str, minor| Device { path: path.into(), kind: "c".into(), major: 195, minor };
        assert_eq!(
            found.clone().learn(&[device("/dev/nvidia0", 0)]),
            Err("its node has none at /dev/nvidiactl".into())
        );
        found.learn(&[device("/dev/nvidia0", 0), device("/dev/nvidiactl", 255)]).expect("both");
        let mut spec = json!({
            "process": { "env": ["NVIDIA_VISIBLE_DEVICES=all", "A=b"], "user": { "additionalGids": [5] } },
            "mounts": [{ "destination": "/usr/bin/nvidia-smi" }, { "destination": "/proc" }],
            "linux": { "devices": [], "resources": { "devices": [{ "allow": false, "access": "rwm" }] } },
        });
        found.apply(&mut spec);
        assert_eq!(spec["process"]["env"], json!(["A=b", "NVIDIA_VISIBLE_DEVICES=void"]));
        let paths: Vec<_> = spec["linux"]["devices"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|d| &d["path"])
            .collect();
        assert_eq!(paths, ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1"]);
        let rules = &spec["linux"]["resources"]["devices"];
        assert_eq!(rules[0], json!({ "allow": false, "access": "rwm" }));
        assert_eq!(
            rules[3],
            json!({ "allow": true, "type": "c", "major": 195, "minor": 1, "access": "rw" })
        );
        assert_eq!(spec["mounts"].as_array().expect("a list").len(), 2);
        assert_eq!(spec["hooks"]["createContainer"][0]["path"], "/usr/bin/nvidia-ctk");
        assert_eq!(spec["process"]["user"]["additionalGids"], json!([5]));
    }

    #[test]
    fn what_all_devices_of_a_file_take_is_taken_once() {
        let files = [file("/etc/cdi/nvidia.yaml", NVIDIA)];
        let found = found(&files, &["nvidia.com/gpu=0", "nvidia.com/gpu=all"]).expect("both");
        assert_eq!(found.0.len(), 3);
    }

    #[test]
    fn the_second_folder_goes_before_the_first_and_no_name_is_twos() {
        let edits = |value: &str| json!({ "env": [format!("FROM={value}")] });
        let at = |path: &str, from: &str| file(path, &one("lab.test/thing", "a", edits(from)));
        let from = |files: &[File]| {
            found(files, &["lab.test/thing=a"])
                .map(|found| found.0.last().expect("one").env.clone())
        };
        let (one, two) = (at("/etc/cdi/one.json", "one"), at("/etc/cdi/two.json", "two"));
        assert_eq!(
            from(&[one, two]),
            Err("both /etc/cdi/one.json and /etc/cdi/two.json have it".into())
        );
        let all = ["/etc/cdi/one.json", "/etc/cdi/two.json", "/var/run/cdi/x.json"];
        assert_eq!(
            from(&all.map(|path| at(path, path))),
            Ok(vec!["FROM=/var/run/cdi/x.json".into()])
        );
    }

    #[test]
    fn what_cannot_be_is_said() {
        let edits = |edits: Value| {
            found(&[file("/etc/cdi/x.json", &one("a.b/c", "d", edits))], &["a.b/c=d"]).err()
        };
        let cases = [
            (json!({ "deviceNodes": [{ "path": "dev/x" }] }), "`dev/x` is no whole path"),
            (
                json!({ "mounts": [{ "hostPath": "x", "containerPath": "/x" }] }),
                "`x` is no whole path",
            ),
            (
                json!({ "hooks": [{ "hookName": "never", "path": "/x" }] }),
                "there is no hook `never`",
            ),
            (json!({ "env": ["A"] }), "`A` is no variable"),
            (json!({ "intelRdt": {} }), "unknown field `intelRdt`"),
        ];
        for (value, said) in cases {
            let why = edits(value.clone()).unwrap_or_else(|| panic!("{value} was taken"));
            assert!(why.starts_with("/etc/cdi/x.json: ") && why.contains(said), "{why}");
        }
        let newer = one("a.b/c", "d", json!({})).replace("0.6.0", "2.0.0");
        let why = found(&[file("/etc/cdi/x.json", &newer)], &["a.b/c=d"]).expect_err("it is newer");
        assert!(why.contains("CDI version 2.0.0"), "{why}");
        let why = found(&[], &["a.b/c=d"]).expect_err("nobody has it");
        assert!(why.ends_with("there is none"), "{why}");
        let why = found(&[file("/etc/cdi/nvidia.yaml", NVIDIA)], &["a.b/c=d"])
            .expect_err("nobody has it");
        assert!(why.ends_with("there is nvidia.com/gpu=0, nvidia.com/gpu=all"), "{why}");
    }

    #[test]
    fn a_bad_file_concerns_nobody_whose_device_is_in_another() {
        let newer = one("x.y/z", "d", json!({})).replace("0.6.0", "2.0.0");
        let files = [file("/etc/cdi/bad.json", &newer), file("/etc/cdi/nvidia.yaml", NVIDIA)];
        assert_eq!(found(&files, &["nvidia.com/gpu=0"]).expect("it is there").0.len(), 2);
        let why = found(&files, &["x.y/z=d"]).expect_err("it is newer");
        assert!(why.starts_with("/etc/cdi/bad.json"), "{why}");
    }

    #[test]
    fn files_as_nodes_show_them() {
        let text = STANDARD.encode("{}");
        let found = files(&format!(
            "/etc/cdi/a b.json {text}\n/etc/cdi/c.json {text}\nx\n/etc/cdi/d.json ???\n"
        ));
        assert_eq!(found, [file("/etc/cdi/c.json", "{}")]);
    }

    proptest::proptest! {
        /// No file of a node makes it panic.
        #[test]
        fn nothing_panics(text in ".{0,200}") {
            for name in ["/etc/cdi/x.json", "/etc/cdi/x.yaml"] {
                let _ = found(&[file(name, &text)], &["a.b/c=d"]);
            }
        }
    }
}
