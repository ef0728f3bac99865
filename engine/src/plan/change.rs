//! Changes for people: what differs between two states of a resource, field by field.

mod files;

pub use files::Known;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::action::{ImageSource, Protocol};
use super::body::{Change, FieldChange, Verb};
use super::companion::{Companion, Role};
use super::container::{Bind, Io, Settings, signal_name};
use super::graph::{
    CanaryStep, Check, Limits, Liveness, Metric, Mount, OnFail, OnUnreachable, Once, Over,
    Placement, PodTemplate, Port, Probe, ProbeKind, Relation, Rollout, Rule, Scale, Strategy,
    Taint, Toleration, Workload,
};
use super::ledger::Pin;
use super::names::{ImageDigest, WorkloadName};
use super::observation::Requests;
use super::overrides::Standing;
use super::schedule::Cron;

/// Describes a workload's change; `None` if nothing about it is worth a line.
pub fn workload(
    name: &WorkloadName,
    (before, after): (Option<&Workload>, Option<&Workload>),
    known: &Known<'_>,
    has_steps: bool,
    causes: Vec<String>,
) -> Option<Change> {
    let verb = match (before, after) {
        (None, Some(_)) => Verb::Add,
        (_, None) => Verb::Destroy,
        (Some(before), Some(after)) if before == after => Verb::Heal,
        (Some(_), Some(_)) => Verb::Change,
    };
    if before == after && !has_steps {
        return None;
    }
    let mut changes = match (before, after) {
        (Some(before), Some(after)) => fields(&form(before), &form(after)),
        (None, Some(after)) => fields(&Value::Null, &form(after)),
        (_, None) => Vec::new(),
    };
    files::into(&mut changes, (before, after), known);
    let fields = changes;
    let resource = resource(name, after.or(before));
    Some(Change { resource, verb, fields, causes })
}

/// Describes a workload that a pin holds back.
pub fn held(name: &WorkloadName, text: &Workload, pin: &Pin) -> Change {
    stands(name, text, Verb::Held(Box::new(pin.clone())))
}

/// Describes a workload whose pin ends.
pub fn released(name: &WorkloadName, text: Option<&Workload>, pin: &Pin) -> Change {
    let resource = resource(name, text);
    let verb = Verb::Released(Box::new(pin.clone()));
    Change { resource, verb, fields: Vec::new(), causes: Vec::new() }
}

/// Describes a workload whose release waits for a pause to end.
pub fn paused(name: &WorkloadName, text: &Workload, pause: &Standing) -> Change {
    stands(name, text, Verb::Paused(Box::new(pause.clone())))
}

/// Describes a workload whose release waits until it has replicas.
pub fn stopped(name: &WorkloadName, text: &Workload) -> Change {
    stands(name, text, Verb::Stopped)
}

/// Describes a workload whose release waits for jobs.
pub fn waits(name: &WorkloadName, text: &Workload, causes: Vec<String>) -> Change {
    Change { causes, ..stands(name, text, Verb::Waits) }
}

fn stands(name: &WorkloadName, text: &Workload, verb: Verb) -> Change {
    let resource = resource(name, Some(text));
    Change { resource, verb, fields: Vec::new(), causes: Vec::new() }
}

/// The words that declare what runs.
pub const KINDS: [&str; 3] = ["service", "job", "cron"];

/// A workload's name, of its address.
pub fn name_of(resource: &str) -> Option<&str> {
    let (kind, name) = resource.split_once('/')?;
    KINDS.contains(&kind).then_some(name)
}

/// A workload's address: `service/web`, `job/migrate`, `cron/nightly`.
pub fn resource(name: &WorkloadName, workload: Option<&Workload>) -> String {
    format!("{}/{name}", workload.map_or("service", Workload::kind))
}

/// Compares two forms, leaf by leaf, in the order of their paths.
fn fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk(String::new(), before, after, &mut changes);
    changes
}

