//! Files out of a pod and into it, as a stream of records.
//!
//! The node's end is `agentless/src/node/copy.pl`, which states the records: stock perl, confined to
//! the pod's own root. What a pod sends is not believed: here a name leads nowhere but below the
//! place that was named, and nothing is written through a link that came with it.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use berth_engine::plan::names::{ContainerId, NodeName, Tenant};
use berth_engine::run::host::{HostError, Refusal};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufReader, BufWriter,
};

use super::channel::start;
use super::inspect::task_pid;
use crate::fault::words;
use crate::host::SshHost;

const SCRIPT: &str = include_str!("../node/copy.pl");
/// The most entries that one copy may have.
const ENTRY_LIMIT: u64 = 1_000_000;
/// The longest name or link target, in bytes: the kernel's own limit.
const NAME_LIMIT: u64 = 4096;
/// How much is carried at once, in bytes.
const PART: usize = 256 * 1024;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Names of what is none of these, and was left out.
    pub left_out: Vec<String>,
}

/// Why a copy did not finish.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The node or the pod.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file of this machine.
    #[error("{path}: {error}", path = .path.display())]
    Local {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The pod's system said no.
    #[error("{pod}: {why}")]
    There {
        /// Which pod.
        pod: ContainerId,
        /// Its words.
        why: String,
    },
    /// What the pod sent is not taken.
    #[error("{pod} sent {what}; nothing more of it is taken")]
    Hostile {
        /// Which pod.
        pod: ContainerId,
        /// What, and why not.
        what: String,
    },
    /// The stream ended early.
    #[error(
        "the copy was cut off; if this happens at once, see that {node} has perl: `apt-get install perl-base`"
    )]
    Cut {
        /// The node.
        node: NodeName,
    },
}

/// A record's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    mode: u32,
    time: u64,
    size: u64,
    name: String,
}

/// Whom it is about, for errors.
struct Peer<'a> {
    node: &'a NodeName,
    pod: &'a ContainerId,
}

impl Peer<'_> {
    fn cut(&self) -> CopyError {
        CopyError::Cut { node: self.node.clone() }
    }

    fn hostile(&self, what: impl Into<String>) -> CopyError {
        CopyError::Hostile { pod: self.pod.clone(), what: what.into() }
    }

    fn there(&self, why: &[u8]) -> CopyError {
        CopyError::There { pod: self.pod.clone(), why: words(&String::from_utf8_lossy(why)) }
    }
}

fn local(path: &Path) -> impl FnOnce(std::io::Error) -> CopyError {
    let path = path.to_owned();
    move |error| CopyError::Local { path, error }
}

impl SshHost {
    /// Copies a file or a folder of a pod that runs to a path of this machine: into it if it is a
    /// folder, else under that name.
    ///
    /// # Errors
    /// See [`CopyError`]. What was copied before stays.
    pub async fn copy_from(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &ContainerId,
        path: &str,
        to: &Path,
    ) -> Result<Copied, CopyError> {
        let stream = self.copying(node, tenant, pod, "get", path).await?;
        receive(&Peer { node, pod }, &mut BufReader::with_capacity(PART, stream), to).await
    }

    /// Copies a file or a folder of this machine to a path of a pod that runs, in the same way.
    ///
    /// # Errors
    /// See [`CopyError`]. What was copied before stays.
    pub async fn copy_to(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &ContainerId,
        from: &Path,
        path: &str,
    ) -> Result<Copied, CopyError> {
        let peer = Peer { node, pod };
        // What can't be read is noticed before anything is asked of the node.
        std::fs::metadata(from).map_err(local(from))?;
        let stream = self.copying(node, tenant, pod, "put", path).await?;
        let (reader, writer) = tokio::io::split(stream);
        let mut writer = BufWriter::with_capacity(PART, writer);
        let sending = send(&mut writer, from);
        let answer = async {
            let mut reader = BufReader::new(reader);
            let head = head(&peer, &mut reader).await?;
            match head.kind {
                b'E' => Ok(()),
                _ => Err(peer.there(&take(&peer, &mut reader, head.size.min(NAME_LIMIT)).await?)),
            }
        };
        tokio::pin!(sending, answer);
        // A failure there comes while we may still wait for it to take more.
        let sent = tokio::select! {
            early = &mut answer => return Err(early.err().unwrap_or_else(|| peer.cut())),
            sent = &mut sending => sent,
        };
        match sent {
            Ok(copied) => answer.await.map(|()| copied),
            // It took no more: it may have said why.
            Err(SendError::Gone) => Err(answer.await.err().unwrap_or_else(|| peer.cut())),
            Err(SendError::Local { path, error }) => Err(CopyError::Local { path, error }),
        }
    }

