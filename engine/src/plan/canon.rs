//! Canonical forms and their digests: what "the same" means across machines and versions.
//!
//! A spec digest is SHA-256 over `berth-spec/1`, a newline, and JSON with sorted keys in which
//! every field that has its default is absent. A field that a later Berth adds is thus invisible
//! until someone sets it, and a new Berth over an unchanged project plans nothing. No commit,
//! address, path or time goes in.

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::action::Protocol;
use super::companion::Companion;
use super::graph::{
    Liveness, OnFail, Once, PodTemplate, Port, Probe, ProbeKind, Rollout, Strategy, Workload,
};
use super::names::SpecDigest;
use super::observation::Requests;

/// The version that every spec digest is taken under.
const SPEC_VERSION: &str = "berth-spec/1";

/// Digests a pod template: two templates with the same digest make the same pod.
pub fn template_digest(template: &PodTemplate) -> SpecDigest {
    SpecDigest::new(sha256_hex(SPEC_VERSION, &template_form(template)))
}

/// Digests what a rollout's verdict was about: template, health, ports and rollout. Scaling a
/// workload, moving it or waiting for it does not change it, so none of them lifts a pin.
pub fn release_digest(workload: &Workload) -> SpecDigest {
    let Workload {
        template,
        replicas: _,
        scale: _,
        ports,
        health,
        rollout,
        placement: _,
        protect: _,
        on_unreachable: _,
        once,
        after: _,
    } = workload;
    let mut form = Map::new();
    form.insert("template".into(), template_form(template));
    insert_unless_empty(&mut form, "ports", Value::Array(ports.iter().map(port_form).collect()));
    if let Some(probe) = health {
        form.insert("health".into(), probe_form(probe));
    }
    form.insert("rollout".into(), rollout_form(rollout));
    if let Some(Once { retries, parallel }) = once {
        form.insert("once".into(), json!([retries, parallel]));
    }
    SpecDigest::new(sha256_hex(SPEC_VERSION, &Value::Object(form)))
}

/// Digests anything that serialises, under a label that keeps kinds apart. Struct fields keep
/// their order and maps are sorted, so the bytes are the same everywhere.
pub fn digest_of<T: Serialize>(label: &str, value: &T) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    hash.update(b"\n");
    hash.update(&bytes);
    hex(&hash.finalize())
}

