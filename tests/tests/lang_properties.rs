//! No text makes the language panic, and damage to one item leaves the others alone.

use berth_lang::{CompileRequest, Compiled, Severity, TestRequest, Workspace};
use proptest::prelude::*;

const VALID: &str = r#"use "./lib/app.berth" { http_app, App }
project shop { keeper: n[1] }
enum Zone { a, b }
type Small = Int where 0..=9 else "small is 0 to 9, got ${it}"
input tag: Str = "1.4"
let zones: [Zone] = [a, b]
let many = [i * 2 for i in 1..=6 if i % 2 == 0 and not (i == 4)]
node n[i] for i in 1..=3 { host: "10.77.0.1${i}", labels: { zone: "z${if i == 1 then "a" else "b"}" } }
enum Tier { small, large(cores: Int) }
fn most<T: Ordered>(xs: [T], least: T) -> T = let all = sort(xs + [least]) in all[length(all) - 1]
fn cores(tier: Tier?) -> Int = match tier {
  small or absent -> 1
  large(cores: n) -> most([n], 2)
}
let conf = """
  port ${cores(small)}
    'quoted'
"""
let slugs: {Str: Int} = { "${k}": v for k, v in { a: 1, b: 2 } if matches(k, '[a-z]') }
secret key = age("secrets/key.age")
overlay prod { api.replicas: 5, api.env.LOG: "warn", n[2].labels.zone: "z" }
overlay prod_eu on prod { web.place.spread: "zone" }
policy calm for s in services where s.replicas > 1 {
  severity: warning
  expect s.grace <= 30s, "${s.name} takes its time"
  waive web until "2999-12-31" by "ana" because "it is large"
}
test "the api is there" with prod, tag = "2" {
  expect api.replicas == 5 and length(services) == 2, "two are expected"
  expect fails E0401 { service bad { image: "x:${tag}", replicas: -1 } }
}
environment preview[tag] { overlay: prod_eu, inputs: { zone_count: 2 } }
input zone_count: Int = 1
service api = http_app({ image: "ghcr.io/acme/api:${tag}", port: 9000 }, extra: { LOG: "debug" }) with {
  replicas: 4
  resources.memory: 256MiB
  rollout.surge: 2 # more at once
}
service web {
  image: local(layout: "images/web-1")
  ports: [{ name: "http", container: 8080, port: 80 }]
  health: http("/ready", port: 8080, every: 1s)
  resources: { cpu: 1.5, memory: 64MiB * 2 }
  env: { FIRST: n[1].host, "odd key": "${zones[0]}" }
}
"#;

const LIB: &str = r#"pub type App = { image: Image, port: PortNumber = 8080, replicas: Replicas = 2 }
pub fn http_app(a: App, extra: {Str: Str} = {}) -> Service = {
  image: a.image, replicas: a.replicas, env: extra
  ports: [{ name: "http", container: a.port }]
}
"#;

fn compile(text: &str) -> Compiled {
    let mut workspace = Workspace::new();
    workspace.set_file("shop.berth", text);
    workspace.set_file("lib/app.berth", LIB);
    let snapshot = workspace.snapshot();
    let compiled = snapshot.compile(&CompileRequest::default());
    for diagnostic in &compiled.diagnostics {
        assert!(!diagnostic.render_plain(&snapshot).is_empty());
        for span in [Some(&diagnostic.primary), diagnostic.secondary.as_ref()].into_iter().flatten()
        {
            let text = snapshot.file(&span.span.file).expect("a file that exists").text().clone();
            assert!(span.span.start <= span.span.end && span.span.end as usize <= text.len());
        }
    }
    for test in snapshot.test(&TestRequest::default()).tests {
        for failure in &test.failures {
            assert!(!failure.render_plain(&snapshot).is_empty());
        }
    }
    let failed = compiled.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(compiled.program.is_none(), failed);
    compiled
}

#[test]
fn the_undamaged_text_compiles() {
    let program = compile(VALID).program.expect("a program");
    assert_eq!(program.resources.len(), 6);
}

#[test]
fn no_prefix_panics() {
    for end in (0..=VALID.len()).filter(|&end| VALID.is_char_boundary(end)) {
        compile(&VALID[..end]);
    }
}

