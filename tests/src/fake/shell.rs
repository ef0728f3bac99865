//! The guarded session's shell: its frames (`agentless/src/node/session.sh`), and the functions of the node's library by
//! their names and promises.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::canon::sha256;
use berth_engine::plan::names::ContainerId;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::sync::Mutex;

use super::Mishap;
use super::node::{Node, State, pinned};

/// A node's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `/etc/berth/node/network.json`.
    pub network: Option<String>,
    /// What was there before a change that nobody has confirmed.
    pub before: Option<Option<String>>,
    /// Reflexes, and their versions.
    pub reflexes: BTreeMap<String, String>,
    /// Addresses and ports that are taken, and by whom.
    pub claims: BTreeMap<String, String>,
    /// Tenants by their namespaces.
    pub tenants: BTreeMap<String, TenantFiles>,
    /// Ledgers, or copies.
    pub ledgers: BTreeMap<String, Vec<u8>>,
    /// What is remembered of ledgers: epoch, lines, keeper.
    pub marks: BTreeMap<String, String>,
    /// Words that were left beside ledgers.
    pub asks: BTreeMap<String, Vec<u8>>,
    /// Notes of volumes, by namespace and id.
    pub volumes: BTreeMap<(String, String), String>,
}

/// A tenant's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantFiles {
    /// Pods that have files.
    pub pods: BTreeSet<String>,
    /// Files of the text by pod, by their names there: mode, owner, the sum of what is in them, and how a secret is kept.
    pub written: BTreeMap<String, BTreeMap<String, String>>,
    /// Pods that a timer runs.
    pub timers: BTreeSet<String>,
    /// Pods whose secrets a boot has forgotten.
    pub forgotten: BTreeSet<String>,
    /// Endpoints, as JSON.
    pub endpoints: BTreeMap<String, String>,
}

impl TenantFiles {
    /// Forgets the secrets that a boot does not bring back; with the boot reflex it brings those back that are sealed.
    pub(super) fn forget(&mut self, reflex: bool) {
        for (pod, files) in &mut self.written {
            let before = files.len();
            files.retain(|_, file| {
                !file.contains(" secret ") || reflex && file.ends_with(" secret sealed")
            });
            if files.len() < before {
                self.forgotten.insert(pod.clone());
            }
        }
    }
}

impl Files {
    /// Whether a boot has forgotten secrets of a container's pod.
    pub(super) fn has_forgotten(&self, namespace: &str, id: &str) -> bool {
        let of =
            |pod: &String| id == pod || id.strip_prefix(&**pod).is_some_and(|r| r.starts_with('.'));
        self.tenants.get(namespace).is_some_and(|tenant| tenant.forgotten.iter().any(of))
    }

    /// Takes back what was not confirmed.
    pub(super) fn network_left(&mut self) {
        if let Some(before) = self.before.take() {
            self.network = before;
        }
    }

    fn claim(&mut self, what: &str, by: &str) -> Result<(), String> {
        match self.claims.get(what) {
            Some(holder) if holder != by => Err(holder.clone()),
            _ => {
                self.claims.insert(what.to_owned(), by.to_owned());
                Ok(())
            }
        }
    }

    /// Forgets what is no reason to keep `/etc/berth`.
    fn tidy(&mut self) {
        let Self { marks, tenants, ledgers, .. } = self;
        marks.retain(|name, mark| {
            !mark.starts_with("0 ") || tenants.contains_key(name) || ledgers.contains_key(name)
        });
    }

    /// What a node remembers of a ledger, as `ledger_mark` says it.
    fn mark(&self, namespace: &str) -> String {
        let size = self.ledgers.get(namespace).map_or(0, Vec::len);
        self.marks.get(namespace).map_or_else(String::new, |mark| format!("mark {size} {mark}\n"))
    }
}

/// Splits a line as a shell does whose only quotes are single ones, and backslashes outside of them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// An exit status, and what was printed.
type Done = (u32, String);

fn well() -> Done {
    (0, String::new())
}

