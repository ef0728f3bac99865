//! Identities that the phases after parsing share: files, items, types, and compact places.

/// A file of one compilation; 0 is the prelude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u32);

/// The file that is visible everywhere.
pub(crate) const PRELUDE: FileId = FileId(0);

/// A place relative to an item, so that it stays when the text before the item changes; a
/// [`crate::Span`] once somebody asks where that is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loc {
    /// The item, or the file as a whole.
    pub(crate) item: ItemId,
    /// The first byte, from the item's start.
    pub(crate) start: u32,
    /// The byte after the last one.
    pub(crate) end: u32,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u32);

        impl $name {
            /// The position in the table of its kind.
            pub(crate) fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// An item of a workspace, or a whole file: the same for as long as its text stays, wherever it moves.
    ItemId
);
id!(
    /// A type that was declared, or written in place.
    TypeId
);
id!(
    /// A `let`.
    LetId
);
id!(
    /// A `fn`.
    FnId
);
id!(
    /// An `input`.
    InputId
);
id!(
    /// A `secret`.
    SecretId
);
id!(
    /// An `overlay`.
    OverlayId
);
id!(
    /// A declared resource, by the number of the item that declares it, so that it stays when others come
    /// and go; a keyed one stands for all its instances.
    ResourceId
);
id!(
    /// A default of a field or of a parameter.
    DefaultId
);
id!(
    /// A package that the project needs.
    PackageId
);
