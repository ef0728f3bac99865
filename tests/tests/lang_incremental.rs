//! A project that came to be by edits says what the same text says when it is read at once.

use berth_lang::{CompileRequest, Compiled, Workspace};
use proptest::prelude::*;
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
            program.sources,
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn edits_end_where_the_text_does(edits in prop::collection::vec(edit(), 1..8)) {
        let mut workspace = Workspace::new();
        let mut text = START.to_owned();
        workspace.set_file("a.berth", text.as_str());
        for edit in edits {
            text = applied(&text, edit);
            workspace.set_file("a.berth", text.as_str());
            let mut fresh = Workspace::new();
            fresh.set_file("a.berth", text.as_str());
            for request in requests() {
                let whole = said(&fresh.snapshot().compile(&request));
                prop_assert_eq!(said(&workspace.snapshot().compile(&request)), whole, "{}", text);
            }
        }
    }
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