impl State {
    /// Runs a function of the library.
    fn function(&mut self, connection: u64, words: &[String]) -> Done {
        let arg = |at: usize| words.get(at).map_or("", String::as_str);
        let (name, namespace) = (arg(0), arg(1).to_owned());
        let reads = [
            "observe",
            "ledger_mark",
            "ledger_read",
            "ledger_ask",
            "ledger_asked",
            "pod_log",
            "pod_connections",
            "pod_listens",
            "probe_tcp",
            "devices_find",
            "cdi_find",
            "disks_find",
            "user_find",
            "containerd_state",
            "cron_on",
        ];
        if !reads.contains(&name) {
            self.writes(connection, name);
        }
        match name {
            "observe" => (0, self.observe(&namespace)),
            "network_up" => {
                let files = &mut self.files;
                if files.before.is_none() {
                    files.before = Some(files.network.clone());
                }
                files.network = Some(arg(1).to_owned());
                well()
            }
            "network_keep" => {
                self.files.before = None;
                well()
            }
            "network_undo" => {
                self.files.network_left();
                well()
            }
            "network_down" => {
                if !self.files.tenants.is_empty() {
                    let left: Vec<String> = self.files.tenants.keys().cloned().collect();
                    return (78, left.join(", "));
                }
                (self.files.network, self.files.before) = (None, None);
                self.files.claims.clear();
                well()
            }
            "tenant_up" => {
                self.files.tenants.entry(namespace).or_default();
                well()
            }
            "tenant_down" => {
                let pods = self.files.tenants.get(&namespace).map(|tenant| tenant.pods.clone());
                for pod in pods.unwrap_or_default() {
                    self.pod_down(&namespace, &pod);
                }
                self.files.tenants.remove(&namespace);
                well()
            }
            "volume_up" => {
                self.files.volumes.insert((namespace, arg(2).to_owned()), arg(5).to_owned());
                well()
            }
            "volume_down" => {
                self.files.volumes.remove(&(namespace, arg(2).to_owned()));
                well()
            }
            "files_up" | "secrets_up" => {
                let Some(tenant) = self.files.tenants.get_mut(&namespace) else {
                    return (1, "no such tenant".to_owned());
                };
                let mut files = BTreeMap::new();
                let secret = words.first().is_some_and(|word| word == "secrets_up");
                for file in words.get(3..).unwrap_or_default().chunks(5 + usize::from(secret)) {
                    let (name, mode, owner, kept, sum, text) = match file {
                        [name, mode, owner, sum, text] => (name, mode, owner, None, sum, text),
                        [name, mode, owner, kept, sum, text] => {
                            (name, mode, owner, Some(kept), sum, text)
                        }
                        _ => return (1, "five words a file, six a secret".to_owned()),
                    };
                    let kept = kept.map(|kept| format!(" secret {kept}")).unwrap_or_default();
                    let text = STANDARD.decode(text).unwrap_or_default();
                    if sha256(&text) != *sum {
                        return (1, format!("{name}: FAILED"));
                    }
                    files.insert(name.clone(), format!("{mode} {owner} {sum}{kept}"));
                }
                let kept = tenant.written.entry(arg(2).to_owned()).or_default();
                kept.retain(|_, file| file.contains("secret") != secret);
                kept.extend(files);
                tenant.forgotten.remove(arg(2));
                well()
            }
            "cron_up" => match self.files.tenants.get_mut(&namespace) {
                Some(tenant) => {
                    tenant.timers.insert(arg(2).to_owned());
                    well()
                }
                None => (1, "no such tenant".to_owned()),
            },
            "cron_on" => {
                let tenant = self.files.tenants.get(&namespace);
                let on = tenant.is_some_and(|tenant| tenant.timers.contains(arg(2)));
                (u32::from(!on), String::new())
            }
            "cron_down" => {
                if let Some(tenant) = self.files.tenants.get_mut(&namespace) {
                    tenant.timers.remove(arg(2));
                }
                well()
            }
            "pod_up" => self.pod_up(&namespace, arg(2), arg(3), arg(6)),
            "pod_down" => {
                self.pod_down(&namespace, arg(2));
                well()
            }
            "endpoint_swap" => match self.files.tenants.get_mut(&namespace) {
                Some(tenant) => {
                    tenant.endpoints.insert(arg(2).to_owned(), arg(3).to_owned());
                    well()
                }
                None => (1, "no such tenant".to_owned()),
            },
            "endpoint_remove" => {
                if let Some(tenant) = self.files.tenants.get_mut(&namespace) {
                    tenant.endpoints.remove(arg(2));
                }
                well()
            }
            "endpoint_rename" => {
                if let Some(tenant) = self.files.tenants.get_mut(&namespace)
                    && tenant.endpoints.remove(arg(2)).is_some()
                {
                    tenant.endpoints.entry(arg(3).to_owned()).or_insert(arg(4).to_owned());
                }
                well()
            }
            "reflex_up" => {
                self.files.reflexes.insert(arg(1).to_owned(), arg(2).to_owned());
                well()
            }
            "reflex_down" => {
                self.files.reflexes.remove(arg(1));
                well()
            }
            "ledger_append" => {
                let Ok(bytes) = STANDARD.decode(arg(4)) else { return (1, "base64".to_owned()) };
                let ledger = self.files.ledgers.entry(namespace).or_default();
                let ends = format!("{}\"}}\n", arg(3));
                if ledger.len().to_string() != arg(2)
                    || !ledger.is_empty() && !ledger.ends_with(ends.as_bytes())
                {
                    return (80, ledger.len().to_string());
                }
                ledger.extend_from_slice(&bytes);
                well()
            }
            "ledger_replace" => {
                let Ok(bytes) = STANDARD.decode(arg(2)) else { return (1, "base64".to_owned()) };
                self.files.ledgers.insert(namespace, bytes);
                well()
            }
            "ledger_remove" => {
                self.files.ledgers.remove(&namespace);
                self.files.marks.remove(&namespace);
                self.files.asks.remove(&namespace);
                self.files.tidy();
                well()
            }
            "ledger_mark" => (0, self.files.mark(&namespace)),
            "ledger_read" => {
                let ledger =
                    self.files.ledgers.get(&namespace).map(Vec::as_slice).unwrap_or_default();
                let from = arg(2).parse::<usize>().unwrap_or(0).min(ledger.len());
                let size = arg(3).parse::<usize>().unwrap_or(0);
                let to = from.saturating_add(size).min(ledger.len());
                (0, STANDARD.encode(ledger.get(from..to).unwrap_or_default()))
            }
            "ledger_ask" => {
                if self.files.ledgers.contains_key(&namespace)
                    && let Ok(ask) = STANDARD.decode(arg(2))
                {
                    self.files.asks.insert(namespace, ask);
                }
                well()
            }
            "ledger_asked" => {
                let asked = self.files.asks.get(&namespace);
                (0, asked.map(|ask| STANDARD.encode(ask)).unwrap_or_default())
            }
            "pod_log" => (2, String::new()),
            "pod_connections" => match self.wired.contains(&pinned(&namespace, arg(2))) {
                true => (0, "0A 1F90\n".to_owned()),
                false => (2, String::new()),
            },
            "pod_hook" | "log_start" => well(),
            "devices_find" | "cdi_find" | "disks_find" => well(),
            other => (127, format!("{other}: command not found")),
        }
    }

