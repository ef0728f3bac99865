//! A plan in words, for people: what changes, wave by wave, and what goes back if it fails.
//!
//! Plain text without colour; the terminal adds that. A destroy is never folded away.

mod markdown;
mod waves;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::body::{
    Blocked, Change, FieldChange, Gate, Goal, PlanBody, Rejection, Step, Verb, Work,
};
use super::change::{self, bytes};
use super::names::{NodeName, WorkloadName};
use super::observation::Observation;

pub use markdown::{LIMIT as MARKDOWN_LIMIT, markdown};

/// Where places in the text stand at the latest, in characters after a field's name.
const PLACES: usize = 48;

/// Words of a change on one line: `~ service/web image 9f2…→c41…`.
pub fn one_line(change: &Change) -> String {
    let Change { resource, verb, fields, causes } = change;
    let mut line = format!("{} {resource}", mark(verb));
    for field in fields.iter().filter(|_| !matches!(verb, Verb::Add)).take(3) {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        let _ = write!(line, "  {} {} → {}", field.path, side(&field.before), side(&field.after));
    }
    if let (Verb::Heal, Some(cause)) = (verb, causes.first()) {
        let _ = write!(line, "  {cause}");
    }
    line
}

/// Where the text sets what a plan changes, by resource and path: `web.berth:18`.
pub type Places = BTreeMap<String, BTreeMap<String, String>>;

/// The whole plan. `observation` tells which nodes answered.
pub fn text(body: &PlanBody, observation: &Observation) -> String {
    text_with_places(body, observation, &Places::new())
}

/// The whole plan, with the places in the text that its changes come from.
pub fn text_with_places(body: &PlanBody, observation: &Observation, places: &Places) -> String {
    let mut out = String::new();
    head(&mut out, body, observation);
    for change in &body.changes {
        change_and_waves(&mut out, change, body, places);
    }
    nodes(&mut out, body);
    if body.leaves_nothing() && body.steps.is_empty() {
        let _ = writeln!(out, "- ledger  all that is left");
    }
    for blocked in &body.blocked {
        self::blocked(&mut out, body, blocked);
    }
    for deferred in &body.deferred {
        let _ = writeln!(out, "! {deferred}");
    }
    if body.is_empty() && body.blocked.is_empty() {
        let all_seen = body.preconditions.len() == observation.nodes.len();
        out.push_str(if body.deferred.is_empty() {
            "Nothing to do: the nodes are what the text says.\n"
        } else if all_seen {
            "Nothing else to do.\n"
        } else {
            "Nothing to do on the nodes that answered.\n"
        });
    } else {
        let _ = writeln!(out, "{}", counts(body));
    }
    out
}

/// A change, and the waves that bring it about.
fn change_and_waves(out: &mut String, change: &Change, body: &PlanBody, places: &Places) {
    let name = change::name_of(&change.resource);
    let job = name.and_then(|name| job(body, name));
    self::change(out, change, job.as_deref(), places);
    let changes = match change.verb {
        Verb::Add | Verb::Change | Verb::Heal | Verb::Destroy => true,
        Verb::Held(_)
        | Verb::Released(_)
        | Verb::Paused(_)
        | Verb::Stopped
        | Verb::Waits
        | Verb::Kept
        | Verb::Moved => false,
    };
    let mut branches = body.branches.iter().filter(|_| changes);
    let branch = branches.find(|(branch, _)| Some(branch.as_str()) == name);
    if let Some((_, branch)) = branch {
        let says_how = job.is_some() || change.resource.starts_with("cron/");
        waves::branch(out, branch, says_how);
    }
}

