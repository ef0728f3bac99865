//! Lowering of the files that the text puts into containers.
//!
//! What is in them leaves here under its digest, for the whole graph; a template only names it. A file is at
//! a path where nothing else is, and not in a folder of its node, where its place would have to be made.

use std::collections::BTreeSet;

use berth_lang::{SecretPart, Value};

use super::container::At;
use super::volume::no_place_to_mount;
use super::{Lowering, list, number, strings, text};
use crate::plan::content::{AtRest, File, Files, MOST_BYTES, MOST_BYTES_TOGETHER, MOST_FILES};
use crate::plan::graph::PodTemplate;
use crate::plan::names::ContentDigest;
use crate::plan::secret;

impl Lowering<'_> {
    /// The files of one container.
    pub(super) fn files(&mut self, at: &At<'_>) -> Files {
        let mut files = Files::new();
        let Some(Value::Map(entries)) = at.value.get("files") else { return files };
        if entries.len() > MOST_FILES {
            self.setting(
                at,
                "files",
                format!("{} files are too many for a container", entries.len()),
                format!("at most {MOST_FILES} are; more belong into its image, or into a volume"),
            );
            return files;
        }
        for (path, value) in entries {
            let field = format!("files.{path}");
            if let Some(why) = no_place_to_mount(path).or_else(|| taken(at, path)) {
                self.setting(
                    at,
                    &field,
                    format!("no file can be at `{}`: {why}", path.escape_debug()),
                    "write `files: { \"/etc/web.toml\": \"pool = 20\" }`, the whole path in the container first",
                );
            }
            let (content, sealed) = self.content(at, &field, value);
            if content.len() > MOST_BYTES {
                self.setting(
                    at,
                    &field,
                    format!("a file of {} bytes is too large", content.len()),
                    format!("the text's files have at most {MOST_BYTES} bytes; put it into the image, or into a volume"),
                );
            }
            let mode = text(value, "mode").and_then(|mode| u32::from_str_radix(&mode, 8).ok());
            let mut file = File::of(self.contents.add(content));
            file.sealed = sealed;
            file.at_rest = value.get("at_rest").and_then(at_rest);
            file.mode = mode.unwrap_or(file.mode);
            file.user = number(value, "user").unwrap_or(0);
            file.group = number(value, "group").unwrap_or(0);
            files.insert(path.to_string(), file);
        }
        files
    }

    /// What is in a file, with marks for secrets, and these.
    fn content(
        &mut self,
        at: &At<'_>,
        field: &str,
        value: &Value,
    ) -> (String, BTreeSet<ContentDigest>) {
        let Some(Value::Secret(parts)) = value.get("text") else {
            return (text(value, "text").unwrap_or_default(), BTreeSet::new());
        };
        let only = |part: &SecretPart| match part {
            SecretPart::Text(text) => Some(text.to_string()),
            SecretPart::Secret(_) => None,
        };
        if let Some(plain) = parts.iter().map(only).collect::<Option<String>>() {
            return (plain, BTreeSet::new());
        }
        for part in parts.iter() {
            if let SecretPart::Secret(name) = part
                && let Some(sealed) = self.vault.get(&**name)
            {
                self.contents.add_sealed(sealed);
            }
        }
        secret::content(parts, self.vault).unwrap_or_else(|| {
            self.setting(
                at,
                field,
                "a secret in this file is not known".to_owned(),
                "`secret NAME = age(\"secrets.toml\", key: \"NAME\")` says where it is kept; `berth secret set` puts it there",
            );
            Default::default()
        })
    }

    /// Checks that all files of a replica together are no burden for plans.
    pub(super) fn few_bytes(&mut self, at: &At<'_>, template: &PodTemplate) {
        let lengths = template.contents().filter_map(|content| self.contents.get(content));
        let bytes: usize = lengths.map(|text| text.len()).sum();
        if bytes > MOST_BYTES_TOGETHER {
            self.setting(
                at,
                "files",
                format!("all files of a replica together have {bytes} bytes, which is too much"),
                format!("they have at most {MOST_BYTES_TOGETHER}; put what is large into the image, or into a volume"),
            );
        }
    }
}

/// How a node keeps a secret.
fn at_rest(value: &Value) -> Option<AtRest> {
    let Value::Case { name, fields: _ } = value else { return None };
    match &**name {
        "sealed" => Some(AtRest::Sealed),
        "memory" => Some(AtRest::Memory),
        _ => None,
    }
}

/// Why a path of a container is not free for a file.
fn taken(at: &At<'_>, path: &str) -> Option<&'static str> {
    let has = |field: &str| match at.value.get(field) {
        Some(Value::Map(entries)) => entries.contains_key(path),
        Some(_) | None => false,
    };
    let shared = strings(at.value.get("share"));
    let scratch = list(at.value.get("scratch"));
    if ["mounts", "tmpfs", "binds"].into_iter().any(has)
        || shared.contains_key(path)
        || scratch.iter().any(|other| other == path)
    {
        return Some("something else is there");
    }
    let binds = match at.value.get("binds") {
        Some(Value::Map(entries)) => entries.keys().collect(),
        Some(_) | None => Vec::new(),
    };
    let inside = |bind: &&std::sync::Arc<str>| {
        path.strip_prefix(&***bind).is_some_and(|rest| rest.starts_with('/'))
    };
    binds.iter().any(inside).then_some("a folder of its node is there")
}