    fn pod_up(&mut self, namespace: &str, id: &str, ip4: &str, ports: &str) -> Done {
        let holder = format!("{namespace}/{id}");
        if let Err(by) = self.files.claim(ip4, &holder) {
            return (79, by);
        }
        for port in ports.split(',').filter(|port| !port.is_empty()) {
            let (port, _) = port.rsplit_once(':').unwrap_or_default();
            if let Err(by) = self.files.claim(&port.replace(':', "-"), &holder) {
                let (protocol, number) = port.split_once(':').unwrap_or_default();
                return (81, format!("{number}/{protocol} {by}"));
            }
        }
        let Some(tenant) = self.files.tenants.get_mut(namespace) else {
            return (1, "no such tenant".to_owned());
        };
        if self.files.network.is_none() {
            return (1, "the network of this node is not set up".to_owned());
        }
        tenant.pods.insert(id.to_owned());
        self.wired.insert(format!("{namespace}-{id}"));
        well()
    }

    fn pod_down(&mut self, namespace: &str, id: &str) {
        let holder = format!("{namespace}/{id}");
        self.files.claims.retain(|_, by| *by != holder);
        self.wired.remove(&format!("{namespace}-{id}"));
        if let Some(tenant) = self.files.tenants.get_mut(namespace) {
            tenant.pods.remove(id);
            tenant.timers.remove(id);
            tenant.written.remove(id);
            tenant.forgotten.remove(id);
        }
    }

