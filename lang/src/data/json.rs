//! JSON (RFC 8259), with the place of everything.

use super::{Bad, MAX_DEPTH, MAX_VALUES, field, number, rel, string};
use crate::syntax::ast::{Expr, ExprKind, Rel};

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Expr, Bad> {
    let mut reader = Reader { text, at: 0, values: 0 };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    let value = reader.value(0)?;
    reader.blank();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.bad("the file goes on after its value")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    values: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// A mistake at the next character.
    fn bad(&self, why: &str) -> Bad {
        let rest = self.text.get(self.at..).unwrap_or("");
        let length = rest.chars().next().map_or(0, char::len_utf8);
        Bad::new(why, self.at, self.at + length)
    }

    fn since(&self, start: usize) -> Rel {
        rel(start, self.at)
    }

    fn value(&mut self, depth: usize) -> Result<Expr, Bad> {
        self.blank();
        if depth > MAX_DEPTH {
            return Err(self.bad("it nests more than 96 deep"));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.bad("it has more than 250,000 values"));
        }
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let text = self.string()?;
                Ok(string(&text, self.since(start)))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z') => self.word(),
            Some(b'\'') => Err(self.bad("a string of JSON stands in double quotes")),
            Some(b'/' | b'#') => Err(self.bad("JSON has no comments")),
            Some(_) => Err(self.bad("a value is expected here")),
            None => Err(self.bad("the file ends where a value is expected")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Expr, Bad> {
        let start = self.at;
        self.at += 1;
        let mut fields = Vec::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Expr { kind: ExprKind::Record(fields), at: self.since(start) });
        }
        loop {
            self.blank();
            let from = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.bad("a key in double quotes is expected here"));
            }
            let name = self.string()?;
            // Without its quotes, so that what is written instead keeps them.
            let name_at = rel(from + 1, self.at - 1);
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.bad("`:` is expected here"));
            }
            self.at += 1;
            fields.push(field(&name, name_at, self.value(depth + 1)?));
            if self.ends(b'}')? {
                return Ok(Expr { kind: ExprKind::Record(fields), at: self.since(start) });
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Expr, Bad> {
        let start = self.at;
        self.at += 1;
        let mut elements = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Expr { kind: ExprKind::List(elements), at: self.since(start) });
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if self.ends(b']')? {
                return Ok(Expr { kind: ExprKind::List(elements), at: self.since(start) });
            }
        }
    }

    /// Whether the closing bracket comes; a comma says that it does not.
    fn ends(&mut self, close: u8) -> Result<bool, Bad> {
        self.blank();
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            _ if close == b'}' => Err(self.bad("`,` or `}` is expected here")),
            _ => Err(self.bad("`,` or `]` is expected here")),
        }
    }

    fn string(&mut self) -> Result<String, Bad> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or("");
            let Some(c) = rest.chars().next().filter(|c| *c >= ' ') else {
                return Err(Bad::new("this string does not end on its line", start, start + 1));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Bad> {
        let start = self.at - 1;
        let bad = |end| Bad::new("this is no escape of JSON", start, end);
        let byte = self.peek().ok_or_else(|| bad(start + 1))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex().ok_or_else(|| bad(start + 2))?;
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high).ok_or_else(|| bad(self.at));
                }
                // The second half of a character beyond U+FFFF.
                let second = self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"));
                self.at += if second { 2 } else { 0 };
                let low = self.hex().filter(|low| (0xDC00..0xE000).contains(low));
                let low = low.filter(|_| second).ok_or_else(|| bad(start + 6))?;
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                char::from_u32(code).ok_or_else(|| bad(start + 12))?
            }
            _ => return Err(bad(start + 1)),
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Result<Expr, Bad> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let formed = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let leading = whole.len() > 1 && whole.starts_with('0');
        if text.contains(['e', 'E']) {
            return Err(Bad::new("write this number without an exponent", start, self.at));
        }
        match number(text, self.since(start)) {
            Some(number) if formed(whole) && formed(fraction) && !leading => Ok(number),
            _ => Err(Bad::new("this is no number of JSON", start, self.at)),
        }
    }

    fn word(&mut self) -> Result<Expr, Bad> {
        let start = self.at;
        while matches!(self.peek(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
            self.at += 1;
        }
        let at = self.since(start);
        let kind = match self.text.get(start..self.at).unwrap_or("") {
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "null" => ExprKind::Absent,
            _ => return Err(Bad::new("a string of JSON stands in double quotes", start, self.at)),
        };
        Ok(Expr { kind, at })
    }
}
