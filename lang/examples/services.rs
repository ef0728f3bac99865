//! Compiles N services of 16 fields from a typed template and prints how long each part took.
//!
//! `cargo run --release -p berth-lang --example services -- 10000 [edit]`

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement, not part of the pure crate"
)]

use berth_lang::{CompileRequest, Workspace};
use std::fmt::Write as _;
use std::time::Instant;

const TEMPLATE: &str = r#"enum Tier { small, medium, large }
type In = { name: Str, team: Str, tier: Tier, image: Image, port: PortNumber, replicas: Replicas }
fn size(tier: Tier) -> Resources =
  if tier == small then { cpu: 250m, memory: 128MiB }
  else if tier == medium then { cpu: 500m, memory: 512MiB }
  else { cpu: 2, memory: 2GiB }
fn app(r: In) -> Service = {
  image: r.image, replicas: r.replicas, resources: size(r.tier)
  env: {
    APP_NAME: r.name, PORT: "${r.port}", LOG_LEVEL: "info", REGION: "eu-west-1", TIER: "${r.tier}"
    DATABASE_URL: "postgres://db.${r.team}.internal/${r.name}"
  }
  ports: [{ name: "http", container: r.port }]
  health: http("/healthz", port: r.port, every: 10s, timeout: 2s, fail_after: 3)
  command: ["/bin/app", "--port", "${r.port}"]
  place: { on: { zone: "a", team: r.team } }
  rollout: rolling(surge: 1, unavailable: 0), grace: 30s
}
"#;

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut text = String::from(TEMPLATE);
    let tiers = ["small", "medium", "large"];
    for i in 0..count {
        let (team, tier, port, replicas) = (i % 17, tiers[i % 3], 8000 + i % 1000, 1 + i % 9);
        let image =
            format!("registry.example.com/team-{team}/app-{}:1.{}.{}", i % 97, i % 40, i % 7);
        let _ = writeln!(
            text,
            "service svc_{i:05} = app({{ name: \"svc-{i:05}\", team: \"team-{team}\", tier: {tier}, image: \"{image}\", port: {port}, replicas: {replicas} }})"
        );
    }
    let bytes = text.len();
    let start = Instant::now();
    let mut workspace = Workspace::new();
    workspace.set_file("fleet.berth", text.as_str());
    let parsed = start.elapsed();
    let compiled = workspace.snapshot().compile(&CompileRequest::default());
    let total = start.elapsed();
    let Some(program) = compiled.program else {
        println!("{:#?}", compiled.diagnostics.first());
        return;
    };
    let mut json = String::new();
    for resource in &program.resources {
        resource.write_json(&mut json);
        json.push('\n');
    }
    let json = json.len();
    println!(
        "{} resources from {bytes} bytes: parse {parsed:?}, all {total:?}, with {json} bytes of JSON {:?}",
        program.resources.len(),
        start.elapsed()
    );
    if std::env::args().nth(2).as_deref() != Some("edit") {
        return;
    }
    let edited = text.replacen("replicas: 1 }", "replicas: 2 }", 1);
    let start = Instant::now();
    workspace.set_file("fleet.berth", edited.as_str());
    let parsed = start.elapsed();
    let compiled = workspace.snapshot().compile(&CompileRequest::default());
    println!(
        "one line edited: parse {parsed:?}, all {:?}, {} mistakes",
        start.elapsed(),
        compiled.diagnostics.len()
    );
}
