//! `berth logs`: what replicas said, one or many, now or as it comes; of those that are gone, too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use berth_agentless::{Cursor, LogSeen, SshHost};
use berth_engine::plan::names::{ContainerId, NodeName, PodId, Tenant};
use berth_engine::run::host::HostError;
use berth_engine::run::observe::observe;
use tokio::sync::mpsc;

use super::Ended;
use crate::exit::Exit;
use crate::lines::Lines;
use crate::pins::Pins;
use crate::project::Project;
use crate::replicas::{self, Wanted};
use crate::{Global, fleet, paint};

/// How long a follower waits between two looks: the shortest while something comes, the longest
/// while nothing does.
const WAIT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_millis(600);
/// How long it waits for a node that does not answer.
const AWAY: Duration = Duration::from_secs(2);

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services such as `web`, replicas such as `web[1]`, or pods such as `web-1.g3`; all otherwise
    what: Vec<String>,
    /// Go on with what comes, of new replicas too, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines of each, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "200", value_parser = tail)]
    tail: Tail,
    /// Only what came in the last so much time: `10m`, `1h30m`; to the minute, never less
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    since: Option<u64>,
    /// Also those of replicas that were replaced; a node keeps ten
    #[arg(short, long)]
    replaced: bool,
    /// The container of that name beside the replica's own, `init` or sidecar
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_containers")]
    container: Option<String>,
    /// All containers of a replica
    #[arg(long)]
    all_containers: bool,
    /// No names before the lines
    #[arg(long)]
    no_prefix: bool,
    /// Print a JSON object a line: node, pod, line
    #[arg(long, conflicts_with = "no_prefix")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    All,
    Last(u64),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        number => number.parse().map(Tail::Last).map_err(|_| "say a number, or `all`".to_owned()),
    }
}

/// Reads `90s`, `10m`, `1h30m`, `2d` as seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "say a length of time such as `30s`, `10m`, `1h30m` or `2d`".to_owned();
    let (mut total, mut number) = (0_u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        let more = count.checked_mul(unit).ok_or_else(wrong)?;
        total = total.checked_add(more).ok_or_else(wrong)?;
        number.clear();
    }
    if number.is_empty() && !text.is_empty() { Ok(total) } else { Err(wrong()) }
}

/// What to read of every node.
struct Ask {
    tenant: Tenant,
    wanted: Vec<Wanted>,
    /// Pods that are there now: of replaced ones only what was asked for.
    present: BTreeSet<PodId>,
    tail: Option<u64>,
    since: Option<u64>,
    replaced: bool,
    follow: bool,
    part: Part,
}

/// Which containers of a replica.
enum Part {
    Own,
    Beside(String),
    All,
}

impl Part {
    fn means(&self, container: &ContainerId) -> bool {
        match self {
            Self::Own => container.beside.is_none(),
            Self::Beside(name) => container.beside.as_ref() == Some(name),
            Self::All => true,
        }
    }
}

impl Ask {
    fn means(&self, container: &ContainerId) -> bool {
        let pod = &container.pod;
        let named = |wanted: &Wanted| matches!(wanted, Wanted::Pod(id) if id == pod);
        let matches = |wanted: &Wanted| wanted.matches(pod);
        self.part.means(container)
            && (self.wanted.is_empty() || self.wanted.iter().any(matches))
            && (self.replaced || self.present.contains(pod) || self.wanted.iter().any(named))
    }
}

/// A part of a log, or word of one.
enum Said {
    Bytes {
        node: NodeName,
        container: ContainerId,
        bytes: Vec<u8>,
    },
    /// Earlier lines were left out.
    LeftOut(ContainerId),
    /// A node can't be read.
    Away(HostError),
    /// It can be read again.
    Back(NodeName),
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = Arc::new(fleet::host(&project, global));
        let ended = read(&host, &project, args).await;
        host.close().await;
        ended
    })?
}

