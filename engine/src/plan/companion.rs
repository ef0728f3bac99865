//! Containers beside a replica's own: those that run to their end before it, and those that run with it.
//!
//! They share the replica's network, host name and shared memory, are on its node, and come and go with
//! it: one that is missing or changed makes the replica one that is to be replaced. What placement counts
//! for all of them together is the replica's request ([`super::graph::PodTemplate::asks`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::ImageSource;
use super::container::Settings;
use super::content::Files;
use super::graph::Limits;
use super::names::ImageDigest;
use super::observation::Requests;

/// A container beside a replica's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companion {
    /// Its name within the replica: letters, digits and `-`, at most [`LONGEST_NAME`].
    pub name: String,
    /// When it runs.
    pub role: Role,
    /// The image, pinned.
    pub image: ImageDigest,
    /// Where the image's bytes are. Not part of the digest.
    pub source: ImageSource,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Added to the image's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files of the text, by their paths in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: Files,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Requests::is_nothing")]
    pub resources: Requests,
    /// What it may use at most, where that differs from what it asks for.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Paths in it that lead to what the replica's own container has at another path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub share: BTreeMap<String, String>,
    /// How it runs, where the text says anything of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<Settings>>,
}

/// The longest name: with the replica's it names a container, which containerd limits to 76 characters.
pub const LONGEST_NAME: usize = 16;

/// When a container beside a replica's own runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To its end, before the sidecars and the replica's own start; one after the other.
    Init {
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
    },
    /// As long as the replica's own: it starts before that, and ends after it.
    Sidecar,
}

impl Companion {
    /// Says whether it runs with the replica's own.
    pub fn is_sidecar(&self) -> bool {
        self.role == Role::Sidecar
    }

    /// How long it may take before the replica's own starts, in milliseconds.
    pub fn takes_ms(&self) -> u64 {
        match self.role {
            Role::Init { timeout_ms } => timeout_ms,
            Role::Sidecar => 0,
        }
    }

    /// The limit of CPU in thousandths of a core; 0 is none.
    pub fn cpu_limit(&self) -> u64 {
        self.limits.cpu_millis.unwrap_or(self.resources.cpu_millis)
    }

    /// The limit of memory in bytes; 0 is none.
    pub fn memory_limit(&self) -> u64 {
        self.limits.memory_bytes.unwrap_or(self.resources.memory_bytes)
    }
}

/// What a replica asks for with its companions: all that run together, or the largest of those that run
/// before them. The rule is that of Kubernetes ("Init Containers", resource sharing).
pub fn together(own: &Requests, companions: &[Companion]) -> Requests {
    let mut asks = own.clone();
    for sidecar in companions.iter().filter(|companion| companion.is_sidecar()) {
        asks.add(&sidecar.resources);
    }
    for init in companions.iter().filter(|companion| !companion.is_sidecar()) {
        let Requests { cpu_millis, memory_bytes, disk_bytes, named, ports: _ } = &init.resources;
        asks.cpu_millis = asks.cpu_millis.max(*cpu_millis);
        asks.memory_bytes = asks.memory_bytes.max(*memory_bytes);
        asks.disk_bytes = asks.disk_bytes.max(*disk_bytes);
        for (name, amount) in named {
            let known = asks.named.entry(name.clone()).or_default();
            *known = (*known).max(*amount);
        }
    }
    asks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn companion(role: Role, cpu_millis: u64, memory_bytes: u64) -> Companion {
        Companion {
            name: "x".into(),
            role,
            image: ImageDigest::new("sha256:x"),
            source: ImageSource::Present,
            command: vec![],
            args: vec![],
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            resources: Requests { cpu_millis, memory_bytes, ..Requests::default() },
            limits: Limits::default(),
            share: BTreeMap::new(),
            settings: None,
        }
    }

    #[test]
    fn what_runs_together_adds_up_and_what_runs_before_does_not() {
        let own = Requests { cpu_millis: 100, memory_bytes: 50, ..Requests::default() };
        let init = Role::Init { timeout_ms: 1 };
        let all = [
            companion(init, 500, 10),
            companion(init, 200, 20),
            companion(Role::Sidecar, 10, 5),
            companion(Role::Sidecar, 20, 6),
        ];
        let asks = together(&own, &all);
        assert_eq!((asks.cpu_millis, asks.memory_bytes), (500, 61));
        let asks = together(&own, &all[2..]);
        assert_eq!((asks.cpu_millis, asks.memory_bytes), (130, 61));
        assert_eq!(together(&own, &[]), own);
    }
}