fn sha256_hex(version: &str, form: &Value) -> String {
    digest_of(version, form)
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Spells bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn template_form(template: &PodTemplate) -> Value {
    let PodTemplate {
        image,
        source: _,
        command,
        args,
        env,
        files,
        resources: _,
        overhead: _,
        limits: _,
        publish,
        mounts,
        settings,
        scratch,
        companions,
        liveness,
        ends,
        cron,
        grace_ms,
    } = template;
    let mut form = Map::new();
    form.insert("image".into(), json!(image.as_str()));
    insert_unless_empty(&mut form, "command", json!(command));
    insert_unless_empty(&mut form, "args", json!(args));
    insert_unless_empty(&mut form, "env", json!(env));
    insert_unless_empty(&mut form, "files", json!(files));
    let (cpu_millis, memory_bytes) = (template.cpu_limit(), template.memory_limit());
    if cpu_millis != 0 {
        form.insert("cpu_millis".into(), json!(cpu_millis));
    }
    if memory_bytes != 0 {
        form.insert("memory_bytes".into(), json!(memory_bytes));
    }
    // A pod carries what it asks for in its labels, so that every tenant can count it; where that
    // is just its limits, as it was when there was no other way, it adds nothing.
    let as_limits = Requests { cpu_millis, memory_bytes, ..Requests::default() };
    let asks = template.asks();
    if asks != as_limits {
        form.insert("asks".into(), requests_form(&asks));
    }
    insert_unless_empty(&mut form, "publish", json!(publish));
    insert_unless_empty(&mut form, "mounts", json!(mounts));
    if let Some(settings) = settings.as_ref().filter(|settings| !settings.is_default()) {
        form.insert("settings".into(), json!(settings));
    }
    insert_unless_empty(&mut form, "scratch", json!(scratch));
    insert_unless_empty(&mut form, "companions", companions.iter().map(companion_form).collect());
    if let Some(Liveness { probe, start_ms }) = liveness {
        form.insert("liveness".into(), json!([probe_form(probe), start_ms]));
    }
    if *ends {
        form.insert("ends".into(), json!(true));
    }
    if let Some(cron) = cron {
        form.insert("cron".into(), json!(cron));
    }
    if *grace_ms != 10_000 {
        form.insert("grace_ms".into(), json!(grace_ms));
    }
    Value::Object(form)
}

fn companion_form(companion: &Companion) -> Value {
    let Companion {
        name,
        role,
        image,
        source: _,
        command,
        args,
        env,
        files,
        resources: _,
        limits: _,
        share,
        settings,
    } = companion;
    let mut form = Map::new();
    form.insert("name".into(), json!(name));
    form.insert("role".into(), json!(role));
    form.insert("image".into(), json!(image.as_str()));
    insert_unless_empty(&mut form, "command", json!(command));
    insert_unless_empty(&mut form, "args", json!(args));
    insert_unless_empty(&mut form, "env", json!(env));
    insert_unless_empty(&mut form, "files", json!(files));
    insert_unless_empty(&mut form, "share", json!(share));
    for (key, limit) in
        [("cpu_millis", companion.cpu_limit()), ("memory_bytes", companion.memory_limit())]
    {
        if limit != 0 {
            form.insert(key.into(), json!(limit));
        }
    }
    if let Some(settings) = settings.as_ref().filter(|settings| !settings.is_default()) {
        form.insert("settings".into(), json!(settings));
    }
    Value::Object(form)
}

fn requests_form(requests: &Requests) -> Value {
    let Requests { cpu_millis, memory_bytes, disk_bytes, named, ports } = requests;
    let mut form = Map::new();
    for (key, amount) in
        [("cpu_millis", cpu_millis), ("memory_bytes", memory_bytes), ("disk_bytes", disk_bytes)]
    {
        if *amount != 0 {
            form.insert(key.into(), json!(amount));
        }
    }
    insert_unless_empty(&mut form, "named", json!(named));
    insert_unless_empty(&mut form, "ports", json!(ports));
    Value::Object(form)
}

fn port_form(port: &Port) -> Value {
    // The node's port is in the template, since a change of it replaces the pod.
    let Port { name: _, container, port, host: _, protocol } = port;
    let mut form = Map::new();
    form.insert("container".into(), json!(container));
    if port != container {
        form.insert("port".into(), json!(port));
    }
    match protocol {
        Protocol::Tcp => {}
        Protocol::Udp => {
            form.insert("protocol".into(), json!("udp"));
        }
    }
    Value::Object(form)
}

fn probe_form(probe: &Probe) -> Value {
    let Probe { kind, port, every_ms, timeout_ms, pass_after, fail_after } = probe;
    let kind = match kind {
        ProbeKind::Http { path } => json!({ "http": path }),
        ProbeKind::Tcp => json!("tcp"),
    };
    json!([kind, port, every_ms, timeout_ms, pass_after, fail_after])
}

fn rollout_form(rollout: &Rollout) -> Value {
    let Rollout { strategy, deadline_ms, on_fail, checks, bake_ms } = rollout;
    let strategy = match strategy {
        Strategy::Rolling { surge, unavailable } => json!({ "rolling": [surge, unavailable] }),
        Strategy::Recreate => json!("recreate"),
        Strategy::Ordered => json!("ordered"),
        Strategy::Canary { steps, surge } => {
            let steps: Vec<_> =
                steps.iter().map(|step| json!([step.weight, step.bake_ms])).collect();
            json!({ "canary": [steps, surge] })
        }
        Strategy::BlueGreen => json!("blue_green"),
    };
    let on_fail = match on_fail {
        OnFail::Rollback => "rollback",
        OnFail::Stop => "stop",
    };
    let mut form = vec![strategy, json!(deadline_ms), json!(on_fail)];
    if !checks.is_empty() || *bake_ms > 0 {
        form.push(json!([checks, bake_ms]));
    }
    Value::Array(form)
}

fn insert_unless_empty(form: &mut Map<String, Value>, key: &str, value: Value) {
    let empty = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if !empty {
        form.insert(key.to_owned(), value);
    }
}
