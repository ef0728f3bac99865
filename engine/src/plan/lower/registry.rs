//! What the text says of registries and of who may write it: none of it is part of the graph.

use std::collections::BTreeMap;

use berth_lang::{Program, ResourceKind, Value};

use super::{Lowering, list, of_kind, origin, text};
use crate::plan::registry::{Access, Puller};

/// Whether only signed commits of the text are to be applied.
pub fn signed(program: &Program) -> bool {
    let project = of_kind(program, ResourceKind::Project).next();
    project.and_then(|project| project.value().get("signed")) == Some(&Value::Bool(true))
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

impl Lowering {
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