/// What is said of a job that runs in a plan: that it cannot be taken back, and what begins after it.
fn job(body: &PlanBody, name: &str) -> Option<String> {
    let of_it = |step: &&Step| step.branch.as_ref().is_some_and(|branch| branch.as_str() == name);
    let mut steps = body.steps.iter().filter(of_it);
    let (retries, timeout_ms) = steps.find_map(|step| match &step.work {
        Work::Ask(Gate::Ended { pod: _, retries, timeout_ms }) => Some((*retries, *timeout_ms)),
        Work::Ask(_)
        | Work::Act(_)
        | Work::AwaitReady { .. }
        | Work::AwaitDrained { .. }
        | Work::Fence { .. } => None,
    })?;
    let reached = body.reaches.iter().filter_map(|(name, to)| Some((name, to.as_deref()?)));
    let after = reached.filter(|(other, to)| {
        to.after.iter().any(|job| job.as_str() == name) && body.branches.contains_key(*other)
    });
    let after: Vec<String> = after.map(|(name, to)| change::resource(name, Some(to))).collect();
    let before =
        if after.is_empty() { String::new() } else { format!(" before {}", after.join(", ")) };
    let retries = match retries {
        0 => String::new(),
        1 => ", 1 retry".to_owned(),
        more => format!(", {more} retries"),
    };
    let within = change::millis(timeout_ms);
    Some(format!("runs to its end{before}, within {within}{retries}; IRREVERSIBLE"))
}

fn head(out: &mut String, body: &PlanBody, observation: &Observation) {
    let digest = body.digest();
    let all = observation.nodes.len();
    let seen = body.preconditions.len();
    let goal = match body.goal {
        Goal::Converge => "",
        Goal::Destroy => "  DESTROY",
    };
    let parent = body.revision - 1;
    let short = digest.get(..4).unwrap_or(&digest);
    let _ =
        writeln!(out, "Plan {short}  {}  parent {parent}  nodes {seen}/{all}{goal}", body.tenant);
    if let Some(owner) = &body.owner {
        let _ =
            writeln!(out, "fleet  of {owner}, which sets up what belongs to a server as a whole");
    }
    if !body.only.is_empty() {
        let only: Vec<_> = body.only.iter().map(|name| format!("service/{name}")).collect();
        let _ = writeln!(out, "only  {}; all else is left as it is", only.join(", "));
    }
    for counting in &body.overrides {
        let _ = writeln!(out, "override  {counting}");
    }
}

fn mark(verb: &Verb) -> char {
    match verb {
        Verb::Add => '+',
        Verb::Change | Verb::Heal => '~',
        Verb::Destroy => '-',
        Verb::Moved => '>',
        Verb::Held(_)
        | Verb::Released(_)
        | Verb::Paused(_)
        | Verb::Stopped
        | Verb::Waits
        | Verb::Kept => '=',
    }
}

fn change(out: &mut String, change: &Change, job: Option<&str>, places: &Places) {
    let Change { resource, verb, fields, causes } = change;
    match verb {
        Verb::Held(pin) => {
            let stands = if resource.starts_with("job/") {
                "it is not run again"
            } else if pin.stands.is_some() {
                "the release before it stands"
            } else {
                "nothing stands instead"
            };
            let _ = writeln!(
                out,
                "= {resource}  HELD since revision {}{}: {}; {stands}, until the text changes",
                pin.revision,
                pin.who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default(),
                pin.why
            );
            return;
        }
        Verb::Paused(pause) => {
            let _ = writeln!(out, "= {resource}  PAUSED {}; its change waits", pause.reason());
            return;
        }
        Verb::Stopped => {
            let _ = writeln!(
                out,
                "= {resource}  has no replicas: its release in the text waits until it has some"
            );
            return;
        }
        Verb::Waits => {
            let _ =
                writeln!(out, "= {resource}  WAITS: {}; its change comes then", causes.join(", "));
            return;
        }
        Verb::Released(pin) => {
            let _ = writeln!(
                out,
                "= {resource}  not held any more: the text has changed since revision {}",
                pin.revision
            );
            return;
        }
        Verb::Kept => {
            let where_ = causes.first().map(String::as_str).unwrap_or_default();
            let _ = writeln!(out, "= {resource}  stays with its data, {where_}");
            return;
        }
        Verb::Moved => {
            let mut causes = causes.iter();
            let was = causes.next().map(String::as_str).unwrap_or_default();
            let _ = writeln!(out, "> {resource}  {was}");
            for cause in causes {
                let _ = writeln!(out, "    {cause}");
            }
            return;
        }
        Verb::Add | Verb::Change | Verb::Heal | Verb::Destroy => {
            let word = match verb {
                Verb::Heal => "  heal",
                Verb::Destroy if resource.starts_with("volume/") => "  DESTROY, with all its data",
                Verb::Destroy => "  DESTROY",
                Verb::Add
                | Verb::Change
                | Verb::Held(_)
                | Verb::Released(_)
                | Verb::Paused(_)
                | Verb::Stopped
                | Verb::Waits
                | Verb::Kept
                | Verb::Moved => "",
            };
            let job = job.map(|words| format!("  {words}")).unwrap_or_default();
            let _ = writeln!(out, "{} {resource}{word}{job}", mark(verb));
        }
    }
    let width = fields.iter().map(|field| field.path.chars().count()).max().unwrap_or(0);
    let words = |field: &FieldChange| match (&field.before, &field.after) {
        (None, Some(after)) => after.clone(),
        (Some(before), Some(after)) => format!("{before} → {after}"),
        (Some(before), None) => format!("{before} → (not set)"),
        (None, None) => String::new(),
    };
    let places = places.get(resource);
    let lines: Vec<_> = fields
        .iter()
        .map(|field| (field, words(field), places.and_then(|places| places.get(&field.path))))
        .collect();
    let placed = lines.iter().filter(|(.., place)| place.is_some());
    let column = placed.map(|(_, words, _)| words.chars().count()).max().unwrap_or(0).min(PLACES);
    for (field, words, place) in lines {
        let _ = match place {
            Some(place) => writeln!(out, "    {:width$}  {words:column$}  {place}", field.path),
            None => writeln!(out, "    {:width$}  {words}", field.path),
        };
    }
    for cause in causes {
        let _ = writeln!(out, "    {cause}");
    }
}

