//! The folders of packages: their texts into the workspace, all their files into digests.
//!
//! A package is every file below its folder, except what is hidden, `target`, `node_modules`, links,
//! lock files, and folders that are packages themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_engine::plan::lockfile::file_digest;
use berth_lang::Workspace;

use crate::project::{ProjectError, TEXT_LIMIT, utf8};

/// The file that makes a folder a package.
const MANIFEST: &str = "package.berth";
/// How deep folders are looked through.
const DEPTH_LIMIT: usize = 16;
/// The most files of one package.
const FILES_LIMIT: usize = 10_000;

/// The digest of each file of a package, by its path in it.
pub(crate) type Digests = BTreeMap<String, String>;

/// Reads every package that a workspace needs, and what those need; `total` counts bytes. Gives the
/// files of each, by its folder. A package that is not there is the language's to report.
pub(crate) fn load(
    root: &Path,
    workspace: &mut Workspace,
    total: &mut u64,
) -> Result<BTreeMap<String, Digests>, ProjectError> {
    let mut loaded: BTreeMap<String, Digests> = BTreeMap::new();
    loop {
        let needed = workspace.snapshot().packages();
        let mut more = needed.into_iter().filter(|each| !loaded.contains_key(&each.folder));
        let Some(package) = more.next() else { return Ok(loaded) };
        let folder = root.join(&package.folder);
        let mut digests = Digests::new();
        for file in files(&folder)? {
            *total = total.saturating_add(file.length);
            if *total > TEXT_LIMIT || digests.len() == FILES_LIMIT {
                return Err(ProjectError::PackageTooLarge(folder));
            }
            let fail = |error| ProjectError::File { path: file.path.clone(), error };
            let bytes = std::fs::read(&file.path).map_err(fail)?;
            digests.insert(file.name.clone(), file_digest(&bytes));
            if file.name.ends_with(".berth") {
                let name = format!("{}/{}", package.folder, file.name);
                workspace.set_file(&name, utf8(bytes, &file.path)?);
            }
        }
        loaded.insert(package.folder, digests);
    }
}

/// A file below a folder.
struct Found {
    /// Its path from the folder, with `/`.
    name: String,
    path: PathBuf,
    length: u64,
}

/// The files of a package; none where there is no such folder.
fn files(package: &Path) -> Result<Vec<Found>, ProjectError> {
    let mut found = Vec::new();
    if !package.join(MANIFEST).is_file() {
        return Ok(found);
    }
    let mut folders = vec![(package.to_path_buf(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let fail = |error| ProjectError::File { path: folder.clone(), error };
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| ProjectError::Name(path.clone()))?;
            if name.starts_with('.') || matches!(name, "target" | "node_modules" | "berth.lock") {
                continue;
            }
            if kind.is_dir() && depth < DEPTH_LIMIT && !path.join(MANIFEST).is_file() {
                folders.push((path, format!("{prefix}{name}/"), depth + 1));
            } else if kind.is_file() {
                let length = entry.metadata().map_err(fail)?.len();
                found.push(Found { name: format!("{prefix}{name}"), path, length });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
