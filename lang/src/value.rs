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
    Secret(Arc<[SecretPart]>),
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

/// A value without parts, in 24 bytes: a compilation holds millions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    Str(Arc<str>),
    /// Thousandths of a core.
    Cpu(u64),
    Bytes(u64),
    /// Milliseconds.
    Duration(u64),
    /// Hundredths of a percent.
    Percent(u32),
    Decimal(Decimal),
    /// A text made with secrets.
    Secret(Arc<[SecretPart]>),
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
            Self::Bool(value) => Scalar::Bool(*value).write_json(out),
            Self::Int(value) => Scalar::Int(*value).write_json(out),
            Self::Str(value) => write_json_string(out, value),
            Self::Cpu(value) | Self::Bytes(value) | Self::Duration(value) => {
                write_number(out, *value);
            }
            Self::Percent(value) => Scalar::Percent(*value).write_json(out),
            Self::Decimal(value) => Scalar::Decimal(*value).write_json(out),
            Self::Secret(parts) => Scalar::Secret(parts.clone()).write_json(out),
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
            Self::Ref { kind, name } => write_json_ref(out, *kind, name),
        }
    }
}

impl Scalar {
    /// Appends what [`Value::to_json`] prints.
    pub(crate) fn write_json(&self, out: &mut String) {
        match self {
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => {
                if *value < 0 {
                    out.push('-');
                }
                write_number(out, value.unsigned_abs());
            }
            Self::Str(value) => write_json_string(out, value),
            Self::Cpu(value) | Self::Bytes(value) | Self::Duration(value) => {
                write_number(out, *value);
            }
            Self::Percent(value) => write_number(out, u64::from(*value)),
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
        }
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Self::Bool(value),
            Scalar::Int(value) => Self::Int(value),
            Scalar::Str(value) => Self::Str(value),
            Scalar::Cpu(value) => Self::Cpu(value),
            Scalar::Bytes(value) => Self::Bytes(value),
            Scalar::Duration(value) => Self::Duration(value),
            Scalar::Percent(value) => Self::Percent(value),
            Scalar::Decimal(value) => Self::Decimal(value),
            Scalar::Secret(parts) => Self::Secret(parts),
        }
    }
}

fn write_json_fields(out: &mut String, case: Option<&str>, fields: &BTreeMap<Arc<str>, Value>) {
    open_json_record(out, case);
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 || case.is_some() {
            out.push(',');
        }
        json_key(out, name);
        value.write_json(out);
    }
    out.push('}');
}

/// Appends the beginning of a record or of a case.
pub(crate) fn open_json_record(out: &mut String, case: Option<&str>) {
    out.push('{');
    if let Some(case) = case {
        out.push_str("\"case\":");
        write_json_string(out, case);
    }
}

/// Appends a key and its colon.
pub(crate) fn json_key(out: &mut String, name: &str) {
    write_json_string(out, name);
    out.push(':');
}

/// Appends a reference to a resource.
pub(crate) fn write_json_ref(out: &mut String, kind: ResourceKind, name: &str) {
    out.push_str("{\"ref\":");
    write_json_string(out, kind.keyword());
    out.push_str(",\"name\":");
    write_json_string(out, name);
    out.push('}');
}

/// Appends a JSON string with what must be escaped.
pub(crate) fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = first_escaped(rest.as_bytes()) {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        match escaped.as_bytes()[0] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &escaped[1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Where the first byte is that JSON has no plain way to write: a control, a quote, a backslash.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Eight bytes at once: which of them are zero after `x`, or below the space ("Bit Twiddling Hacks",
    // Sean Eron Anderson, determining if a word has a zero byte, or one less than n).
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let of = |byte: u8| ONES * u64::from(byte);
    let suspect = |word: u64| {
        let control = word.wrapping_sub(of(b' ')) & !word & HIGH;
        control | zero(word ^ of(b'"')) | zero(word ^ of(b'\\'))
    };
    let (words, _) = bytes.as_chunks::<8>();
    let plain =
        words.iter().take_while(|word| suspect(u64::from_ne_bytes(**word)) == 0).count() * 8;
    let rest = bytes.get(plain..).unwrap_or_default();
    let found = rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')?;
    Some(plain + found)
}

/// Appends a whole number; `write!` takes five times as long.
fn write_number(out: &mut String, number: u64) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits[first..].iter().map(|&digit| char::from(digit)));
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
        let text = Value::Str("é\u{1}\\\t".into());
        let numbers = [i64::MIN, -1, 0, 10, i64::MAX].map(Value::Int);
        assert_eq!(text.to_json(), r#""é\u0001\\\t""#);
        assert_eq!(
            Value::List(numbers.into()).to_json(),
            format!("[{},-1,0,10,{}]", i64::MIN, i64::MAX)
        );
    }
}
