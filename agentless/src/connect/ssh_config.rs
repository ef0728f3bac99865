//! What this login's ssh configuration says of a host, worked out by OpenSSH itself.
//!
//! `ssh -G` knows every rule of `ssh_config(5)` (Host, Match, Include, first value wins, tokens), and
//! it is what the user's own `ssh` does. It is asked only if there is a configuration that says
//! something; what the text says goes first.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use berth_engine::run::host::Layer;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::dial::Target;
use crate::fault::{Fault, words};

/// Where everybody's configuration is.
const SYSTEM: &str = "/etc/ssh/ssh_config";
/// Settings that do not say how a host is reached; Debian's own file has no others.
const INERT: [&str; 5] = ["host", "include", "sendenv", "hashknownhosts", "gssapiauthentication"];

/// Which configuration is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SshConfig {
    /// This login's, and everybody's, as `ssh` does.
    #[default]
    Usual,
    /// This file alone.
    File(PathBuf),
    /// None.
    Nothing,
}

/// How a host is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// Private keys, in the order that they are offered in.
    pub(crate) keys: Vec<PathBuf>,
    /// Certificates for keys, beside those that lie next to one.
    pub(crate) certificates: Vec<PathBuf>,
    /// Whether the agent's other keys are not offered.
    pub(crate) keys_only: bool,
    /// The agent's socket, where it is not `SSH_AUTH_SOCK`'s; empty if none is to be asked.
    pub(crate) agent: Option<String>,
    /// The name that known_hosts files have the host under, where that is another.
    pub(crate) alias: Option<String>,
    /// More files of trusted host keys.
    pub(crate) known_hosts: Vec<PathBuf>,
    /// Hosts to go through, in order: `[USER@]HOST[:PORT]`.
    pub(crate) jumps: Vec<String>,
    /// A program to go through, with its tokens.
    pub(crate) command: Option<String>,
    /// Jump hosts that this one is on the way to.
    pub(crate) behind: Vec<String>,
}

/// Works out how a target is reached.
pub(crate) async fn resolve(target: &Target, config: &SshConfig) -> Result<Route, Fault> {
    // They become words of programs that the configuration runs (Match exec, ProxyCommand).
    let plain = |c: char| c.is_alphanumeric() || ".-_:%@+".contains(c);
    let words = [Some(&target.host), target.user.as_ref()];
    if let Some(odd) = words.into_iter().flatten().find(|word| !word.chars().all(plain)) {
        return Err(Fault::Unreachable {
            layer: Layer::Dns,
            why: format!("`{}` is no name of a host or a login", odd.escape_debug()),
        });
    }
    let mut route = match wrapper(config) {
        Some(wrapper) => read(&ask(target, &wrapper).await?, &target.host),
        None => Route { host: target.host.clone(), ..Route::default() },
    };
    if route.port == 0 {
        route.port = 22;
    }
    if let Some(port) = target.port {
        route.port = port;
    }
    if let Some(user) = &target.user {
        route.user.clone_from(user);
    }
    if route.user.is_empty() {
        "root".clone_into(&mut route.user);
    }
    if let Some(identity) = &target.identity {
        (route.keys, route.keys_only) = (vec![identity.clone()], true);
    }
    if !target.jumps.is_empty() {
        (route.jumps, route.command) = (target.jumps.clone(), None);
    }
    Ok(route)
}

/// A configuration that includes the ones to be read, and ends with our own defaults; nothing if none
/// of them says anything.
fn wrapper(config: &SshConfig) -> Option<String> {
    let own = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh/config"));
    let files = match config {
        SshConfig::Usual => own.into_iter().chain([PathBuf::from(SYSTEM)]).collect(),
        SshConfig::File(path) => vec![path.clone()],
        SshConfig::Nothing => Vec::new(),
    };
    let files: Vec<PathBuf> = files.into_iter().filter(|path| says_something(path, 0)).collect();
    if files.is_empty() {
        return None;
    }
    let include = |path: &PathBuf| format!("Include \"{}\"\n", path.display());
    Some(format!("{}Match all\n  User root\n", files.iter().map(include).collect::<String>()))
}

