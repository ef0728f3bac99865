//! One container of a pod: its own, or one beside it.
//!
//! Both are made of the same words; what of the kernel's they have (network, names, settings of the
//! kernel) is the pod's.

use std::collections::BTreeMap;

use berth_engine::plan::action::PodSpec;
use berth_engine::plan::companion::Companion;
use berth_engine::plan::container::Settings;
use berth_engine::plan::content::{File, Files};
use berth_engine::plan::names::{ContainerId, ImageDigest};

/// A container of a pod.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) pod: &'a PodSpec,
    /// One beside the pod's own.
    pub(crate) companion: Option<&'a Companion>,
}

impl<'a> Part<'a> {
    /// The pod's own container.
    pub(crate) fn own(pod: &'a PodSpec) -> Self {
        Self { pod, companion: None }
    }

    /// Those beside it.
    pub(crate) fn beside(pod: &'a PodSpec) -> impl Iterator<Item = Self> {
        pod.companions.iter().map(move |companion| Self { pod, companion: Some(companion) })
    }

    /// Whether it runs with the pod's own.
    pub(crate) fn is_sidecar(&self) -> bool {
        self.companion.is_some_and(Companion::is_sidecar)
    }

    /// Its id in containerd.
    pub(crate) fn id(&self) -> String {
        let beside = self.companion.map(|companion| companion.name.clone());
        ContainerId { pod: self.pod.id.clone(), beside }.to_string()
    }

    pub(crate) fn image(&self) -> &'a ImageDigest {
        self.companion.map_or(&self.pod.image, |companion| &companion.image)
    }

    pub(crate) fn command(&self) -> &'a [String] {
        self.companion.map_or(&self.pod.command, |companion| &companion.command)
    }

    pub(crate) fn args(&self) -> &'a [String] {
        self.companion.map_or(&self.pod.args, |companion| &companion.args)
    }

    pub(crate) fn env(&self) -> &'a BTreeMap<String, String> {
        self.companion.map_or(&self.pod.env, |companion| &companion.env)
    }

    /// Files of the text, by their paths in it.
    pub(crate) fn files(&self) -> &'a Files {
        self.companion.map_or(&self.pod.files, |companion| &companion.files)
    }

    /// The files of the node that it sees as its own: where, what, and by which name among the pod's.
    pub(crate) fn named_files(&self) -> impl Iterator<Item = (&'a str, &'a File, String)> {
        let own =
            |companion: &Companion| self.companion.is_some_and(|it| std::ptr::eq(it, companion));
        let number = self.pod.companions.iter().position(own).map_or(0, |index| index + 1);
        let files = self.files().iter().enumerate();
        files.map(move |(index, (path, file))| (path.as_str(), file, format!("{number}-{index}")))
    }

    /// How it runs, where the text says anything of that.
    pub(crate) fn settings(&self) -> Option<&'a Settings> {
        match self.companion {
            Some(companion) => companion.settings.as_deref(),
            None => self.pod.settings.as_deref(),
        }
    }

    /// The limit of CPU in thousandths of a core; 0 is none.
    pub(crate) fn cpu_millis(&self) -> u64 {
        self.companion.map_or(self.pod.cpu_millis, Companion::cpu_limit)
    }

    /// The limit of memory in bytes; 0 is none.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.companion.map_or(self.pod.memory_bytes, Companion::memory_limit)
    }
}
