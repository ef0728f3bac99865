//! How good the language is at guessing: generated one-letter typos, and four planted mistakes.

use std::collections::BTreeMap;

use berth_lang::{CompileRequest, Diagnostic, Workspace};

const TEXT: &str = r#"use "./library.berth" { http_app, Tier }
input release: Str = "1.4"
let regions = ["eu", "us"]
let shared: {Str: Str} = { LOG: "info" }
fn wanted(tier: Tier, count: Int) -> Int = match tier {
  basic -> count
  replicated(copies) -> copies * length(regions)
}
node worker { host: "10.0.0.1", labels: { zone: "a" }, taints: [{ key: "gpu", effect: evict }], intake: cordoned }
service web {
  image: "ghcr.io/acme/web:${release}"
  replicas: wanted(replicated(copies: 2), 1)
  command: ["serve"]
  ports: [{ name: "http", container: 8080, protocol: udp }]
  resources: { memory: 64MiB, cpu: 100m }
  health: http("/ready", port: 8080, timeout: 2s, fail_after: 2)
  rollout: rolling(surge: 1, deadline: 30s, on_fail: stop)
  place: { spread: "zone", require: [one_of("zone", regions)], at: [worker] }
  env: shared
}
service backend = http_app({ image: "ghcr.io/acme/api:1", listen: 9090 }) with { replicas: 3, grace: 5s, resources.memory: 64MiB }
overlay production { web.replicas: 9, worker.labels: { zone: "b" } }
environment europe { overlay: production, inputs: { release: "2" } }
policy limited for each in services where each.replicas > 1 { expect each.resources.memory > 0B }
"#;

const LIBRARY: &str = r#"pub enum Tier { basic, replicated(copies: Int) }
pub type HttpApp = { image: Image, listen: PortNumber = 80 }
pub fn http_app(app: HttpApp) -> Service = { image: app.image, ports: [{ container: app.listen }] }
"#;

/// Words of the text that name something, and how many lines may mention each before it.
const WORDS: &[&str] = &[
    // Fields of records, of resources, and of cases.
    "host",
    "labels",
    "taints",
    "effect",
    "intake",
    "image",
    "replicas",
    "command",
    "ports",
    "container",
    "protocol",
    "resources",
    "memory",
    "health",
    "timeout",
    "fail_after",
    "rollout",
    "surge",
    "deadline",
    "on_fail",
    "place",
    "spread",
    "require",
    "listen",
    "grace",
    "overlay:",
    "inputs",
    "copies",
    // Cases.
    "evict",
    "cordoned",
    "udp",
    "http(",
    "rolling",
    "stop",
    "one_of",
    "basic",
    "replicated",
    // Names of values, functions, types, resources, inputs and overlays.
    "regions",
    "shared",
    "wanted",
    "length",
    "worker",
    "release",
    "http_app",
    "Tier",
    "Str",
    "production",
    "services",
    "PortNumber",
    "Service",
    "Image",
];

fn diagnostics(text: &str, library: &str) -> Vec<Diagnostic> {
    let mut workspace = Workspace::new();
    workspace.set_file("shop.berth", text);
    workspace.set_file("library.berth", library);
    let request =
        CompileRequest { environment: Some("europe".to_owned()), ..CompileRequest::default() };
    workspace.snapshot().compile(&request).diagnostics
}

/// The last mention of a word as a whole: where it is used rather than declared.
fn mention(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            let ends = word.ends_with(|c: char| !part(c)) || !after.is_some_and(part);
            !before.is_some_and(part) && ends
        })
        .last()
}

/// Every word that is one letter away: one left out, one too many, another one, two swapped.
fn typos(word: &str, seed: &mut u32) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut letter = || {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (*seed >> 24) as u8 % 26)
    };
    let mut typos = Vec::new();
    for at in 0..letters.len() {
        let mut without = letters.clone();
        without.remove(at);
        let mut more = letters.clone();
        more.insert(at, letter());
        let mut other = letters.clone();
        other[at] = letter();
        let mut swapped = letters.clone();
        if at > 0 {
            swapped.swap(at - 1, at);
        }
        typos.extend([without, more, other, swapped].map(|letters| letters.iter().collect()));
    }
    typos.retain(|typo: &String| {
        let starts = typo.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        typo != word && starts
    });
    typos
}

// The measured rate is for a person to read.
#[allow(clippy::print_stderr)]
#[test]
fn at_least_95_of_100_typos_are_guessed() {
    assert_eq!(diagnostics(TEXT, LIBRARY), [], "the text without typos");
    let mut seed = 7;
    let (mut tried, mut guessed, mut echoes) = (0, 0, 0);
    let mut echoed: Vec<String> = Vec::new();
    let mut missed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for written in WORDS {
        let word = written.trim_end_matches([':', '(']);
        let in_text = mention(TEXT, written);
        let (source, at) = match in_text {
            Some(at) => (TEXT, at),
            None => (LIBRARY, mention(LIBRARY, written).expect("a word of the texts")),
        };
        for typo in typos(word, &mut seed) {
            let damaged = format!("{}{typo}{}", &source[..at], &source[at + word.len()..]);
            let found = if in_text.is_some() {
                diagnostics(&damaged, LIBRARY)
            } else {
                diagnostics(TEXT, &damaged)
            };
            if found.is_empty() {
                // Another word of the language, by chance.
                continue;
            }
            tried += 1;
            let right = |each: &Diagnostic| {
                each.fix.as_ref().is_some_and(|fix| fix.replacement == word)
                    || each.help.as_ref().is_some_and(|help| help.contains(&format!("`{word}`")))
            };
            if found.iter().any(right) {
                guessed += 1;
            } else {
                let first = &found[0];
                let said = format!("{typo}: {} {}", first.code, first.message);
                missed.entry(written).or_default().push(said);
            }
            echoes += found.len() - 1;
            if found.len() > 1 {
                let said: Vec<String> =
                    found.iter().map(|each| format!("{} {}", each.code, each.message)).collect();
                echoed.push(format!("{typo}: {}", said.join("; ")));
            }
        }
    }
    eprintln!("{guessed} of {tried} typos guessed, {echoes} mistakes more than typos");
    assert!(tried > 800, "only {tried} typos");
    assert!(100 * guessed >= 95 * tried, "{guessed} of {tried} typos guessed; not: {missed:#?}");
    assert!(100 * echoes <= tried, "{echoes} echoes of {tried} typos: {echoed:#?}");
}

#[test]
fn four_planted_mistakes_are_four_mistakes() {
    let text = r#"service web { image: "web:1", replicsa: 2 }
service api { image: "api:1", grace: 64MiB }
service jobs { replicas: 2 }
service db { image: "db:1", ports: [{ container: 70000 }] }
service fine { image: "fine:1" }
"#;
    let found: Vec<&str> = diagnostics(text, LIBRARY).iter().map(|each| each.code).collect();
    assert_eq!(found, ["E0302", "E0307", "E0303", "E0401"]);
}