fn walk(path: String, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let (left, right) = match (before, after) {
        (Value::Object(left), Value::Object(right)) => (left, right),
        (Value::Object(left), Value::Null) => (left, &empty),
        (Value::Null, Value::Object(right)) => (&empty, right),
        (left, right) => {
            changes.push(FieldChange { path, before: text(left), after: text(right) });
            return;
        }
    };
    let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
        walk(
            path,
            &side(left).unwrap_or(Value::Null),
            &side(right).unwrap_or(Value::Null),
            changes,
        );
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

/// A workload in the words of the text. Every field is named, so that a new one cannot be
/// forgotten.
fn form(workload: &Workload) -> Value {
    let Workload {
        template,
        replicas,
        scale,
        ports,
        health,
        rollout,
        placement,
        protect,
        on_unreachable,
        once,
        after,
    } = workload;
    let PodTemplate {
        image,
        source,
        command,
        args,
        env,
        // Told by what is in them.
        files: _,
        resources,
        overhead,
        limits,
        publish: _,
        mounts,
        settings,
        scratch,
        companions,
        liveness,
        // A job is named so.
        ends: _,
        cron,
        grace_ms,
    } = template;
    let Rollout { strategy, deadline_ms, on_fail, checks, bake_ms } = rollout;
    let mut form = json!({
        "image": image_words(image, source),
        "command": words(command),
        "args": words(args),
        "env": env,
        "mounts": mounts.iter().map(|(path, mount)| (path.clone(), json!(self::mount(mount)))).collect::<serde_json::Map<_, _>>(),
        "resources": amounts(resources),
        "overhead": amounts(overhead),
        "limits": self::limits(limits, settings.as_deref()),
        "scratch": if scratch.is_empty() { Value::Null } else { json!(scratch.iter().cloned().collect::<Vec<_>>().join(", ")) },
        "init": beside(companions, false),
        "sidecars": beside(companions, true),
        "grace": millis(*grace_ms),
        "replicas": replicas,
        "protect": protect.then_some(true),
        "on_unreachable": match on_unreachable {
            OnUnreachable::Wait => None,
            OnUnreachable::ReplaceAfter { ms } => Some(format!("replace after {}", millis(*ms))),
            OnUnreachable::FenceAfter { ms } => Some(format!("fence after {}", millis(*ms))),
        },
        "scale": scale.map(|Scale { min, max }| format!("{min} to {max}")),
        "ports": if ports.is_empty() { Value::Null } else { json!(ports.iter().map(port).collect::<Vec<_>>().join(", ")) },
        "health": health.as_ref().map_or(Value::Null, |p| json!(probe(p))),
        "liveness": liveness.as_ref().map(|Liveness { probe, start_ms }| format!("{}, {} to begin with", self::probe(probe), millis(*start_ms))),
        "rollout": format!("{}, deadline {}, on_fail {}", strategy_words(strategy), millis(*deadline_ms), match on_fail {
            OnFail::Rollback => "rollback",
            OnFail::Stop => "stop",
        }) + &if *bake_ms > 0 { format!(", bake {}", millis(*bake_ms)) } else { String::new() },
        "checks": if checks.is_empty() { Value::Null } else { json!(checks.iter().map(check).collect::<Vec<_>>().join("; ")) },
        "place": place(placement),
        "priority": if placement.priority == 0 { Value::Null } else { json!(placement.priority) },
        "keep": placement.keep,
        "every_node": if placement.every_node { json!(true) } else { Value::Null },
    });
    let settings = settings.as_deref().map(self::settings).unwrap_or_default();
    let jobs: Vec<&str> = after.iter().map(WorkloadName::as_str).collect();
    if let Some(form) = form.as_object_mut() {
        form.extend(settings);
        if !jobs.is_empty() {
            form.insert("after".to_owned(), json!(jobs.join(", ")));
        }
        if let Some(cron) = cron {
            for other in ["replicas", "scale", "rollout"] {
                form.remove(other);
            }
            let Cron { schedule, zone, retries, timeout_ms, catch_up } = &**cron;
            form.insert("every".to_owned(), json!(format!("{} {zone}", schedule)));
            form.insert("retries".to_owned(), json!(retries));
            form.insert("timeout".to_owned(), json!(millis(*timeout_ms)));
            form.extend(catch_up.then(|| ("catch_up".to_owned(), json!(true))));
            form.extend((*replicas == 0).then(|| ("suspend".to_owned(), json!(true))));
        }
        if let Some(Once { retries, parallel }) = once {
            form.remove("replicas");
            form.remove("rollout");
            form.insert("completions".to_owned(), json!(replicas));
            form.insert("retries".to_owned(), json!(retries));
            form.insert("timeout".to_owned(), json!(millis(*deadline_ms)));
            let all = parallel == replicas;
            form.extend((!all).then(|| ("parallelism".to_owned(), json!(parallel))));
        }
    }
    form
}

fn image_words(image: &ImageDigest, source: &ImageSource) -> String {
    let name = source.name().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{}{name}", image.short())
}

fn words(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list.join(" ")) }
}