    async fn copying(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &ContainerId,
        verb: &str,
        path: &str,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, CopyError> {
        let link = self.link(node)?;
        let started = self.reading(link, async {
            if path.contains('\0') {
                return Err(Refusal::InUse("a path holds no NUL".to_owned()).into());
            }
            let live = link.live().await?;
            let pid = task_pid(&live, &tenant.namespace(), pod).await?;
            let line = ["perl", "-e", SCRIPT, &pid.to_string(), verb, path].map(str::to_owned);
            Ok(start(&live, &line).await?.into_stream())
        });
        Ok(started.await?)
    }
}

/// Reads a record's head and name.
async fn head<R: AsyncBufRead + Unpin>(peer: &Peer<'_>, from: &mut R) -> Result<Head, CopyError> {
    let mut line = Vec::new();
    let read = (&mut *from).take(128).read_until(b'\n', &mut line).await;
    if !read.is_ok_and(|count| count > 0) {
        return Err(peer.cut());
    }
    let text = String::from_utf8_lossy(&line).into_owned();
    let mut fields = text.split_whitespace();
    let mut next = || fields.next();
    let parsed = (|| {
        let kind = next()?;
        let mode = u32::from_str_radix(next()?, 8).ok()?;
        let time = next()?.parse::<i64>().ok()?;
        let (size, length) = (next()?.parse().ok()?, next()?.parse::<u64>().ok()?);
        Some((*kind.as_bytes().first()?, mode, u64::try_from(time).unwrap_or(0), size, length))
    })();
    let Some((kind, mode, time, size, length)) = parsed.filter(|parsed| parsed.4 <= NAME_LIMIT)
    else {
        return Err(peer.hostile(format!("`{}`, which is no record", words(&text))));
    };
    let name = take(peer, from, length).await?;
    let name = String::from_utf8(name)
        .map_err(|error| peer.hostile(format!("a name that is not UTF-8: {error}")))?;
    Ok(Head { kind, mode, time, size, name })
}

async fn take<R: AsyncRead + Unpin>(
    peer: &Peer<'_>,
    from: &mut R,
    size: u64,
) -> Result<Vec<u8>, CopyError> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    from.read_exact(&mut bytes).await.map_err(|_| peer.cut())?;
    Ok(bytes)
}

/// Writes what comes below a place of this machine.
async fn receive<R: AsyncBufRead + Unpin>(
    peer: &Peer<'_>,
    from: &mut R,
    to: &Path,
) -> Result<Copied, CopyError> {
    let into = to.is_dir();
    let mut copied = Copied::default();
    // Folders that this copy has made or found to be real ones: only in those anything is made.
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    // Folders take their modes last, or a read-only one could take nothing.
    let mut modes: Vec<(PathBuf, u32)> = Vec::new();
    loop {
        let Head { kind, mode, time, size, name } = head(peer, from).await?;
        match kind {
            b'E' => break,
            b'X' => return Err(peer.there(&take(peer, from, size.min(NAME_LIMIT)).await?)),
            b'S' => {
                if copied.left_out.len() < 100 {
                    copied.left_out.push(words(&name));
                }
                continue;
            }
            _ => {}
        }
        copied.entries += 1;
        if copied.entries > ENTRY_LIMIT {
            return Err(peer.hostile(format!("more than {ENTRY_LIMIT} entries")));
        }
        let path = place(&name, to, into)
            .ok_or_else(|| peer.hostile(format!("the name `{}`", words(&name))))?;
        let within = path.parent().is_some_and(|parent| folders.contains(parent));
        if name.contains('/') && !within {
            return Err(peer.hostile(format!("`{}` before its folder", words(&name))));
        }
        match kind {
            b'D' => {
                match std::fs::symlink_metadata(&path) {
                    Ok(found) if found.is_dir() => {}
                    Ok(found) if found.is_symlink() && path.is_dir() && !name.contains('/') => {}
                    Ok(_) | Err(_) => std::fs::create_dir(&path).map_err(local(&path))?,
                }
                modes.push((path.clone(), mode & 0o777));
                folders.insert(path);
            }
            b'L' if size <= NAME_LIMIT => {
                let target = take(peer, from, size).await?;
                let target = String::from_utf8_lossy(&target).into_owned();
                clear(&path)?;
                std::os::unix::fs::symlink(target, &path).map_err(local(&path))?;
            }
            b'F' => {
                clear(&path)?;
                file(peer, from, &path, size).await?;
                let mode = std::fs::Permissions::from_mode(mode & 0o777);
                std::fs::set_permissions(&path, mode).map_err(local(&path))?;
                if let Ok(file) = std::fs::File::options().append(true).open(&path) {
                    // A time that this file system can't hold is no reason to fail.
                    let _ = file.set_modified(UNIX_EPOCH + Duration::from_secs(time.min(1 << 40)));
                }
                copied.bytes = copied.bytes.saturating_add(size);
            }
            _ => return Err(peer.hostile("a record of no known kind")),
        }
    }
    for (path, mode) in modes.into_iter().rev() {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).map_err(local(&path))?;
    }
    Ok(copied)
}