#[test]
fn deep_and_long_texts_are_refused_or_read() {
    let nested = |open: &str, close: &str, n: usize| {
        format!("let a = {}1{}", open.repeat(n), close.repeat(n))
    };
    assert!(compile(&nested("[", "]", 64)).program.is_some());
    assert!(compile(&nested("(", ")", 64)).program.is_some());
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("{ a: ", "}"),
        ("f(", ")"),
        ("\"${", "}\""),
        ("-", ""),
        ("not ", ""),
        ("let x = 1 in ", ""),
        ("let x: Int = 1 in ", ""),
        ("match 1 { _ -> ", " }"),
        ("if true then 1 else let x = ", " in x"),
    ] {
        compile(&nested(open, close, 10_000));
    }
    for chain in [
        "1 + ",
        "if true then 1 else ",
        "a.",
        "f(x)(y) + ",
        "[",
        "(1+",
        "if if ",
        "x with { a: 1 } ",
        "match 1 { _ -> 1 } + ",
        "let a: Int = 1 in ",
    ] {
        compile(&format!("let a = {}1", chain.repeat(5_000)));
    }
    let lets = |first: &str, next: &dyn Fn(usize) -> String| {
        let rest: String = (1..3_000).map(next).collect();
        compile(&format!("{first}\n{rest}"));
    };
    lets("let a0 = 1", &|i| format!("let a{i} = a{} + 1\n", i - 1));
    lets("let a0 = 1", &|i| format!("let a{i} = [a{}]\n", i - 1));
    lets("let a0 = 1", &|i| format!("let a{i} = {{ x: a{0}, y: a{0} }}\n", i - 1));
    lets("let a0: [Int] = [1]", &|i| format!("let a{i} = a{0} + a{0}\n", i - 1));
    lets("let a0 = \"x\"", &|i| format!("let a{i} = \"${{a{0}}}${{a{0}}}\"\n", i - 1));
    lets("type T0 = Int", &|i| format!("type T{i} = T{} where 0..=9\n", i - 1));
    lets("type T0 = {}", &|i| {
        format!("type T{i} = {{ a: T{} = {{}} }}\nlet x{i}: T{i} = {{}}\n", i - 1)
    });
    lets("fn f0(a: Int) -> Int = a", &|i| {
        format!("fn f{i}(a: Int) -> Int = f{0}(a) + f{0}(a)\nlet y{i} = f{i}(1)\n", i - 1)
    });
}

#[test]
fn a_large_or_binary_file_is_refused_once() {
    for text in ["let a = 1\n\0let b = 2".to_owned(), "# x\n".repeat(5 << 20)] {
        assert_eq!(compile(&text).diagnostics.len(), 1);
    }
}

/// Compiles a project that imports a data file of each format.
fn compile_data(data: &str) {
    let mut workspace = Workspace::new();
    let uses: String = DATA
        .iter()
        .enumerate()
        .map(|(index, path)| format!("use \"./{path}\" as d{index}: {{Str: Resources}}\n"))
        .collect();
    workspace.set_file("shop.berth", uses);
    for path in DATA {
        workspace.set_file(path, data);
    }
    let snapshot = workspace.snapshot();
    for diagnostic in snapshot.compile(&CompileRequest::default()).diagnostics {
        assert!(!diagnostic.render_plain(&snapshot).is_empty());
        let span = &diagnostic.primary.span;
        let text = snapshot.file(&span.file).expect("a file that exists").text().clone();
        assert!(text.get(span.start as usize..span.end as usize).is_some(), "{span:?} of {text:?}");
    }
}

const DATA: [&str; 4] = ["a.json", "a.toml", "a.yaml", "a.txt"];

