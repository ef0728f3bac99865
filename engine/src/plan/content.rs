//! Files of the text in containers, and what is in them.
//!
//! A template names what is in a file by its digest, and so does the spec of each pod; the content
//! itself is in a graph, a plan and the ledger once, however many replicas have it. So a plan that goes
//! back to an earlier release has the earlier files, whatever the text says by then. A node keeps
//! them with each pod. Where a secret goes there is a mark, and the secret is here as it is kept, encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::action::PodSpec;
use super::body::PlanBody;
use super::canon::sha256;
use super::graph::{Graph, PodTemplate};
use super::ledger::Head;
use super::names::{ContentDigest, NodeName};
use super::secret::{self, Sealed};

/// The most bytes of one file.
pub const MOST_BYTES: usize = 256 * 1024;
/// The most bytes of all files of one replica: a plan holds them, and the ledger each plan.
pub const MOST_BYTES_TOGETHER: usize = 1024 * 1024;
/// The most files of one container.
pub const MOST_FILES: usize = 64;

/// A file in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// What is in it.
    pub content: ContentDigest,
    /// Who may do what with it: the nine bits.
    #[serde(default = "usual_mode", skip_serializing_if = "is_usual")]
    pub mode: u32,
    /// Whose it is, by number.
    #[serde(default, skip_serializing_if = "is_root")]
    pub user: u32,
    /// Of which group.
    #[serde(default, skip_serializing_if = "is_root")]
    pub group: u32,
    /// The secrets that go into it; what is in it has marks for them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sealed: BTreeSet<ContentDigest>,
    /// How a node has it, if that is as a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_rest: Option<AtRest>,
}

/// How a node keeps a secret while it has no power; while it has, the secret is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtRest {
    /// Encrypted with a key of its own; it is there again when the node boots.
    Sealed,
    /// Not at all; it is there again with the next apply.
    Memory,
}

/// Files by their paths in a container.
pub type Files = BTreeMap<String, File>;

/// Everybody may read, its owner may write.
const USUAL_MODE: u32 = 0o644;
/// Only its owner may read what is secret.
pub const SECRET_MODE: u32 = 0o400;

fn usual_mode() -> u32 {
    USUAL_MODE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_usual(mode: &u32) -> bool {
    *mode == USUAL_MODE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_root(id: &u32) -> bool {
    *id == 0
}

impl File {
    /// A file that everybody may read.
    pub fn of(content: ContentDigest) -> Self {
        let sealed = BTreeSet::new();
        Self { content, mode: USUAL_MODE, user: 0, group: 0, sealed, at_rest: None }
    }

    /// What it names: what is in it, and the secrets.
    pub fn contents(&self) -> impl Iterator<Item = &ContentDigest> {
        std::iter::once(&self.content).chain(&self.sealed)
    }

    /// Says whose it is and who may do what with it, where that is not what is usual: `600 1000:1000`.
    pub fn owned(&self) -> Option<String> {
        let Self { content: _, mode, user, group, sealed: _, at_rest } = self;
        let usual = if at_rest.is_some() { SECRET_MODE } else { USUAL_MODE };
        let is_usual = (*mode, *user, *group) == (usual, 0, 0);
        (!is_usual).then(|| format!("{mode:03o} {user}:{group}"))
    }
}

/// What is in files, by its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contents(BTreeMap<ContentDigest, Arc<str>>);

impl Contents {
    /// Says whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a text in, and names it.
    pub fn add(&mut self, text: impl Into<Arc<str>>) -> ContentDigest {
        let text = text.into();
        let digest = ContentDigest::new(sha256(text.as_bytes()));
        self.0.insert(digest.clone(), text);
        digest
    }

    /// Takes a secret in as it is kept.
    pub fn add_sealed(&mut self, sealed: &Sealed) {
        self.0.insert(ContentDigest::sealed(&sealed.fingerprint), sealed.text.clone());
    }

    /// What a digest names, if it is here and is what its name says. What a secret's is shows when it is opened.
    pub fn get(&self, digest: &ContentDigest) -> Option<&Arc<str>> {
        let is_it = |text: &&Arc<str>| {
            digest.fingerprint().is_some() || sha256(text.as_bytes()) == digest.as_str()
        };
        self.0.get(digest).filter(is_it)
    }

    /// What is in a file, for people.
    pub fn shown(&self, file: &File) -> Option<Arc<str>> {
        let text = self.0.get(&file.content)?;
        Some(if file.sealed.is_empty() { text.clone() } else { secret::shown(text).into() })
    }

    /// Copies what is named here, or else there.
    pub fn gather<'a>(
        named: impl IntoIterator<Item = &'a ContentDigest>,
        here: &Self,
        there: &Self,
    ) -> Self {
        let mut gathered = BTreeMap::new();
        for digest in named {
            if let Some(text) = here.0.get(digest).or_else(|| there.0.get(digest)) {
                gathered.insert(digest.clone(), text.clone());
            }
        }
        Self(gathered)
    }

    /// Takes in what another has.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(digest, text)| (digest.clone(), text.clone())));
    }

    /// Forgets what is not named.
    pub fn keep(&mut self, named: &BTreeSet<ContentDigest>) {
        self.0.retain(|digest, _| named.contains(digest));
    }
}

/// What is in the files of every release that a plan brings, keeps or may go back to.
pub fn of_plan(body: &PlanBody, graph: &Graph, head: &Head) -> Contents {
    let reaches = body.reaches.values().flatten();
    let before = body.branches.values().filter_map(|branch| branch.before.as_ref());
    let templates = reaches.chain(before).map(|workload| &workload.template);
    let moves = body.branches.values().flat_map(|branch| &branch.waves).flat_map(|w| &w.moves);
    let pods = moves.flat_map(|one| one.into.iter().chain(&one.restore)).map(|(_, pod)| pod);
    let named =
        templates.flat_map(PodTemplate::contents).chain(pods.flat_map(|p| PodSpec::contents(p)));
    Contents::gather(named, &graph.contents, &head.contents)
}

/// The pods that a plan or its undo makes, with their nodes.
pub fn pods_made(body: &PlanBody) -> impl Iterator<Item = (&NodeName, &PodSpec)> {
    let moves = body.branches.values().flat_map(|branch| &branch.waves).flat_map(|w| &w.moves);
    let restored = moves.filter_map(|one| one.restore.as_ref());
    body.created().chain(restored.map(|(node, pod)| (node, &**pod)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_what_its_name_says_is_not_there() {
        let mut contents = Contents::default();
        let digest = contents.add("pool = 20\n");
        assert_eq!(contents.get(&digest).map(|text| &**text), Some("pool = 20\n"));
        let written = serde_json::to_string(&contents).expect("JSON");
        let forged: Contents = serde_json::from_str(&written.replace("20", "99")).expect("JSON");
        assert_eq!(forged.get(&digest), None);
        let none = Contents::default();
        assert_eq!(Contents::gather([&digest], &none, &contents), contents);
    }

    #[test]
    fn what_is_usual_is_not_written() {
        let mut contents = Contents::default();
        let usual = File::of(contents.add(""));
        assert!(!serde_json::to_string(&usual).expect("JSON").contains("mode"));
        assert_eq!(usual.owned(), None);
        let other = File { mode: 0o40, user: 1000, ..usual };
        assert_eq!(other.owned().as_deref(), Some("040 1000:0"));
        let secret =
            File { mode: SECRET_MODE, at_rest: Some(AtRest::Memory), ..File::of(contents.add("")) };
        assert_eq!(secret.owned(), None);
    }
}
