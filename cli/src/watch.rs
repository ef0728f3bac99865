//! Doing something again whenever a file changes that a project is made of: its texts, the data that they
//! import, its packages wherever they lie, and its lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};

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

/// Does something now, and again after every change; returns only if watching fails.
pub(crate) fn watch(root: &Path, mut act: impl FnMut()) -> super::commands::Ended {
    let followed = Arc::new(Mutex::new(Followed::default()));
    let (sender, changes) = mpsc::channel();
    let seen = followed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        // Reading is no change, though some systems tell of it.
        let followed = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !event.kind.is_access() && event.paths.iter().any(|path| followed.touches(path)) {
            // Whoever listened is gone only when the program ends.
            let _ = sender.send(());
        }
    })?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    let mut outside: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        // Texts that cannot be read are reported by what is done; what was followed stays.
        if let Ok(Read { workspace, packages }) = read(root) {
            let data = workspace.data_files();
            let folders =
                packages.keys().filter_map(|folder| root.join(folder).canonicalize().ok());
            let packages: BTreeSet<PathBuf> = folders.collect();
            for folder in packages.iter().filter(|folder| !folder.starts_with(root)) {
                if outside.insert(folder.clone()) {
                    watcher.watch(folder, RecursiveMode::Recursive)?;
                }
            }
            let data = data.into_iter().map(|path| root.join(path)).collect();
            *followed.lock().unwrap_or_else(PoisonError::into_inner) = Followed { data, packages };
        }
        act();
        changes.recv()?;
        while changes.recv_timeout(MOMENT).is_ok() {}
    }
}
