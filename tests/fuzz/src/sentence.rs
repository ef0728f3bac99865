//! Bytes into sentences of the grammar: each byte is one choice, and no more bytes are the shortest way out.
//!
//! Names come from a short list, so that most of them mean something; nothing else is known of types.

/// How deep an expression may nest.
const DEPTH: u32 = 6;
/// How many items a project has at most.
const ITEMS: usize = 12;

const TYPES: &[&str] = &[
    "Int", "Str", "Bool", "Cpu", "Bytes", "Duration", "Percent", "Decimal", "Ip", "Cidr", "Cron",
    "ImageRef", "T", "R", "C", "Small", "Image", "Service", "Port", "Replicas", "Place", "Node", "U",
];
const NAMES: &[&str] = &["a", "b", "c", "f", "g", "web", "api", "n", "x", "it", "key", "absent", "services"];
const FIELDS: &[&str] = &[
    "a", "b", "c", "image", "replicas", "ports", "env", "place", "health", "rollout", "host", "name",
    "surge", "container", "port", "spread", "labels", "resources", "memory", "cpu", "grace",
];
const BUILTINS: &[&str] = &[
    "length", "upper", "trim", "matches", "replace", "split", "join", "lines", "parse_int",
    "includes", "sort", "unique", "reverse", "flatten", "sum", "keys", "values", "to_json", "holds",
    "address", "subnet", "image_tag", "min", "max", "first", "take", "all", "any", "has", "http",
    "rolling", "schedule", "local",
];
const LITERALS: &[&str] = &[
    "0", "1", "2", "3", "80", "8080", "9223372036854775807", "1.5", "250m", "512MiB", "30s", "10%",
    "true", "false", "\"\"", "\"a\"", "\"x:1\"", "\"10.0.0.0/8\"", "\"é\"", "'[a-z]+'", "\"0 3 * * *\"",
    "\"2001:db8::1\"", "1h", "0.1", "absent", "[]", "{}", "\"\"\"\n  a\n  \"\"\"",
];
const OPERATORS: &[&str] =
    &["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "..", "..="];

/// A source of choices, and the text that they have made so far.
pub struct Sentence<'b> {
    bytes: &'b [u8],
    text: String,
}