/// What happens to the nodes themselves, and to the endpoints, a line a node.
fn nodes(out: &mut String, body: &PlanBody) {
    let mut lines: std::collections::BTreeMap<&NodeName, Vec<String>> =
        std::collections::BTreeMap::new();
    for step in body.steps.iter().filter(|step| step.branch.is_none()) {
        match &step.work {
            Work::Fence { command, since_ms } => {
                let _ = writeln!(
                    out,
                    "! node/{}  FENCED, irreversible: `{}` switches it off, since nothing answers there since {}; what has no volume there starts elsewhere",
                    step.node,
                    command.join(" "),
                    super::moment::utc(*since_ms)
                );
            }
            Work::Act(action) => {
                let title = Work::Act(action.clone()).title(&step.node);
                let on = ["on", "to", "off"].map(|word| format!(" {word} {}", step.node));
                let words = on.iter().fold(title, |t, suffix| {
                    t.strip_suffix(suffix.as_str()).unwrap_or(&t).to_owned()
                });
                let removes = action.removes();
                let words = match body.goal {
                    Goal::Converge if removes && !words.starts_with("remove ") => {
                        format!("remove {words}")
                    }
                    Goal::Converge | Goal::Destroy => words,
                };
                lines.entry(&step.node).or_default().push(words);
            }
            Work::AwaitReady { .. } | Work::AwaitDrained { .. } | Work::Ask(_) => {}
        }
    }
    for fingerprint in &body.revoked {
        let short = fingerprint.get(..8).unwrap_or(fingerprint);
        let _ = writeln!(out, "~ secret {short}  REVOKED: no plan brings it back from here on");
    }
    for node in &body.unfenced {
        let _ = writeln!(out, "~ node/{node}  answers again: it is not switched off any more");
    }
    for (node, since) in body.silent.iter().flatten() {
        let _ =
            writeln!(out, "~ node/{node}  is noted: silent since {}", super::moment::utc(*since));
    }
    for (node, words) in lines {
        let (mark, verb) = match body.goal {
            Goal::Converge => ('~', ""),
            Goal::Destroy => ('-', "remove "),
        };
        let _ = writeln!(out, "{mark} node/{node}  {verb}{}", words.join(", "));
    }
    let tables: std::collections::BTreeMap<&WorkloadName, usize> =
        body.steps.iter().fold(std::collections::BTreeMap::new(), |mut map, step| {
            if let (Some(branch), Work::Act(super::action::Action::SwapEndpoint { .. })) =
                (&step.branch, &step.work)
                && body.branches.get(branch).is_none_or(|b| b.waves.is_empty())
            {
                *map.entry(branch).or_default() += 1;
            }
            map
        });
    for (workload, count) in tables {
        let _ =
            writeln!(out, "  endpoint {workload} is set right on {count} node{}", plural(count));
    }
}

