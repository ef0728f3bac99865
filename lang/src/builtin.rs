//! The functions that the evaluator has of its own; the standard library declares their types.

macro_rules! builtins {
    ($($name:literal => $case:ident),* $(,)?) => {
        /// A function without a body in the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Builtin {
            $(#[doc = concat!("`", $name, "`")] $case),*
        }

        impl Builtin {
            /// The one of a name.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$case),)*
                    _ => None,
                }
            }
        }
    };
}

builtins! {
    "length" => Length,
    "upper" => Upper,
    "lower" => Lower,
    "trim" => Trim,
    "starts_with" => StartsWith,
    "ends_with" => EndsWith,
    "contains" => Contains,
    "matches" => Matches,
    "replace" => Replace,
    "split" => Split,
    "join" => Join,
    "lines" => Lines,
    "parse_int" => ParseInt,
    "includes" => Includes,
    "sort" => Sort,
    "unique" => Unique,
    "reverse" => Reverse,
    "flatten" => Flatten,
    "sum" => Sum,
    "keys" => Keys,
    "values" => Values,
    "to_json" => ToJson,
    "is_ipv6" => IsIpv6,
    "holds" => Holds,
    "prefix_length" => PrefixLength,
    "address" => Address,
    "subnet" => Subnet,
    "image_registry" => ImageRegistry,
    "image_path" => ImagePath,
    "image_tag" => ImageTag,
    "image_digest" => ImageDigest,
}
