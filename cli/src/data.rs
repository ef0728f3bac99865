//! The data files that the text imports, from inside the project and nowhere else.

use std::collections::BTreeMap;
use std::path::Path;

use berth_lang::Workspace;

use crate::packages::Digests;
use crate::project::{ProjectError, TEXT_LIMIT, utf8};

/// Puts every data file that is imported into a workspace; `total` counts the project's bytes. One that
/// is not there is the language's to report, at the import.
pub(crate) fn load(
    root: &Path,
    workspace: &mut Workspace,
    packages: &BTreeMap<String, Digests>,
    mut total: u64,
) -> Result<(), ProjectError> {
    let fail = |path: &Path, error| ProjectError::File { path: path.to_path_buf(), error };
    let inside = root.canonicalize().map_err(|error| fail(root, error))?;
    for relative in workspace.data_files() {
        // Of a package, only what its digest covers is read; that was looked at and counted then.
        let within = |(folder, files): (&String, &'_ Digests)| {
            let inner = relative.strip_prefix(folder.as_str())?.strip_prefix('/')?;
            Some((folder.len(), files.contains_key(inner)))
        };
        let covered = packages.iter().filter_map(within).max().map(|(_, covered)| covered);
        if covered == Some(false) {
            continue;
        }
        let path = root.join(&relative);
        let Ok(real) = path.canonicalize() else { continue };
        // The path stays inside; a link on it may not.
        if covered.is_none() && !real.starts_with(&inside) {
            return Err(ProjectError::Outside(path));
        }
        let facts = real.metadata().map_err(|error| fail(&path, error))?;
        if !facts.is_file() {
            continue;
        }
        total = total.saturating_add(if covered.is_none() { facts.len() } else { 0 });
        if total > TEXT_LIMIT {
            return Err(ProjectError::TooMuch);
        }
        let bytes = std::fs::read(&real).map_err(|error| fail(&path, error))?;
        let text = utf8(bytes, &path)?;
        workspace.set_file(&relative, text);
    }
    Ok(())
}
