//! `berth graph`: the desired graph as a picture, coloured by the plan.

use std::collections::HashMap;
use std::path::PathBuf;

use berth_engine::plan::body::Goal;
use berth_engine::plan::picture::{Edge, Kind, Picture};
use berth_engine::plan::planner::EVERYTHING;
use berth_engine::run::observe::survey;
use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::Ended;
use super::plan::judged;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::saved::Saved;
use crate::{Global, fleet};

/// The most boxes that are laid out here; Graphviz takes more.
const BOXES: usize = 200;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// Where to; standard output unless said
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask no node: only what the text says, without what a plan would do
    #[arg(long)]
    text: bool,
    /// Ask no node: colour it by a plan on what a saved plan had read
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    observation: Option<PathBuf>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A picture, for a browser
    Svg,
    /// The language of Graphviz
    Dot,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let graph = &project.graph;
    let plan = fleet::block_on(async {
        let seen = match &args.observation {
            _ if args.text => return Ok::<_, Box<dyn std::error::Error>>(None),
            Some(path) => Saved::seen(path, &graph.tenant)?,
            None => {
                let host = fleet::host(&project, global);
                let seen = survey(&host, graph).await;
                host.close().await;
                seen?
            }
        };
        let now_ms = fleet::now_ms();
        let planned = seen.plan(graph, &project.program, Goal::Converge, EVERYTHING, now_ms);
        Ok(Some(judged(planned)?))
    })??;
    let picture = Picture::of(graph, plan.as_ref());
    let written = match args.format {
        Format::Dot => picture.dot(),
        Format::Svg if picture.items.len() > BOXES => {
            let words = format!(
                "a picture of {} boxes is too large to be laid out here; write it for Graphviz: `berth graph --format dot`",
                picture.items.len()
            );
            return Err(words.into());
        }
        Format::Svg => {
            let (drawn, left_out) = svg(&picture);
            if left_out > 0 {
                hint!(
                    "{} {left_out} arrows are not in the picture, which could not be laid out with them; `--format dot` has all",
                    crate::paint::notice("note:")
                );
            }
            drawn
        }
    };
    match &args.out {
        None => put!("{written}"),
        Some(path) => {
            std::fs::write(path, written).map_err(|error| format!("{}: {error}", path.display()))?
        }
    }
    Ok(Exit::Done)
}

/// Draws the picture, and counts the arrows that had to be left out: the layout of layout-rs 0.1 panics on
/// some graphs with many of them ("Can't normalize the unit vector"), and then has less to do.
fn svg(picture: &Picture) -> (String, usize) {
    let hook = std::panic::take_hook();
    // What is caught here is told in our own words.
    std::panic::set_hook(Box::new(|_| {}));
    let ways: [fn(&Edge) -> bool; 3] = [|_| true, |edge| edge.from < edge.to, |_| false];
    let drawn = ways.into_iter().find_map(|keep| {
        let drawn = std::panic::catch_unwind(|| draw(picture, keep)).ok()?;
        let left_out = picture.edges.iter().filter(|edge| !keep(edge)).count();
        Some((drawn, left_out))
    });
    std::panic::set_hook(hook);
    drawn.unwrap_or_else(|| (SVGWriter::new().finalize(), picture.edges.len()))
}