async fn read(host: &Arc<SshHost>, project: &Project, args: &Args) -> Ended {
    let graph = &project.graph;
    let observation = observe(&**host, graph).await;
    let whole = replicas::tell_unknown(&observation);
    let wanted = args.what.iter().map(|what| replicas::parse(what, graph, &observation));
    let wanted: Vec<Wanted> = wanted.collect::<Result<_, _>>()?;
    let ask = Arc::new(Ask {
        tenant: graph.tenant.clone(),
        present: replicas::all(&observation).into_iter().map(|r| r.pod).collect(),
        wanted,
        tail: match args.tail {
            Tail::All => None,
            Tail::Last(lines) => Some(lines),
        },
        since: args.since,
        replaced: args.replaced,
        follow: args.follow,
        part: match &args.container {
            Some(name) => Part::Beside(name.clone()),
            None if args.all_containers => Part::All,
            None => Part::Own,
        },
    });
    // First which logs there are, so that names before the lines are as wide as the widest.
    let mut logs: BTreeMap<NodeName, BTreeMap<ContainerId, LogSeen>> = BTreeMap::new();
    for node in observation.nodes.keys().filter(|node| observation.seen(node).is_some()) {
        let mut seen = host.logs_seen(node, &graph.tenant).await?;
        seen.retain(|pod, _| ask.means(pod));
        logs.insert(node.clone(), seen);
    }
    let pods: Vec<(&NodeName, &ContainerId)> =
        logs.iter().flat_map(|(node, seen)| seen.keys().map(move |pod| (node, pod))).collect();
    if pods.is_empty() && !args.follow {
        hint!("{} {}", paint::error("error:"), nothing(args, whole));
        return Ok(if whole { Exit::Mistake } else { Exit::Partial });
    }
    let several = pods.len() > 1 || args.follow && !ask.one_pod();
    let mut lines = Lines::new(args.json, several && !args.no_prefix, &pods);
    let mut left_out = Vec::new();
    let (sender, mut said) = mpsc::channel(16);
    if args.follow {
        for (node, seen) in logs {
            tokio::spawn(follow(host.clone(), ask.clone(), node, seen, sender.clone()));
        }
    } else {
        tokio::spawn(once(host.clone(), ask.clone(), logs, sender.clone()));
    }
    drop(sender);
    let mut exit = if whole { Exit::Done } else { Exit::Partial };
    while let Some(said) = said.recv().await {
        let printed = match said {
            Said::Bytes { node, container, bytes } => lines.push(&node, &container, &bytes),
            Said::LeftOut(pod) => {
                left_out.push(pod.to_string());
                Ok(())
            }
            Said::Away(error) => {
                exit = Exit::Partial;
                hint!("{} {error}", paint::notice("note:"));
                Ok(())
            }
            Said::Back(node) => {
                hint!("{} {node} answers again", paint::notice("note:"));
                Ok(())
            }
        };
        // Whoever read us is gone.
        if printed.is_err() {
            return Ok(exit);
        }
    }
    let _ = lines.end();
    let _ = std::io::stdout().flush();
    if !left_out.is_empty() && !args.json {
        let which = left_out.join(", ");
        hint!(
            "{}",
            paint::dim(&format!("earlier lines of {which} were left out; --tail all shows them"))
        );
    }
    Ok(exit)
}

impl Ask {
    fn one_pod(&self) -> bool {
        matches!((&self.wanted[..], &self.part), ([Wanted::Pod(_)], Part::Own | Part::Beside(_)))
    }
}

fn nothing(args: &Args, whole: bool) -> String {
    let what = if args.what.is_empty() { "any replica".to_owned() } else { args.what.join(", ") };
    let more = if args.replaced { "" } else { "; --replaced looks at those that are gone, too" };
    let whole = if whole { "" } else { " that answered" };
    format!("no node{whole} has a log of {what}{more}")
}

