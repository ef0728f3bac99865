//! What is there, known and assumed: the observation joined with the ledger's memory.
//!
//! A pod on a node that answered is what the node said. A pod that the ledger remembers on a node
//! that did not answer is assumed to be there still: unknown is not empty.

use std::collections::{BTreeMap, BTreeSet};

use super::body::Placed;
use super::graph::Graph;
use super::ledger::Head;
use super::names::{NodeName, PodId, SpecDigest, VolumeId, WorkloadName};
use super::observation::{NodeView, Observation, PodStatus, Requests};
use super::unreachable::{GivenUp, Unreachable};
use super::volume::{self, Home};

/// A pod that is there, or is assumed to be.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its place.
    pub placed: Placed,
    /// What state it is in.
    pub state: State,
    /// Whether some endpoint table leads to it.
    pub serving: bool,
    /// Whether it counts as available: it runs, and a table leads to it or its workload has none.
    pub available: bool,
    /// Whether every endpoint table that was seen leads to it: it has passed its gate. A pod that
    /// only some tables lead to (an apply was killed, a node came back) is gated again.
    pub led: bool,
    /// Whether it is known to have passed its gate: the tables say so, or the ledger does where no
    /// table was seen.
    pub proven: bool,
    /// Whether the ledger says that it has passed its gate once, whatever the tables say now.
    pub stood: bool,
    /// Whether it is a cron's, and runs just now.
    pub busy: bool,
}

/// A pod's state, as far as planning cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Running, and as it was made; of a cron's, that its node runs it when it is time.
    Running,
    /// Running, but changed by hand.
    Altered,
    /// Not running, or not finished.
    Dead,
    /// Ended well, and was to: it is a job's.
    Done,
    /// On a node that did not answer.
    Assumed,
}

/// Every pod, by workload and ordinal.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The pods.
    pub pods: BTreeMap<PodId, Here>,
    /// Pods that are given up, which are none of the above: others take their places.
    pub given_up: BTreeMap<PodId, GivenUp>,
    /// Pods that will be, and when, in milliseconds since 1970.
    pub later: BTreeMap<PodId, u64>,
    /// Every volume that is known.
    pub volumes: BTreeMap<VolumeId, Home>,
    /// The pods by workload.
    by_workload: BTreeMap<WorkloadName, BTreeSet<PodId>>,
    /// What the ids of pods begin with whose workloads were renamed since.
    born: BTreeMap<WorkloadName, BTreeSet<String>>,
}

impl World {
    /// Joins observation and memory.
    pub fn of(graph: &Graph, observation: &Observation, head: &Head) -> Self {
        let mut pods = BTreeMap::new();
        let mut served: BTreeMap<PodId, usize> = BTreeMap::new();
        let mut tables: BTreeMap<WorkloadName, usize> = BTreeMap::new();
        for view in observation.nodes.values() {
            match view {
                NodeView::Seen(seen) => {
                    for (workload, endpoint) in &seen.spec.endpoints {
                        *tables.entry(workload.clone()).or_default() += 1;
                        for backend in &endpoint.backends {
                            *served.entry(backend.pod.clone()).or_default() += 1;
                        }
                    }
                }
                NodeView::Unknown { .. } => {}
            }
        }
        for (id, placed) in head.may_be_there() {
            let silent = match observation.nodes.get(&placed.node) {
                Some(NodeView::Seen(_)) => continue,
                Some(NodeView::Unknown { silent, why: _ }) => *silent,
                None => true,
            };
            if graph.nodes.contains_key(&placed.node) {
                let state = State::Assumed;
                let serving = !silent && served.contains_key(id) && !head.leaving.contains(id);
                let mut placed = placed.clone();
                // What has run to its end takes no room.
                if placed.ends && head.proven.contains(id) {
                    placed.requests = Requests::default();
                }
                let here = Here {
                    placed,
                    state,
                    serving,
                    available: serving,
                    led: true,
                    proven: serving || head.proven.contains(id),
                    stood: head.proven.contains(id),
                    busy: false,
                };
                pods.insert(id.clone(), here);
            }
        }
        for (node, view) in &observation.nodes {
            let NodeView::Seen(seen) = view else { continue };
            for (id, pod) in &seen.spec.pods {
                let status = seen.status.pods.get(id);
                let state = match status {
                    Some(PodStatus::Running { .. } | PodStatus::Waiting { .. }) => match pod.intact
                    {
                        true => State::Running,
                        false => State::Altered,
                    },
                    Some(PodStatus::Stopped { exit_code: 0, .. }) if pod.ends => State::Done,
                    Some(PodStatus::Stopped { .. } | PodStatus::Created) | None => State::Dead,
                };
                let placed = Placed {
                    node: node.clone(),
                    workload: pod.workload.clone(),
                    digest: pod.digest.clone(),
                    ip4: pod.ip4,
                    ip6: pod.ip6,
                    requests: seen.takes(id, pod),
                    ends: pod.ends,
                    grace_ms: pod.grace_ms,
                };
                let led = served.get(id).copied().unwrap_or(0);
                let all = tables.get(&pod.workload).copied().unwrap_or(0);
                let here = Here {
                    placed,
                    state,
                    serving: led > 0,
                    available: match state {
                        State::Running => led > 0 || all == 0,
                        State::Altered => led > 0,
                        State::Dead | State::Done | State::Assumed => false,
                    },
                    led: led > 0 && led == all,
                    proven: if all > 0 { led == all } else { head.proven.contains(id) },
                    stood: head.proven.contains(id) || state == State::Done,
                    busy: pod.cron && matches!(status, Some(PodStatus::Running { .. })),
                };
                pods.insert(id.clone(), here);
            }
        }
        let mut by_workload: BTreeMap<WorkloadName, BTreeSet<PodId>> = BTreeMap::new();
        let mut born: BTreeMap<WorkloadName, BTreeSet<String>> = BTreeMap::new();
        let mut slugs: BTreeMap<WorkloadName, String> = BTreeMap::new();
        for (id, here) in &pods {
            let workload = &here.placed.workload;
            by_workload.entry(workload.clone()).or_default().insert(id.clone());
            if !slugs.contains_key(workload) {
                slugs.insert(workload.clone(), workload.slug());
            }
            if slugs.get(workload) != Some(&id.workload) {
                born.entry(workload.clone()).or_default().insert(id.workload.clone());
            }
        }
        Self { pods, by_workload, born, ..Self::without_pods(graph, observation, head) }
    }

