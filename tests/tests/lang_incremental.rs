//! A project that came to be by edits says what the same text says when it is read at once.

use berth_lang::{CompileRequest, Compiled, GraphDelta, Session, Workspace};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const START: &str = r#"project shop { keeper: n1 }
node n1 { host: "10.0.0.1" }
input tag: Str = "1.4"
type Small = Int where 0..=9 else "small is 0 to 9, got ${it}"
fn image(name: Str) -> Image = "x/${name}:${tag}"
fn twice(n: Int) -> Int = n * 2
let log = "info"
let hosts = n1.host
service web { image: image("web"), replicas: twice(2), env: { LOG: log } }
service api = { image: image("api"), replicas: 1, env: { HOST: n1.host } }
service far[i] for i in 1..=3 { image: "far:${i}", replicas: i }
service plain { image: "plain:1" }
overlay prod { web.replicas: 5, far[2].replicas: 7 }
policy few for s in services where s.replicas > 4 { severity: warning, expect s.name == "web", "${s.name} is many" }
policy all_of_them for s in services { severity: warning, expect length(services) < 6, "too many beside ${s.name}" }
test "web" { expect web.replicas == 4 }
"#;

/// What an edit may put in.
const PIECES: &[&str] = &[
    "",
    "",
    "\n",
    " ",
    "}",
    "{",
    "\"",
    "'",
    "#",
    "(",
    "]",
    "pub ",
    "pub\n",
    "let x = 1\n",
    "1",
    "9",
    "web",
    "api",
    "\nservice more { image: \"m:1\" }\n",
    "service web ",
    "node n2 { host: \"10.0.0.2\" }\n",
    ", replicas: 3",
    "\"\"\"",
    "${",
    "image",
    "twice",
    "if ",
    "\u{202e}",
    "\0",
    "é",
    "use \"./b.berth\" { far_away }\n",
    "log",
    "n1.",
    "secret key = age(\"k\")\n",
    "fn twice(n: Int) -> Int = n\n",
    "fn twice(n: Str) -> Int = 1\n",
];

/// Everything that a compilation says, the places of every field included.
fn said(compiled: &Compiled) -> String {
    let mut out = String::new();
    for diagnostic in &compiled.diagnostics {
        let _ = writeln!(out, "{diagnostic:?}");
    }
    if let Some(program) = &compiled.program {
        let _ = writeln!(
            out,
            "{}{:?}{:?}{:?}",
            program.print(),
            program.sources().collect::<Vec<_>>(),
            program.inputs,
            program.waived
        );
        for resource in &program.resources {
            let _ = write!(out, "{} {:?}", resource.name, resource.span());
            for (path, span) in resource.origins().iter() {
                let _ = write!(out, " {path}@{span:?}{:?}", resource.origins().chain(&path).len());
            }
            out.push('\n');
        }
    }
    out
}

fn requests() -> [CompileRequest; 2] {
    let environment = Some("prod".to_owned());
    [CompileRequest::default(), CompileRequest { environment, ..CompileRequest::default() }]
}

/// One edit: where it starts, how much it takes away (as shares of 1,000), and what it puts in.
fn edit() -> impl Strategy<Value = (usize, usize, usize)> {
    (
        0usize..1000,
        prop_oneof![4 => Just(0usize), 2 => 1usize..20, 1 => 20usize..300],
        0..PIECES.len(),
    )
}

fn applied(text: &str, (at, width, piece): (usize, usize, usize)) -> String {
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at += 1;
        }
        at
    };
    let start = boundary(at * text.len() / 1000);
    let end = boundary((start + width).min(text.len()));
    format!("{}{}{}", &text[..start], PIECES[piece], &text[end..])
}