fn blocked(out: &mut String, body: &PlanBody, blocked: &Blocked) {
    match blocked {
        Blocked::NoRoom { workload, ordinal, nodes, mend } => {
            let named = change::KINDS.map(|kind| format!("{kind}/{workload}"));
            let is_named = |name: &&String| body.changes.iter().any(|it| it.resource == **name);
            let resource = named.iter().rfind(is_named).unwrap_or(&named[0]);
            let _ = writeln!(out, "! {resource} replica {ordinal}  BLOCKED: no node takes it");
            for line in super::why::grouped(nodes) {
                let _ = writeln!(out, "    {line}");
            }
            let _ = writeln!(out, "    {mend}");
        }
        Blocked::NodeLacks { node, missing } => {
            let _ = writeln!(out, "! node/{node}  BLOCKED: it lacks what Berth needs");
            for (what, mend) in missing {
                let _ = writeln!(out, "    {what}: {mend}");
            }
        }
        Blocked::PoolUsedUp { pool, by } => {
            let _ = writeln!(
                out,
                "! BLOCKED: the address pool `{pool}` has none left for {by}; widen it in `project`"
            );
        }
        Blocked::OtherFleet { node, owner } => {
            let _ = writeln!(
                out,
                "! node/{node}  BLOCKED: {owner} has set up the fleet, and not this server; pods of the two would not reach each other. Take it out of the text, or destroy what is there and have {owner} set it up"
            );
        }
        Blocked::OtherPools { node, owner } => {
            let _ = writeln!(
                out,
                "! node/{node}  BLOCKED: {owner} has set up its network, with other address pools; write the `network` of that project into this one"
            );
        }
        Blocked::VolumeLost { volume, node } => {
            let _ = writeln!(
                out,
                "! volume/{volume}  BLOCKED: it was on {node}, and is not there any more; bring its folder back, or give the volume another name to begin without its data"
            );
        }
        Blocked::VolumeTwice { volume, nodes } => {
            let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                out,
                "! volume/{volume}  BLOCKED: more than one node has it, or may have: {}; take the folders away whose data is not the right one",
                nodes.join(", ")
            );
        }
        Blocked::VolumeTooLarge { volume, node, size_bytes, over_bytes } => {
            let _ = writeln!(
                out,
                "! volume/{volume}  BLOCKED: {} are {} more than the disk of {node}, or the quota, has room for",
                bytes(*size_bytes),
                bytes(*over_bytes)
            );
        }
        Blocked::NodeLeft { node, what } => {
            let what: Vec<&str> = what.iter().map(String::as_str).collect();
            let _ = writeln!(
                out,
                "! node/{node}  BLOCKED: it is not in the text any more, and has {}; put it back and drain it first, or, if it is gone for good, `berth node forget {node}`",
                what.join(", ")
            );
        }
        Blocked::Revoked { resource, secret } => {
            let _ = writeln!(
                out,
                "! {resource}  BLOCKED: it would get what the secret {secret} held before, which was revoked; `berth secret set {secret}` says what it holds now, and a release that is held goes with `berth unpin`"
            );
        }
        Blocked::Protected { resource } => {
            let _ = writeln!(
                out,
                "! {resource}  BLOCKED: it is protected, and would be removed; to remove it, apply it with `protect: false` first"
            );
        }
        Blocked::Moved { resource, from } => {
            let _ = writeln!(
                out,
                "! {resource}  BLOCKED: `moved_from` says that it was {from}, and there is one of each name; leave `moved_from` out, and {from} goes"
            );
        }
        Blocked::NameTaken { volume, by } => {
            let _ = writeln!(
                out,
                "! volume/{volume}  BLOCKED: the folder of that name has the data of {by}, which was called so before; give this volume another name"
            );
        }
        Blocked::VolumeElsewhere { volume, is, wants } => {
            let _ = writeln!(
                out,
                "! volume/{volume}  BLOCKED: it is on {is}, and the text says {wants}; Berth moves no data: write `on: {is}`, or give the volume another name"
            );
        }
        Blocked::OtherMachine { node, known, found } => {
            let _ = writeln!(
                out,
                "! node/{node}  BLOCKED: another machine answers at its address (machine-id {found}, was {known}); give the new machine a name of its own, or, if it takes the old one's place, `berth node forget {node}`"
            );
        }
    }
}

