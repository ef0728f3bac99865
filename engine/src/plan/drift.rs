//! Drift: how the nodes differ from what the last apply made, told apart by whose doing it is.
//!
//! Ours that changed (external) is to be acted on. What is not ours (foreign) is left alone. What
//! the text wants and nobody applied (pending), what a pin or an override holds (held), and what cannot
//! be seen (unknown) are named, and are not drift.

use std::collections::BTreeMap;

use super::action::{Action, Reflex};
use super::body::{FieldChange, Goal, PlanBody, Step, Work};
use super::change::{self, Known};
use super::graph::{Graph, Intake, Workload};
use super::ledger::Head;
use super::moved;
use super::names::{NodeName, PodId, WorkloadName};
use super::observation::{NodeObservation, NodeView, Observation, PodStatus, VolumeSpec};
use super::overrides::{self, Override, Standing};
use super::planner::{Inputs, plan};
use super::tenancy::{self, Hold};
use super::volume::{self, Home};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whose doing.
    pub kind: Kind,
    /// What: `web-0.g1@n[1]`, `n[2]`, `service/web`.
    pub subject: String,
    /// What about it, and what apply would do.
    pub words: String,
}

/// Whose doing a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours, changed by somebody else: to be acted on.
    External,
    /// In the text, and not applied yet.
    Pending,
    /// Held by a pin or another override.
    Held,
    /// On a node that did not answer.
    Unknown,
    /// Not ours: left alone.
    Foreign,
}

impl Kind {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::Pending => "PENDING",
            Self::Held => "HELD",
            Self::Unknown => "UNKNOWN",
            Self::Foreign => "FOREIGN",
        }
    }
}

/// Compares. Findings come sorted, what is to be acted on first.
pub fn drift(inputs: &Inputs<'_>) -> Vec<Finding> {
    let told = inputs;
    let view = moved::view(told.graph, told.observation, told.head, told.goal);
    let (graph, observation, head) = (&*view.graph, &*view.observation, &*view.head);
    let inputs = &Inputs { graph, observation, head, ..*told };
    let now_ms = inputs.now_ms;
    let mut findings = Vec::new();
    let mut say = |kind, subject: String, words: String| {
        findings.push(Finding { kind, subject, words });
    };
    for (name, view) in &observation.nodes {
        match view {
            NodeView::Unknown { why, silent: _ } => {
                say(Kind::Unknown, name.to_string(), why.clone())
            }
            NodeView::Seen(seen) => {
                pods(name, seen, head, &mut say);
                node(name, seen, head, graph, &mut say);
            }
        }
    }
    for (pod, placed) in &head.placed {
        let node = observation.seen(&placed.node);
        if node.is_some_and(|seen| !seen.spec.pods.contains_key(pod)) {
            let subject = format!("{pod}@{}", placed.node);
            say(Kind::External, subject, "is gone → will be started again".to_owned());
        }
    }
    // What nobody mounts is anybody's to take away.
    let mut homes = volume::homes(graph, observation, head);
    let (text, reached) = (volume::mounted(&graph.workloads), volume::mounted(&head.reached));
    homes.retain(|id, _| text.contains_key(id) || reached.contains_key(id));
    for (volume, home) in homes {
        match home {
            Home::Lost(node) => {
                let words = "is gone, with its data → whoever mounts it waits".to_owned();
                say(Kind::External, format!("{volume}@{node}"), words);
            }
            Home::Twice(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                let words =
                    format!("is on {}, or may be → whoever mounts it waits", nodes.join(", "));
                say(Kind::External, format!("volume/{volume}"), words);
            }
            Home::Seen(..) | Home::Remembered(_) => {}
        }
    }
    for ((old, new), _) in moved::told(&view, &moved::news(&view, told.head)) {
        let words = format!("was service/{old}, and was not renamed everywhere yet");
        say(Kind::Pending, format!("service/{new}"), words);
    }
    pending(inputs, &mut say);
    for (name, workload) in &graph.workloads {
        if let Some(pin) = head.held(name, workload) {
            let words = format!("since revision {}: {}", pin.revision, pin.why);
            say(Kind::Held, change::resource(name, Some(workload)), words);
        }
    }
    for standing in overrides::counting(&head.overrides, now_ms) {
        let (subject, words) = held(graph, standing);
        say(Kind::Held, subject, words);
    }
    // Whatever the words above missed: the last applied state, planned again, must need nothing.
    let found = findings.iter().any(|finding| finding.kind == Kind::External);
    let decided = !head.overrides.is_empty() || !head.restarts.is_empty();
    let again = planned_as_applied(told, Beside::Nothing);
    let decided = decided.then(|| planned_as_applied(told, Beside::Overrides));
    // Without overrides it is as it was applied before they were made, with them as after that.
    let carried_out = decided.as_ref().is_some_and(|decided| decided.steps.is_empty());
    if !found && !again.steps.is_empty() && !carried_out {
        for (node, count) in steps_by_node(&again) {
            let words = format!("differs from what was applied → {count} steps would mend it");
            findings.push(Finding { kind: Kind::External, subject: node.to_string(), words });
        }
    } else if let Some(decided) = decided.filter(|_| !found) {
        for (node, count) in steps_by_node(&decided) {
            let words = format!("overrides are not carried out yet → {count} steps by apply");
            findings.push(Finding { kind: Kind::Pending, subject: node.to_string(), words });
        }
    }
    findings.sort();
    findings
}

