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
        while !self.names.is_empty() {
            let names = std::mem::take(&mut self.names);
            for file in after.values() {
                if names.len() > FEW {
                    self.words(file, &names)?;
                } else {
                    names.iter().try_for_each(|name| self.mentions(file, name))?;
                }
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
        let mut last = None;
        for at in memmem::find_iter(text, name.as_bytes()) {
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            let inside = |byte: Option<&u8>| byte.is_some_and(|&byte| in_word(byte));
            if !inside(before) && !inside(text.get(at + name.len())) {
                self.mention(file, at, name, &mut last)?;
            }
        }
        Some(())
    }

    /// Reaches every item of a file that mentions one of many names, in one walk over its words.
    fn words(&mut self, file: &'s ParsedFile, names: &[Arc<str>]) -> Option<()> {
        let mut sorted: Vec<&str> = names.iter().map(|name| &**name).collect();
        sorted.sort_unstable();
        // Most words are none of them: a bit says so.
        let mut seen = vec![false; 1 << 16];
        sorted.iter().for_each(|name| seen[sketch(name.as_bytes())] = true);
        let mut last = BTreeMap::new();
        let mut start = 0;
        for word in file.source.text().split(|c: char| !(c.is_ascii() && in_word(c as u8))) {
            let at = start;
            start += word.len();
            // What ended it may be longer than a byte.
            start += file.source.text()[start..].chars().next().map_or(0, char::len_utf8);
            if seen[sketch(word.as_bytes())]
                && let Ok(found) = sorted.binary_search(&word)
            {
                self.mention(file, at, word, last.entry(found).or_default())?;
            }
        }
        Some(())
    }

    /// Reaches the item that mentions a name at a byte, unless it was the last to do so.
    fn mention(
        &mut self,
        file: &'s ParsedFile,
        at: usize,
        name: &str,
        last: &mut Option<usize>,
    ) -> Option<()> {
        let after = file.items.partition_point(|item| item.start as usize <= at);
        let Some(index) = after.checked_sub(1).filter(|&index| *last != Some(index)) else {
            return Some(());
        };
        *last = Some(index);
        let text = &file.items[index].text;
        let Some(item) = text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
            return Some(());
        };
        match &item.kind {
            ItemKind::Resource { .. } if !resource_mentions(item, name) => Some(()),
            // What is imported keeps its name, so that whoever mentions that is found anyway.
            ItemKind::Use { .. } | ItemKind::Package { .. } => Some(()),
            ItemKind::Overlay { fields, .. } => {
                self.overlay(fields, name);
                Some(())
            }
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
            | ItemKind::Test(_) => self.reach(text.id, item),
        }
    }
}

/// Names that are looked for one by one.
const FEW: usize = 4;

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// 16 bits of a word (FNV-1a, folded).
fn sketch(word: &[u8]) -> usize {
    let step = |hash: u32, &byte: &u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let hash = word.iter().fold(2_166_136_261, step);
    (hash >> 16 ^ hash & 0xFFFF) as usize
}

fn kind(text: &ItemText) -> Option<&ItemKind> {
    Some(&text.tree.as_ref()?.item.as_ref()?.kind)
}

fn name(text: &ItemText) -> &str {
    text.name.as_ref().map_or("", |(name, _)| name)
}