    /// What the kernel and the files know, as `observe.sh` prints it.
    fn observe(&self, namespace: &str) -> String {
        let Self { number, files, .. } = self;
        let (high, low) = (77 + number / 250, 1 + number % 250);
        let mut out = format!(
            "machine {number:032x}\nmemory 4194304\ncpus 4\nos Debian GNU/Linux 12 (bookworm)\nnow {}\n\
             disk 1000000 4096\ndisktotal 2000000 4096\npressure 0.00\n\
             addr lo inet 127.0.0.1/8\naddr eth0 inet 10.{high}.0.{low}/24\naddr eth0 inet6 fd77::{number:x}/64\n\
             listens tcp 0.0.0.0:22\n",
            now_ms()
        );
        out.push_str(&files.mark(namespace));
        if let Some(network) = &files.network {
            let _ = writeln!(out, "network {network}");
        }
        for (name, version) in &files.reflexes {
            let _ = writeln!(out, "reflex {name} {version}");
        }
        for claim in files.claims.keys() {
            let _ = writeln!(out, "claim {claim}");
        }
        if files.tenants.contains_key(namespace) {
            out.push_str("tenant\n");
        }
        for (name, other) in files.tenants.iter().filter(|(name, _)| *name != namespace) {
            let _ = writeln!(out, "other {name}");
            for endpoint in other.endpoints.values() {
                let said: serde_json::Value = serde_json::from_str(endpoint).unwrap_or_default();
                let _ = writeln!(out, "taken {}", said["address4"].as_str().unwrap_or_default());
            }
        }
        if let Some(tenant) = files.tenants.get(namespace) {
            for endpoint in tenant.endpoints.values() {
                let _ = writeln!(out, "endpoint {endpoint}");
            }
            for pod in &tenant.pods {
                let wired = self.wired.contains(&format!("{namespace}-{pod}"))
                    && !tenant.forgotten.contains(pod);
                let _ = writeln!(out, "{} {pod}", if wired { "wired" } else { "unwired" });
            }
        }
        for pod in files.tenants.get(namespace).into_iter().flat_map(|tenant| &tenant.timers) {
            let _ = writeln!(out, "timer {pod} 1800000000");
        }
        for ((space, id), note) in &files.volumes {
            let _ = writeln!(out, "volume {space} {id} {note}");
        }
        let space = self.namespaces.get(namespace);
        for id in space.into_iter().flat_map(|space| space.tasks.keys()) {
            if id.parse::<ContainerId>().is_ok() {
                let folder = "/run/containerd/io.containerd.runtime.v2.task";
                let _ = writeln!(out, "started 1700000000.500 {folder}/{namespace}/{id}/init.pid");
            }
        }
        out.push_str("end\n");
        out
    }

    /// `take_lock`, with its arguments.
    fn lock(&mut self, connection: u64, words: &[String]) -> Done {
        let arg = |at: usize| words.get(at).map_or("", String::as_str);
        let (epoch, lines, keeper, namespace) = (arg(0), arg(1), arg(2), arg(3));
        if let Some((holder, claim)) = &self.lock
            && *holder != connection
        {
            return (75, claim.clone());
        }
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let mark = self.files.marks.get(namespace).cloned().unwrap_or_default();
        let mut known = mark.splitn(3, ' ');
        let mut next = || known.next().unwrap_or_default();
        let (had_epoch, had_lines, mut had_keeper) = (number(next()), number(next()), next());
        if (had_epoch, had_lines) == (0, 0) {
            had_keeper = "";
        }
        let other = !had_keeper.is_empty() && keeper != had_keeper;
        if number(epoch) < had_epoch || number(epoch) == had_epoch && other {
            return (76, format!("{had_epoch} {had_keeper}"));
        }
        if had_keeper.is_empty() || number(epoch) > had_epoch || number(lines) > had_lines {
            self.files.marks.insert(namespace.to_owned(), format!("{epoch} {lines} {keeper}"));
        }
        self.lock = Some((connection, arg(4).to_owned()));
        well()
    }

