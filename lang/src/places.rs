//! Where the items of a compilation stand, so that a place relative to one becomes a place in a file.

use crate::ids::{FileId, ItemId, Loc};
use crate::span::Span;
use crate::workspace::ParsedFile;
use std::sync::Arc;

/// The files and the items of one compilation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    files: Vec<Arc<str>>,
    /// By [`ItemId`]: its file, and its first byte there.
    items: Vec<(FileId, u32)>,
}

impl Places {
    /// Looks at every item of the files, of which there are `ids` or fewer.
    pub(crate) fn of(files: &[&ParsedFile], ids: usize) -> Self {
        let mut places = Self { files: Vec::new(), items: vec![(FileId(u32::MAX), 0); ids] };
        for (index, file) in files.iter().enumerate() {
            let id = FileId(index as u32);
            places.files.push(file.source.path().clone());
            places.put(file.id, id, 0);
            file.items.iter().for_each(|item| places.put(item.text.id, id, item.start));
        }
        places
    }

    fn put(&mut self, item: ItemId, file: FileId, base: u32) {
        if let Some(place) = self.items.get_mut(item.index()) {
            *place = (file, base);
        }
    }

    /// A place in its file.
    pub(crate) fn span(&self, loc: Loc) -> Span {
        let (file, base) = self.base(loc.item);
        let path = self.files.get(file.0 as usize).cloned();
        Span {
            file: path.unwrap_or_else(|| "?".into()),
            start: base.saturating_add(loc.start),
            end: base.saturating_add(loc.end),
        }
    }

    /// The file of an item, and its first byte there.
    pub(crate) fn base(&self, item: ItemId) -> (FileId, u32) {
        self.items.get(item.index()).copied().unwrap_or((FileId(u32::MAX), 0))
    }
}
