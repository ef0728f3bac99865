//! `berth drift`: how the nodes differ from what was last applied.

use berth_engine::plan::body::Goal;
use berth_engine::plan::drift::{Finding, Kind, drift};
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_engine::run::observe::survey;

use super::Ended;
use crate::exit::Exit;
use crate::paint;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let seen = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let seen = survey(&host, &project.graph).await;
        host.close().await;
        seen
    })??;
    let findings = drift(&Inputs {
        graph: &project.graph,
        program: &project.program,
        observation: &seen.observation,
        head: &seen.ledger.head,
        goal: Goal::Converge,
        only: EVERYTHING,
        now_ms: fleet::now_ms(),
    });
    if args.json {
        let json: Vec<_> = findings
            .iter()
            .map(|f| serde_json::json!({ "kind": f.kind.word(), "subject": f.subject, "words": f.words }))
            .collect();
        say!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        print(&findings);
    }
    let is = |kind: Kind| findings.iter().any(|finding| finding.kind == kind);
    Ok(if is(Kind::External) {
        Exit::Differs
    } else if is(Kind::Unknown) {
        Exit::Partial
    } else {
        Exit::Done
    })
}

fn print(findings: &[Finding]) {
    let width = findings.iter().map(|f| f.subject.chars().count()).max().unwrap_or(0);
    for Finding { kind, subject, words } in findings {
        let word = format!("{:8}", kind.word());
        let word = match kind {
            Kind::External => paint::error(&word),
            Kind::Unknown | Kind::Held => paint::notice(&word),
            Kind::Pending | Kind::Foreign => paint::dim(&word),
        };
        say!("{subject:width$}  {word}  {words}");
    }
    let act = findings.iter().filter(|f| f.kind == Kind::External).count();
    if act == 0 {
        say!("{}", paint::good("no drift"));
    } else {
        say!("{act} to act on");
    }
}