    /// Takes away what is given up.
    pub fn give_up(&mut self, found: Unreachable) {
        for id in found.given_up.keys() {
            if let Some(here) = self.pods.remove(id)
                && let Some(ids) = self.by_workload.get_mut(&here.placed.workload)
            {
                ids.remove(id);
            }
        }
        (self.given_up, self.later) = (found.given_up, found.later);
    }

    /// What is given up of a replica, the latest of it.
    pub fn given_up_of(&self, workload: &WorkloadName, ordinal: u32) -> Option<(&PodId, &GivenUp)> {
        let of_it = self.slugs(workload).filter_map(|slug| {
            let id = |generation| PodId { workload: slug.clone(), ordinal, generation };
            self.given_up.range(id(0)..=id(u64::MAX)).next_back()
        });
        of_it.max_by_key(|(id, _)| id.generation)
    }

    /// Joins what is known of everything but pods.
    pub fn without_pods(graph: &Graph, observation: &Observation, head: &Head) -> Self {
        Self { volumes: volume::homes(graph, observation, head), ..Self::default() }
    }

    /// Lists a workload's pods.
    pub fn of_workload<'a>(
        &'a self,
        workload: &'a WorkloadName,
    ) -> impl Iterator<Item = (&'a PodId, &'a Here)> + 'a {
        let ids = self.by_workload.get(workload).into_iter().flatten();
        ids.filter_map(|id| self.pods.get_key_value(id))
    }

    /// Lists a replica's pods.
    pub fn of_replica(
        &self,
        workload: &WorkloadName,
        ordinal: u32,
    ) -> impl Iterator<Item = &PodId> {
        let ids = self.by_workload.get(workload).filter(|ids| !ids.is_empty());
        ids.into_iter().flat_map(move |ids| {
            self.slugs(workload).flat_map(move |slug| {
                let id = |generation| PodId { workload: slug.clone(), ordinal, generation };
                ids.range(id(0)..=id(u64::MAX))
            })
        })
    }

    /// What the ids of a workload's pods begin with.
    fn slugs(&self, workload: &WorkloadName) -> impl Iterator<Item = String> {
        let born = self.born.get(workload).into_iter().flatten().cloned();
        std::iter::once(workload.slug()).chain(born)
    }

    /// Names every workload that has a pod.
    pub fn workloads(&self) -> BTreeSet<&WorkloadName> {
        self.by_workload.keys().collect()
    }
}

impl Here {
    /// Says whether the pod is a sound replica of a template.
    pub fn is_sound(&self, digest: &SpecDigest) -> bool {
        let alive = match self.state {
            State::Running | State::Assumed => true,
            State::Altered | State::Dead | State::Done => false,
        };
        alive && &self.placed.digest == digest
    }

    /// Says whether requests may be answered by it now. What is on a node that is silent counts as
    /// absent here, and for the availability floor.
    pub fn may_serve(&self) -> bool {
        self.serving
            && match self.state {
                State::Running | State::Altered | State::Assumed => true,
                State::Dead | State::Done => false,
            }
    }

    /// Says whether a job's pod has run to its end, by its node or by the ledger: its node forgets that when it boots.
    pub fn has_ended(&self) -> bool {
        match self.state {
            State::Done => true,
            State::Dead | State::Assumed => self.placed.ends && self.stood,
            State::Running | State::Altered => false,
        }
    }

    /// Says whether its node answered.
    pub fn is_known(&self) -> bool {
        self.state != State::Assumed
    }

    /// Names its node.
    pub fn node(&self) -> &NodeName {
        &self.placed.node
    }
}