/// What is held, and how, in words.
fn held(graph: &Graph, standing: &Standing) -> (String, String) {
    let kind = overrides::kind(graph, &standing.what).unwrap_or("service");
    let (subject, state) = match &standing.what {
        Override::Intake { node, intake } => {
            let state = match intake {
                Intake::Open => "open",
                Intake::Cordoned => "cordoned",
                Intake::Drained => "drained",
                Intake::Retired => "retired",
            };
            (format!("node/{node}"), state.to_owned())
        }
        Override::Pause { workload } => (format!("{kind}/{workload}"), "paused".to_owned()),
        Override::Replicas { workload, replicas: 0 } => {
            (format!("{kind}/{workload}"), "stopped".to_owned())
        }
        Override::Replicas { workload, replicas } => {
            (format!("{kind}/{workload}"), format!("{replicas} replicas"))
        }
        Override::Fenced { node, by_plan: _ } => {
            (format!("node/{node}"), "switched off".to_owned())
        }
    };
    (subject, format!("{state} {}", standing.reason()))
}

fn pods(
    name: &NodeName,
    seen: &NodeObservation,
    head: &Head,
    say: &mut impl FnMut(Kind, String, String),
) {
    for (id, pod) in &seen.spec.pods {
        let subject = format!("{id}@{name}");
        if head.in_flight.is_none() && !head.placed.contains_key(id) {
            say(
                Kind::External,
                subject,
                "was not made by any apply that ended → will be removed".to_owned(),
            );
            continue;
        }
        if !pod.intact {
            say(Kind::External, subject, "was changed by hand → will be replaced".to_owned());
            continue;
        }
        match seen.status.pods.get(id) {
            // How a job's ends is its own affair; that it is not done is pending.
            _ if pod.ends => {}
            Some(PodStatus::Running { .. } | PodStatus::Waiting { .. }) => {}
            Some(PodStatus::Stopped { exit_code, .. }) => {
                let words = format!("is stopped (exit code {exit_code}) → will be replaced");
                say(Kind::External, subject, words);
            }
            Some(PodStatus::Created) | None => {
                say(Kind::External, subject, "does not run → will be replaced".to_owned());
            }
        }
    }
    for foreign in &seen.spec.foreign {
        let words = format!("container {} in {} (left alone)", foreign.id, foreign.namespace);
        say(Kind::Foreign, name.to_string(), words);
    }
}

fn node(
    name: &NodeName,
    seen: &NodeObservation,
    head: &Head,
    graph: &Graph,
    say: &mut impl FnMut(Kind, String, String),
) {
    // A node that no apply has reached yet lacks everything, and that is pending, not drift.
    if head.revision == 0 || !head.claims.nodes.contains_key(name) {
        return;
    }
    let is_ours = match tenancy::hold(&seen.spec, &graph.tenant.namespace()) {
        Hold::Ours | Hold::Nobodys => true,
        Hold::Others(_) => false,
    };
    if seen.spec.network.is_none() {
        say(
            Kind::External,
            name.to_string(),
            "its network settings are gone → will be set".to_owned(),
        );
    }
    for (reflex, version) in Reflex::CURRENT.into_iter().filter(|_| is_ours) {
        if seen.spec.reflexes.get(&reflex) != Some(&version) {
            let words =
                format!("reflex {} is not at version {version} → will be installed", reflex.name());
            say(Kind::External, name.to_string(), words);
        }
    }
    for workload in head
        .reached
        .keys()
        .filter(|name| head.reached.get(name).is_some_and(|reached| !reached.ports.is_empty()))
    {
        let there = seen.spec.endpoints.get(workload);
        let leads: Vec<&PodId> = there.iter().flat_map(|e| &e.backends).map(|b| &b.pod).collect();
        let mine: Vec<&PodId> = head
            .placed
            .iter()
            .filter(|(_, placed)| {
                &placed.workload == workload && graph.nodes.contains_key(&placed.node)
            })
            .map(|(pod, _)| pod)
            .collect();
        if leads.iter().any(|pod| !mine.contains(pod)) || there.is_none() && !mine.is_empty() {
            let words = format!("endpoint {workload} does not lead to its replicas → will be set");
            say(Kind::External, name.to_string(), words);
        }
    }
}

