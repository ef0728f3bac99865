//! `berth node add`, `node remove` and `node replace`: a server comes into the text, leaves it, or takes the place of another.
//!
//! The text is the truth, so it is what these change: one item, or an item's `host`; the rest of it is as it was. Nothing on a
//! server changes by that but what is asked for: its host key is trusted, and what it lacks is installed; or what Berth installed
//! is taken off it, by a plan that is shown first.

use std::path::{Path, PathBuf};

use berth_engine::plan::body::Goal;
use berth_engine::plan::canon::digest_of;
use berth_engine::plan::graph::Intake;
use berth_engine::plan::names::{NodeName, VolumeId};
use berth_engine::plan::planner::EVERYTHING;
use berth_engine::run::observe::{Survey, survey};
use berth_lang::{Resource, ResourceKind, format as styled};

use super::Ended;
use super::apply::{Made, agreed, carry_out};
use super::plan::judged;
use super::{doctor, overrides, trust};
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::telling::Form;
use crate::{Global, fleet, paint};

/// A server that comes.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// What the text is to call it
    #[arg(value_name = "NAME")]
    name: String,
    /// Its address, or its host name
    #[arg(value_name = "HOST")]
    host: String,
    /// Who logs in, if not root
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The SSH port, if not 22
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// A label: zone=a
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Do not ask: its fingerprint was compared already, and what it lacks may be installed
    #[arg(short, long)]
    yes: bool,
}

/// A server that leaves.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Which
    #[arg(value_name = "NODE")]
    node: String,
    /// Leave what Berth installed there
    #[arg(long)]
    keep: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A server that takes the place of one that is lost.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplaceArgs {
    /// Whose name it takes
    #[arg(value_name = "NODE")]
    node: String,
    /// Its address, or its host name; the one before, if the machine there is another
    #[arg(value_name = "HOST")]
    host: String,
    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Do not ask: its fingerprint was compared already, what it lacks may be installed, and the old one never comes back
    #[arg(short, long)]
    yes: bool,
}

/// What the text cannot say so.
#[derive(Debug, thiserror::Error)]
enum NodeError {
    #[error("`{}` is no name: write a letter, and then letters, digits and `_`", .0.escape_debug())]
    Name(String),
    #[error("there is a node {0} already; `berth doctor {0}` looks at it")]
    There(NodeName),
    #[error("`{}` is no label: write `zone=a`", .0.escape_debug())]
    Label(String),
    #[error("the text says no `node` yet, so there is no file to put it into; write `{0}` in one")]
    NoFile(String),
    #[error("{0} is not an item of its own ({1}): take it out there")]
    Made(NodeName, String),
    #[error("{count} of this environment's replicas are on {node}: `berth drain {node}` first")]
    InUse { node: NodeName, count: usize },
    #[error("{0} keeps the ledger: name another `keeper` in the text, then `berth ledger move`")]
    Keeps(NodeName),
    #[error(
        "{0} has the data of {1}, which would stay behind: take it out of the text first, or say --keep"
    )]
    HasData(NodeName, String),
    #[error(
        "there is something else to do: `berth apply` first, or say --keep and leave what Berth installed on {0}"
    )]
    Busy(NodeName),
    #[error("{0} answers: `berth drain {0}`, and `berth node remove {0}` lose nothing")]
    Answers(NodeName),
    #[error(
        "its `host` is not a text of its own in {1}: change it there, then `berth node forget {0}`"
    )]
    Host(NodeName, String),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
}

/// A file that is changed, and changed back unless all goes well.
struct Edit {
    path: PathBuf,
    before: String,
    keep: bool,
}

impl Edit {
    fn new(path: PathBuf, change: impl FnOnce(&str) -> String) -> Result<Self, NodeError> {
        let fail = |error| NodeError::File { path: path.clone(), error };
        let before = std::fs::read_to_string(&path).map_err(fail)?;
        std::fs::write(&path, change(&before)).map_err(fail)?;
        Ok(Self { path, before, keep: false })
    }
}

impl Drop for Edit {
    fn drop(&mut self) {
        if !self.keep && std::fs::write(&self.path, &self.before).is_err() {
            hint!("{} could not be put back as it was", self.path.display());
        }
    }
}

/// Where the text says a node.
struct Item {
    file: String,
    path: PathBuf,
    /// Where its name is in the file.
    at: usize,
    /// The file's text.
    text: String,
}

