//! The data files that the text imports, from inside the project and nowhere else.

use std::path::Path;

use berth_lang::Workspace;

use crate::project::{ProjectError, TEXT_LIMIT, utf8};

/// Puts every data file that is imported into a workspace; `total` counts the project's bytes. One that
/// is not there is the language's to report, at the import.
pub(crate) fn load(
    root: &Path,
    workspace: &mut Workspace,
    mut total: u64,
) -> Result<(), ProjectError> {
    let fail = |path: &Path, error| ProjectError::File { path: path.to_path_buf(), error };
    let inside = root.canonicalize().map_err(|error| fail(root, error))?;
    for relative in workspace.data_files() {
        let path = root.join(&relative);
        let Ok(real) = path.canonicalize() else { continue };
        // The path stays inside; a link on it may not.
        if !real.starts_with(&inside) {
            return Err(ProjectError::Outside(path));
        }
        let facts = real.metadata().map_err(|error| fail(&path, error))?;
        if !facts.is_file() {
            continue;
        }
        total = total.saturating_add(facts.len());
        if total > TEXT_LIMIT {
            return Err(ProjectError::TooMuch);
        }
        let bytes = std::fs::read(&real).map_err(|error| fail(&path, error))?;
        let text = utf8(bytes, &path)?;
        workspace.set_file(&relative, text);
    }
    Ok(())
}
