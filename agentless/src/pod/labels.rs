//! What a container's labels say of its pod, and the seal that shows a change by hand.
//!
//! The seal is a digest over the runtime specification and every label that Berth wrote. It is no
//! protection against someone who can write labels, who is root anyway; it shows drift.

use std::collections::HashMap;

use berth_engine::plan::action::PodSpec;
use berth_engine::plan::names::{ImageDigest, PodId, SpecDigest, VolumeId, WorkloadName};
use berth_engine::plan::observation::{PodSeen, Requests};
use containerd_client::services::v1::Container;

use crate::image::oci::digest_of;
use crate::image::push::record_name;

/// Every label of ours begins so.
const OURS: &str = "berth.dev/";
const SEAL: &str = "berth.dev/seal";
/// What the restart monitor of containerd acts on.
const RESTART: &str = "containerd.io/restart.";

/// The labels of a pod's container, without the restart monitor's.
pub(crate) fn write(pod: &PodSpec, spec: &[u8]) -> HashMap<String, String> {
    let PodSpec {
        id,
        tenant,
        workload,
        digest,
        image,
        command: _,
        args: _,
        env: _,
        cpu_millis,
        memory_bytes,
        asks,
        // What it asks for names the ports of the node; where they lead is the node's files'.
        publish: _,
        mounts,
        ip4,
        ip6,
        grace_ms,
        revision,
    } = pod;
    let pairs = [
        ("project", tenant.project.clone()),
        ("environment", tenant.environment.clone()),
        ("workload", workload.to_string()),
        ("ordinal", id.ordinal.to_string()),
        ("generation", id.generation.to_string()),
        ("digest", digest.to_string()),
        ("image", image.to_string()),
        ("ip4", ip4.to_string()),
        ("ip6", ip6.to_string()),
        ("cpu", cpu_millis.to_string()),
        ("memory", memory_bytes.to_string()),
        ("grace", grace_ms.to_string()),
        ("revision", revision.to_string()),
    ];
    let mut labels: HashMap<String, String> =
        pairs.into_iter().map(|(key, value)| (format!("{OURS}{key}"), value)).collect();
    if let Some(asks) = asks.as_ref().and_then(|asks| serde_json::to_string(asks).ok()) {
        labels.insert(format!("{OURS}asks"), asks);
    }
    if !mounts.is_empty() {
        let ids: Vec<&str> = mounts.values().map(VolumeId::as_str).collect();
        labels.insert(format!("{OURS}volumes"), ids.join(","));
    }
    let seal = seal(&labels, spec);
    labels.insert(SEAL.to_owned(), seal);
    labels
}

/// Adds what makes containerd's restart monitor start the pod again, from now on.
pub(crate) fn restarting(labels: &mut HashMap<String, String>, log: &str) {
    for (key, value) in [("policy", "always"), ("status", "running"), ("loguri", log)] {
        labels.insert(format!("{RESTART}{key}"), value.to_owned());
    }
}

/// Takes that away again. A status of `stopped` would make the monitor delete the task itself.
pub(crate) fn not_restarting(labels: &mut HashMap<String, String>) -> bool {
    let before = labels.len();
    labels.retain(|key, _| !key.starts_with(RESTART));
    labels.len() != before
}

fn seal(labels: &HashMap<String, String>, spec: &[u8]) -> String {
    let mut ours: Vec<(&String, &String)> =
        labels.iter().filter(|(key, _)| key.starts_with(OURS) && *key != SEAL).collect();
    ours.sort();
    let mut text = digest_of(spec);
    for (key, value) in ours {
        text.push('\n');
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    digest_of(text.as_bytes())
}

/// Reads a pod from its container; nothing if its labels are not ours.
pub(crate) fn read(container: &Container) -> Option<(PodId, PodSeen)> {
    let get = |key: &str| container.labels.get(&format!("{OURS}{key}"));
    let id: PodId = container.id.parse().ok()?;
    if get("ordinal")?.parse() != Ok(id.ordinal) || get("generation")?.parse() != Ok(id.generation)
    {
        return None;
    }
    let seen = PodSeen {
        workload: WorkloadName::new(get("workload")?.clone()),
        digest: SpecDigest::new(get("digest")?.clone()),
        image: ImageDigest::new(get("image")?.clone()),
        ip4: get("ip4")?.parse().ok()?,
        ip6: get("ip6")?.parse().ok()?,
        requests: requests(container)?,
        revision: get("revision")?.parse().ok()?,
        grace_ms: get("grace")?.parse().ok()?,
        intact: intact(container),
        mounts: get("volumes")
            .map(|ids| ids.split(',').map(VolumeId::new).collect())
            .unwrap_or_default(),
    };
    Some((id, seen))
}

/// What a container asks for, if its labels say so.
pub(crate) fn requests(container: &Container) -> Option<Requests> {
    if let Some(asks) = container.labels.get(&format!("{OURS}asks")) {
        return serde_json::from_str(asks).ok();
    }
    let get = |key: &str| container.labels.get(&format!("{OURS}{key}"))?.parse().ok();
    Some(Requests { cpu_millis: get("cpu")?, memory_bytes: get("memory")?, ..Requests::default() })
}

/// How often the restart monitor has started it.
pub(crate) fn restarts(container: &Container) -> u32 {
    let count = container.labels.get("containerd.io/restart.count");
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Whether a container is as Berth wrote it, restart reflex included.
pub(crate) fn intact(container: &Container) -> bool {
    let spec = container.spec.as_ref().map_or(&[][..], |spec| &spec.value);
    let image = container.labels.get("berth.dev/image");
    container.labels.get(SEAL) == Some(&seal(&container.labels, spec))
        && image.is_some_and(|i| record_name(&ImageDigest::new(i.clone())) == container.image)
        && container.snapshot_key == container.id
        && container.labels.get("containerd.io/restart.status").is_some_and(|s| s == "running")
        && container.labels.get("containerd.io/restart.policy").is_some_and(|p| p == "always")
}