impl Item {
    fn of(project: &Project, name: &NodeName) -> Result<Self, NodeError> {
        let resource = nodes(project).find(|node| *node.name == *name.as_str());
        let span = resource.map(Resource::span).ok_or_else(|| {
            NodeError::Made(name.clone(), "no text of its own says it".to_owned())
        })?;
        let path = project.root.join(Path::new(&*span.file));
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| NodeError::File { path: path.clone(), error })?;
        Ok(Self { file: span.file.to_string(), path, at: span.start as usize, text })
    }
}

fn nodes(project: &Project) -> impl Iterator<Item = &Resource> {
    project.resources.iter().filter(|resource| resource.kind == ResourceKind::Node)
}

/// Adds a server: to the text, to those that are trusted, and what it lacks to itself.
pub(crate) fn add(global: &Global, args: &AddArgs) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let name = NodeName::new(&*args.name);
    let mut letters = args.name.chars();
    let is_name = letters.next().is_some_and(|c| c.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_name {
        return Err(NodeError::Name(args.name.clone()).into());
    }
    if project.graph.nodes.contains_key(&name) {
        return Err(NodeError::There(name).into());
    }
    let item = item(args)?;
    let last = nodes(&project).last().map(|node| node.span().file.to_string());
    let file = last.ok_or_else(|| NodeError::NoFile(item.trim().to_owned()))?;
    let mut edit = Edit::new(project.root.join(&file), |before| {
        let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        format!("{before}{end}{item}")
    })?;
    let project = Project::load(global, Pins::Keep)?;
    say!("{file}  {} {}", paint::good("+"), item.trim());
    let known = trust::Args::new(&args.name, args.yes);
    if trust::run(global, &known)? != Exit::Done {
        say!("{file} is as it was");
        return Ok(Exit::Mistake);
    }
    edit.keep = true;
    drop(edit);
    let ended = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = doctor::mend(&host, &project, std::slice::from_ref(&name), args.yes).await;
        host.close().await;
        ended
    })??;
    say!("`berth plan` shows what comes to {name}; `berth bootstrap {name}` mends what is left");
    Ok(ended)
}

/// The item that says it, in the one style.
fn item(args: &AddArgs) -> Result<String, NodeError> {
    let text = |text: &str| serde_json::Value::from(text).to_string().replace("${", "\\${");
    let mut fields = vec![format!("host: {}", text(&args.host))];
    let ssh = [
        args.user.as_ref().map(|user| format!("user: {}", text(user))),
        args.port.map(|port| format!("port: {port}")),
    ];
    let ssh: Vec<String> = ssh.into_iter().flatten().collect();
    if !ssh.is_empty() {
        fields.push(format!("ssh: {{ {} }}", ssh.join(", ")));
    }
    let mut labels = Vec::new();
    for label in &args.labels {
        let (key, value) = label.split_once('=').ok_or_else(|| NodeError::Label(label.clone()))?;
        let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let key = if is_plain { key.to_owned() } else { text(key) };
        labels.push(format!("{key}: {}", text(value)));
    }
    if !labels.is_empty() {
        fields.push(format!("labels: {{ {} }}", labels.join(", ")));
    }
    let item = format!("node {} {{ {} }}\n", args.name, fields.join(", "));
    Ok(styled(&item).text)
}

/// Takes a server out of the text.
pub(crate) fn remove(global: &Global, args: &RemoveArgs) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let name = fleet::node(&project, &args.node)?;
    if project.graph.keeper == name {
        return Err(NodeError::Keeps(name).into());
    }
    let Item { file, path, at, text } = Item::of(&project, &name)?;
    let made = || NodeError::Made(name.clone(), file.clone());
    let (from, to) = extent(&text, at).ok_or_else(made)?;
    let gone = text.get(from..to).unwrap_or_default().trim().to_owned();
    let without = |before: &str| {
        let (head, rest) = (before.get(..from), before.get(to..));
        format!("{}{}", head.unwrap_or_default(), rest.unwrap_or_default())
    };
    // Tried first, and put back: what is taken off the server would come back with a text that still has it.
    let trial = Edit::new(path.clone(), without)?;
    let after = Project::load(global, Pins::Keep)?;
    drop(trial);
    // One item may be several nodes.
    if project.graph.nodes.len() != after.graph.nodes.len() + 1 {
        return Err(made().into());
    }
    let observation = fleet::seen(&project, global)?;
    let seen = observation.seen(&name);
    let there = seen.map_or(0, |seen| seen.spec.pods.len());
    if there > 0 {
        return Err(NodeError::InUse { node: name, count: there }.into());
    }
    let left = if args.keep { Left::Kept } else { leave(global, &project, &name, args.yes)? };
    if left == Left::No {
        return Ok(Exit::Mistake);
    }
    let mut edit = Edit::new(path, without)?;
    edit.keep = true;
    drop(edit);
    say!("{file}  {} {gone}", paint::error("-"));
    match left {
        Left::Yes => say!("nothing of Berth's is left on {name}; `berth apply` goes on without it"),
        Left::Kept => {
            say!("`berth apply` goes on without it; what Berth installed there stays there")
        }
        Left::Silent | Left::No => say!(
            "`berth apply` goes on without it; {name} does not answer, so what Berth installed there stays there"
        ),
    }
    Ok(Exit::Done)
}