fn amounts(requests: &Requests) -> Value {
    let Requests { cpu_millis, memory_bytes, disk_bytes, named, ports: _ } = requests;
    json!({
        "cpu": if *cpu_millis == 0 { Value::Null } else { json!(format!("{cpu_millis}m")) },
        "memory": if *memory_bytes == 0 { Value::Null } else { json!(bytes(*memory_bytes)) },
        "disk": if *disk_bytes == 0 { Value::Null } else { json!(bytes(*disk_bytes)) },
        "named": named,
    })
}

fn limits(limits: &Limits, settings: Option<&Settings>) -> Value {
    let Limits { cpu_millis, memory_bytes } = limits;
    let io = settings.map(|settings| settings.io).unwrap_or_default();
    let Io { read, write, reads, writes } = io;
    json!({
        "cpu": cpu_millis.map(|millis| format!("{millis}m")),
        "memory": memory_bytes.map(bytes),
        "pids": settings.and_then(|settings| settings.pids),
        "io": {
            "read": read.map(|read| format!("{}/s", bytes(read))),
            "write": write.map(|write| format!("{}/s", bytes(write))),
            "reads": reads.map(|reads| format!("{reads}/s")),
            "writes": writes.map(|writes| format!("{writes}/s")),
        },
    })
}

/// Containers beside a replica's own, by their names.
fn beside(companions: &[Companion], sidecars: bool) -> Value {
    let these: Vec<&Companion> =
        companions.iter().filter(|companion| companion.is_sidecar() == sidecars).collect();
    let is_ordered = !sidecars && these.len() > 1;
    let forms = these.iter().enumerate().map(|(index, companion)| {
        let Companion {
            name,
            role,
            image,
            source,
            command,
            args,
            env,
            files: _,
            resources,
            limits,
            share,
            settings,
        } = companion;
        let mut form = settings.as_deref().map(self::settings).unwrap_or_default();
        let own = json!({
            "number": is_ordered.then_some(index + 1),
            "timeout": match role {
                Role::Init { timeout_ms } => json!(millis(*timeout_ms)),
                Role::Sidecar => Value::Null,
            },
            "image": image_words(image, source),
            "command": words(command),
            "args": words(args),
            "env": env,
            "resources": amounts(resources),
            "limits": self::limits(limits, settings.as_deref()),
            "share": share,
        });
        if let Value::Object(own) = own {
            form.extend(own);
        }
        (name.clone(), Value::Object(form))
    });
    Value::Object(forms.collect())
}

