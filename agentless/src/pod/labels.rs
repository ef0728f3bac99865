//! What a container's labels say of its pod, and the seal that shows a change by hand.
//!
//! The seal is a digest over the runtime specification and every label that Berth wrote. It is no
//! protection against someone who can write labels, who is root anyway; it shows drift.

use std::collections::HashMap;

use berth_engine::plan::action::PodSpec;
use berth_engine::plan::container::signal as signal_of;
use berth_engine::plan::names::{
    ContainerId, ImageDigest, PodId, SpecDigest, VolumeId, WorkloadName,
};
use berth_engine::plan::observation::{PodSeen, Requests};
use containerd_client::services::v1::Container;

use super::part::Part;
use crate::image::oci::{RunConfig, digest_of};
use crate::image::push::record_name;

/// Every label of ours begins so.
const OURS: &str = "berth.dev/";
const SEAL: &str = "berth.dev/seal";
const STOP_SIGNAL: &str = "berth.dev/stop-signal";
const BEFORE_STOP: &str = "berth.dev/before-stop";
/// On a container beside a pod's own: its name.
pub(super) const BESIDE: &str = "berth.dev/beside";
/// On a pod's own container: the names of those beside it, separated by commas.
const INIT: &str = "berth.dev/init";
const SIDECARS: &str = "berth.dev/sidecars";
/// On a job's: nothing starts it again.
const ENDS: &str = "berth.dev/ends";
/// On a cron's: when its node starts it, and how.
const CRON: &str = "berth.dev/cron";
/// What asks a process to end unless the text or its image says another.
const TERM: u32 = 15;
/// What the restart monitor of containerd acts on.
const RESTART: &str = "containerd.io/restart.";

/// The labels of a pod's container, without the restart monitor's.
pub(crate) fn write(part: &Part<'_>, config: &RunConfig, spec: &[u8]) -> HashMap<String, String> {
    let Part { pod, companion } = part;
    let PodSpec {
        id,
        tenant,
        workload,
        digest,
        // Those of one beside it are its own.
        image: _,
        command: _,
        args: _,
        env: _,
        cpu_millis: _,
        memory_bytes: _,
        asks,
        // What it asks for names the ports of the node; where they lead is the node's files'.
        publish: _,
        mounts,
        // How it runs is in the specification; how it ends is said here.
        settings: _,
        scratch: _,
        // In its specification, and beside its wiring.
        files: _,
        companions,
        // Its node has it in a file.
        liveness: _,
        ip4,
        ip6,
        ends,
        cron,
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
        ("image", part.image().to_string()),
        ("ip4", ip4.to_string()),
        ("ip6", ip6.to_string()),
        ("cpu", part.cpu_millis().to_string()),
        ("memory", part.memory_bytes().to_string()),
        ("grace", grace_ms.to_string()),
        ("revision", revision.to_string()),
    ];
    let mut labels: HashMap<String, String> =
        pairs.into_iter().map(|(key, value)| (format!("{OURS}{key}"), value)).collect();
    if let Some(asks) = asks.as_ref().and_then(|asks| serde_json::to_string(asks).ok()) {
        labels.insert(format!("{OURS}asks"), asks);
    }
    if let Some(cron) = cron.as_ref().and_then(|cron| serde_json::to_string(cron).ok()) {
        labels.insert(CRON.to_owned(), cron);
    }
    if *ends {
        labels.insert(ENDS.to_owned(), "true".to_owned());
    }
    if !mounts.is_empty() {
        let ids: Vec<&str> = mounts.values().map(VolumeId::as_str).collect();
        labels.insert(format!("{OURS}volumes"), ids.join(","));
    }
    match companion {
        Some(companion) => {
            labels.insert(BESIDE.to_owned(), companion.name.clone());
        }
        None if companions.is_empty() => {}
        None => {
            let names = |sidecars: bool| {
                let these = companions.iter().filter(|one| one.is_sidecar() == sidecars);
                these.map(|one| one.name.as_str()).collect::<Vec<_>>().join(",")
            };
            // containerd keeps no label that says nothing.
            let both = [(INIT, names(false)), (SIDECARS, names(true))];
            let said = both.into_iter().filter(|(_, names)| !names.is_empty());
            labels.extend(said.map(|(label, names)| (label.to_owned(), names)));
        }
    }
    let settings = part.settings();
    let signal = stop_signal(part, config);
    if signal != TERM {
        labels.insert(STOP_SIGNAL.to_owned(), signal.to_string());
    }
    if let Some(settings) = settings.filter(|settings| !settings.before_stop.is_empty())
        && let Ok(words) = serde_json::to_string(&settings.before_stop)
    {
        labels.insert(BEFORE_STOP.to_owned(), words);
    }
    let seal = seal(&labels, spec);
    labels.insert(SEAL.to_owned(), seal);
    labels
}