/// Whether Berth has left a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Yes,
    /// It was not to.
    Kept,
    /// Nobody could be asked.
    Silent,
    /// Somebody said no.
    No,
}

/// Takes Berth off a server, by a plan of what was last applied in which it is retired.
fn leave(
    global: &Global,
    project: &Project,
    name: &NodeName,
    yes: bool,
) -> Result<Left, Box<dyn std::error::Error>> {
    fleet::block_on(async {
        let host = fleet::host(project, global);
        let left = leave_with(&host, project, name, yes).await;
        host.close().await;
        left
    })?
}

async fn leave_with(
    host: &berth_agentless::SshHost,
    project: &Project,
    name: &NodeName,
    yes: bool,
) -> Result<Left, Box<dyn std::error::Error>> {
    let Survey { observation, ledger } = survey(host, &project.graph).await?;
    let Some(seen) = observation.seen(name) else { return Ok(Left::Silent) };
    if !seen.spec.volumes.is_empty() {
        let volumes: Vec<&str> = seen.spec.volumes.keys().map(VolumeId::as_str).collect();
        return Err(NodeError::HasData(name.clone(), volumes.join(", ")).into());
    }
    let mut graph = ledger.head.as_applied(&project.graph);
    if let Some(node) = graph.nodes.get_mut(name) {
        node.intake = Intake::Retired;
    }
    let program = digest_of("berth-applied/1", &ledger.head.reached);
    let survey = Survey { observation, ledger };
    let body = survey.plan(&graph, &program, Goal::Converge, EVERYTHING, fleet::now_ms());
    let body = judged(body)?;
    if body.is_empty() && body.blocked.is_empty() {
        return Ok(Left::Yes);
    }
    if !body.blocked.is_empty() || body.steps.iter().any(|step| step.node != *name) {
        return Err(NodeError::Busy(name.clone()).into());
    }
    let Survey { observation, ledger } = survey;
    let made = Made { observation, head: ledger.head, body };
    made.show(project);
    if !yes && !agreed(&format!("Take Berth off {name}?"), "y")? {
        return Ok(Left::No);
    }
    let ended = carry_out(host, project, &graph, &made, Form::Words).await?;
    Ok(if ended == Exit::Done { Left::Yes } else { Left::No })
}

/// Gives a lost server's name to another one.
pub(crate) fn replace(global: &Global, args: &ReplaceArgs) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let name = fleet::node(&project, &args.node)?;
    if project.graph.keeper == name {
        return Err(NodeError::Keeps(name).into());
    }
    let Item { file, path, at, text } = Item::of(&project, &name)?;
    let Survey { observation, ledger } = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let seen = survey(&host, &project.graph).await;
        host.close().await;
        seen
    })??;
    let known = ledger.head.claims.nodes.get(&name).map(|known| &known.machine_id);
    let found = observation.seen(&name).map(|seen| &seen.facts.machine_id);
    if found.is_some() && found == known {
        return Err(NodeError::Answers(name).into());
    }
    let after = with_host(&text, at, &args.host);
    let after = after.ok_or_else(|| NodeError::Host(name.clone(), file.clone()))?;
    let mut edit = Edit::new(path, |_| after)?;
    let project = Project::load(global, Pins::Keep)?;
    say!("{file}  {} host: {:?}", paint::good("~"), args.host);
    let put_back = || {
        say!("{file} is as it was");
        Ok(Exit::Mistake)
    };
    if trust::run(global, &trust::Args::new(&args.node, args.yes))? != Exit::Done {
        return put_back();
    }
    let ended = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = doctor::mend(&host, &project, std::slice::from_ref(&name), args.yes).await;
        host.close().await;
        ended
    })??;
    if ended != Exit::Done {
        return put_back();
    }
    let forget = overrides::ForgetArgs::new(&name, &args.why, args.yes);
    if known.is_some() && overrides::forget(global, &forget)? != Exit::Done {
        return put_back();
    }
    edit.keep = true;
    Ok(Exit::Done)
}