fn draw(picture: &Picture, keep: fn(&Edge) -> bool) -> String {
    let mut graph = VisualGraph::new(Orientation::LeftToRight);
    let mut handles = HashMap::new();
    for (address, item) in &picture.items {
        let (fill, line) = item.tone.colours();
        let rounded = if item.kind == Kind::Service { 12 } else { 0 };
        let look = StyleAttr::new(colour(line), 2, Some(colour(fill)), rounded, 14);
        let kind = match item.kind {
            Kind::Service => "",
            Kind::Volume => "volume ",
            Kind::Node => "node ",
        };
        let label = format!("{kind}{}", item.lines.join("\n"));
        let longest = label.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let lines = label.lines().count();
        let pixels = |count: usize, each: u32, more: u32| {
            f64::from(u32::try_from(count).unwrap_or(0).saturating_mul(each).saturating_add(more))
        };
        let size = Point::new(pixels(longest, 9, 24), pixels(lines, 20, 16));
        let shape = ShapeKind::new_box(&label);
        let element = Element::create(shape, look, Orientation::LeftToRight, size);
        handles.insert(address.as_str(), graph.add_node(element));
    }
    let look = StyleAttr::new(colour("#57606a"), 1, None, 0, 11);
    for edge in picture.edges.iter().filter(|edge| keep(edge)) {
        let ends = (handles.get(edge.from.as_str()), handles.get(edge.to.as_str()));
        let (Some(from), Some(to)) = ends else { continue };
        let style = if edge.dashed { LineStyleKind::Dashed } else { LineStyleKind::Normal };
        let end = LineEndKind::Arrow;
        let arrow = Arrow::new(LineEndKind::None, end, style, &edge.label, &look, &None, &None);
        graph.add_edge(arrow, *from, *to);
    }
    let mut writer = SVGWriter::new();
    if !picture.items.is_empty() {
        graph.do_it(false, false, false, &mut writer);
    }
    writer.finalize()
}

/// A colour from `#rrggbb`.
fn colour(hex: &str) -> Color {
    let rgb = u32::from_str_radix(hex.trim_start_matches('#'), 16).unwrap_or(0);
    Color::new(rgb << 8 | 0xff)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use berth_engine::plan::picture::{Item, Tone};
    use proptest::prelude::*;

    use super::*;

    fn picture(names: &[String], edges: &[(usize, usize)]) -> Picture {
        let item = |name: &String| Item {
            kind: Kind::Service,
            lines: vec![name.clone()],
            tone: Tone::Same,
        };
        let items: BTreeMap<String, Item> =
            names.iter().map(|name| (name.clone(), item(name))).collect();
        let edge = |(from, to): &(usize, usize)| Edge {
            from: names[from % names.len()].clone(),
            to: names[to % names.len()].clone(),
            label: "near".to_owned(),
            dashed: from % 2 == 0,
        };
        Picture { items, edges: edges.iter().map(edge).collect::<BTreeSet<_>>() }
    }

    #[test]
    fn the_largest_picture_is_laid_out_in_seconds() {
        let names: Vec<String> = (0..BOXES).map(|n| format!("service/s{n}")).collect();
        let edges: Vec<(usize, usize)> = (0..BOXES).map(|n| (n, n * 7 + 1)).collect();
        let start = std::time::Instant::now();
        let (drawn, left_out) = svg(&picture(&names, &edges));
        assert!(drawn.contains("</svg>") && left_out == 0);
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
    }

    /// layout-rs 0.1.3 panics on this one.
    #[test]
    fn a_graph_that_cannot_be_laid_out_is_drawn_with_fewer_arrows() {
        let names = ["", "\u{1}", "0 ", "a", "¡"].map(str::to_owned);
        let edges = [
            (0, 2),
            (6, 5),
            (2, 4),
            (3, 1),
            (0, 4),
            (5, 1),
            (0, 6),
            (4, 1),
            (0, 3),
            (5, 2),
            (7, 6),
            (1, 0),
            (2, 0),
        ];
        let (drawn, left_out) = svg(&picture(&names, &edges));
        assert!(drawn.contains("</svg>") && left_out > 0, "{left_out}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn no_graph_panics(
            names in prop::collection::btree_set("[^\\x00]{0,12}", 1..8),
            edges in prop::collection::vec((0..8_usize, 0..8_usize), 0..20),
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let picture = picture(&names, &edges);
            let (drawn, _) = svg(&picture);
            prop_assert!(drawn.contains("</svg>"));
            // Every box is there, whatever became of the arrows.
            prop_assert!(drawn.matches("<rect").count() >= picture.items.len(), "{drawn}");
        }
    }
}
