//! Mends: the smallest changes with which a replica would have a place, each tried before it is
//! told.
//!
//! For each node, every failing constraint has one thing that would lift it. The nodes where the
//! fewest things are to be done come first; then the ones where least is asked. A mend is told
//! only if placement, with it, takes the replica on that node.

use std::fmt;

use super::ask::{Ask, Slot};
use super::bits::Bits;
use super::fleet::Fleet;
use crate::plan::action::NodePort;
use crate::plan::body::{Holder, Rejection};
use crate::plan::change::{self, bytes};
use crate::plan::graph::{Intake, Over, Placement, Quota, Rule, Taint, Toleration};
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::{Pressure, Requests};

/// How many nodes are tried at most.
const MOST_TRIED: usize = 32;

/// What is to be done for a replica to have a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// On which node it is then; a new one if absent.
    pub node: Option<NodeName>,
    /// All that is to be done.
    pub parts: Vec<Part>,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The service asks for no more than this.
    AskLess {
        /// Of which resource.
        resource: String,
        /// How much at most.
        most: u64,
        /// What is counted beside it.
        overhead: u64,
    },
    /// The volumes that are made with the replica are smaller, in bytes of all of them.
    SmallerVolumes {
        /// What they may be at most.
        most: u64,
        /// What they are.
        now: u64,
    },
    /// The node is labelled so.
    Label {
        /// The label.
        key: String,
        /// Its value; taken away if absent.
        value: Option<String>,
    },
    /// The service tolerates a taint.
    Tolerate(Taint),
    /// The node takes replicas again.
    Open,
    /// The service may be on the node as well.
    AlsoAt,
    /// The service's replicas may be less even.
    Skew {
        /// Over what.
        over: Over,
        /// How much, at least.
        skew: u32,
    },
    /// The service need not be near another one.
    NotNear(WorkloadName, Over),
    /// The service may share a domain with another one.
    NotApart {
        /// Which.
        workload: WorkloadName,
        /// In which domain.
        over: Over,
        /// Whether it is the other one's text that says so.
        theirs: bool,
    },
    /// Whoever holds a port of the node leaves it.
    FreePort {
        /// Which.
        port: NodePort,
        /// Who holds it.
        by: Holder,
    },
    /// The quota is raised by so much.
    Quota {
        /// Of what.
        name: String,
        /// By how much.
        by: u64,
    },
    /// A node comes, with so much room and these labels.
    AddNode {
        /// Its room.
        room: Requests,
        /// Its labels, `key: value`.
        labels: Vec<String>,
    },
}

/// Finds mends, the smallest first, at most so many.
pub fn mends(fleet: &Fleet, ask: &Ask<'_>, most: usize) -> Vec<Mend> {
    let mut trial = fleet.clone();
    let judged = trial.judge(ask);
    let mut candidates: Vec<(usize, u128, Mend)> = Vec::new();
    for (node, verdict) in judged {
        let Err(rejections) = verdict else { continue };
        let parts: Option<Vec<(Part, u128)>> =
            rejections.iter().map(|rejection| part(rejection, ask, fleet.overhead())).collect();
        let Some(parts) = parts else { continue };
        let asked: u128 = parts.iter().map(|(_, size)| *size).fold(0, u128::saturating_add);
        let mut parts: Vec<Part> = parts.into_iter().map(|(part, _)| part).collect();
        parts.dedup();
        candidates.push((parts.len(), asked, Mend { node: Some(node), parts }));
    }
    candidates.sort_by_key(|(parts, asked, _)| (*parts, *asked));
    let mut found: Vec<Mend> = Vec::new();
    for (_, _, mend) in candidates.into_iter().take(MOST_TRIED) {
        if found.len() == most {
            break;
        }
        // The same thing said for a better node need not be said again.
        let said = found.iter().any(|other| other.parts == mend.parts && mend.is_the_services());
        if !said && works(fleet, ask, &mend) {
            found.push(mend);
        }
    }
    let add = add_node(fleet, ask);
    if found.len() < most && works(fleet, ask, &add) {
        found.push(add);
    }
    found
}