impl<'b> Sentence<'b> {
    /// Starts with nothing chosen.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, text: String::new() }
    }

    /// A project of every kind of item.
    pub fn project(mut self) -> String {
        for _ in 0..ITEMS {
            if self.bytes.is_empty() {
                break;
            }
            self.item();
            self.text.push('\n');
        }
        self.text
    }

    /// Items that evaluation can do something with: functions, lets and services.
    pub fn program(mut self) -> String {
        self.text.push_str("type R = { a: Int = 1, b: Str?, c: [Int] = [] }\nenum C { a, b(x: Int) }\n");
        self.text.push_str("fn f(x: Int, y: Int = 2) -> Int = x * y\n");
        for name in ["a", "b", "c"] {
            self.text.push_str(&format!("let {name} = "));
            self.expr(DEPTH);
            self.text.push('\n');
        }
        self.text.push_str("service web { image: \"x:1\", replicas: ");
        self.expr(DEPTH);
        self.text.push_str(", env: { A: \"${");
        self.expr(DEPTH);
        self.text.push_str("}\" } }\noverlay o { web.replicas: ");
        self.expr(DEPTH);
        self.text.push_str(" }\npolicy p for s in services { expect ");
        self.expr(DEPTH);
        self.text.push_str(" }\n");
        self.text
    }

    /// The next choice among `of`; the first where no bytes are left.
    fn choose(&mut self, of: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(*first) % of.max(1)
    }

    fn word(&mut self, of: &[&str]) {
        let index = self.choose(of.len());
        self.text.push_str(of.get(index).copied().unwrap_or("a"));
    }

    fn some(&mut self, most: usize, between: &str, mut each: impl FnMut(&mut Self)) {
        for index in 0..self.choose(most + 1) {
            if index > 0 {
                self.text.push_str(between);
            }
            each(self);
        }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn item(&mut self) {
        match self.choose(13) {
            0 => {
                self.push("let ");
                self.word(NAMES);
                if self.choose(3) == 0 {
                    self.push(": ");
                    self.ty(3);
                }
                self.push(" = ");
                self.expr(DEPTH);
            }
            1 => {
                self.push("fn ");
                self.word(NAMES);
                if self.choose(3) == 0 {
                    self.push("<T: Ordered>");
                }
                self.push("(");
                self.params(3);
                self.push(") -> ");
                self.ty(3);
                self.push(" = ");
                self.expr(DEPTH);
            }
            2 => {
                self.push("type ");
                self.word(TYPES);
                self.push(" = ");
                self.ty(3);
                if self.choose(2) == 0 {
                    self.push(" where ");
                    self.expr(3);
                    if self.choose(2) == 0 {
                        self.push(" else \"bad ${it}\"");
                    }
                }
            }
            3 => {
                self.push("enum ");
                self.word(TYPES);
                self.push(" { ");
                self.some(3, ", ", |s| {
                    s.word(NAMES);
                    if s.choose(2) == 0 {
                        s.push("(");
                        s.params(2);
                        s.push(")");
                    }
                });
                self.push(" }");
            }
            4 | 5 => {
                self.push("service ");
                self.word(NAMES);
                if self.choose(4) == 0 {
                    self.push("[key] for key in ");
                    self.expr(2);
                }
                self.push(" { image: \"x:1\"\n");
                self.fields(DEPTH);
                self.push(" }");
            }
            6 => {
                self.push("service ");
                self.word(NAMES);
                self.push(" = ");
                self.expr(DEPTH);
            }
            7 => {
                self.push("node ");
                self.word(NAMES);
                self.push(" { host: \"10.0.0.1\", ");
                self.fields(3);
                self.push(" }");
            }
            8 => {
                self.push("input ");
                self.word(NAMES);
                self.push(": ");
                self.ty(2);
                if self.choose(2) == 0 {
                    self.push(" = ");
                    self.expr(2);
                }
            }
            9 => {
                self.push("overlay ");
                self.word(NAMES);
                if self.choose(3) == 0 {
                    self.push(" on ");
                    self.word(NAMES);
                }
                self.push(" { ");
                self.some(3, ", ", |s| {
                    s.word(NAMES);
                    if s.choose(3) == 0 {
                        s.push("[1]");
                    }
                    s.push(".");
                    s.word(FIELDS);
                    s.push(": ");
                    s.expr(3);
                });
                self.push(" }");
            }
            10 => {
                self.push("policy ");
                self.word(NAMES);
                self.push(" for s in ");
                self.expr(2);
                self.push(" where ");
                self.expr(3);
                self.push(" { severity: warning, expect ");
                self.expr(3);
                self.push(", \"${s.name}\" waive web until \"2999-01-01\" by \"a\" because \"b\" }");
            }
            11 => {
                self.push("environment ");
                self.word(NAMES);
                if self.choose(2) == 0 {
                    self.push("[key]");
                }
                self.push(" { overlay: ");
                self.word(NAMES);
                self.push(", inputs: { ");
                self.word(NAMES);
                self.push(": ");
                self.expr(2);
                self.push(" } }");
            }
            _ => {
                self.push("test \"t\" with ");
                self.word(NAMES);
                self.push(" { expect ");
                self.expr(3);
                self.push(" expect fails E0203 { let z = ");
                self.expr(3);
                self.push(" } }");
            }
        }
    }

    fn params(&mut self, most: usize) {
        self.some(most, ", ", |s| {
            s.word(NAMES);
            s.push(": ");
            s.ty(2);
            if s.choose(3) == 1 {
                s.push(" = ");
                s.expr(2);
            }
        });
    }

    fn fields(&mut self, depth: u32) {
        self.some(4, ", ", |s| {
            s.word(FIELDS);
            if s.choose(5) == 1 {
                s.push(".");
                s.word(FIELDS);
            }
            s.push(": ");
            s.expr(depth.saturating_sub(1));
        });
    }

    fn ty(&mut self, depth: u32) {
        match self.choose(if depth == 0 { 1 } else { 6 }) {
            0 => self.word(TYPES),
            1 => {
                self.push("[");
                self.ty(depth - 1);
                self.push("]");
            }
            2 => {
                self.push("{Str: ");
                self.ty(depth - 1);
                self.push("}");
            }
            3 => {
                self.ty(depth - 1);
                self.push("?");
            }
            4 => {
                self.push("Secret<");
                self.ty(depth - 1);
                self.push(">");
            }
            _ => {
                self.push("{ ");
                self.params(2);
                self.push(" }");
            }
        }
    }

    fn expr(&mut self, depth: u32) {
        match self.choose(if depth == 0 { 2 } else { 18 }) {
            0 => self.word(LITERALS),
            1 => self.word(NAMES),
            2 | 3 => {
                self.push("(");
                self.expr(depth - 1);
                self.push(" ");
                self.word(OPERATORS);
                self.push(" ");
                self.expr(depth - 1);
                self.push(")");
            }
            4 | 5 => {
                if self.choose(2) == 0 {
                    self.word(BUILTINS);
                } else {
                    self.word(NAMES);
                }
                self.push("(");
                self.some(3, ", ", |s| {
                    if s.choose(4) == 1 {
                        s.word(FIELDS);
                        s.push(": ");
                    }
                    s.expr(depth - 1);
                });
                self.push(")");
            }
            6 => {
                self.push("[");
                self.some(4, ", ", |s| s.expr(depth - 1));
                self.push("]");
            }
            7 => {
                self.push("{ ");
                self.fields(depth);
                self.push(" }");
            }
            8 => {
                self.push("[");
                self.expr(depth - 1);
                self.push(" for i, x in ");
                self.expr(depth - 1);
                if self.choose(2) == 0 {
                    self.push(" if ");
                    self.expr(depth - 1);
                }
                self.push("]");
            }
            9 => {
                self.push("{ \"${x}\": ");
                self.expr(depth - 1);
                self.push(" for x in ");
                self.expr(depth - 1);
                self.push(" }");
            }
            10 => {
                self.push("(if ");
                self.expr(depth - 1);
                self.push(" then ");
                self.expr(depth - 1);
                self.push(" else ");
                self.expr(depth - 1);
                self.push(")");
            }
            11 => {
                self.push("(let x = ");
                self.expr(depth - 1);
                self.push(" in ");
                self.expr(depth - 1);
                self.push(")");
            }
            12 => {
                self.push("match ");
                self.expr(depth - 1);
                self.push(" { a -> ");
                self.expr(depth - 1);
                self.push(", b(x) -> ");
                self.expr(depth - 1);
                self.push(", 1 or 2 -> ");
                self.expr(depth - 1);
                self.push(", other -> ");
                self.expr(depth - 1);
                self.push(" }");
            }
            13 => {
                self.push("\"a${");
                self.expr(depth - 1);
                self.push("}\"");
            }
            14 => {
                self.word(NAMES);
                self.push(".");
                self.word(FIELDS);
            }
            15 => {
                self.word(NAMES);
                self.push("[");
                self.expr(depth - 1);
                self.push("]");
            }
            16 => {
                self.push("(");
                self.expr(depth - 1);
                self.push(" with { ");
                self.fields(depth);
                self.push(" })");
            }
            _ => {
                let sign = if self.choose(2) == 0 { "-" } else { "not " };
                self.push(sign);
                self.expr(depth - 1);
            }
        }
    }
}
