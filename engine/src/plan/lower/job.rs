//! Lowering of jobs: what runs to its end, once for each text of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_lang::{Program, Resource, ResourceKind};

use super::container::At;
use super::{ImageName, Lowering, after, duration, number, of_kind, origin};
use crate::plan::graph::{OnFail, OnUnreachable, Once, Rollout, Strategy, Workload};
use crate::plan::names::{ImageDigest, WorkloadName};

/// How long a node may take to be ready to run it, unless it says how long it may run, in milliseconds.
const DEADLINE_MS: u64 = 90_000;

impl Lowering<'_> {
    pub(super) fn job(
        &mut self,
        resource: &Resource,
        digests: &BTreeMap<ImageName, ImageDigest>,
        own: &BTreeSet<&str>,
    ) -> Option<Workload> {
        let value = resource.value();
        let mut batch = self.batch(resource, digests, own)?;
        batch.template.ends = true;
        let replicas: u32 = number(value, "completions").unwrap_or(1);
        let parallel = number(value, "parallelism").unwrap_or(replicas);
        let deadline_ms = duration(value, "timeout").unwrap_or(600_000);
        if deadline_ms == 0 {
            self.report(
                "E0561",
                origin(resource, "timeout"),
                "nothing runs to its end in no time",
                "write how long it may take, with all that is tried again: `timeout: 10m`",
            );
        }
        Some(Workload {
            replicas,
            rollout: Rollout { deadline_ms, ..batch.rollout },
            once: Some(Once { retries: number(value, "retries").unwrap_or(3), parallel }),
            ..batch
        })
    }

    /// What runs to its end, as far as jobs and crons have that in common: nothing leads to it, and it stops before its successor
    /// starts.
    pub(super) fn batch(
        &mut self,
        resource: &Resource,
        digests: &BTreeMap<ImageName, ImageDigest>,
        own: &BTreeSet<&str>,
    ) -> Option<Workload> {
        self.names_containers(resource);
        let image = self.image(&At::main(resource), digests);
        let placement = self.placement(resource);
        Some(Workload {
            template: self.template(resource, (digests, own), &[], image)?,
            replicas: 1,
            scale: None,
            ports: Vec::new(),
            health: None,
            rollout: Rollout {
                strategy: Strategy::Recreate,
                deadline_ms: DEADLINE_MS,
                on_fail: OnFail::Rollback,
                checks: Vec::new(),
                bake_ms: 0,
            },
            placement,
            protect: false,
            on_unreachable: OnUnreachable::Wait,
            once: None,
            after: after(resource.value()),
        })
    }

    /// Checks that no job waits for itself, by whatever way.
    pub(super) fn no_circles(
        &mut self,
        program: &Program,
        workloads: &BTreeMap<WorkloadName, Workload>,
    ) {
        let mut known: BTreeSet<WorkloadName> = BTreeSet::new();
        for resource in of_kind(program, ResourceKind::Job) {
            let name = WorkloadName::new(&*resource.name);
            if known.contains(&name) {
                continue;
            }
            let way = way_back(&name, workloads);
            if let Some(way) = way {
                let words: Vec<&str> = way.iter().map(WorkloadName::as_str).collect();
                self.report(
                    "E0562",
                    origin(resource, "after"),
                    format!("this job waits for itself: {}", words.join(" is after ")),
                    "take one of these out of the other's `after`",
                );
                known.extend(way);
            }
        }
    }
}

/// The shortest way from a job over those that it is after back to it.
fn way_back(
    job: &WorkloadName,
    workloads: &BTreeMap<WorkloadName, Workload>,
) -> Option<Vec<WorkloadName>> {
    let mut ways = VecDeque::from([vec![job.clone()]]);
    let mut seen: BTreeSet<&WorkloadName> = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let after =
            way.last().and_then(|last| workloads.get(last)).into_iter().flat_map(|w| &w.after);
        for next in after {
            let mut longer = way.clone();
            longer.push(next.clone());
            if next == job {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}
