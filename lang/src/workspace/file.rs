//! One file's text into items with their trees, from nothing or from what it was before an edit.
//!
//! ```text
//! old text, new text ─ what both start and end with ─▶ the stretch between ─ split, parse ─▶ new items
//!                                                      items before and after keep tree and identity
//! ```
//!
//! Cutting starts again with every item, so that it can begin at the last item before the change and end
//! at the first item after it that the old text has, too: from there on it would find what it found.

use crate::cores;
use crate::data;
use crate::ids::ItemId;
use crate::span::SourceFile;
use crate::syntax::ast::{Expr, Rel};
use crate::syntax::{
    ItemTree, Keyword, MAX_ERRORS, MAX_ITEMS, Slice, SyntaxError, SyntaxErrorKind, parse_item,
    split, split_between,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A file cut into items, each with its tree.
#[derive(Debug)]
pub(crate) struct ParsedFile {
    /// The file as a whole: places in it count from its first byte.
    pub(crate) id: ItemId,
    pub(crate) source: SourceFile,
    pub(crate) items: Vec<ParsedItem>,
    /// What a data file says; nothing for a file of items.
    pub(crate) data: Option<Expr>,
    /// Mistakes in the cutting, placed from the file's start.
    pub(crate) errors: Vec<SyntaxError>,
    digest: OnceLock<[u8; 32]>,
    whole: OnceLock<Expr>,
}

/// An item and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct ParsedItem {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) text: Arc<ItemText>,
}

/// What an item is, wherever it stands.
#[derive(Debug)]
pub(crate) struct ItemText {
    pub(crate) id: ItemId,
    /// What it declares; nothing for text that no keyword starts.
    pub(crate) keyword: Option<Keyword>,
    /// Its name, so that a broken item still declares it.
    pub(crate) name: Option<(Arc<str>, Rel)>,
    /// Its tree; nothing where its brackets or strings are wrong, or no keyword starts it.
    pub(crate) tree: Option<ItemTree>,
}

/// Hands out identities.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ids(u32);

impl Ids {
    /// One more than the last.
    pub(super) fn next(&mut self) -> ItemId {
        let id = ItemId(self.0);
        self.0 = self.0.saturating_add(1);
        id
    }

    /// How many there have been.
    pub(crate) fn count(self) -> usize {
        self.0 as usize
    }
}

impl ParsedFile {
    /// Reads a file from nothing.
    pub(super) fn new(path: Arc<str>, text: Arc<str>, ids: &mut Ids) -> Self {
        let id = ids.next();
        if data::is_data(&path) {
            let (value, errors) = data::read(&path, &text);
            return Self::of(id, path, text, Vec::new(), Some(value), errors);
        }
        let (slices, errors) = split(&text);
        if let Some(refusal) = too_much(slices.len(), errors.len()) {
            return Self::of(id, path, text, Vec::new(), None, vec![refusal]);
        }
        let items = parse_all(&text, slices, Reused::default(), ids);
        Self::of(id, path, text, items, None, errors)
    }