/// The text with another `host` in the item whose name is at a place, if it is a plain text there.
fn with_host(text: &str, name: usize, host: &str) -> Option<String> {
    let (from, to) = extent(text, name)?;
    let item = text.get(from..to)?;
    let field = item.match_indices("host:").map(|(at, _)| at).find(|at| {
        let before = item.get(..*at).and_then(|before| before.chars().next_back());
        before.is_some_and(|c| !c.is_alphanumeric() && c != '_')
    })?;
    let value = field + "host:".len();
    let value = value + item.get(value..)?.find(|c: char| !c.is_whitespace())?;
    let quoted = item.get(value..)?.strip_prefix('"')?;
    let end = quoted.find('"').filter(|end| !quoted[..*end].contains(['\\', '$', '\n']))?;
    let (start, end) = (from + value, from + value + end + 2);
    let host = serde_json::Value::from(host).to_string().replace("${", "\\${");
    Some(format!("{}{host}{}", text.get(..start)?, text.get(end..)?))
}

/// The lines of the item whose name is at a place: from its keyword to the brace that ends its record.
fn extent(text: &str, name: usize) -> Option<(usize, usize)> {
    let from = text.get(..name)?.rfind('\n').map_or(0, |end| end + 1);
    if !text.get(from..name)?.trim_start().starts_with("node ") {
        return None;
    }
    let (mut depth, mut quoted, mut escaped, mut comment) = (0_u32, false, false, false);
    for (at, c) in text.get(name..)?.char_indices() {
        match c {
            '\n' => comment = false,
            _ if comment => {}
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => comment = true,
            '{' if !quoted => depth += 1,
            '}' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let end = name + at + 1;
                    let rest = text.get(end..)?;
                    let line = rest.find('\n').map_or(rest.len(), |end| end + 1);
                    return Some((from, end + line));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_items_lines_are_found() {
        let text = "# the fleet\nnode a { host: \"10.0.0.1\", labels: { x: \"}\" } } # first\nnode b {\n  host: \"b\\\"}\" # }\n}\nnode c { host: \"c\" }";
        let of = |name: &str| {
            let at = text.find(&format!("node {name}")).expect("it") + 5;
            extent(text, at).map(|(from, to)| &text[from..to])
        };
        assert_eq!(of("a"), Some("node a { host: \"10.0.0.1\", labels: { x: \"}\" } } # first\n"));
        assert_eq!(of("b"), Some("node b {\n  host: \"b\\\"}\" # }\n}\n"));
        assert_eq!(of("c"), Some("node c { host: \"c\" }"));
        assert_eq!(extent("x node a {", 7), None);
        assert_eq!(extent("node a { host: \"", 5), None);
    }

    #[test]
    fn a_host_is_changed_where_it_is_written() {
        let text = "node a { host: \"x\" }\nnode b {\n  ssh: { jump_host: \"no\" }\n  host: \"10.0.0.2\" # old\n}\n";
        let at = text.find("node b").expect("it") + 5;
        let changed = with_host(text, at, "n2.example").expect("changed");
        assert_eq!(changed, text.replace("10.0.0.2", "n2.example"));
        let made = "node c { host: \"10.0.0.${i}\" }";
        assert_eq!(with_host(made, 5, "x"), None);
        assert_eq!(with_host("node d { host: address }", 5, "x"), None);
    }

    #[test]
    fn what_is_written_is_text_in_the_one_style() {
        let mut args = AddArgs {
            name: "n4".to_owned(),
            host: "10.0.0.4".to_owned(),
            user: Some("deploy".to_owned()),
            port: Some(2222),
            labels: vec!["zone=a".to_owned(), "what=a\"${b}".to_owned()],
            yes: false,
        };
        let written = item(&args).expect("a node");
        assert_eq!(
            written,
            "node n4 {\n  host: \"10.0.0.4\"\n  ssh: { user: \"deploy\", port: 2222 }\n  labels: { zone: \"a\", what: \"a\\\"\\${b}\" }\n}\n"
        );
        args.labels = vec!["zone".to_owned()];
        assert!(matches!(item(&args), Err(NodeError::Label(_))));
    }
}