/// How a container runs, in the words of the text, by the names of its fields there.
fn settings(settings: &Settings) -> serde_json::Map<String, Value> {
    let Settings {
        user,
        groups,
        workdir,
        add,
        drop,
        read_only,
        new_privileges,
        unconfined,
        apparmor,
        sysctls,
        ulimits,
        // Among the limits.
        pids: _,
        io: _,
        tmpfs,
        binds,
        devices,
        stop_signal,
        before_stop,
    } = settings;
    let list =
        |words: Vec<String>| if words.is_empty() { Value::Null } else { json!(words.join(", ")) };
    let sizes: BTreeMap<&String, String> =
        tmpfs.iter().map(|(path, size)| (path, bytes(*size))).collect();
    let form = json!({
        "user": user,
        "workdir": workdir,
        "security": {
            "groups": list(groups.iter().map(ToString::to_string).collect()),
            "add": list(add.iter().cloned().collect()),
            "drop": list(drop.iter().cloned().collect()),
            "read_only": read_only.then_some(true),
            "new_privileges": new_privileges.then_some(true),
            "seccomp": unconfined.then_some("unconfined"),
            "apparmor": apparmor,
        },
        "sysctls": sysctls,
        "ulimits": ulimits,
        "tmpfs": sizes,
        "binds": binds.iter().map(|(path, bind)| (path.clone(), json!(bind_words(bind)))).collect::<serde_json::Map<_, _>>(),
        "devices": list(devices.iter().cloned().collect()),
        "stop_signal": stop_signal.map(signal_name),
        "before_stop": if before_stop.is_empty() { Value::Null } else { json!(before_stop.join(" ")) },
    });
    match form {
        Value::Object(form) => form,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            serde_json::Map::new()
        }
    }
}

fn bind_words(bind: &Bind) -> String {
    let Bind { from, writable } = bind;
    format!("{from} of its node{}", if *writable { ", writable" } else { "" })
}

fn place(placement: &Placement) -> Value {
    let Placement {
        spread,
        require,
        rules,
        prefer,
        even,
        near,
        apart,
        tolerate,
        at,
        held: _,
        every_node: _,
        priority: _,
        keep: _,
    } = placement;
    let list =
        |words: Vec<String>| if words.is_empty() { Value::Null } else { json!(words.join(", ")) };
    let relations = |all: &[Relation]| list(all.iter().map(relation).collect());
    json!({
        "spread": spread,
        "on": require,
        "require": list(rules.iter().map(rule).collect()),
        "prefer": list(prefer.iter().map(|wish| format!("{} ({})", rule(&wish.rule), wish.weight)).collect()),
        "even": list(even.iter().map(|even| format!("over {} by {}", over(&even.over), even.skew)).collect()),
        "near": relations(near),
        "apart": relations(apart),
        "tolerate": list(tolerate.iter().map(toleration).collect()),
        "at": list(at.iter().map(ToString::to_string).collect()),
    })
}

/// A part in hundredths of a percent: `12.5%`.
pub fn percent(hundredths: u32) -> String {
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match (part, part % 10) {
        (0, _) => format!("{whole}%"),
        (_, 0) => format!("{whole}.{}%", part / 10),
        _ => format!("{whole}.{part:02}%"),
    }
}

/// What is asked of a release, in a few words.
pub fn check(check: &Check) -> String {
    match check {
        Check::Command { run, timeout_ms: _ } => format!("`{}` exits 0", run.join(" ")),
        Check::Metric(metric) => self::metric(metric),
    }
}

/// A metric with its bounds: `rate(errors[1m]) at most 0.01`.
pub fn metric(metric: &Metric) -> String {
    let Metric { prometheus: _, query, at_least, at_most } = metric;
    let mut words = query.clone();
    for (word, bound) in [("at least", at_least), ("at most", at_most)] {
        if let Some(bound) = bound {
            words.push_str(&format!(" {word} {bound}"));
        }
    }
    words
}

/// A rule in a few words: `disk in ssd, nvme`.
pub fn rule(rule: &Rule) -> String {
    let any = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(" or ");
    match rule {
        Rule::In(key, values) => format!("{key} is {}", any(values)),
        Rule::NotIn(key, values) => format!("{key} is not {}", any(values)),
        Rule::Exists(key) => format!("{key} is set"),
        Rule::Missing(key) => format!("{key} is not set"),
        Rule::Above(key, number) => format!("{key} is above {number}"),
        Rule::Below(key, number) => format!("{key} is below {number}"),
    }
}

