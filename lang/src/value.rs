//! What a program evaluates to: plain, ordered data with exact quantities.

use crate::decimal::Decimal;
use crate::program::ResourceKind;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A value with every default filled in. An optional field that is absent is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Str(Arc<str>),
    /// Thousandths of a core.
    Cpu(u64),
    /// Bytes.
    Bytes(u64),
    /// Milliseconds.
    Duration(u64),
    /// Hundredths of a percent: `12.5%` is 1250.
    Percent(u32),
    /// An exact decimal number.
    Decimal(Decimal),
    /// A text made with secrets: never what they hold, only their names.
    Secret(Vec<SecretPart>),
    /// A list.
    List(Vec<Value>),
    /// A map from strings.
    Map(BTreeMap<Arc<str>, Value>),
    /// A closed record.
    Record(BTreeMap<Arc<str>, Value>),
    /// A case of an enum.
    Case {
        /// The case's name.
        name: Arc<str>,
        /// Its parameters.
        fields: BTreeMap<Arc<str>, Value>,
    },
    /// A reference to a resource.
    Ref {
        /// The resource's kind.
        kind: ResourceKind,
        /// The resource's name, as in [`crate::Resource::name`].
        name: Arc<str>,
    },
}

/// A piece of a text made with secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPart {
    /// Plain text.
    Text(Arc<str>),
    /// What the secret of this name holds.
    Secret(Arc<str>),
}

impl Value {
    /// A field of a record or of a case, or an entry of a map.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(fields) | Self::Record(fields) | Self::Case { fields, .. } => {
                fields.get(name)
            }
            Self::Bool(_)
            | Self::Int(_)
            | Self::Str(_)
            | Self::Cpu(_)
            | Self::Bytes(_)
            | Self::Duration(_)
            | Self::Percent(_)
            | Self::Decimal(_)
            | Self::Secret(_)
            | Self::List(_)
            | Self::Ref { .. } => None,
        }
    }

    /// Prints compact JSON, with keys in order. Quantities are numbers in their base units
    /// (millicores, bytes, milliseconds, hundredths of a percent); a case is
    /// `{"case":"http","path":"/"}`; a reference is `{"ref":"node","name":"n[1]"}`; a text made with
    /// secrets is `{"secret":["user:",{"name":"db_password"}]}`.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// Appends what [`Value::to_json`] prints.
    pub(crate) fn write_json(&self, out: &mut String) {
        match self {
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Str(value) => write_json_string(out, value),
            Self::Cpu(value) | Self::Bytes(value) | Self::Duration(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Percent(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Decimal(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Secret(parts) => {
                out.push_str("{\"secret\":[");
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    match part {
                        SecretPart::Text(text) => write_json_string(out, text),
                        SecretPart::Secret(name) => {
                            out.push_str("{\"name\":");
                            write_json_string(out, name);
                            out.push('}');
                        }
                    }
                }
                out.push_str("]}");
            }
            Self::List(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Self::Map(fields) | Self::Record(fields) => write_json_fields(out, None, fields),
            Self::Case { name, fields } => write_json_fields(out, Some(name), fields),
            Self::Ref { kind, name } => {
                out.push_str("{\"ref\":");
                write_json_string(out, kind.keyword());
                out.push_str(",\"name\":");
                write_json_string(out, name);
                out.push('}');
            }
        }
    }
}

fn write_json_fields(out: &mut String, case: Option<&str>, fields: &BTreeMap<Arc<str>, Value>) {
    out.push('{');
    if let Some(case) = case {
        out.push_str("\"case\":");
        write_json_string(out, case);
    }
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 || case.is_some() {
            out.push(',');
        }
        write_json_string(out, name);
        out.push(':');
        value.write_json(out);
    }
    out.push('}');
}

/// Appends a JSON string with what must be escaped.
pub(crate) fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn json_escapes_and_orders() {
        let case = Value::Case {
            name: "http".into(),
            fields: [("path".into(), Value::Str("a\"\n".into()))].into(),
        };
        assert_eq!(
            Value::List(vec![case, Value::Cpu(100)]).to_json(),
            r#"[{"case":"http","path":"a\"\n"},100]"#
        );
    }
}