/// Where an entry belongs: its first part is the place itself, or lies in it; nothing leads out.
fn place(name: &str, to: &Path, into: bool) -> Option<PathBuf> {
    let mut parts = Path::new(name).components();
    let Some(Component::Normal(top)) = parts.next() else { return None };
    let mut path = if into { to.join(top) } else { to.to_owned() };
    for part in parts {
        let Component::Normal(part) = part else { return None };
        path.push(part);
    }
    // `a//b` and `a/./b` are other spellings of what was checked under one.
    let plain = !name.contains('\0') && !name.split('/').any(|part| part.is_empty() || part == ".");
    plain.then_some(path)
}

/// Takes away what is in the way of a file or a link; a folder is not.
fn clear(path: &Path) -> Result<(), CopyError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(local(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn file<R: AsyncBufRead + Unpin>(
    peer: &Peer<'_>,
    from: &mut R,
    path: &Path,
    size: u64,
) -> Result<(), CopyError> {
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(path).await.map_err(local(path))?;
    let written = tokio::io::copy_buf(&mut from.take(size), &mut file).await;
    let written = match written {
        Ok(written) => written,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
        Err(error) => return Err(local(path)(error)),
    };
    file.flush().await.map_err(local(path))?;
    if written != size {
        drop(file);
        // Half of a file is worse than none.
        let _ = std::fs::remove_file(path);
        return Err(peer.cut());
    }
    Ok(())
}

/// Why nothing more is sent.
enum SendError {
    Gone,
    Local { path: PathBuf, error: std::io::Error },
}

fn unread(path: &Path) -> impl FnOnce(std::io::Error) -> SendError {
    let path = path.to_owned();
    move |error| SendError::Local { path, error }
}

/// Sends a file or a folder, and all below it in the order of its names.
async fn send<W: AsyncWrite + Unpin>(to: &mut W, from: &Path) -> Result<Copied, SendError> {
    let absolute = from.canonicalize().map_err(unread(from))?;
    let top = absolute.file_name().map_or("root".to_owned(), |n| n.to_string_lossy().into_owned());
    let mut copied = Copied::default();
    let mut left = vec![(absolute, top)];
    while let Some((path, name)) = left.pop() {
        let found = std::fs::symlink_metadata(&path).map_err(unread(&path))?;
        let (mode, time) = (found.mode() & 0o7777, found.mtime());
        let mut record = |kind: char, size: u64| {
            copied.entries += 1;
            format!("{kind} {mode:o} {time} {size} {}\n{name}", name.len()).into_bytes()
        };
        if found.is_dir() {
            put(to, &record('D', 0)).await?;
            let mut below = Vec::new();
            for entry in std::fs::read_dir(&path).map_err(unread(&path))? {
                let entry = entry.map_err(unread(&path))?;
                let below_name = format!("{name}/{}", entry.file_name().to_string_lossy());
                below.push((entry.path(), below_name));
            }
            below.sort();
            left.extend(below.into_iter().rev());
        } else if found.is_symlink() {
            let target = std::fs::read_link(&path).map_err(unread(&path))?;
            let target = target.to_string_lossy().into_owned();
            put(to, &record('L', target.len() as u64)).await?;
            put(to, target.as_bytes()).await?;
        } else if found.is_file() {
            let mut file = tokio::fs::File::open(&path).await.map_err(unread(&path))?;
            let size = found.len();
            put(to, &record('F', size)).await?;
            copied.bytes += size;
            let mut left = size;
            let mut part = vec![0; PART];
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(PART).min(PART);
                let part = part.get_mut(..most).unwrap_or_default();
                let count = file.read(part).await.map_err(unread(&path))?;
                if count == 0 {
                    let error = std::io::Error::other("it became shorter while it was read");
                    return Err(SendError::Local { path, error });
                }
                put(to, part.get(..count).unwrap_or_default()).await?;
                left -= count as u64;
            }
        } else {
            copied.left_out.push(name);
        }
    }
    put(to, b"E 0 0 0 0\n").await?;
    to.flush().await.map_err(|_| SendError::Gone)?;
    Ok(copied)
}

async fn put<W: AsyncWrite + Unpin>(to: &mut W, bytes: &[u8]) -> Result<(), SendError> {
    to.write_all(bytes).await.map_err(|_| SendError::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> (NodeName, ContainerId) {
        (NodeName::new("n1"), "a-0.g1".parse().expect("id"))
    }

    async fn received(records: &str, to: &Path) -> Result<Copied, CopyError> {
        let (node, pod) = peer();
        receive(&Peer { node: &node, pod: &pod }, &mut records.as_bytes(), to).await
    }

    #[tokio::test]
    async fn a_folder_goes_there_and_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("from/below")).expect("folders");
        std::fs::write(at("from/a"), "one").expect("a file");
        std::fs::write(at("from/below/b"), vec![7; 700_000]).expect("a file");
        std::os::unix::fs::symlink("a", at("from/link")).expect("a link");
        let mut sent = Vec::new();
        let copied = send(&mut sent, &at("from")).await;
        assert_eq!(copied.ok().map(|c| (c.entries, c.bytes)), Some((5, 700_003)));
        let (node, pod) = peer();
        let peer = Peer { node: &node, pod: &pod };
        let copied = receive(&peer, &mut &sent[..], &at("to")).await.expect("copied");
        assert_eq!((copied.entries, copied.bytes), (5, 700_003));
        assert_eq!(std::fs::read(at("to/below/b")).expect("it").len(), 700_000);
        assert_eq!(std::fs::read_link(at("to/link")).expect("it"), Path::new("a"));
        // Once more, over what is there, and into it.
        receive(&peer, &mut &sent[..], &at("to")).await.expect("copied");
        assert!(at("to/from/below/b").exists());
    }

    #[tokio::test]
    async fn nothing_is_written_outside() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("to")).expect("a folder");
        std::fs::write(at("kept"), "kept").expect("a file");
        let kept = at("kept").display().to_string();
        let link = format!("L 777 0 {} 1\nl{kept}", kept.len());
        let up = folder.path().display().to_string();
        let folder_link = format!("D 755 0 0 1\ndL 777 0 {} 3\nd/l{up}", up.len());
        let cases = [
            "F 644 0 1 7\n../keptx".to_owned(),
            format!("F 644 0 1 {}\n{kept}x", kept.len()),
            "F 644 0 1 3\na/bx".to_owned(),
            "D 755 0 0 1\ndF 644 0 1 9\nd/../../ax".to_owned(),
            "D 755 0 0 1\ndF 644 0 1 5\nd/./ax".to_owned(),
            "D 755 0 0 1\ndF 644 0 1 4\nd//ax".to_owned(),
            "F 644 0 1 2\n..x".to_owned(),
            "F 644 0 1 0\nx".to_owned(),
            format!("{folder_link}F 644 0 1 8\nd/l/keptx"),
            "F 644 0 9 1\nax".to_owned(),
            "F 644 0 1 99999\na".to_owned(),
            "Q 0 0 0 1\na".to_owned(),
            "nonsense\n".to_owned(),
        ];
        for case in cases {
            assert!(received(&format!("{case}E 0 0 0 0\n"), &at("to")).await.is_err(), "{case}");
        }
        assert!(received("", &at("to")).await.is_err(), "what is cut off is no whole copy");
        // A file replaces a link instead of writing through it.
        let over = format!("{link}F 644 0 1 1\nlxE 0 0 0 0\n");
        received(&over, &at("to")).await.expect("copied");
        assert_eq!(std::fs::read_to_string(at("kept")).expect("it"), "kept");
        assert_eq!(std::fs::read_to_string(at("to/l")).expect("it"), "x");
        let there: Vec<_> = std::fs::read_dir(folder.path()).expect("it").flatten().collect();
        assert_eq!(there.len(), 2, "{there:?}");
    }

    #[tokio::test]
    async fn a_failure_there_is_told_in_its_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = received("X 0 0 9 0\nno \u{1b}[2J!!", folder.path()).await;
        assert_eq!(said.expect_err("a failure").to_string(), "a-0.g1: no \\u{1b}[2J!!");
    }
}
