//! Noticing when a file changes that a project is made of: its texts, the data that they import, its
//! packages wherever they lie, and its lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::project::{Read, read};

/// Editors write in several strokes: what comes within such a moment is one change.
const MOMENT: Duration = Duration::from_millis(50);

/// What a project is made of besides its `.berth` files.
#[derive(Default)]
struct Followed {
    data: BTreeSet<PathBuf>,
    packages: BTreeSet<PathBuf>,
}

impl Followed {
    fn touches(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "berth")
            || path.ends_with("berth.lock")
            || self.data.contains(path)
            || self.packages.iter().any(|folder| path.starts_with(folder))
    }
}

/// Follows a project's files.
pub(crate) struct Follower {
    root: PathBuf,
    followed: Arc<Mutex<Followed>>,
    watcher: RecommendedWatcher,
    /// Packages that lie outside the project's folder.
    outside: BTreeSet<PathBuf>,
}

impl Follower {
    /// Follows what lies in a folder, and calls at every change.
    pub(crate) fn new(root: &Path, changed: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let followed = Arc::new(Mutex::new(Followed::default()));
        let seen = followed.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                // Reading is no change, though some systems tell of it.
                let followed = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let is_ours = event.paths.iter().any(|path| followed.touches(path));
                if !event.kind.is_access() && is_ours {
                    changed();
                }
            })?;
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(Self { root: root.to_owned(), followed, watcher, outside: BTreeSet::new() })
    }

    /// Follows what the texts name now. If they cannot be read, what was followed stays.
    pub(crate) fn refresh(&mut self) -> notify::Result<()> {
        let root = &self.root;
        let Ok(Read { workspace, packages }) = read(root) else { return Ok(()) };
        let data = workspace.data_files();
        let folders = packages.keys().filter_map(|folder| root.join(folder).canonicalize().ok());
        let packages: BTreeSet<PathBuf> = folders.collect();
        for folder in packages.iter().filter(|folder| !folder.starts_with(root)) {
            if self.outside.insert(folder.clone()) {
                self.watcher.watch(folder, RecursiveMode::Recursive)?;
            }
        }
        let data = data.into_iter().map(|path| root.join(path)).collect();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        *followed = Followed { data, packages };
        Ok(())
    }
}

/// Takes what belongs to the change that came last; the last thing that came instead, if one did.
pub(crate) fn settle<T: PartialEq>(changes: &mpsc::Receiver<T>, change: &T) -> Option<T> {
    let mut other = None;
    while let Ok(came) = changes.recv_timeout(MOMENT) {
        if came != *change {
            other = Some(came);
        }
    }
    other
}

/// Does something now, and again after every change; returns only if watching fails.
pub(crate) fn watch(root: &Path, mut act: impl FnMut()) -> super::commands::Ended {
    let (sender, changes) = mpsc::channel();
    let mut follower = Follower::new(root, move || {
        // Whoever listened is gone only when the program ends.
        let _ = sender.send(());
    })?;
    loop {
        follower.refresh()?;
        act();
        changes.recv()?;
        settle(&changes, &());
    }
}
