//! The two halves of a read, the kernel's and containerd's, put together as one observation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use berth_engine::plan::names::{ContainerId, ImageDigest, Tenant};
use berth_engine::plan::observation::{
    Facts, Foreign, Missing, NodeObservation, NodeSpec, NodeStatus, PodSeen, PodStatus, Pressure,
    Requests, RunEnd,
};
use berth_engine::run::host::Layer;
use containerd_client::services::v1::Container;
use containerd_client::types::v1::{Process, Status as TaskStatus};

use super::burst::{Burst, burst};
use super::kernel::{Kernel, parse};
use crate::fault::Fault;
use crate::image::push::{UNPACKED, architecture};
use crate::link::Live;
use crate::pod::labels;
use crate::session::quote::Call;

/// Reads a node.
pub(crate) async fn observe(live: &Live, tenant: &Tenant) -> Result<NodeObservation, Fault> {
    let namespace = tenant.namespace();
    let call = Call::new("observe").arg(&namespace);
    let asked = now_ms();
    let (kernel, burst) = tokio::join!(
        async {
            let output = live.read(&call).await?;
            let answered = now_ms();
            parse(&output.text).map(|kernel| (kernel, answered)).map_err(|_| Fault::Unreachable {
                layer: Layer::Session,
                why: "the node's answer was cut off".to_owned(),
            })
        },
        burst(&live.containerd, &namespace),
    );
    let ((kernel, answered), burst) = (kernel?, burst?);
    let middle = asked + (answered - asked) / 2;
    let skew = kernel.now_ms - middle;
    Ok(assemble(live, tenant, kernel, burst, skew))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn assemble(
    live: &Live,
    tenant: &Tenant,
    kernel: Kernel,
    burst: Burst,
    clock_skew_ms: i64,
) -> NodeObservation {
    let mut pods = BTreeMap::new();
    let mut states = BTreeMap::new();
    let mut foreign = BTreeSet::new();
    let tasks: BTreeMap<&str, &Process> =
        burst.tasks.iter().map(|task| (task.id.as_str(), task)).collect();
    let images: BTreeSet<ImageDigest> = burst
        .images
        .iter()
        .filter(|i| i.labels.get(UNPACKED).is_some_and(|s| burst.snapshots.contains(s)))
        .filter_map(|i| i.name.strip_prefix("berth.local/"))
        .map(ImageDigest::new)
        .collect();
    let ours = tenant.namespace();
    let mut beside: BTreeMap<ContainerId, &Container> = BTreeMap::new();
    let mut sidecars: Vec<ContainerId> = Vec::new();
    for container in &burst.containers {
        let Some((id, mut seen)) = labels::read(container) else {
            foreign.insert(Foreign { namespace: ours.clone(), id: container.id.clone() });
            continue;
        };
        if let Some(id) = labels::id(container).filter(|id| id.beside.is_some()) {
            beside.insert(id, container);
            continue;
        }
        let wired = kernel.wired.get(&container.id).copied().unwrap_or(false);
        seen.intact &= wired;
        let (_, names) = labels::beside(container);
        sidecars.extend(
            names.into_iter().map(|name| ContainerId { pod: id.clone(), beside: Some(name) }),
        );
        states.insert(id.clone(), status(container, tasks.get(container.id.as_str()), &kernel));
        pods.insert(id, seen);
    }
    for id in sidecars {
        match beside.get(&id).filter(|sidecar| labels::intact(sidecar)) {
            Some(sidecar) => {
                let its = status(sidecar, tasks.get(sidecar.id.as_str()), &kernel);
                if let Some(status) = states.get_mut(&id.pod) {
                    *status = with_sidecar(status, &its);
                }
            }
            None => {
                if let Some(seen) = pods.get_mut(&id.pod) {
                    seen.intact = false;
                }
            }
        }
    }
    // One whose pod's own container was taken away by hand still belongs to the pod.
    for (id, container) in beside {
        let left = labels::read(container).filter(|_| !pods.contains_key(&id.pod));
        if let Some((_, seen)) = left {
            states.insert(id.pod.clone(), PodStatus::Created);
            pods.insert(id.pod, PodSeen { intact: false, ..seen });
        }
    }
    let mut others: BTreeMap<String, Requests> = BTreeMap::new();
    for (namespace, containers) in burst.others {
        let is_own =
            |container: &&Container| labels::id(container).is_none_or(|id| id.beside.is_none());
        for container in containers.iter().filter(is_own) {
            match labels::requests(container).filter(|_| namespace.starts_with("berth.")) {
                Some(asked) => {
                    let sum = others.entry(namespace.clone()).or_default();
                    sum.add(&asked);
                }
                None => {
                    foreign
                        .insert(Foreign { namespace: namespace.clone(), id: container.id.clone() });
                }
            }
        }
    }
    let (address4, address6) = addresses(live.address, &kernel);
    let mut volumes = kernel.volumes;
    let own = volumes.remove(&ours).unwrap_or_default();
    let theirs = volumes.values().flat_map(BTreeMap::values).map(|volume| volume.size_bytes);
    let volumes_of_others_bytes = theirs.fold(0, u64::saturating_add);
    // Only secrets need it.
    let (creds, lacks): (Vec<&String>, Vec<_>) =
        kernel.missing.iter().partition(|what| *what == "systemd-creds");
    NodeObservation {
        facts: Facts {
            machine_id: kernel.machine_id,
            address4,
            address6,
            cpu_millis: kernel.cpus.saturating_mul(1000),
            memory_bytes: kernel.memory_bytes,
            disk_bytes: kernel.disk_bytes,
            arch: architecture(&live.shell.machine).to_owned(),
            os: kernel.os,
            containerd: burst.version,
            missing: lacks.into_iter().map(|what| missing(what)).collect(),
            cannot_seal: !creds.is_empty(),
        },
        spec: NodeSpec {
            network: kernel.network,
            reflexes: kernel.reflexes,
            tenant: burst.tenant && kernel.tenant,
            tenant_remains: burst.tenant != kernel.tenant,
            pods,
            endpoints: kernel.endpoints,
            images,
            tenants: kernel.tenants,
            endpoints_of_others: kernel.taken,
            others,
            claimed: kernel.claims,
            foreign,
            volumes: own,
            volumes_of_others_bytes,
        },
        status: NodeStatus {
            pods: states,
            disk_free_bytes: kernel.disk_free_bytes,
            pressure: Pressure::of(kernel.pressure),
            listens: kernel.listens,
            clock_skew_ms,
        },
        ledger: kernel.mark,
    }
}

/// A pod with a sidecar runs when both do.
fn with_sidecar(own: &PodStatus, its: &PodStatus) -> PodStatus {
    let restarts = |status: &PodStatus| match status {
        PodStatus::Running { restarts, .. } | PodStatus::Stopped { restarts, .. } => *restarts,
        PodStatus::Created | PodStatus::Waiting { .. } => 0,
    };
    let restarts = restarts(own).saturating_add(restarts(its));
    match (own, its) {
        (PodStatus::Running { started_at_ms, .. }, PodStatus::Running { .. }) => {
            PodStatus::Running { restarts, started_at_ms: *started_at_ms }
        }
        (PodStatus::Running { .. }, PodStatus::Stopped { exit_code, .. })
        | (PodStatus::Stopped { exit_code, .. }, _) => {
            PodStatus::Stopped { exit_code: *exit_code, restarts }
        }
        (PodStatus::Running { .. }, PodStatus::Created | PodStatus::Waiting { .. })
        | (PodStatus::Created | PodStatus::Waiting { .. }, _) => PodStatus::Created,
    }
}

fn status(container: &Container, task: Option<&&Process>, kernel: &Kernel) -> PodStatus {
    let restarts = labels::restarts(container);
    let state = task.map(|task| TaskStatus::try_from(task.status).unwrap_or(TaskStatus::Unknown));
    if labels::is_cron(container) {
        let id = &container.id;
        let runs = matches!(state, Some(TaskStatus::Running | TaskStatus::Paused));
        let last = kernel.runs.get(id);
        return match kernel.timers.get(id) {
            // Between two tries it has no task.
            _ if runs || kernel.busy.contains(id) => {
                let began = last.filter(|run| run.end == RunEnd::CutShort);
                let began = began.map_or(0, |run| run.began_at_ms);
                PodStatus::Running { restarts, started_at_ms: began }
            }
            Some(next) => PodStatus::Waiting { next_at_ms: *next, last: last.cloned() },
            None => PodStatus::Created,
        };
    }
    let (Some(task), Some(state)) = (task, state) else {
        return PodStatus::Created;
    };
    match state {
        TaskStatus::Running => PodStatus::Running {
            restarts,
            started_at_ms: kernel.started_ms.get(&container.id).copied().unwrap_or(0),
        },
        // A paused pod answers nobody, and that is what the word is for.
        TaskStatus::Stopped | TaskStatus::Paused | TaskStatus::Pausing | TaskStatus::Unknown => {
            PodStatus::Stopped { exit_code: task.exit_status, restarts }
        }
        TaskStatus::Created => PodStatus::Created,
    }
}

/// The node's addresses between nodes: the one that our connection reached, if it is an
/// interface's own, and an IPv6 address of the same interface.
fn addresses(reached: IpAddr, kernel: &Kernel) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let outward =
        || kernel.addresses.iter().filter(|(name, _)| name != "lo" && !name.starts_with("veth"));
    let interface = outward()
        .find(|(_, ip)| *ip == reached)
        .or_else(|| outward().find(|(_, ip)| ip.is_ipv4()))
        .map(|(name, _)| name.clone());
    let here = || outward().filter(|(name, _)| Some(name) == interface.as_ref()).map(|(_, ip)| ip);
    let address4 = match reached {
        IpAddr::V4(ip) if outward().any(|(_, known)| *known == reached) => Some(ip),
        _ => here().find_map(|ip| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        }),
    };
    let address6 = here().find_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    (address4, address6)
}

/// A requirement in words, and the Debian package that has it.
fn missing(what: &str) -> Missing {
    let package = match what {
        "nft" => "nftables",
        "ip" => "iproute2",
        "runc" => "runc",
        "flock" | "unshare" | "nsenter" => "util-linux",
        "systemctl" => "systemd",
        _ if what.starts_with("cni-") => "containernetworking-plugins",
        other => other,
    };
    let what = match what.strip_prefix("cni-") {
        Some(plugin) => format!("CNI plugin {plugin}"),
        None => what.to_owned(),
    };
    Missing { what, mend: format!("apt-get install {package}") }
}
