//! Two snapshots into what the edit between them reaches.
//!
//! An item reaches whatever mentions its name, and so on. Names are compared without regard to scopes,
//! and outside resources a word in a string or a comment counts as a mention: that may reach too much,
//! never too little.

use crate::ids::{ItemId, ResourceId};
use crate::resolve::{mentions, resource_mentions};
use crate::syntax::Keyword;
use crate::syntax::ast::{Field, Item, ItemKind};
use crate::workspace::{ItemText, ParsedFile, ParsedItem, Snapshot};
use memchr::memmem;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an edit reaches.
pub(super) enum Reached {
    Everything,
    Some { resources: BTreeSet<ResourceId>, policies: BTreeSet<ItemId> },
}

/// Finds what has to be made again in `new` where `old` is known.
pub(super) fn changes(old: &Snapshot, new: &Snapshot) -> Reached {
    let mut search = Search {
        new,
        resources: BTreeSet::new(),
        policies: BTreeSet::new(),
        names: Vec::new(),
        seen: BTreeSet::new(),
    };
    if search.run(old).is_none() {
        return Reached::Everything;
    }
    Reached::Some { resources: search.resources, policies: search.policies }
}

struct Search<'s> {
    new: &'s Snapshot,
    resources: BTreeSet<ResourceId>,
    policies: BTreeSet<ItemId>,
    /// Names that mean something else now, still to be looked for.
    names: Vec<Arc<str>>,
    seen: BTreeSet<Arc<str>>,
}

impl<'s> Search<'s> {
    /// Nothing where anything may have changed.
    fn run(&mut self, old: &'s Snapshot) -> Option<()> {
        let (before, after) = (&old.files, &self.new.files);
        if !before.keys().eq(after.keys()) {
            return None;
        }
        for (a, b) in before.values().zip(after.values()).filter(|(a, b)| !Arc::ptr_eq(a, b)) {
            if a.data.is_some() || b.data.is_some() {
                return None;
            }
            self.items(a, b)?;
        }
        while let Some(name) = self.names.pop() {
            for file in after.values() {
                self.mentions(file, &name)?;
            }
        }
        Some(())
    }

    /// Takes in what differs between two texts of a file.
    fn items(&mut self, before: &ParsedFile, after: &ParsedFile) -> Option<()> {
        let (a, b) = (&before.items, &after.items);
        let same = |(a, b): &(&ParsedItem, &ParsedItem)| Arc::ptr_eq(&a.text, &b.text);
        let head = a.iter().zip(b).take_while(same).count();
        let most = a.len().min(b.len()) - head;
        let tail = a.iter().rev().zip(b.iter().rev()).take(most).take_while(same).count();
        let gone = &a[head..a.len() - tail];
        let come = &b[head..b.len() - tail];
        let mut overlays: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::new();
        for text in gone.iter().chain(come).map(|item| &item.text) {
            if let Some(ItemKind::Overlay { on, .. }) = kind(text) {
                let on = on.as_ref().map(|on| &*on.text);
                overlays.entry(name(text)).or_default().push(on);
            }
            self.item(text)?;
        }
        // What an overlay stands on decides what others lay over.
        let steady = |on: &Vec<Option<&str>>| matches!(on.as_slice(), [a, b] if a == b);
        overlays.values().all(steady).then_some(())
    }