/// Whether a configuration says more than Debian's own.
fn says_something(path: &Path, depth: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    text.lines().any(|line| {
        let line = line.trim();
        let split = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
        let (key, value) = (split.0.to_ascii_lowercase(), split.1.trim());
        match key.as_str() {
            "" => false,
            key if key.starts_with('#') => false,
            "include" if depth < 4 && value.starts_with('/') && value.ends_with("/*.conf") => {
                let folder = Path::new(value).parent().unwrap_or(Path::new("/"));
                let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
                entries.into_iter().any(|entry| says_something(&entry.path(), depth + 1))
            }
            "include" => true,
            key => !INERT.contains(&key),
        }
    })
}

async fn ask(target: &Target, wrapper: &str) -> Result<String, Fault> {
    let failed = |why: String| Fault::Unreachable {
        layer: Layer::Ssh,
        why: format!(
            "the ssh configuration cannot be read: {why}; `--ssh-config none` does without"
        ),
    };
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/stdin", "-G"]);
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    command.arg("--").arg(&target.host);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("`ssh`: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It ends with an error of its own if it does not read this.
        let _ = stdin.write_all(wrapper.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(words(&String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads what `ssh -G` prints.
fn read(answer: &str, asked: &str) -> Route {
    let mut route = Route { host: asked.to_owned(), ..Route::default() };
    let none = |value: &str| value.eq_ignore_ascii_case("none");
    for line in answer.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "hostname" => value.clone_into(&mut route.host),
            "port" => route.port = value.parse().unwrap_or(0),
            "user" => value.clone_into(&mut route.user),
            "identityfile" if !none(value) => route.keys.push(home(value)),
            "certificatefile" if !none(value) => route.certificates.push(home(value)),
            "identitiesonly" => route.keys_only = value == "yes",
            "identityagent" if value != "SSH_AUTH_SOCK" => {
                let named = if none(value) { String::new() } else { value.to_owned() };
                route.agent = Some(named);
            }
            "hostkeyalias" if !none(value) => route.alias = Some(value.to_owned()),
            "userknownhostsfile" | "globalknownhostsfile" => {
                route.known_hosts.extend(value.split(' ').filter(|file| !none(file)).map(home));
            }
            "proxyjump" if !none(value) => {
                route.jumps = value.split(',').map(|jump| jump.trim().to_owned()).collect();
            }
            "proxycommand" if !none(value) => route.command = Some(value.to_owned()),
            _ => {}
        }
    }
    route
}

/// A path of a configuration; `~` is this login's home.
fn home(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(rest),
        None => PathBuf::from(path),
    }
}

/// A host to go through, as `[USER@]HOST[:PORT]` or `ssh://…` names it.
pub(crate) fn jump(words: &str) -> Option<Target> {
    let words = words.strip_prefix("ssh://").unwrap_or(words).trim_end_matches('/');
    let (user, rest) = match words.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, words),
    };
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match rest.split_once(':') {
            // More than one colon is an IPv6 address without brackets.
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            Some(_) | None => (rest, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if host.is_empty() || host.starts_with('-') || words.contains(odd) {
        return None;
    }
    Some(Target { host: host.to_owned(), user, port, ..Target::default() })
}

/// Puts values for the tokens of a program to go through (`ssh_config(5)`, TOKENS).
pub(crate) fn expanded(command: &str, route: &Route, asked: &str) -> String {
    let mut out = String::new();
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('h') => out.push_str(&route.host),
            Some('n') => out.push_str(asked),
            Some('p') => out.push_str(&route.port.to_string()),
            Some('r') => out.push_str(&route.user),
            Some('%') | None => out.push('%'),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Target {
        Target { name: "n1".to_owned(), host: host.to_owned(), ..Target::default() }
    }

    /// Resolves with a configuration of these words; nothing where this machine has no `ssh`.
    async fn resolved(config: &str, target: &Target) -> Option<Route> {
        std::process::Command::new("ssh").arg("-V").output().ok()?;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config file");
        std::fs::write(&path, config).expect("a file");
        Some(resolve(target, &SshConfig::File(path)).await.expect("a configuration"))
    }

    #[tokio::test]
    async fn without_a_configuration_the_text_and_our_defaults_count() {
        let route = resolve(&target("db1"), &SshConfig::Nothing).await.expect("a route");
        let wanted =
            Route { host: "db1".to_owned(), port: 22, user: "root".to_owned(), ..Route::default() };
        assert_eq!(route, wanted);
    }

    #[tokio::test]
    async fn a_configuration_counts_where_the_text_is_silent() {
        let config = "Host db*\n  HostName 10.0.0.7\n  User deploy\n  Port 2222\n  ProxyJump ana@gate:2200,inner\n  HostKeyAlias db\n  IdentityFile /keys/db\n  IdentitiesOnly yes\nMatch host 10.0.0.7 user eve\n  Port 7\n";
        let Some(route) = resolved(config, &target("db1")).await else { return };
        assert_eq!((&*route.host, route.port, &*route.user), ("10.0.0.7", 2222, "deploy"));
        assert_eq!(route.jumps, ["ana@gate:2200", "inner"]);
        assert_eq!(route.keys, [PathBuf::from("/keys/db")]);
        assert_eq!((route.alias.as_deref(), route.keys_only), (Some("db"), true));
        // Another host has our defaults, not this login's name.
        let other = resolved(config, &target("web1")).await.expect("ssh");
        assert_eq!((&*other.host, other.port, &*other.user), ("web1", 22, "root"));
        let said = Target {
            user: Some("eve".to_owned()),
            port: Some(22),
            identity: Some(PathBuf::from("/keys/own")),
            jumps: vec!["other".to_owned()],
            ..target("db1")
        };
        let route = resolved(config, &said).await.expect("ssh");
        assert_eq!((route.port, &*route.user), (22, "eve"));
        assert_eq!((route.keys, route.jumps), (vec![PathBuf::from("/keys/own")], said.jumps));
    }

    #[tokio::test]
    async fn names_that_a_shell_would_read_go_nowhere() {
        for host in ["a;b", "$(b)", "`b`", "a|b", "a b", "a\nb", "'a'"] {
            let fault = resolve(&target(host), &SshConfig::Nothing).await.expect_err("no host");
            assert!(matches!(fault, Fault::Unreachable { layer: Layer::Dns, .. }), "{host}");
            let user = Target { user: Some(host.to_owned()), ..target("db1") };
            assert!(resolve(&user, &SshConfig::Nothing).await.is_err(), "{host}");
        }
        for host in ["db1.example.com", "fe80::1%eth0", "10.0.0.1", "größe.example"] {
            assert!(resolve(&target(host), &SshConfig::Nothing).await.is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_mistake_in_a_configuration_is_told() {
        if std::process::Command::new("ssh").arg("-V").output().is_err() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, "Host x\n  Prot 22\n").expect("a file");
        let fault = resolve(&target("x"), &SshConfig::File(path)).await.expect_err("a mistake");
        let Fault::Unreachable { layer: Layer::Ssh, why } = fault else { panic!("{fault:?}") };
        assert!(why.contains("line 2: Bad configuration option: prot"), "{why}");
    }

    #[test]
    fn debians_own_configuration_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        let debian = "Include /nowhere/*.conf\n\nHost *\n#   Port 22\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n    GSSAPIAuthentication yes\n";
        for (text, says) in [
            (debian.to_owned(), false),
            (format!("{debian}    User ana\n"), true),
            ("Include more\n".to_owned(), true),
            ("ProxyJump=gate\n".to_owned(), true),
            (String::new(), false),
        ] {
            std::fs::write(&path, &text).expect("a file");
            assert_eq!(says_something(&path, 0), says, "{text}");
        }
        assert!(!says_something(&folder.path().join("none"), 0));
    }

    #[test]
    fn jumps_are_read_as_openssh_reads_them() {
        let read = |words: &str| jump(words).map(|t| (t.user, t.host, t.port));
        let found = |user: Option<&str>, host: &str, port| {
            Some((user.map(str::to_owned), host.to_owned(), port))
        };
        assert_eq!(read("gate"), found(None, "gate", None));
        assert_eq!(read("ana@gate:2200"), found(Some("ana"), "gate", Some(2200)));
        assert_eq!(read("ssh://ana@gate:22/"), found(Some("ana"), "gate", Some(22)));
        assert_eq!(read("ana@[fd00::1]:22"), found(Some("ana"), "fd00::1", Some(22)));
        assert_eq!(read("fd00::1"), found(None, "fd00::1", None));
        for bad in ["", "ana@", "gate:x", "gate:70000", "-oProxyCommand=x", "a b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn tokens_of_a_program_are_filled_in() {
        let route = Route {
            host: "10.0.0.7".to_owned(),
            port: 2222,
            user: "ana".to_owned(),
            ..Route::default()
        };
        assert_eq!(
            expanded("nc %h %p # %r@%n 100%% %x", &route, "db1"),
            "nc 10.0.0.7 2222 # ana@db1 100% %x"
        );
    }
}
