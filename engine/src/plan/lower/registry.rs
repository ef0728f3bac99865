//! What the text says of registries and of who may write it: none of it is part of the graph.

use std::collections::BTreeMap;

use berth_lang::{Program, Resource, ResourceKind, Value};

use super::{Lowering, list, of_kind, origin, text};
use crate::plan::etcd::Etcd;
use crate::plan::registry::{Access, Puller};

/// Whether only signed commits of the text are to be applied.
pub fn signed(program: &Program) -> bool {
    let project = of_kind(program, ResourceKind::Project).next();
    project.and_then(|project| project.value().get("signed")) == Some(&Value::Bool(true))
}

/// Whether nodes give each other large layers of images.
pub fn fan_out(program: &Program) -> bool {
    let project = of_kind(program, ResourceKind::Project).next();
    project.and_then(|project| project.value().get("fan_out")) != Some(&Value::Bool(false))
}

/// How each registry is read that the text says something of.
pub fn registries(program: &Program) -> BTreeMap<String, Access> {
    let project = of_kind(program, ResourceKind::Project).next();
    let Some(Value::Map(entries)) = project.and_then(|project| project.value().get("registries"))
    else {
        return BTreeMap::new();
    };
    let access = |value: &Value| Access {
        mirrors: list(value.get("mirrors")),
        http: value.get("http") == Some(&Value::Bool(true)),
        ca: text(value, "ca"),
        signed_by: list(value.get("signed_by")),
        puller: match value.get("pulled_by") {
            Some(Value::Case { name, .. }) if &**name == "engine" => Puller::Engine,
            Some(_) | None => Puller::Nodes,
        },
    };
    entries.iter().map(|(host, value)| (host.to_string(), access(value))).collect()
}

/// The etcd cluster that keeps the ledger, if the text names one.
pub fn etcd(program: &Program) -> Option<Etcd> {
    let project = of_kind(program, ResourceKind::Project).next()?;
    let value = project.value().get("etcd").filter(|value| matches!(value, Value::Record(_)))?;
    let (ca, user) = (text(value, "ca"), text(value, "user"));
    Some(Etcd { endpoints: list(value.get("endpoints")), ca, user })
}

impl Lowering<'_> {
    /// Reports what is no way to an etcd; whether there is one.
    pub(super) fn etcd(&mut self, program: &Program, project: &Resource) -> bool {
        let Some(Etcd { endpoints, ca, user: _ }) = etcd(program) else { return false };
        let mut report = |message: String, help: &str| {
            self.report("E0558", origin(project, "etcd"), message, help);
        };
        if matches!(project.value().get("keeper"), Some(Value::Ref { .. })) {
            let words = "a ledger is kept by a node or by etcd, and this project names both";
            report(words.to_owned(), "leave `keeper` out, or `etcd`");
        }
        if endpoints.is_empty() {
            let help = "write `endpoints: [\"https://10.0.0.5:2379\"]`, each member's URL";
            report("this etcd has no member".to_owned(), help);
        }
        for endpoint in endpoints {
            let host = endpoint.strip_prefix("https://");
            let is_tls = host.is_some();
            match host.or_else(|| endpoint.strip_prefix("http://")) {
                Some(host) if is_host(host) => {}
                Some(_) | None => report(
                    format!("`{}` is no URL of an etcd member", endpoint.escape_debug()),
                    "write `https://`, its host and its port: `https://10.0.0.5:2379`",
                ),
            }
            if is_tls && ca.is_none() {
                let help = "name the file of certificates to trust: `ca: \"etcd-ca.pem\"`";
                report(format!("nothing says whom to trust as `{endpoint}`"), help);
            }
        }
        true
    }

    /// Reports what names no registry.
    pub(super) fn registries(&mut self, program: &Program) {
        let Some(project) = of_kind(program, ResourceKind::Project).next() else { return };
        for (host, access) in registries(program) {
            let named = [&host].into_iter().chain(&access.mirrors);
            for bad in named.filter(|host| !is_host(host)) {
                let span = origin(project, &format!("registries.{host}"));
                self.report(
                    "E0555",
                    span,
                    format!("`{}` does not name a registry", bad.escape_debug()),
                    "write its host, and its port if it is not the usual one: `ghcr.io`, `10.0.0.5:5000`",
                );
            }
        }
    }
}

/// Whether a text is a host name or an address, with a port or without.
fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "443"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let parts = |part: &str| !part.is_empty() && part.chars().all(is_plain);
    port.parse::<u16>().is_ok() && host.split('.').all(parts)
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts_are_told_from_addresses_of_pages() {
        let good = ["ghcr.io", "docker.io", "localhost:5000", "10.0.0.5:5000", "r.example.com"];
        assert!(good.into_iter().all(is_host));
        let bad = ["", "https://ghcr.io", "ghcr.io/acme", "a b", ":5000", "r:x", "r:70000", "a..b"];
        assert!(!bad.into_iter().any(is_host), "{bad:?}");
    }
}