    /// Takes in an item that came, went or changed.
    fn item(&mut self, text: &ItemText) -> Option<()> {
        let Some(item) = text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
            // What cannot be read declares its name, and may have been anything.
            return match text.keyword {
                Some(Keyword::Use | Keyword::Overlay | Keyword::Environment | Keyword::Package) => {
                    None
                }
                Some(_) | None => {
                    self.resources.insert(ResourceId(text.id.0));
                    text.name.iter().for_each(|(name, _)| self.changed(name));
                    Some(())
                }
            };
        };
        self.reach(text.id, item)
    }

    /// Takes in an item that has to be made again.
    fn reach(&mut self, id: ItemId, item: &Item) -> Option<()> {
        match &item.kind {
            ItemKind::Use { .. }
            | ItemKind::Data { .. }
            | ItemKind::Package { .. }
            | ItemKind::Environment { .. } => {
                return None;
            }
            ItemKind::Resource { .. } => {
                if self.resources.insert(ResourceId(id.0)) {
                    self.changed(&item.name.text);
                }
            }
            ItemKind::Let { .. }
            | ItemKind::Input { .. }
            | ItemKind::Secret { .. }
            | ItemKind::Type { .. }
            | ItemKind::Enum { .. }
            | ItemKind::Fn { .. } => self.changed(&item.name.text),
            ItemKind::Overlay { fields, .. } => {
                for head in fields.iter().filter_map(|field| field.path.first()) {
                    self.called(&head.text);
                }
            }
            ItemKind::Policy(_) => {
                self.policies.insert(id);
            }
            ItemKind::Test(_) => {}
        }
        Some(())
    }

    /// Reaches what an overlay sets on something of a name, or to something that looks at it.
    fn overlay(&mut self, fields: &[Field], name: &str) {
        for field in fields {
            let Some(head) = field.path.first() else { continue };
            let looks = mentions(&field.value, name)
                || field.key.as_ref().is_some_and(|key| mentions(key, name));
            if looks || *head.text == *name {
                self.called(&head.text);
            }
        }
    }

    fn changed(&mut self, name: &Arc<str>) {
        if self.seen.insert(name.clone()) {
            self.names.push(name.clone());
        }
    }

    /// Reaches every resource of a name.
    fn called(&mut self, name: &Arc<str>) {
        let items = self.new.files.values().flat_map(|file| &file.items);
        let called = items.filter(|item| {
            let own = item.text.name.as_ref().is_some_and(|(other, _)| other == name);
            own && matches!(kind(&item.text), Some(ItemKind::Resource { .. }))
        });
        let ids: Vec<ResourceId> = called.map(|item| ResourceId(item.text.id.0)).collect();
        self.resources.extend(ids);
        self.changed(name);
    }

    /// Reaches every item of a file that mentions a name.
    fn mentions(&mut self, file: &'s ParsedFile, name: &str) -> Option<()> {
        let text = file.source.text().as_bytes();
        let word =
            |at: Option<&u8>| at.is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut last = None;
        for at in memmem::find_iter(text, name.as_bytes()) {
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            if word(before) || word(text.get(at + name.len())) {
                continue;
            }
            let after = file.items.partition_point(|item| item.start as usize <= at);
            let Some(index) = after.checked_sub(1).filter(|&index| last != Some(index)) else {
                continue;
            };
            last = Some(index);
            let text = &file.items[index].text;
            let Some(item) = text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
                continue;
            };
            match &item.kind {
                ItemKind::Resource { .. } if !resource_mentions(item, name) => {}
                // What is imported keeps its name, so that whoever mentions that is found anyway.
                ItemKind::Use { .. } | ItemKind::Package { .. } => {}
                ItemKind::Overlay { fields, .. } => self.overlay(fields, name),
                ItemKind::Resource { .. }
                | ItemKind::Data { .. }
                | ItemKind::Environment { .. }
                | ItemKind::Let { .. }
                | ItemKind::Input { .. }
                | ItemKind::Secret { .. }
                | ItemKind::Type { .. }
                | ItemKind::Enum { .. }
                | ItemKind::Fn { .. }
                | ItemKind::Policy(_)
                | ItemKind::Test(_) => self.reach(text.id, item)?,
            }
        }
        Some(())
    }
}

fn kind(text: &ItemText) -> Option<&ItemKind> {
    Some(&text.tree.as_ref()?.item.as_ref()?.kind)
}

fn name(text: &ItemText) -> &str {
    text.name.as_ref().map_or("", |(name, _)| name)
}
