//! Lowering of what is beside a service's own container: `init`, `sidecars`, `scratch`.
//!
//! What the own container has of the kernel's (network, names, addresses) is theirs too; files are
//! theirs only where `share` says so, and only those that are not the container's own layers.

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Resource, Span, Value};

use super::container::At;
use super::volume::no_place_to_mount;
use super::{ImageName, Lowering, duration, image_name, list, list_of, requests, strings, text};
use crate::plan::companion::{Companion, LONGEST_NAME, Role};
use crate::plan::graph::PodTemplate;
use crate::plan::names::ImageDigest;

/// Containers beside a service's own: more are a mistake of a program that made the text.
const MOST: usize = 16;
/// Folders that go with a replica.
const MOST_SCRATCH: usize = 16;

/// Every container of a service beside its own: its name, when it runs, and where the text has it.
fn beside(resource: &Resource) -> Vec<(String, Role, At<'_>)> {
    let value = resource.value();
    let inits = list_of(value.get("init")).iter().enumerate().map(|(index, value)| {
        let timeout_ms = duration(value, "timeout").unwrap_or(300_000);
        let at = At { resource, value, path: format!("init.{index}.") };
        (text(value, "name").unwrap_or_default(), Role::Init { timeout_ms }, at)
    });
    let sidecars = match value.get("sidecars") {
        Some(Value::Map(entries)) => entries
            .iter()
            .map(|(name, value)| {
                let at = At { resource, value, path: format!("sidecars.{name}.") };
                (name.to_string(), Role::Sidecar, at)
            })
            .collect(),
        Some(_) | None => Vec::new(),
    };
    inits.chain(sidecars).collect()
}

/// The images that a service's containers name beside its own, each with the place that names it.
pub(super) fn images(resource: &Resource) -> Vec<(ImageName, Span)> {
    let named = beside(resource).into_iter().filter_map(|(_, _, at)| {
        let name = at.value.get("image").and_then(image_name)?;
        Some((name, at.origin("image")))
    });
    named.collect()
}

impl Lowering<'_> {
    /// Reads what is beside the container of a template, which is complete but for that.
    pub(super) fn beside(
        &mut self,
        resource: &Resource,
        digests: &BTreeMap<ImageName, ImageDigest>,
        template: &mut PodTemplate,
    ) {
        template.scratch = self.scratch(resource, template);
        let all = beside(resource);
        if all.len() > MOST {
            self.setting(
                &At::main(resource),
                "sidecars",
                format!("{} containers beside one are too many", all.len()),
                format!("at most {MOST} are, those of `init` included"),
            );
            return;
        }
        let mut names = BTreeSet::new();
        for (name, role, at) in all {
            self.name(&at, &name, names.insert(name.clone()));
            let own = || Some((template.image.clone(), template.source.clone()));
            let image = match at.value.get("image") {
                Some(_) => self.image(&at, digests),
                None => own(),
            };
            if role == (Role::Init { timeout_ms: 0 }) {
                self.setting(
                    &at,
                    "timeout",
                    "nothing runs to its end in no time".to_owned(),
                    "write how long it may take: `timeout: 5m`",
                );
            }
            self.pieces(&at, "resources.named");
            let limits = self.limits(&at);
            let share = self.share(&at, template);
            let settings = self.settings(&at);
            let files = self.files(&at);
            // What could not be found out has been reported by whoever looked.
            let Some((image, source)) = image else { continue };
            template.companions.push(Companion {
                name,
                role,
                image,
                source,
                command: list(at.value.get("command")),
                args: list(at.value.get("args")),
                env: strings(at.value.get("env")),
                files,
                resources: at.value.get("resources").map(requests).unwrap_or_default(),
                limits,
                share,
                settings,
            });
        }
    }

    fn name(&mut self, at: &At<'_>, name: &str, is_first: bool) {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let bad = name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(allowed);
        let (message, help) = if bad {
            let help = format!("use 1 to {LONGEST_NAME} of a to z, 0 to 9 and `-`");
            (format!("`{}` cannot name a container", name.escape_debug()), help)
        } else if !is_first {
            let help = "each container beside the service's own has a name of its own".to_owned();
            (format!("two containers are named `{name}`"), help)
        } else {
            return;
        };
        let field = if at.value.get("name").is_some() { "name" } else { "" };
        self.setting(at, field, message, help);
    }

    /// Folders that come empty with a replica and go with it.
    fn scratch(&mut self, resource: &Resource, template: &PodTemplate) -> BTreeSet<String> {
        let at = At::main(resource);
        let paths = list(at.value.get("scratch"));
        let taken = |path: &String| {
            let settings = template.settings.as_ref();
            template.mounts.contains_key(path)
                || settings
                    .is_some_and(|s| s.tmpfs.contains_key(path) || s.binds.contains_key(path))
        };
        for (index, path) in paths.iter().enumerate() {
            let twice = paths.iter().take(index).any(|other| other == path) || taken(path);
            let why = no_place_to_mount(path).or(twice.then_some("something else is there"));
            if let Some(why) = why {
                self.setting(
                    &at,
                    &format!("scratch.{index}"),
                    format!("`{}` is no path for a folder: {why}", path.escape_debug()),
                    "write `scratch: [\"/cache\"]`",
                );
            }
        }
        if paths.len() > MOST_SCRATCH {
            self.setting(
                &at,
                "scratch",
                format!("a service has at most {MOST_SCRATCH} such folders"),
                "keep what belongs together in one",
            );
        }
        paths.into_iter().collect()
    }

    fn share(&mut self, at: &At<'_>, template: &PodTemplate) -> BTreeMap<String, String> {
        let share = strings(at.value.get("share"));
        let PodTemplate { mounts, scratch, settings, .. } = template;
        let bound = |path: &String| settings.as_ref().is_some_and(|s| s.binds.contains_key(path));
        for (path, of) in &share {
            let is_there = mounts.contains_key(of) || scratch.contains(of) || bound(of);
            let taken = ["tmpfs", "binds"]
                .iter()
                .any(|field| at.value.get(field).and_then(|paths| paths.get(path)).is_some());
            let why = match no_place_to_mount(path) {
                Some(why) => Some(why),
                None if taken => Some("something else is there"),
                None => None,
            };
            let (message, help) = match why {
                Some(why) => (
                    format!("nothing can be shared at `{}`: {why}", path.escape_debug()),
                    "write `share: { \"/cache\": \"/cache\" }`, the path in this container first",
                ),
                None if !is_there => (
                    format!(
                        "the service's own container has nothing to share at `{}`",
                        of.escape_debug()
                    ),
                    "share what is in its `mounts`, its `scratch` or its `binds`",
                ),
                None => continue,
            };
            self.setting(at, &format!("share.{path}"), message, help);
        }
        share
    }
}
