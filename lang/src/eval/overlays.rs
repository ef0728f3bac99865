//! Which instances an overlay is for, and overlays for instances that there are not.

use super::machine::Machine;
use super::traced::{self, Reference};
use crate::check::typed::{Key, Laid};

impl Laid {
    /// Whether it sets a field of this instance.
    pub(super) fn is_for(&self, reference: &Reference) -> bool {
        let key = self.key.as_ref().map(|(key, _)| key);
        self.resource == reference.id
            && match (key, &reference.key) {
                (None, _) => true,
                (Some(Key::Int(key)), Some(traced::Key::Int(other))) => key == other,
                (Some(Key::Str(key)), Some(traced::Key::Str(other))) => key == other,
                (Some(_), _) => false,
            }
    }
}

impl Machine<'_, '_> {
    /// Reports what the environment's overlays set of instances that are not there.
    pub(super) fn overlays_without_instance(&mut self) {
        let (decls, checked) = (self.decls, self.checked);
        for id in self.selected.overlays.clone() {
            for laid in checked.overlays.get(id.index()).into_iter().flatten() {
                let Some((key, at)) = &laid.key else { continue };
                // Instances that could not be made have been reported.
                let Ok(instances) = self.instances(laid.resource) else { continue };
                if instances.iter().any(|reference| laid.is_for(reference)) {
                    continue;
                }
                let key = match key {
                    Key::Int(key) => traced::Key::Int(*key),
                    Key::Str(key) => traced::Key::Str(key.clone()),
                };
                let decl = decls.resource(laid.resource);
                let known = known_keys(&instances);
                let diagnostic = decls.no_instance(*at, &decl.name, &key, &known, decl.at);
                self.diagnostics.push(diagnostic);
            }
        }
    }
}

/// `keys 1 to 3`.
pub(super) fn known_keys(instances: &[std::sync::Arc<Reference>]) -> String {
    let key = |each: &std::sync::Arc<Reference>| {
        each.key.as_ref().map_or_else(String::new, ToString::to_string)
    };
    match (instances.first(), instances.last()) {
        (Some(first), Some(last)) => format!("keys {} to {}", key(first), key(last)),
        _ => "no instances".to_owned(),
    }
}