fn pending(inputs: &Inputs<'_>, say: &mut impl FnMut(Kind, String, String)) {
    let Inputs { graph, head, now_ms, .. } = *inputs;
    let names: std::collections::BTreeSet<_> =
        graph.workloads.keys().chain(head.reached.keys()).collect();
    let in_force = overrides::in_force(graph, &head.overrides, now_ms);
    // One whose number an override changes is held, or waits for that.
    let overridden = |name: &WorkloadName, reached: &Workload, text: &Workload| {
        let changed = in_force.workloads.get(name).is_some_and(|w| w.replicas != text.replicas);
        let placement = text.placement.clone();
        changed && *text == Workload { replicas: text.replicas, placement, ..reached.clone() }
    };
    for name in names {
        let wanted = graph.workloads.get(name);
        if wanted.is_some_and(|workload| head.held(name, workload).is_some())
            || overrides::pause(&head.overrides, name, now_ms).is_some()
        {
            continue;
        }
        let words = match (head.reached.get(name), wanted) {
            (Some(reached), Some(wanted)) if reached == wanted => continue,
            (Some(reached), Some(wanted)) if overridden(name, reached, wanted) => continue,
            (None, None) => continue,
            (None, Some(_)) => "is in the text, and was not applied yet".to_owned(),
            (Some(_), None) => "is not in the text any more".to_owned(),
            (Some(reached), Some(wanted)) => {
                let known = Known { before: &head.contents, after: &graph.contents };
                let both = (Some(reached), Some(wanted));
                let changes = change::workload(name, both, &known, false, Vec::new());
                let fields = changes.map(|change| change.fields).unwrap_or_default();
                fields
                    .iter()
                    .map(|FieldChange { path, .. }| path.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
                    + " changed in the text"
            }
        };
        say(Kind::Pending, change::resource(name, wanted.or(head.reached.get(name))), words);
    }
}

/// What counts beside what was last reached.
enum Beside {
    Nothing,
    Overrides,
}

/// Plans towards what was last reached, instead of what the text says.
fn planned_as_applied(inputs: &Inputs<'_>, beside: Beside) -> PlanBody {
    let Inputs { graph, head, .. } = *inputs;
    if head.revision == 0 {
        let nothing = Observation::default();
        return plan(&Inputs { observation: &nothing, goal: Goal::Converge, ..*inputs });
    }
    let mut head = Head { pins: BTreeMap::new(), ..head.clone() };
    let graph = head.as_applied(graph);
    match beside {
        Beside::Overrides => {}
        Beside::Nothing => {
            head.overrides.clear();
            head.restarts.clear();
        }
    }
    let mut body = plan(&Inputs { graph: &graph, head: &head, goal: Goal::Converge, ..*inputs });
    // What a renamed volume is called is the text's to say.
    body.steps.retain(|step| !is_called_otherwise(step, inputs.observation));
    // What a job has not done yet is pending.
    let is_job = |name: &WorkloadName| {
        let text = inputs.graph.workloads.get(name);
        text.or(inputs.head.reached.get(name)).is_some_and(|it| it.once.is_some())
    };
    body.steps.retain(|step| !step.branch.as_ref().is_some_and(is_job));
    body
}

/// Whether all that a step does is to note another name of a volume.
fn is_called_otherwise(step: &Step, observation: &Observation) -> bool {
    let Work::Act(Action::EnsureVolume { tenant: _, volume, spec }) = &step.work else {
        return false;
    };
    let noted = observation.seen(&step.node).and_then(|seen| seen.spec.volumes.get(volume));
    noted.is_some_and(|noted| *noted == VolumeSpec { called: noted.called.clone(), ..spec.clone() })
}

fn steps_by_node(body: &PlanBody) -> BTreeMap<&NodeName, usize> {
    let mut counts = BTreeMap::new();
    for step in &body.steps {
        *counts.entry(&step.node).or_default() += 1;
    }
    counts
}