    /// Reads another text of the file: what did not change is kept.
    pub(super) fn edited(&self, text: Arc<str>, ids: &mut Ids) -> Self {
        let path = self.source.path().clone();
        if self.data.is_some() {
            let (value, errors) = data::read(&path, &text);
            return Self::of(self.id, path, text, Vec::new(), Some(value), errors);
        }
        let refused = |errors: &[SyntaxError]| {
            errors.iter().any(|error| matches!(error.kind, SyntaxErrorKind::Refused { .. }))
        };
        let edit = Edit::between(self.source.text(), &text);
        // Whether an item starts hangs on what follows its keyword, which may be the first character of
        // the next item: an item stands if the next one starts before the change.
        let touched = self.items.partition_point(|item| (item.start as usize) < edit.from);
        let first = (0..touched.saturating_sub(1)).rev().find(|&index| self.at_margin(index));
        let whole = !refused(&self.errors);
        let first = first.filter(|_| whole);
        let from = first.map_or(0, |index| self.items[index].start);
        let resume = |at: u32| -> Option<usize> {
            let old = edit.old(at)?;
            let index = self.items.binary_search_by_key(&old, |item| item.start).ok()?;
            (whole && self.at_margin(index)).then_some(index)
        };
        let (slices, mut errors, resumed) = split_between(&text, from, resume);
        let first = first.unwrap_or(0);
        if refused(&errors) {
            return Self::of(self.id, path, text, Vec::new(), None, errors);
        }
        let last = resumed.unwrap_or(self.items.len());
        let reused = Reused::of(self, first, last);
        let between = parse_all(&text, slices, reused, ids);
        let old_end = self.items.get(last).filter(|_| resumed.is_some()).map(|item| item.start);
        let mut items = Vec::with_capacity(first + between.len() + self.items.len() - last);
        items.extend(self.items.iter().take(first).cloned());
        items.extend(between);
        items.extend(self.items.iter().skip(last).map(|item| edit.moved(item)));
        let (before, after): (Vec<_>, Vec<_>) =
            self.errors.iter().cloned().partition(|error| error.at.start < from);
        let after =
            after.into_iter().filter(|error| old_end.is_some_and(|end| error.at.start >= end));
        let after: Vec<_> = after.map(|error| error.moved(edit.delta)).collect();
        errors = before.into_iter().chain(errors).chain(after).collect();
        if let Some(refusal) = too_much(items.len(), errors.len()) {
            return Self::of(self.id, path, text, Vec::new(), None, vec![refusal]);
        }
        Self::of(self.id, path, text, items, None, errors)
    }

    fn of(
        id: ItemId,
        path: Arc<str>,
        text: Arc<str>,
        items: Vec<ParsedItem>,
        data: Option<Expr>,
        errors: Vec<SyntaxError>,
    ) -> Self {
        let source = SourceFile::new(path, text);
        Self { id, source, items, data, errors, digest: OnceLock::new(), whole: OnceLock::new() }
    }

    /// All of a data file as one text, whatever its name says that it is.
    pub(crate) fn whole(&self) -> &Expr {
        self.whole.get_or_init(|| data::whole(self.source.text()))
    }

    /// SHA-256 of its text.
    pub(crate) fn digest(&self) -> [u8; 32] {
        *self.digest.get_or_init(|| Sha256::digest(self.source.text().as_bytes()).into())
    }

    /// Whether an item starts its line: there it starts whatever is open before it.
    fn at_margin(&self, index: usize) -> bool {
        let Some(item) = self.items.get(index) else { return false };
        let before = self.source.text().as_bytes().get(..item.start as usize);
        before.is_some_and(|before| before.last().is_none_or(|&byte| byte == b'\n'))
    }

    fn body(&self, item: &ParsedItem) -> &str {
        self.source.text().get(item.start as usize..item.end as usize).unwrap_or("")
    }
}

/// Why a file of so many items, with so many mistakes in its cutting, is not read at all.
fn too_much(items: usize, errors: usize) -> Option<SyntaxError> {
    let why = if items > MAX_ITEMS {
        "it has more than 250,000 items; make several files of it"
    } else if errors > MAX_ERRORS {
        "it has more than 10,000 mistakes of syntax; is it a Berth file?"
    } else {
        return None;
    };
    Some(SyntaxError { kind: SyntaxErrorKind::Refused { why }, at: Rel { start: 0, end: 0 } })
}

/// What two texts share at both ends.
struct Edit {
    /// The first byte that differs.
    from: usize,
    /// From here on the new text is the end of the old one.
    new_end: usize,
    /// How much farther the same byte stands in the new text.
    delta: i64,
}

