//! The desired graph as boxes and arrows, coloured by a plan.
//!
//! Services, volumes and nodes are boxes; who mounts, who is to be near or apart, and where replicas are
//! once the plan is done are arrows. Drawing it is somebody else's: [`Picture::dot`] writes it for
//! Graphviz.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::body::{PlanBody, Verb};
use super::change;
use super::graph::Graph;

/// Boxes and arrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The boxes, by address: `service/web`.
    pub items: BTreeMap<String, Item>,
    /// The arrows: from, to, and what is written beside them.
    pub edges: BTreeSet<Edge>,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// What is written in it, a line each.
    pub lines: Vec<String>,
    /// What the plan does to it.
    pub tone: Tone,
}

/// What a box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service.
    Service,
    /// A volume.
    Volume,
    /// A node.
    Node,
}

/// What a plan does to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Same,
    /// It comes.
    Add,
    /// It changes, or is mended.
    Change,
    /// It goes.
    Destroy,
    /// It is held back.
    Held,
    /// It did not answer.
    Unknown,
}

/// An arrow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// From which box.
    pub from: String,
    /// To which.
    pub to: String,
    /// What is written beside it.
    pub label: String,
    /// Whether it is a wish rather than a need.
    pub dashed: bool,
}

impl Tone {
    /// Colours of its fill and its line, as `#rrggbb`.
    pub fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Same => ("#f6f8fa", "#57606a"),
            Self::Add => ("#dafbe1", "#1a7f37"),
            Self::Change => ("#fff8c5", "#9a6700"),
            Self::Destroy => ("#ffebe9", "#cf222e"),
            Self::Held => ("#ddf4ff", "#0969da"),
            Self::Unknown => ("#eaeef2", "#8c959f"),
        }
    }

    fn of(verb: &Verb) -> Self {
        match verb {
            Verb::Add => Self::Add,
            Verb::Change | Verb::Heal | Verb::Moved => Self::Change,
            Verb::Destroy => Self::Destroy,
            Verb::Held(_) | Verb::Released(_) | Verb::Paused(_) | Verb::Stopped | Verb::Waits => {
                Self::Held
            }
            Verb::Kept => Self::Same,
        }
    }
}

impl Picture {
    /// Draws a graph; with a plan, what it does and where replicas are after it.
    pub fn of(graph: &Graph, plan: Option<&PlanBody>) -> Self {
        let mut picture = Self::default();
        for (name, node) in &graph.nodes {
            let labels = node.labels.iter().map(|(key, value)| format!("{key} {value}"));
            let lines = std::iter::once(name.to_string()).chain(labels).collect();
            picture.item(format!("node/{name}"), Kind::Node, lines);
        }
        for (name, volume) in &graph.volumes {
            let each = if volume.each_replica { vec!["one a replica".to_owned()] } else { vec![] };
            let lines = std::iter::once(name.to_string()).chain(each).collect();
            picture.item(format!("volume/{name}"), Kind::Volume, lines);
            if let Some(node) = &volume.on {
                picture.edge((&format!("volume/{name}"), &format!("node/{node}")), "on", false);
            }
        }
        for (name, workload) in &graph.workloads {
            let from = change::resource(name, Some(workload));
            let count = match workload.replicas {
                1 if workload.once.is_some() => "runs once".to_owned(),
                count if workload.once.is_some() => format!("{count} completions"),
                count if let Some(cron) = &workload.template.cron => match count {
                    0 => "suspended".to_owned(),
                    _ => format!("{} {}", cron.schedule, cron.zone),
                },
                _ if workload.placement.every_node => "on every node".to_owned(),
                1 => "1 replica".to_owned(),
                count => format!("{count} replicas"),
            };
            picture.item(from.clone(), Kind::Service, vec![name.to_string(), count]);
            for (path, mount) in &workload.template.mounts {
                picture.edge((&from, &format!("volume/{}", mount.volume)), path, false);
            }
            for job in &workload.after {
                picture.edge((&from, &format!("job/{job}")), "after", false);
            }
            let placement = &workload.placement;
            let near = placement.near.iter().map(|near| (near, "near"));
            for (relation, word) in near.chain(placement.apart.iter().map(|one| (one, "apart"))) {
                let dashed = relation.weight.is_some();
                picture.edge((&from, &format!("service/{}", relation.workload)), word, dashed);
            }
        }
        if let Some(plan) = plan {
            picture.colour(plan);
        }
        picture
    }

    fn colour(&mut self, plan: &PlanBody) {
        for change in &plan.changes {
            let kind = match change.resource.split_once('/') {
                Some(("service" | "job" | "cron", _)) => Kind::Service,
                Some(("volume", _)) => Kind::Volume,
                Some(("node", _)) => Kind::Node,
                Some(_) | None => continue,
            };
            let name = change.resource.split_once('/').map_or("", |(_, name)| name);
            let item = self.items.entry(change.resource.clone()).or_insert_with(|| Item {
                kind,
                lines: vec![name.to_owned()],
                tone: Tone::Same,
            });
            item.tone = Tone::of(&change.verb);
        }
        let mut homes: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
        for (id, placed) in &plan.expected {
            let names = change::KINDS.map(|kind| format!("{kind}/{}", placed.workload));
            let Some(from) = names.into_iter().find(|name| self.items.contains_key(name)) else {
                continue;
            };
            let to = format!("node/{}", placed.node);
            if self.items.contains_key(&to) {
                homes.entry((from, to)).or_default().push(id.ordinal);
            }
        }
        for ((from, to), mut ordinals) in homes {
            ordinals.sort_unstable();
            ordinals.dedup();
            let label = match ordinals.as_slice() {
                many if many.len() > 4 => format!("{} replicas", many.len()),
                few => few.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
            };
            self.edge((&from, &to), &label, false);
        }
        for (name, item) in &mut self.items {
            let node = name.strip_prefix("node/");
            let is_seen = |node| plan.preconditions.keys().any(|seen| seen.as_str() == node);
            if node.is_some_and(|node| !is_seen(node)) {
                item.tone = Tone::Unknown;
            }
        }
    }

    fn item(&mut self, address: String, kind: Kind, lines: Vec<String>) {
        self.items.insert(address, Item { kind, lines, tone: Tone::Same });
    }

    fn edge(&mut self, (from, to): (&str, &str), label: &str, dashed: bool) {
        let (from, to, label) = (from.to_owned(), to.to_owned(), label.to_owned());
        self.edges.insert(Edge { from, to, label, dashed });
    }

    /// Writes it in the language of Graphviz.
    pub fn dot(&self) -> String {
        let mut out = String::from(
            "digraph berth {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", style=\"filled,rounded\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
        );
        for (address, item) in &self.items {
            let (fill, line) = item.tone.colours();
            let shape = match item.kind {
                Kind::Service => "box",
                Kind::Volume => "cylinder",
                Kind::Node => "box3d",
            };
            // A cylinder is not rounded.
            let style = if item.kind == Kind::Volume { ", style=filled" } else { "" };
            let label = item.lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\\n");
            let _ = writeln!(
                out,
                "  \"{}\" [label=\"{label}\", shape={shape}, fillcolor=\"{fill}\", color=\"{line}\"{style}];",
                escaped(address)
            );
        }
        for Edge { from, to, label, dashed } in &self.edges {
            let style = if *dashed { ", style=dashed" } else { "" };
            let _ = writeln!(
                out,
                "  \"{}\" -> \"{}\" [label=\"{}\"{style}];",
                escaped(from),
                escaped(to),
                escaped(label)
            );
        }
        out.push_str("}\n");
        out
    }
}

/// A text as it stands between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