/// The signal that asks a container to end: the text's, or its image's.
pub(super) fn stop_signal(part: &Part<'_>, config: &RunConfig) -> u32 {
    let own = part.settings().and_then(|settings| settings.stop_signal);
    own.or_else(|| signal_of(&config.stop_signal)).unwrap_or(TERM)
}

/// How a container is asked to end: a program that runs first, and a signal.
pub(crate) fn ending(container: &Container) -> (Vec<String>, u32) {
    let get = |key: &str| container.labels.get(key);
    let words = get(BEFORE_STOP).and_then(|words| serde_json::from_str(words).ok());
    let signal = get(STOP_SIGNAL).and_then(|signal| signal.parse().ok());
    (words.unwrap_or_default(), signal.unwrap_or(TERM))
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

/// The id of a container that is ours by its labels.
pub(crate) fn id(container: &Container) -> Option<ContainerId> {
    let id: ContainerId = container.id.parse().ok()?;
    (id.beside.as_ref() == container.labels.get(BESIDE)).then_some(id)
}

/// The names of those beside a pod's own container: those that ran before it, and those that run with it.
pub(crate) fn beside(container: &Container) -> (Vec<String>, Vec<String>) {
    let names = |key: &str| {
        let names = container.labels.get(key).map(String::as_str).unwrap_or_default();
        names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    (names(INIT), names(SIDECARS))
}

/// What changes when a pod's workload gets another name.
pub(super) const RENAMED: [&str; 2] = ["labels.berth.dev/workload", "labels.berth.dev/seal"];

/// Makes a container say what its workload is called now; whether it did not. What was changed by hand goes on
/// showing it.
pub(super) fn rename(container: &mut Container, workload: &WorkloadName) -> bool {
    let spec = container.spec.as_ref().map_or(&[][..], |spec| &spec.value);
    let is_sealed = container.labels.get(SEAL) == Some(&seal(&container.labels, spec));
    let before = container.labels.insert(format!("{OURS}workload"), workload.to_string());
    if is_sealed {
        container.labels.insert(SEAL.to_owned(), seal(&container.labels, spec));
    }
    before.as_deref() != Some(workload.as_str())
}

/// Reads a pod from one of its containers; nothing if its labels are not ours.
pub(crate) fn read(container: &Container) -> Option<(PodId, PodSeen)> {
    let get = |key: &str| container.labels.get(&format!("{OURS}{key}"));
    let id = id(container)?.pod;
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
        ends: container.labels.contains_key(ENDS),
        cron: is_cron(container),
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
        && (container.labels.contains_key(ENDS)
            || is_cron(container)
            || restarts_again(&container.labels))
}

/// Whether a container is a cron's.
pub(crate) fn is_cron(container: &Container) -> bool {
    container.labels.contains_key(CRON)
}

/// Whether the restart monitor starts a container again, or the backoff reflex has it wait.
fn restarts_again(labels: &HashMap<String, String>) -> bool {
    let label = |key: &str| labels.get(&format!("{RESTART}{key}")).map_or("", String::as_str);
    let waits = label("status").is_empty() && label("explicitly-stopped") == "true";
    label("policy") == "always" && (waits || label("status") == "running")
}