/// The graph as somebody holds it who only ever gets the differences.
#[derive(Default)]
struct Follower(BTreeMap<(&'static str, String), String>);

impl Follower {
    fn follow(&mut self, delta: &GraphDelta) {
        for (kind, name) in &delta.removed {
            let gone = self.0.remove(&(kind.keyword(), name.to_string()));
            assert!(gone.is_some(), "{name} was not there");
        }
        for resource in &delta.changed {
            let json = resource.value().to_json();
            let old = self.0.insert((resource.kind.keyword(), resource.name.to_string()), json);
            assert_ne!(old, Some(resource.value().to_json()), "{} is as it was", resource.name);
        }
    }

    fn agrees(&self, compiled: &Compiled) -> bool {
        let resources = compiled.program.iter().flat_map(|program| &program.resources);
        let whole = resources.map(|resource| {
            ((resource.kind.keyword(), resource.name.to_string()), resource.value().to_json())
        });
        // Two items of one name are a mistake, so that a program has none.
        whole.collect::<BTreeMap<_, _>>() == self.0
    }
}

/// How many histories of edits; `BERTH_CASES` says another number.
fn cases() -> u32 {
    std::env::var("BERTH_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_end_where_the_text_does(edits in prop::collection::vec(edit(), 1..8)) {
        let mut workspace = Workspace::new();
        let mut text = START.to_owned();
        workspace.set_file("a.berth", text.as_str());
        let mut sessions: Vec<_> = requests().map(|request| (request, Session::default(), Follower::default())).into();
        for (request, session, follower) in &mut sessions {
            let delta = session.step(&workspace.snapshot(), request).delta.expect("a program");
            follower.follow(&delta);
        }
        for edit in edits {
            text = applied(&text, edit);
            workspace.set_file("a.berth", text.as_str());
            let mut fresh = Workspace::new();
            fresh.set_file("a.berth", text.as_str());
            for (request, session, follower) in &mut sessions {
                let compiled = fresh.snapshot().compile(request);
                let whole = said(&compiled);
                prop_assert_eq!(said(&workspace.snapshot().compile(request)), &*whole, "{}", text);
                let step = session.step(&workspace.snapshot(), request);
                prop_assert_eq!(said(&step.compiled), whole, "{}", text);
                prop_assert_eq!(step.delta.is_some(), compiled.program.is_some());
                if let Some(delta) = &step.delta {
                    follower.follow(delta);
                    prop_assert!(follower.agrees(&compiled), "{}", text);
                }
            }
        }
    }
}

/// A keyword that is nobody's any more, since its line ends after it: it belongs to the item before.
#[test]
fn a_keyword_that_loses_its_name_is_read_again() {
    let mut workspace = Workspace::new();
    for between in [" ", " \n", "\n", " ", ""] {
        let text = format!("let a = 1\nlet b = 2\npolicy{between}use \"./b.berth\" {{ c }}\n");
        workspace.set_file("a.berth", text.as_str());
        let mut fresh = Workspace::new();
        fresh.set_file("a.berth", text.as_str());
        let request = CompileRequest::default();
        let whole = said(&fresh.snapshot().compile(&request));
        assert_eq!(said(&workspace.snapshot().compile(&request)), whole, "{text}");
    }
}

/// What an edit of the start reaches: how many resources are evaluated, and which ones differ then.
fn reached(from: &str, to: &str) -> (usize, Vec<String>) {
    let mut workspace = Workspace::new();
    workspace.set_file("a.berth", START);
    let mut session = Session::default();
    let request = CompileRequest::default();
    assert_eq!(session.step(&workspace.snapshot(), &request).evaluated, 6);
    assert!(START.contains(from));
    workspace.set_file("a.berth", START.replacen(from, to, 1));
    let step = session.step(&workspace.snapshot(), &request);
    let delta = step.delta.unwrap_or_else(|| panic!("{:?}", step.compiled.diagnostics));
    let mut names: Vec<String> = delta.changed.iter().map(|each| each.name.to_string()).collect();
    names.extend(delta.removed.iter().map(|(_, name)| format!("-{name}")));
    (step.evaluated, names)
}

#[test]
fn an_edit_reaches_what_depends_on_it_and_nothing_else() {
    let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(reached("plain:1", "plain:2"), (1, of(&["plain"])));
    assert_eq!(reached("project", "# a line more\nproject"), (0, of(&[])));
    assert_eq!(reached("\"far:${i}\"", "\"far:0${i}\""), (1, of(&["far[1]", "far[2]", "far[3]"])));
    assert_eq!(reached("1..=3", "2..=3"), (1, of(&["-far[1]"])));
    // A function reaches its callers, an input through a function, a node those that name it.
    assert_eq!(reached("n * 2", "n + n + 0"), (1, of(&[])));
    assert_eq!(reached("\"1.4\"", "\"1.5\""), (2, of(&["api", "web"])));
    assert_eq!(reached("10.0.0.1", "10.0.0.9"), (3, of(&["n1", "api"])));
    assert_eq!(reached("\"info\"", "\"warn\""), (1, of(&["web"])));
    // An overlay reaches what it sets, a policy nothing.
    assert_eq!(reached("web.replicas: 5", "web.replicas: 6"), (2, of(&[])));
    assert_eq!(reached("s.replicas > 4", "s.replicas > 5"), (0, of(&[])));
    assert_eq!(reached("service plain", "service simple"), (1, of(&["simple", "-plain"])));
    assert_eq!(reached("service plain { image: \"plain:1\" }\n", ""), (0, of(&["-plain"])));
}

#[test]
fn the_start_compiles() {
    let mut workspace = Workspace::new();
    workspace.set_file("a.berth", START);
    for request in requests() {
        let compiled = workspace.snapshot().compile(&request);
        assert!(compiled.program.is_some(), "{:?}", compiled.diagnostics);
    }
}