impl Edit {
    fn between(old: &str, new: &str) -> Self {
        let (old, new) = (old.as_bytes(), new.as_bytes());
        let from = alike(old.iter().zip(new), old.chunks(CHUNK).zip(new.chunks(CHUNK)));
        let most = old.len().min(new.len()) - from;
        let (old_tail, new_tail) = (&old[old.len() - most..], &new[new.len() - most..]);
        let behind = alike(
            old_tail.iter().rev().zip(new_tail.iter().rev()),
            old_tail.rchunks(CHUNK).zip(new_tail.rchunks(CHUNK)),
        );
        let delta = new.len() as i64 - old.len() as i64;
        Self { from, new_end: new.len() - behind, delta }
    }

    /// Where a byte of the new text stood, if it is of the end that both share.
    fn old(&self, at: u32) -> Option<u32> {
        if (at as usize) < self.new_end {
            return None;
        }
        u32::try_from(i64::from(at) - self.delta).ok()
    }

    fn moved(&self, item: &ParsedItem) -> ParsedItem {
        let at = |offset: u32| u32::try_from(i64::from(offset) + self.delta).unwrap_or(u32::MAX);
        ParsedItem { start: at(item.start), end: at(item.end), text: item.text.clone() }
    }
}

/// How many bytes are compared at once.
const CHUNK: usize = 256;

/// How many bytes are the same, from the first pair on; whole chunks first.
fn alike<'t>(
    bytes: impl Iterator<Item = (&'t u8, &'t u8)>,
    chunks: impl Iterator<Item = (&'t [u8], &'t [u8])>,
) -> usize {
    let whole = CHUNK * chunks.take_while(|(a, b)| a.len() == CHUNK && a == b).count();
    whole + bytes.skip(whole).take_while(|(a, b)| a == b).count()
}

/// Items of the old text that may come back in the new one, each once.
#[derive(Default)]
struct Reused<'f> {
    by_text: BTreeMap<&'f str, Vec<&'f Arc<ItemText>>>,
}

impl<'f> Reused<'f> {
    fn of(file: &'f ParsedFile, first: usize, last: usize) -> Self {
        let mut by_text: BTreeMap<&str, Vec<&Arc<ItemText>>> = BTreeMap::new();
        for item in file.items.get(first..last).unwrap_or_default() {
            by_text.entry(file.body(item)).or_default().push(&item.text);
        }
        by_text.values_mut().for_each(|same| same.reverse());
        Self { by_text }
    }

    /// An item of this text, and of this sort: a slice that is broken at its end has no tree.
    fn take(&mut self, body: &str, slice: &Slice) -> Option<Arc<ItemText>> {
        let same = self.by_text.get_mut(body)?;
        let sound = slice.keyword.is_some() && !slice.broken;
        let found = same
            .iter()
            .rposition(|text| text.keyword == slice.keyword && text.tree.is_some() == sound)?;
        Some(same.remove(found).clone())
    }
}

/// Items that a thread parses at once; starting one takes as long as some hundred items.
const ITEMS: usize = 128;

/// Parses what was cut out, as far as it is new. An item whose text is new, too, gets a new identity.
fn parse_all(
    text: &str,
    slices: Vec<Slice>,
    mut reused: Reused<'_>,
    ids: &mut Ids,
) -> Vec<ParsedItem> {
    let body = |slice: &Slice| text.get(slice.start as usize..slice.end as usize).unwrap_or("");
    let slices: Vec<(Slice, Result<Arc<ItemText>, ItemId>)> = slices
        .into_iter()
        .map(|slice| {
            let known = reused.take(body(&slice), &slice).ok_or(()).map_err(|()| ids.next());
            (slice, known)
        })
        .collect();
    cores::map(slices, ITEMS, |(slice, known)| {
        let (start, end) = (slice.start, slice.end);
        let text = known.unwrap_or_else(|id| {
            let keyword = slice.keyword.filter(|_| !slice.broken);
            let tree = keyword.map(|keyword| parse_item(keyword, body(&slice)));
            let name = slice
                .name
                .map(|(name, at)| (name, Rel { start: at.start - start, end: at.end - start }));
            Arc::new(ItemText { id, keyword: slice.keyword, name, tree })
        });
        ParsedItem { start, end, text }
    })
}
