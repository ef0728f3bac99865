//! `berth doctor` and `berth bootstrap`: what servers lack of what Berth needs, and mending it.

use std::collections::{BTreeMap, BTreeSet};

use berth_agentless::{Examined, Finding, Mend, SshHost, Weight};
use berth_engine::plan::names::NodeName;
use berth_engine::run::host::HostError;
use tokio::sync::mpsc;

use super::Ended;
use super::apply::agreed;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, paint};

/// Lines that may wait to be shown.
const QUEUE: usize = 64;

/// What `berth doctor` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The nodes to look at; all of them unless named
    nodes: Vec<String>,
    /// Show what is as it should be, too
    #[arg(long)]
    all: bool,
    /// For programs: an object for each node
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

/// What `berth bootstrap` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct BootstrapArgs {
    /// The nodes to mend; all of them unless named
    nodes: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

type Seen = BTreeMap<NodeName, Result<Examined, HostError>>;

/// Looks, and says what was found.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let nodes = chosen(&project, &args.nodes)?;
    let seen = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let seen = host.examine(&nodes, &project.graph.pools).await;
        host.close().await;
        seen
    })?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&json(&seen))?);
    } else {
        tell(&seen, args.all);
    }
    Ok(ending(&seen))
}

/// Looks, shows what it would run, runs it, and looks again.
pub(crate) fn bootstrap(global: &Global, args: &BootstrapArgs) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let nodes = chosen(&project, &args.nodes)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = mend(&host, &project, &nodes, args.yes).await;
        host.close().await;
        ended
    })?
}

/// Shows what would mend what nodes lack, runs it if somebody agrees, and looks again.
pub(crate) async fn mend(
    host: &SshHost,
    project: &Project,
    nodes: &[NodeName],
    yes: bool,
) -> Ended {
    let pools = &project.graph.pools;
    let seen = host.examine(nodes, pools).await;
    let plan: BTreeMap<&NodeName, &[String]> = seen
        .iter()
        .filter_map(|(node, seen)| Some((node, seen.as_ref().ok()?.commands.as_slice())))
        .filter(|(_, commands)| !commands.is_empty())
        .collect();
    if plan.is_empty() {
        tell(&seen, false);
        say!("nothing that could be run for you");
        return Ok(ending(&seen));
    }
    for (node, commands) in &plan {
        let examined = seen.get(*node).and_then(|seen| seen.as_ref().ok());
        let system = examined.map_or("", |examined| &examined.system);
        say!("{}  {}", paint::bold(node.as_str()), paint::dim(system));
        commands.iter().for_each(|command| say!("  {command}"));
    }
    if !yes && !agreed("Run this?", "y")? {
        return Ok(Exit::Mistake);
    }
    let (to, mut lines) = mpsc::channel(QUEUE);
    let run = plan.iter().map(|(node, commands)| {
        let to = to.clone();
        async move { (*node, host.mend(node, commands, to).await) }
    });
    let all = futures_util::future::join_all(run);
    let show = async {
        while let Some((node, line)) = lines.recv().await {
            say!("{}  {line}", paint::dim(NodeName::as_str(&node)));
        }
    };
    let done = async {
        let all = all.await;
        drop(to);
        all
    };
    let (all, ()) = tokio::join!(done, show);
    for (node, ended) in all {
        match ended {
            Ok(0) => {}
            Ok(code) => say!("{node}  {}", paint::error(&format!("ended with {code}"))),
            Err(error) => say!("{}", paint::error(&error.to_string())),
        }
    }
    let seen = host.examine(nodes, pools).await;
    tell(&seen, false);
    Ok(ending(&seen))
}

fn chosen(project: &Project, names: &[String]) -> Result<Vec<NodeName>, String> {
    let named = fleet::nodes(project, names)?;
    Ok(match named.is_empty() {
        true => project.graph.nodes.keys().cloned().collect(),
        false => named.into_iter().collect(),
    })
}

fn ending(seen: &Seen) -> Exit {
    let sound = |seen: &Result<Examined, HostError>| {
        let bad = |finding: &Finding| finding.weight == Weight::Bad;
        seen.as_ref().is_ok_and(|seen| !seen.findings.iter().any(bad))
    };
    if seen.values().all(sound) { Exit::Done } else { Exit::Partial }
}

fn tell(seen: &Seen, all: bool) {
    let (mut bad, mut warnings, mut silent, mut mendable) = (0, 0, 0, BTreeSet::new());
    for (node, seen) in seen {
        let Examined { system, findings, commands } = match seen {
            Ok(examined) => examined,
            Err(error) => {
                say!("{}  {}", paint::bold(node.as_str()), paint::error(&error.to_string()));
                silent += 1;
                continue;
            }
        };
        say!("{}  {}", paint::bold(node.as_str()), paint::dim(system));
        let mut good = 0;
        for finding in findings {
            match finding.weight {
                Weight::Good => good += 1,
                Weight::Warning => warnings += 1,
                Weight::Bad => bad += 1,
            }
            if finding.weight != Weight::Good || all {
                line(finding);
            }
        }
        if !all {
            let others = if good == findings.len() { "all" } else { "the other" };
            say!("  {}     {others} {good}", paint::good("good"));
        }
        if !commands.is_empty() {
            mendable.insert(node.to_string());
        }
    }
    let mut parts = vec![format!("{bad} bad"), one_of_many(warnings, "warning")];
    if silent > 0 {
        parts.push(format!("{silent} of {} nodes could not be looked at", seen.len()));
    }
    say!("{}", parts.join(", "));
    if !mendable.is_empty() {
        let names = mendable.into_iter().collect::<Vec<_>>().join(" ");
        say!("`berth bootstrap {names}` shows what it would run, and asks");
    }
}

fn one_of_many(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn line(finding: &Finding) {
    let word = match finding.weight {
        Weight::Good => paint::good("good   "),
        Weight::Warning => paint::notice("warning"),
        Weight::Bad => paint::error("bad    "),
    };
    say!("  {word}  {:<16}  {}", finding.what, finding.says);
    if let Some(mend) = &finding.mend {
        say!("  {:<27}{}", "", paint::dim(&format!("→ {}", words(mend))));
    }
}

fn words(mend: &Mend) -> String {
    match mend {
        Mend::Install(names) => {
            format!("install {}", names.iter().copied().collect::<Vec<_>>().join(" "))
        }
        Mend::Run(command) => format!("`{command}`"),
        Mend::Person(words) => words.clone(),
    }
}

fn json(seen: &Seen) -> serde_json::Value {
    let finding = |finding: &Finding| {
        serde_json::json!({
            "what": finding.what,
            "weight": finding.weight.word(),
            "says": finding.says,
            "mend": finding.mend.as_ref().map(words),
        })
    };
    let node = |(node, seen): (&NodeName, &Result<Examined, HostError>)| match seen {
        Ok(seen) => serde_json::json!({
            "node": node.as_str(),
            "system": seen.system,
            "findings": seen.findings.iter().map(finding).collect::<Vec<_>>(),
            "commands": seen.commands,
        }),
        Err(error) => serde_json::json!({ "node": node.as_str(), "error": error.to_string() }),
    };
    seen.iter().map(node).collect()
}
