//! Which environment a request means: its overlays from the first to the last, and its inputs.

use crate::check::typed::{Checked, Typed};
use crate::diagnostic::Diagnostic;
use crate::ids::{InputId, OverlayId, PRELUDE};
use crate::nearest::nearest;
use crate::program::CompileRequest;
use crate::resolve::Decls;
use std::sync::Arc;

/// What an environment decides.
#[derive(Clone, Default)]
pub(super) struct Selected<'c> {
    /// From the first to the last; the last has the last word.
    pub(super) overlays: Vec<OverlayId>,
    pub(super) inputs: &'c [(InputId, Typed)],
    /// Inputs whose names it misspells.
    pub(super) meant: &'c [InputId],
    /// The input that takes the rest of the environment's name, and that.
    pub(super) key: Option<(InputId, Arc<str>)>,
}

/// Finds the environment of a request. Without one, and for `default` where none is called so, nothing
/// is laid over the text. Names are compared with `-` for `_`.
pub(super) fn select<'c>(
    decls: &Decls<'_>,
    checked: &'c Checked,
    request: &CompileRequest,
    diagnostics: &mut Vec<Diagnostic>,
) -> Selected<'c> {
    let mut selected = Selected::default();
    let Some(wanted) = request.environment.as_deref() else {
        return selected;
    };
    let wanted = wanted.replace('-', "_");
    let whole = decls.environments.iter().position(|e| *e.name == *wanted && e.key.is_none());
    // The longest name counts, so that `preview` and `preview_eu` can both go on.
    let prefixed = decls.environments.iter().enumerate().filter_map(|(index, environment)| {
        environment.key?;
        let rest = wanted.strip_prefix(&*environment.name)?.strip_prefix('_')?;
        (!rest.is_empty()).then_some((environment.name.len(), index, rest))
    });
    if let Some(index) = whole {
        selected.take(decls, checked, index);
        return selected;
    }
    if let Some((_, index, rest)) = prefixed.max() {
        selected.take(decls, checked, index);
        let environment = checked.environments.get(index);
        let rest =
            request.environment.as_deref().and_then(|name| name.get(name.len() - rest.len()..));
        let key = environment.and_then(|environment| environment.key);
        selected.key = key.zip(rest.map(Into::into));
        return selected;
    }
    let overlay = decls.overlays.iter().position(|overlay| *overlay.name == *wanted);
    if let Some(overlay) = overlay {
        selected.chain(decls, OverlayId(overlay as u32));
    } else if wanted != "default" && !(decls.environments.is_empty() && decls.overlays.is_empty()) {
        let environments = decls.environments.iter().map(|environment| &*environment.name);
        let names = environments.chain(decls.overlays.iter().map(|overlay| &*overlay.name));
        let names: Vec<&str> = names.collect();
        let near = nearest(&wanted, names.iter().copied());
        let at = decls.environments.first().map(|environment| environment.at);
        let at = at.or_else(|| decls.overlays.first().map(|overlay| overlay.at));
        let at = at.unwrap_or_else(|| decls.start_of(PRELUDE));
        diagnostics.push(decls.unknown_environment(at, &wanted, &names, near));
    }
    selected
}

impl<'c> Selected<'c> {
    fn take(&mut self, decls: &Decls<'_>, checked: &'c Checked, index: usize) {
        let Some(environment) = checked.environments.get(index) else { return };
        self.inputs = &environment.inputs;
        self.meant = &environment.meant;
        if let Some(overlay) = environment.overlay {
            self.chain(decls, overlay);
        }
    }

    fn chain(&mut self, decls: &Decls<'_>, last: OverlayId) {
        let mut next = Some(last);
        while let Some(id) = next {
            self.overlays.push(id);
            next = decls.overlays.get(id.index()).and_then(|overlay| overlay.base);
        }
        self.overlays.reverse();
    }
}