/// A domain's kind in a word.
pub fn over(over: &Over) -> &str {
    match over {
        Over::Node => "node",
        Over::Label(label) => label,
    }
}

fn relation(relation: &Relation) -> String {
    let Relation { workload, over: domain, weight } = relation;
    let weight = weight.map(|weight| format!(" ({weight})")).unwrap_or_default();
    format!("{workload} by {}{weight}", over(domain))
}

fn toleration(toleration: &Toleration) -> String {
    let Toleration { key, value } = toleration;
    value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}: {value}"))
}

/// A taint in a few words.
pub fn taint(taint: &Taint) -> String {
    let Taint { key, value, effect: _ } = taint;
    value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}: {value}"))
}

fn mount(mount: &Mount) -> String {
    let Mount { volume, each_replica } = mount;
    let own = if *each_replica { ", each replica its own" } else { "" };
    format!("{volume}{own}")
}

fn port(port: &Port) -> String {
    let Port { name, container, port, host, protocol } = port;
    let name = name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
    let protocol = match protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
    };
    let target = if port == container { String::new() } else { format!("→{container}") };
    let host = host.map(|host| format!(", {host} of its node")).unwrap_or_default();
    format!("{name}{port}{protocol}{target}{host}")
}

/// A probe in a few words: `GET :8080/ready every 1s`.
pub fn probe(probe: &Probe) -> String {
    let Probe { kind, port, every_ms, timeout_ms, pass_after, fail_after } = probe;
    let what = match kind {
        ProbeKind::Http { path } => format!("GET :{port}{path}"),
        ProbeKind::Tcp => format!("TCP :{port}"),
    };
    let mut text = format!("{what} every {}", millis(*every_ms));
    if *timeout_ms != 1000 {
        text.push_str(&format!(", timeout {}", millis(*timeout_ms)));
    }
    if *pass_after != 1 {
        text.push_str(&format!(", {pass_after} in a row"));
    }
    if *fail_after != 3 {
        text.push_str(&format!(", fails after {fail_after}"));
    }
    text
}

/// A strategy in a few words: `rolling surge 1`.
pub fn strategy_words(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Rolling { surge, unavailable: 0 } => format!("rolling surge {surge}"),
        Strategy::Rolling { surge, unavailable } => {
            format!("rolling surge {surge} unavailable {unavailable}")
        }
        Strategy::Recreate => "recreate".to_owned(),
        Strategy::Ordered => "ordered".to_owned(),
        Strategy::Canary { steps, surge } => {
            let step = |step: &CanaryStep| {
                format!("{} for {}", percent(step.weight), millis(step.bake_ms))
            };
            let steps: Vec<_> = steps.iter().map(step).collect();
            format!("canary {}, surge {surge}", steps.join(", "))
        }
        Strategy::BlueGreen => "blue/green".to_owned(),
    }
}

/// Milliseconds for people: `90s`, `1500ms`, `5m`, `2h`.
pub fn millis(ms: u64) -> String {
    if ms == 0 || !ms.is_multiple_of(1000) {
        format!("{ms}ms")
    } else if !ms.is_multiple_of(60_000) || ms < 120_000 {
        format!("{}s", ms / 1000)
    } else if !ms.is_multiple_of(3_600_000) {
        format!("{}m", ms / 60_000)
    } else {
        format!("{}h", ms / 3_600_000)
    }
}

/// Bytes for people, exactly where a unit fits (`64MiB`), to a tenth otherwise (`23.4GiB`).
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = |size: u64| bytes >= size && bytes.is_multiple_of(size);
    if let Some((unit, size)) =
        UNITS.into_iter().find(|(_, size)| fits(*size) && bytes / size < 8192)
    {
        return format!("{}{unit}", bytes / size);
    }
    match UNITS.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{}{unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes}B"),
    }
}
