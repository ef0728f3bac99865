//! Values as YAML 1.2 blocks, the same tree as their JSON. Numbers are written digit by digit, and
//! whatever a reader of YAML 1.1 could take for something else than a string is quoted.

use std::borrow::Cow;

use berth_lang::{SecretPart, Value};

/// A tree as YAML has it.
pub(crate) enum Yaml<'v> {
    /// A number or a word that is written as it is.
    Plain(String),
    /// A string.
    Text(Cow<'v, str>),
    Fields(Vec<(Cow<'v, str>, Yaml<'v>)>),
    Items(Vec<Yaml<'v>>),
}

impl<'v> Yaml<'v> {
    /// A value's tree: a case is a mapping with its name under `case`, as in JSON.
    pub(crate) fn of(value: &'v Value) -> Self {
        let named = |(name, value): (&'v std::sync::Arc<str>, &'v Value)| {
            ((&**name).into(), Self::of(value))
        };
        match value {
            Value::Str(text) => Self::text(text),
            Value::Bool(_)
            | Value::Int(_)
            | Value::Cpu(_)
            | Value::Bytes(_)
            | Value::Duration(_)
            | Value::Percent(_)
            | Value::Decimal(_) => Self::Plain(value.to_json()),
            Value::Secret(parts) => {
                let part = |part: &'v SecretPart| match part {
                    SecretPart::Text(text) => Self::text(text),
                    SecretPart::Secret(name) => {
                        Self::Fields(vec![("name".into(), Self::text(name))])
                    }
                };
                Self::Fields(vec![("secret".into(), Self::Items(parts.iter().map(part).collect()))])
            }
            Value::List(values) => Self::Items(values.iter().map(Self::of).collect()),
            Value::Map(fields) | Value::Record(fields) => {
                Self::Fields(fields.iter().map(named).collect())
            }
            Value::Case { name, fields } => {
                let case = std::iter::once(("case".into(), Self::text(name)));
                Self::Fields(case.chain(fields.iter().map(named)).collect())
            }
            Value::Ref { kind, name } => {
                let kind = ("ref".into(), Self::text(kind.keyword()));
                Self::Fields(vec![kind, ("name".into(), Self::text(name))])
            }
        }
    }

    /// A string.
    pub(crate) fn text(text: &'v str) -> Self {
        Self::Text(text.into())
    }

    /// A tree of JSON.
    pub(crate) fn of_json(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => Self::Plain(json.to_string()),
            Json::String(text) => Self::Text(text.into()),
            Json::Array(items) => Self::Items(items.into_iter().map(Self::of_json).collect()),
            Json::Object(fields) => {
                let field = |(name, value): (String, _)| (name.into(), Self::of_json(value));
                Self::Fields(fields.into_iter().map(field).collect())
            }
        }
    }

    /// Prints a document.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        self.block(&mut out, 0);
        out
    }

    /// Writes it from the current place, and a line end.
    fn block(&self, out: &mut String, indent: usize) {
        match self {
            Self::Fields(fields) if !fields.is_empty() => {
                for (index, (name, field)) in fields.iter().enumerate() {
                    pad(out, if index > 0 { indent } else { 0 });
                    scalar(out, name);
                    out.push(':');
                    field.nested(out, indent + 2);
                }
            }
            Self::Items(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    pad(out, if index > 0 { indent } else { 0 });
                    out.push_str("- ");
                    item.block(out, indent + 2);
                }
            }
            Self::Plain(_) | Self::Text(_) | Self::Fields(_) | Self::Items(_) => {
                self.inline(out);
                out.push('\n');
            }
        }
    }

    /// Writes the value of a field: beside its name, or in lines below it.
    fn nested(&self, out: &mut String, indent: usize) {
        let flat = match self {
            Self::Plain(_) | Self::Text(_) => true,
            Self::Fields(fields) => fields.is_empty(),
            Self::Items(items) => items.is_empty(),
        };
        if flat {
            out.push(' ');
            self.inline(out);
            out.push('\n');
        } else {
            out.push('\n');
            pad(out, indent);
            self.block(out, indent);
        }
    }

    /// What fits on the line; of a collection, only an empty one comes here.
    fn inline(&self, out: &mut String) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Text(text) => scalar(out, text),
            Self::Fields(_) => out.push_str("{}"),
            Self::Items(_) => out.push_str("[]"),
        }
    }
}

fn scalar(out: &mut String, text: &str) {
    const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        out.push_str(text);
    } else {
        // Strings of JSON are strings of YAML.
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}
