//! Names and ids: what identifies a thing in the text, on a node and in the ledger.
//!
//! Every id is a newtype, and every id of something on a node carries its generation, so that a
//! stale create collides instead of overwriting.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that was checked where it came from; copies of it share its text.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into().into())
            }

            /// Borrows the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A node's name in the text, such as `n[1]`.
    NodeName
);
name!(
    /// A workload's name in the text, such as `web`.
    WorkloadName
);
name!(
    /// A volume's name in the text, such as `data`.
    VolumeName
);
name!(
    /// A folder of a volume on a node: `data`, or `data-0` where each replica has one of its own.
    VolumeId
);
name!(
    /// The digest of an image's manifest or index: `sha256:` and 64 hexadecimal digits.
    ImageDigest
);
name!(
    /// The digest of a pod template in its canonical form: 64 hexadecimal digits.
    SpecDigest
);

name!(
    /// The digest of what is in a file: 64 hexadecimal digits. Or `sealed:` and the fingerprint of a secret.
    ContentDigest
);

impl WorkloadName {
    /// Spells the name with the characters that container ids and file names allow: `web[eu]`
    /// becomes `web.eu`. Plain names hold no dot, so two names never share a spelling.
    pub fn slug(&self) -> String {
        slug(&self.0)
    }
}

impl VolumeName {
    /// Spells the name as [`WorkloadName::slug`] does.
    pub fn slug(&self) -> String {
        slug(&self.0)
    }

    /// Names the volume's folder: the one that there is, or that of a replica. Lowering refuses names
    /// that end in a hyphen and digits, so that no two volumes share one.
    pub fn id(&self, replica: Option<u32>) -> VolumeId {
        match replica {
            None => VolumeId::new(self.slug()),
            Some(ordinal) => VolumeId::new(format!("{}-{ordinal}", self.slug())),
        }
    }
}

impl VolumeId {
    /// Cuts off the number of the replica, if it ends in one.
    pub fn replica(&self) -> Option<(&str, u32)> {
        let (slug, ordinal) = self.0.rsplit_once('-')?;
        Some((slug, ordinal.parse().ok()?))
    }
}

fn slug(name: &str) -> String {
    name.replace('[', ".").replace([']', '"'], "")
}

impl ImageDigest {
    /// Shortens to nine digits for people.
    pub fn short(&self) -> &str {
        let hex = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        hex.get(..9).unwrap_or(hex)
    }
}

impl ContentDigest {
    /// Names what is encrypted, by its fingerprint.
    pub fn sealed(fingerprint: &str) -> Self {
        Self::new(format!("sealed:{fingerprint}"))
    }

    /// The fingerprint, if it names what is encrypted.
    pub fn fingerprint(&self) -> Option<&str> {
        self.0.strip_prefix("sealed:")
    }

    /// Shortens to nine digits for people.
    pub fn short(&self) -> &str {
        self.0.get(..9).unwrap_or(&self.0)
    }
}

impl SpecDigest {
    /// Shortens to nine digits for people.
    pub fn short(&self) -> &str {
        self.0.get(..9).unwrap_or(&self.0)
    }
}

/// A project's environment: the owner of everything that Berth makes on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenant {
    /// The project's name.
    pub project: String,
    /// The environment's name; `default` unless chosen.
    pub environment: String,
}

impl Tenant {
    /// Names the tenant's containerd namespace: `berth.<project>.<environment>`.
    pub fn namespace(&self) -> String {
        format!("berth.{}.{}", self.project, self.environment)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.environment)
    }
}

/// One pod on a node: a workload's ordinal in one generation. Prints as `web-0.g3`, which is also
/// its container id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId {
    /// The workload's slug.
    pub workload: String,
    /// Which replica, from 0.
    pub ordinal: u32,
    /// Which incarnation of that replica, from 1; never reused, never lowered.
    pub generation: u64,
}

impl PodId {
    /// Prints the replica without its generation: `web-0`.
    pub fn replica(&self) -> String {
        format!("{}-{}", self.workload, self.ordinal)
    }
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}.g{}", self.workload, self.ordinal, self.generation))
    }
}

/// A text that is not a pod id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a pod id such as `web-0.g1`")]
pub struct BadPodId(String);

impl FromStr for PodId {
    type Err = BadPodId;

    fn from_str(text: &str) -> Result<Self, BadPodId> {
        let parse = || {
            let (replica, generation) = text.rsplit_once(".g")?;
            let (workload, ordinal) = replica.rsplit_once('-')?;
            (!workload.is_empty()).then_some(())?;
            Some(Self {
                workload: workload.to_owned(),
                ordinal: ordinal.parse().ok()?,
                generation: generation.parse().ok()?,
            })
        };
        parse().ok_or_else(|| BadPodId(text.to_owned()))
    }
}

/// One container of a pod: its own, or one beside it. Prints as its id on its node: `web-0.g3`, or
/// `web-0.g3.proxy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// The pod.
    pub pod: PodId,
    /// The name of one that is beside the pod's own; it holds no dot.
    pub beside: Option<String>,
}

impl From<PodId> for ContainerId {
    fn from(pod: PodId) -> Self {
        Self { pod, beside: None }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.beside {
            None => self.pod.fmt(f),
            Some(name) => f.pad(&format!("{}.{name}", self.pod)),
        }
    }
}

impl FromStr for ContainerId {
    type Err = BadPodId;

    fn from_str(text: &str) -> Result<Self, BadPodId> {
        if let Ok(pod) = text.parse::<PodId>() {
            return Ok(pod.into());
        }
        let (pod, name) = text.rsplit_once('.').ok_or_else(|| BadPodId(text.to_owned()))?;
        let pod = pod.parse().map_err(|_| BadPodId(text.to_owned()))?;
        Ok(Self { pod, beside: Some(name.to_owned()) })
    }
}

impl Serialize for PodId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PodId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