#[test]
fn hostile_data_is_refused() {
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
    compile_data(&deep("[", "]"));
    compile_data(&deep("{\"a\":", "}"));
    compile_data(&format!("a = {}", deep("[", "]")));
    compile_data(&format!("a = {}", deep("{a=", "}")));
    compile_data(&format!("{}x = 1", "a.".repeat(20_000)));
    compile_data(&"- ".repeat(20_000));
    compile_data(&"? ".repeat(20_000));
    let doubled: String = (1..60).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
    compile_data(&format!("a0: &a0 1\n{doubled}"));
    compile_data("\0");
    compile_data("\u{feff}{}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// One byte changed: the items before and after the damaged one still give no errors of their own.
    #[test]
    fn damage_stays_where_it_is(at in 0..VALID.len(), byte in 1u8..0x7F) {
        let mut bytes = VALID.as_bytes().to_vec();
        bytes[at] = byte;
        let damaged = String::from_utf8(bytes).expect("ASCII");
        let mut workspace = Workspace::new();
        workspace.set_file("shop.berth", damaged.as_str());
        workspace.set_file("lib/app.berth", LIB);
        let snapshot = workspace.snapshot();
        let found = snapshot.compile(&CompileRequest::default()).diagnostics;
        // On a line of its own, whatever became of the last line's end.
        let independent = "\nservice last { image: 5 }\n";
        let with_mistake = compile(&format!("{damaged}{independent}"));
        let file = damaged.len() as u32;
        prop_assert!(
            with_mistake.diagnostics.iter().any(|d| d.primary.span.start >= file && d.code == "E0301"),
            "the last item's mistake is reported: {:?}", with_mistake.diagnostics
        );
        prop_assert!(found.len() <= 8, "one byte, {} mistakes: {found:?}", found.len());
    }

    /// Tokens in any order.
    #[test]
    fn token_soup_does_not_panic(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..80)) {
        compile(&tokens.join(" "));
        compile(&tokens.concat());
        compile(&tokens.join("\n"));
    }

    /// Data of any text, and of what data is made of.
    #[test]
    fn any_data_does_not_panic(text in "\\PC{0,80}", parts in prop::collection::vec(prop::sample::select(DATA_TOKENS), 0..40)) {
        compile_data(&text);
        compile_data(&parts.concat());
    }

    /// Any text at all.
    #[test]
    fn any_text_does_not_panic(text in "\\PC{0,200}") {
        compile(&text);
    }
}

const DATA_TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ":",
    ": ",
    ",",
    "\n",
    "\n  ",
    "- ",
    "? ",
    "| ",
    "> ",
    "&a ",
    "*a",
    "!t ",
    "---\n",
    "...\n",
    "#",
    "=",
    "[[a]]\n",
    "\"memory\"",
    "memory",
    "cpu",
    "\"64MiB\"",
    "64MiB",
    "é",
    "1",
    "-1.5",
    "1e9",
    "0x1",
    "null",
    "~",
    "true",
    "\\u",
    "d83d",
    "\\",
    "\t",
    "\"\"\"",
    "1979-05-27",
    "a.b",
    "%YAML 1.2\n",
    "<<: ",
];

const TOKENS: &[&str] = &[
    "service",
    "node",
    "project",
    "let",
    "type",
    "enum",
    "fn",
    "use",
    "input",
    "pub",
    "web",
    "a",
    "x",
    "Int",
    "Str",
    "Service",
    "Image",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    "=",
    ",",
    ".",
    "..",
    "..=",
    "->",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "and",
    "or",
    "not",
    "if",
    "then",
    "else",
    "for",
    "in",
    "with",
    "where",
    "it",
    "1",
    "500m",
    "64MiB",
    "10%",
    "1.5",
    "\"s\"",
    "\"${",
    "\"",
    "${",
    "image:",
    "replicas: 2",
    "é",
    "#",
    "\n",
    "?",
    "\\",
    "service a {",
    "let a = ",
    "fn f(a: Int) -> Int = ",
    "type T = ",
    "enum E { a, b(x: Int) }",
    "true",
    "tcp",
    "http(",
    "f(a)",
    "n[1]",
    "secret",
    "overlay",
    "overlay o on",
    "environment",
    "policy p for s in services {",
    "expect",
    "expect fails E0401 {",
    "test \"t\" with o {",
    "waive web until",
    "environment e[tag] {",
    "Secret<Str>",
    "match",
    "match x {",
    "let x = 1 in",
    "_",
    "absent",
    "'",
    "\"\"\"",
    "fn g<T>(",
    "for k, v in",
    "length(",
];