/// A rejection in a few words.
pub fn rejection(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Unknown => "not reachable".to_owned(),
        Rejection::Cpu { needs, free } => format!("CPU needs {needs}m, free {free}m"),
        Rejection::Memory { needs, free } => {
            format!("memory needs {}, free {}", bytes(*needs), bytes(*free))
        }
        Rejection::Label { key, wants, has } => match has {
            Some(has) => format!("label {key} is {has}, not {wants}"),
            None => format!("label {key}: {wants} missing"),
        },
        Rejection::Addresses => "no pod address left".to_owned(),
        Rejection::Closed { drained: false } => "cordoned".to_owned(),
        Rejection::Closed { drained: true } => "drained".to_owned(),
        Rejection::Rule { rule, has } => {
            let has = has.as_ref().map_or_else(|| "not set".to_owned(), |has| format!("`{has}`"));
            format!("label {} is {has}, and must hold: {}", rule.label(), change::rule(rule))
        }
        Rejection::Taint { taint } => format!("taint {} not tolerated", change::taint(taint)),
        Rejection::Elsewhere { at } => {
            let at: Vec<_> = at.iter().map(ToString::to_string).collect();
            format!("must be at {}", at.join(" or "))
        }
        Rejection::Volume { volume, on } => format!("volume {volume} is on {on}"),
        Rejection::Resource { name, needs, free } if name == "disk" => {
            format!("disk needs {}, free {}", bytes(*needs), bytes(*free))
        }
        Rejection::Resource { name, needs, free } => format!("{name} needs {needs}, free {free}"),
        Rejection::Port { port, by } => format!("port {port} held by {by}"),
        Rejection::Skew { over, domain: Some(domain), has, least, skew } => {
            let over = change::over(over);
            format!("uneven: {over} {domain} has {has}, the emptiest {least}, at most {skew} apart")
        }
        Rejection::Skew { over, domain: None, .. } => {
            format!("label {} missing", change::over(over))
        }
        Rejection::NotNear { workload, over, domain: Some(domain) } => {
            format!("{} {domain} has no {workload}", change::over(over))
        }
        Rejection::NotNear { workload: _, over, domain: None } => {
            format!("label {} missing", change::over(over))
        }
        Rejection::NotApart { workload, over, domain, theirs } => {
            let domain = domain.as_deref().unwrap_or_default();
            let whose = if *theirs { ", which wants to be apart" } else { "" };
            format!("{} {domain} has {workload}{whose}", change::over(over))
        }
        Rejection::Quota { name, needs, free } if name == "memory" || name == "disk" => {
            format!("{name} of the quota: needs {}, free {}", bytes(*needs), bytes(*free))
        }
        Rejection::Quota { name, needs, free } => {
            let unit = if name == "cpu" { "m" } else { "" };
            format!("{name} of the quota: needs {needs}{unit}, free {free}{unit}")
        }
    }
}

/// How much of what there is, in a line.
fn counts(body: &PlanBody) -> String {
    let count =
        |test: &dyn Fn(&Verb) -> bool| body.changes.iter().filter(|c| test(&c.verb)).count();
    let add = count(&|verb| matches!(verb, Verb::Add));
    let change = count(&|verb| matches!(verb, Verb::Change));
    let heal = count(&|verb| matches!(verb, Verb::Heal));
    let destroy = count(&|verb| matches!(verb, Verb::Destroy));
    let mut parts =
        vec![format!("{change} change"), format!("{add} add"), format!("{destroy} destroy")];
    for (number, word) in
        [(heal, "heal"), (body.blocked.len(), "blocked"), (body.deferred.len(), "deferred")]
    {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let steps = body.steps.len();
    let nodes =
        body.steps.iter().map(|step| &step.node).collect::<std::collections::BTreeSet<_>>().len();
    format!("{}; {steps} step{} on {nodes} node{}", parts.join(", "), plural(steps), plural(nodes))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