/// Reads the logs that there are, one after the other, and ends.
async fn once(
    host: Arc<SshHost>,
    ask: Arc<Ask>,
    logs: BTreeMap<NodeName, BTreeMap<ContainerId, LogSeen>>,
    to: mpsc::Sender<Said>,
) {
    let all = logs.into_iter().flat_map(|(node, seen)| {
        seen.into_iter().map(move |(pod, seen)| (pod, node.clone(), seen))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (pod, node, seen) in all {
        let mut cursors = BTreeMap::new();
        let read = async {
            begin(&host, &ask, &node, &pod, seen, &mut cursors, &to).await?;
            while drain(&host, &ask, &node, &mut cursors, &to).await? {}
            Ok(())
        };
        if let Err(error) = read.await
            && to.send(Said::Away(error)).await.is_err()
        {
            return;
        }
    }
}

/// Reads a node's logs for as long as somebody listens, and outlives its absence.
async fn follow(
    host: Arc<SshHost>,
    ask: Arc<Ask>,
    node: NodeName,
    first: BTreeMap<ContainerId, LogSeen>,
    to: mpsc::Sender<Said>,
) {
    let mut cursors: BTreeMap<ContainerId, (LogSeen, Cursor)> = BTreeMap::new();
    let mut first = Some(first);
    // Pods that were gone already when this began.
    let mut old: Option<BTreeSet<ContainerId>> = None;
    let mut wait = *WAIT.start();
    let mut away = false;
    loop {
        let looked = async {
            if let Some(logs) = &first {
                for (pod, seen) in logs {
                    if !cursors.contains_key(pod) {
                        begin(&host, &ask, &node, pod, seen.clone(), &mut cursors, &to).await?;
                    }
                }
                first = None;
            }
            let logs = host.logs_seen(&node, &ask.tenant).await?;
            let old = old.get_or_insert_with(|| logs.keys().cloned().collect());
            for (pod, seen) in logs {
                if let Some((known, _)) = cursors.get_mut(&pod) {
                    *known = seen;
                } else if !old.contains(&pod)
                    && ask.part.means(&pod)
                    && (ask.wanted.is_empty() || ask.wanted.iter().any(|w| w.matches(&pod.pod)))
                {
                    cursors.insert(pod, (seen, Cursor::beginning()));
                }
            }
            drain(&host, &ask, &node, &mut cursors, &to).await
        };
        match looked.await {
            Ok(came) => {
                if std::mem::take(&mut away) && to.send(Said::Back(node.clone())).await.is_err() {
                    return;
                }
                wait = if came { *WAIT.start() } else { (wait * 5 / 4).min(*WAIT.end()) };
                tokio::time::sleep(if came { Duration::from_millis(20) } else { wait }).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) && to.send(Said::Away(error)).await.is_err()
                {
                    return;
                }
                tokio::time::sleep(AWAY).await;
            }
        }
        if to.is_closed() {
            return;
        }
    }
}

/// Finds where a log begins.
async fn begin(
    host: &SshHost,
    ask: &Ask,
    node: &NodeName,
    container: &ContainerId,
    seen: LogSeen,
    cursors: &mut BTreeMap<ContainerId, (LogSeen, Cursor)>,
    to: &mpsc::Sender<Said>,
) -> Result<(), HostError> {
    let start = host.log_start(node, &ask.tenant, container, ask.since, ask.tail).await?;
    if start.left_out && !ask.follow {
        let _ = to.send(Said::LeftOut(container.clone())).await;
    }
    cursors.insert(container.clone(), (seen, start.cursor));
    Ok(())
}

/// Reads a part of each log that holds more; whether any did.
async fn drain(
    host: &SshHost,
    ask: &Ask,
    node: &NodeName,
    cursors: &mut BTreeMap<ContainerId, (LogSeen, Cursor)>,
    to: &mpsc::Sender<Said>,
) -> Result<bool, HostError> {
    let parts = host.logs_read(node, &ask.tenant, cursors).await?;
    let mut came = false;
    for (container, bytes) in parts {
        came |= !bytes.is_empty();
        let said = Said::Bytes { node: node.clone(), container, bytes };
        if to.send(said).await.is_err() {
            return Ok(false);
        }
    }
    Ok(came)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn lengths_of_time() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("2d"), Ok(172_800));
        for wrong in ["", "10", "m", "1y", "99999999999999999999s", "1h30"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