/// Finds what would have to be done for a replica to be on one node; nothing if nothing can.
pub fn mend_of(fleet: &Fleet, ask: &Ask<'_>, node: &NodeName) -> Option<Mend> {
    let rejections = fleet.clone().judge(ask).remove(node)?.err()?;
    let parts: Option<Vec<Part>> = rejections
        .iter()
        .map(|rejection| Some(part(rejection, ask, fleet.overhead())?.0))
        .collect();
    let mut parts = parts?;
    parts.dedup();
    Some(Mend { node: Some(node.clone()), parts }).filter(|mend| works(fleet, ask, mend))
}

/// What would lift a constraint, and how much is asked by that.
fn part(rejection: &Rejection, ask: &Ask<'_>, beside: &Requests) -> Option<(Part, u128)> {
    let less = |resource: &str, needs: u64, free: u64| {
        let overhead = match resource {
            "cpu" => beside.cpu_millis,
            "memory" => beside.memory_bytes,
            "disk" => beside.disk_bytes,
            named => beside.named.get(named).copied().unwrap_or(0),
        };
        let missing = u128::from(needs.saturating_sub(free)) * 1_000_000 / u128::from(needs.max(1));
        let most = free.checked_sub(overhead)?;
        Some((Part::AskLess { resource: resource.to_owned(), most, overhead }, missing))
    };
    // What changes the fleet or another service's text is rather left alone.
    const ASIDE: u128 = 1_000_000;
    Some(match rejection {
        // Data is not moved.
        Rejection::Unknown | Rejection::Addresses | Rejection::Volume { .. } => return None,
        Rejection::Cpu { needs, free } => less("cpu", *needs, *free)?,
        Rejection::Memory { needs, free } => less("memory", *needs, *free)?,
        Rejection::Resource { name, needs, free }
            if name == "disk" && ask.volumes_bytes >= needs.saturating_sub(*free) =>
        {
            let most = ask.volumes_bytes - needs.saturating_sub(*free);
            let missing = u128::from(needs - most.min(*needs)) * 1_000_000;
            (
                Part::SmallerVolumes { most, now: ask.volumes_bytes },
                missing / u128::from((*needs).max(1)),
            )
        }
        Rejection::Resource { name, needs, free } => less(name, *needs, *free)?,
        Rejection::Label { key, wants, has: _ } => {
            (Part::Label { key: key.clone(), value: Some(wants.clone()) }, ASIDE)
        }
        Rejection::Rule { rule, has: _ } => {
            let value = match rule {
                Rule::In(_, values) => Some(values.first()?.clone()),
                Rule::NotIn(..) | Rule::Missing(_) => None,
                Rule::Exists(_) => Some("yes".to_owned()),
                Rule::Above(_, number) => Some(number.checked_add(1)?.to_string()),
                Rule::Below(_, number) => Some(number.checked_sub(1)?.to_string()),
            };
            (Part::Label { key: rule.label().to_owned(), value }, ASIDE)
        }
        Rejection::Taint { taint } => (Part::Tolerate(taint.clone()), ASIDE),
        Rejection::Closed { drained: _ } => (Part::Open, ASIDE),
        Rejection::Elsewhere { at: _ } => (Part::AlsoAt, ASIDE),
        Rejection::Skew { domain: None, .. } | Rejection::NotNear { domain: None, .. } => {
            return None;
        }
        Rejection::Skew { over, domain: Some(_), has, least, skew: _ } => {
            let skew = has.saturating_add(1).saturating_sub(*least);
            (Part::Skew { over: over.clone(), skew }, ASIDE + u128::from(skew))
        }
        Rejection::NotNear { workload, over, domain: Some(_) } => {
            (Part::NotNear(workload.clone(), over.clone()), 2 * ASIDE)
        }
        Rejection::NotApart { workload, over, domain: _, theirs } => {
            let (workload, over) = (workload.clone(), over.clone());
            let aside = if *theirs && &workload != ask.workload { 3 } else { 2 };
            (Part::NotApart { workload, over, theirs: *theirs }, aside * ASIDE)
        }
        Rejection::Port { port: _, by: Holder::Ssh } => return None,
        Rejection::Port { port, by } => (Part::FreePort { port: *port, by: by.clone() }, 3 * ASIDE),
        Rejection::Quota { name, needs, free } => {
            (Part::Quota { name: name.clone(), by: needs.saturating_sub(*free) }, ASIDE)
        }
    })
}