    fn unlock(&mut self, connection: u64) {
        if self.lock.as_ref().is_some_and(|(holder, _)| *holder == connection) {
            self.files.network_left();
            self.files.tidy();
            self.lock = None;
        }
    }
}

fn now_ms() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_millis()
}

/// Writes an answer's frames.
fn frames(id: &str, (status, text): &Done) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            c => line.push(c),
        }
        if line.len() >= 3000 {
            let _ = writeln!(out, "{id} + {line}");
            line.clear();
        }
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{id} + {line}");
    }
    let _ = writeln!(out, "{id} = {status}");
    out
}

/// Serves a session: first its library, of so many bytes, then its frames.
pub(super) async fn serve<S>(node: Arc<Node>, connection: u64, stream: S, library: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let writer = Arc::new(Mutex::new(writer));
    let mut reader = BufReader::new(reader);
    let mut nothing = vec![0_u8; library];
    if reader.read_exact(&mut nothing).await.is_err() {
        return;
    }
    drop(nothing);
    let _ = writer.lock().await.write_all(b"hello x86_64 127.0.0.1\n").await;
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line).await {
            Ok(read) if read > 0 => {}
            _ => break,
        }
        let text = line.trim_end_matches('\n');
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let call = match first {
            "beat" => continue,
            "bye" => break,
            "lock" | "unlock" => {
                let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                (id.to_owned(), format!("{first} {rest}"))
            }
            id => {
                let (length, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let call = match length.parse::<usize>() {
                    Ok(0) | Err(_) => rest.to_owned(),
                    Ok(length) => {
                        let mut bytes = vec![0_u8; length];
                        if reader.read_exact(&mut bytes).await.is_err() {
                            break;
                        }
                        String::from_utf8_lossy(&bytes).into_owned()
                    }
                };
                (id.to_owned(), call)
            }
        };
        let (node, writer) = (Arc::clone(&node), Arc::clone(&writer));
        let one = async move {
            let (id, call) = call;
            if let Some(said) = answer(&node, connection, &id, &call) {
                let _ = writer.lock().await.write_all(said.as_bytes()).await;
            }
        };
        // A lock is the loop's own; commands run beside it.
        if matches!(first, "lock" | "unlock") {
            one.await;
        } else {
            tokio::spawn(one);
        }
    }
    node.left(connection);
}

/// Runs a call; nothing if it is not answered.
fn answer(node: &Node, connection: u64, id: &str, call: &str) -> Option<String> {
    let words = words(call);
    let (name, rest) = words.split_first()?;
    if !node.hears(connection) {
        return None;
    }
    let mishap = node.script.next(&node.name, name);
    let shell_goes_on = mishap == Some(Mishap::ContainerdBefore);
    if !node.before(connection, mishap) && !shell_goes_on {
        return None;
    }
    let done = match (mishap, name.as_str()) {
        (Some(Mishap::Refused), _) => (1, "it is refused".to_owned()),
        (Some(Mishap::DiskFull), _) => (1, "write error: No space left on device".to_owned()),
        (_, "lock") => node.state().lock(connection, rest),
        (_, "unlock") => {
            node.state().unlock(connection);
            well()
        }
        _ => node.state().function(connection, &words),
    };
    let answered = node.after(connection, mishap) || mishap == Some(Mishap::ContainerdAfter);
    answered.then(|| match mishap {
        Some(Mishap::Garbage) => format!("{id} + \u{1b}[31m\\\n\u{0}nonsense\n{id} = x\n"),
        _ => frames(id, &done),
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_line_is_split_as_a_shell_does() {
        assert_eq!(words("a 'b c' '' 'd'\\''e'"), ["a", "b c", "", "d'e"]);
        assert_eq!(words("a '\nb\n'"), ["a", "\nb\n"]);
    }
}
