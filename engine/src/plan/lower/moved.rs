//! Lowering of renames: what the text says that services and volumes were called before.

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Program, Resource, ResourceKind};

use super::{Lowering, of_kind, origin, text};
use crate::plan::graph::Moved;
use crate::plan::names::{VolumeName, WorkloadName};

impl Lowering<'_> {
    pub(super) fn moved(&mut self, program: &Program) -> Moved {
        let services = self.renamed(program, ResourceKind::Service, "service");
        let volumes = self.renamed(program, ResourceKind::Volume, "volume");
        let workloads =
            services.into_iter().map(|(new, old)| (WorkloadName::new(new), WorkloadName::new(old)));
        let volumes =
            volumes.into_iter().map(|(new, old)| (VolumeName::new(new), VolumeName::new(old)));
        Moved { workloads: workloads.collect(), volumes: volumes.collect() }
    }

    /// By the name now, the name before.
    fn renamed(
        &mut self,
        program: &Program,
        kind: ResourceKind,
        word: &str,
    ) -> BTreeMap<String, String> {
        let there: BTreeSet<&str> = of_kind(program, kind).map(|r| &*r.name).collect();
        let mut first: BTreeMap<String, &Resource> = BTreeMap::new();
        let mut renamed = BTreeMap::new();
        for resource in of_kind(program, kind) {
            let Some(old) = text(resource.value(), "moved_from") else { continue };
            let bare = old.strip_prefix(word).and_then(|rest| rest.strip_prefix('/'));
            let old = bare.unwrap_or(&old).to_owned();
            let span = origin(resource, "moved_from");
            if there.contains(&*old) {
                self.report(
                    "E0559",
                    span,
                    format!("{word} `{}` was not called `{old}`: the text has that", resource.name),
                    "name what it was called before, which is in the text no more; or leave `moved_from` out",
                );
            } else if let Some(other) = first.get(&old) {
                let other = other.name.clone();
                self.report(
                    "E0559",
                    span,
                    format!("`{old}` became `{other}` already, and is not `{}` too", resource.name),
                    "leave `moved_from` out of one of the two",
                );
            } else {
                first.insert(old.clone(), resource);
                renamed.insert(resource.name.to_string(), old);
            }
        }
        renamed
    }
}