/// A new node with room for the replica and the labels that it must have.
fn add_node(fleet: &Fleet, ask: &Ask<'_>) -> Mend {
    let mut labels: Vec<String> =
        ask.placement.require.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    for rule in &ask.placement.rules {
        if let Rule::In(key, values) = rule
            && let Some(value) = values.first()
        {
            labels.push(format!("{key}: {value}"));
        }
    }
    let domains = ask.placement.even.iter().map(|even| &even.over);
    for over in domains {
        if let Over::Label(key) = over {
            // A domain that nobody is in yet is the emptiest.
            let taken =
                |value: &String| fleet.nodes().any(|(_, s)| s.labels.get(key) == Some(value));
            let fresh = (1..).map(|n| format!("new{n}")).find(|value| !taken(value));
            labels.extend(fresh.map(|value| format!("{key}: {value}")));
        }
    }
    labels.sort();
    labels.dedup();
    Mend { node: None, parts: vec![Part::AddNode { room: ask.requests.clone(), labels }] }
}

/// Whether placement takes the replica on that node once all is done.
pub fn works(fleet: &Fleet, ask: &Ask<'_>, mend: &Mend) -> bool {
    let mut fleet = fleet.clone();
    let mut requests = ask.requests.clone();
    let mut placement = ask.placement.clone();
    let fresh = NodeName::new("a new node");
    let node = mend.node.as_ref().unwrap_or(&fresh);
    for part in &mend.parts {
        carry_out(part, (node, ask.workload), &mut fleet, &mut requests, &mut placement);
    }
    let ask = Ask { requests: &requests, placement: &placement, ..ask.clone() };
    fleet.judge(&ask).get(node).is_some_and(Result::is_ok) && fleet.choose(&ask).is_ok()
}

fn carry_out(
    part: &Part,
    (node, name): (&NodeName, &WorkloadName),
    fleet: &mut Fleet,
    requests: &mut Requests,
    placement: &mut Placement,
) {
    match part {
        Part::SmallerVolumes { most, now } => {
            requests.disk_bytes = requests.disk_bytes.saturating_sub(*now).saturating_add(*most);
        }
        Part::AskLess { resource, most, overhead } => {
            let counted = most.saturating_add(*overhead);
            match resource.as_str() {
                "cpu" => requests.cpu_millis = counted,
                "memory" => requests.memory_bytes = counted,
                "disk" => requests.disk_bytes = counted,
                named => {
                    requests.named.insert(named.to_owned(), counted);
                }
            }
        }
        Part::Label { key, value } => fleet.alter(node, |slot| {
            match value {
                Some(value) => slot.labels.insert(key.clone(), value.clone()),
                None => slot.labels.remove(key),
            };
        }),
        Part::Tolerate(taint) => {
            placement
                .tolerate
                .push(Toleration { key: taint.key.clone(), value: taint.value.clone() });
        }
        Part::Open => fleet.alter(node, |slot| slot.intake = Intake::Open),
        Part::AlsoAt => {
            placement.at.insert(node.clone());
        }
        Part::Skew { over, skew } => {
            let all = placement.even.iter_mut().filter(|even| &even.over == over);
            all.for_each(|even| even.skew = even.skew.max(*skew));
        }
        Part::NotNear(workload, over) => {
            placement.near.retain(|near| &near.workload != workload || &near.over != over);
        }
        Part::NotApart { workload, over, theirs: false } => {
            placement.apart.retain(|apart| &apart.workload != workload || &apart.over != over);
        }
        Part::NotApart { workload, over, theirs: true } => {
            let Some(mut theirs) = fleet.placement_of(workload).cloned() else { return };
            theirs.apart.retain(|apart| &apart.workload != name || &apart.over != over);
            fleet.learn(workload, &theirs, None);
        }
        Part::FreePort { port, by: _ } => fleet.free_port(node, *port),
        Part::Quota { name, by } => {
            let mut quota = fleet.quota().cloned().unwrap_or_default();
            let Quota { cpu_millis, memory_bytes, disk_bytes, named } = &mut quota;
            let limit = match name.as_str() {
                "cpu" => cpu_millis.as_mut(),
                "memory" => memory_bytes.as_mut(),
                "disk" => disk_bytes.as_mut(),
                other => named.get_mut(other),
            };
            if let Some(limit) = limit {
                *limit = limit.saturating_add(*by);
            }
            fleet.set_quota(Some(quota));
        }
        Part::AddNode { room, labels } => {
            let Some((_, like)) = fleet.nodes().next() else { return };
            let split = |label: &String| {
                label.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()))
            };
            let slot = Slot {
                labels: labels.iter().filter_map(split).collect(),
                taints: Vec::new(),
                intake: Intake::Open,
                reachable: true,
                pressure: Pressure::Low,
                room: room.clone(),
                images: Default::default(),
                ranges: like.ranges,
                taken: Bits::default(),
            };
            fleet.add(node.clone(), slot);
        }
    }
}

impl Mend {
    /// Whether all of it is in the service's own text.
    fn is_the_services(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::AskLess { .. }
            | Part::SmallerVolumes { .. }
            | Part::Tolerate(_)
            | Part::Skew { .. }
            | Part::NotNear(..)
            | Part::NotApart { theirs: false, .. }
            | Part::Quota { .. } => true,
            Part::Label { .. }
            | Part::Open
            | Part::AlsoAt
            | Part::FreePort { .. }
            | Part::NotApart { theirs: true, .. }
            | Part::AddNode { .. } => false,
        })
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(ToString::to_string).collect();
        match &self.node {
            Some(node) => write!(f, "to have {node}: {}", parts.join(", and ")),
            None => f.write_str(&parts.join(", and ")),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AskLess { resource, most, overhead: _ } => match resource.as_str() {
                "cpu" => write!(f, "ask for at most {most}m of CPU"),
                "memory" | "disk" => write!(f, "ask for at most {} of {resource}", bytes(*most)),
                named => write!(f, "ask for at most {most} of {named}"),
            },
            Self::SmallerVolumes { most, now: _ } => {
                write!(f, "have volumes of at most {}", bytes(*most))
            }
            Self::Label { key, value: Some(value) } => write!(f, "label it {key}: {value}"),
            Self::Label { key, value: None } => write!(f, "take its label {key} away"),
            Self::Tolerate(taint) => write!(f, "tolerate its taint {}", change::taint(taint)),
            Self::Open => f.write_str("open it again (its intake, or berth uncordon)"),
            Self::AlsoAt => f.write_str("add it to `at`"),
            Self::Skew { over, skew } => {
                write!(f, "allow a skew of {skew} over {}", change::over(over))
            }
            Self::NotNear(workload, over) => {
                write!(f, "do not require {workload} in the same {}", change::over(over))
            }
            Self::NotApart { workload, over, theirs: false } => {
                write!(f, "do not require to be apart from {workload} by {}", change::over(over))
            }
            Self::NotApart { workload, over, theirs: true } => {
                write!(f, "let {workload} not require to be apart by {}", change::over(over))
            }
            Self::FreePort { port, by } => write!(f, "free its port {port}, which {by} holds"),
            Self::Quota { name, by } => match name.as_str() {
                "cpu" => write!(f, "raise the quota of CPU by {by}m"),
                "memory" | "disk" => write!(f, "raise the quota of {name} by {}", bytes(*by)),
                named => write!(f, "raise the quota of {named} by {by}"),
            },
            Self::AddNode { room, labels } => {
                let Requests { cpu_millis, memory_bytes, disk_bytes, named, ports: _ } = room;
                write!(
                    f,
                    "add a node with at least {cpu_millis}m of CPU and {} of memory",
                    bytes(*memory_bytes)
                )?;
                if *disk_bytes > 0 {
                    write!(f, ", {} of disk", bytes(*disk_bytes))?;
                }
                for (name, amount) in named {
                    write!(f, ", {amount} of {name}")?;
                }
                f.write_str(" free")?;
                if labels.is_empty() {
                    Ok(())
                } else {
                    write!(f, ", labelled {}", labels.join(", "))
                }
            }
        }
    }
}
