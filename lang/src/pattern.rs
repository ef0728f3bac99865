//! Text against a pattern, in time linear in the text: regular expressions without what needs more.
//!
//! A pattern becomes a program of few states, and all states that a text may be in advance together
//! (K. Thompson, "Regular Expression Search Algorithm", CACM 11, 1968). It matches a whole text.

/// States that one pattern may have.
const MAX_STATES: usize = 1_000;
/// How deep groups may nest.
const MAX_GROUPS: usize = 32;

/// A pattern that can be matched.
#[derive(Debug)]
pub(crate) struct Pattern {
    program: Vec<State>,
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPattern {
    /// The character at which it was seen, from 0.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) what: &'static str,
}

#[derive(Debug)]
enum State {
    Take(Class),
    Split(usize, usize),
    Jump(usize),
    Accept,
}

/// Characters in ranges, or all others.
#[derive(Clone, Debug, Default)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

enum Tree {
    Take(Class),
    Sequence(Vec<Tree>),
    Either(Vec<Tree>),
    Repeat { inner: Box<Tree>, min: u32, max: Option<u32> },
}

impl Pattern {
    /// Reads a pattern: characters, `.`, `[a-z]`, `[^a-z]`, `\\d`, `\\w`, `\\s`, groups, `|`, `*`, `+`,
    /// `?`, `{2}`, `{2,}` and `{2,5}`.
    ///
    /// # Errors
    /// The first place that is none of these, or a pattern with too many states.
    pub(crate) fn new(text: &str) -> Result<Self, BadPattern> {
        let mut reader = Reader { chars: text.chars().collect(), at: 0, groups: 0 };
        let tree = reader.either()?;
        if reader.at < reader.chars.len() {
            return Err(reader.bad("this `)` closes nothing"));
        }
        let mut program = Vec::new();
        if !emit(&tree, &mut program) {
            return Err(BadPattern { at: 0, what: "it repeats too much" });
        }
        program.push(State::Accept);
        Ok(Self { program })
    }

    /// What matching a text costs, in steps.
    pub(crate) fn cost(&self, text: &str) -> u64 {
        (text.len() as u64 + 1).saturating_mul(self.program.len() as u64) / 16 + 1
    }

    /// Whether it matches the whole of a text.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut now = Set::new(self.program.len());
        let mut next = Set::new(self.program.len());
        let mut open = Vec::new();
        self.enter(0, &mut now, &mut open);
        for c in text.chars() {
            next.clear();
            for &state in &now.members {
                if let Some(State::Take(class)) = self.program.get(state)
                    && class.holds(c)
                {
                    self.enter(state + 1, &mut next, &mut open);
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        now.members.iter().any(|&state| matches!(self.program.get(state), Some(State::Accept)))
    }

    /// Adds a state and whatever is reached from it without a character.
    fn enter(&self, state: usize, set: &mut Set, open: &mut Vec<usize>) {
        open.push(state);
        while let Some(state) = open.pop() {
            if !set.add(state) {
                continue;
            }
            match self.program.get(state) {
                Some(State::Split(first, second)) => open.extend([*second, *first]),
                Some(State::Jump(target)) => open.push(*target),
                Some(State::Take(_) | State::Accept) | None => {}
            }
        }
    }
}

struct Set {
    members: Vec<usize>,
    has: Vec<bool>,
}

impl Set {
    fn new(size: usize) -> Self {
        Self { members: Vec::with_capacity(size), has: vec![false; size] }
    }

    fn add(&mut self, state: usize) -> bool {
        let Some(has) = self.has.get_mut(state) else { return false };
        if std::mem::replace(has, true) {
            return false;
        }
        self.members.push(state);
        true
    }

    fn clear(&mut self) {
        for state in self.members.drain(..) {
            if let Some(has) = self.has.get_mut(state) {
                *has = false;
            }
        }
    }
}

impl Class {
    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|&(from, to)| from <= c && c <= to) != self.negated
    }

    fn of(ranges: &[(char, char)], negated: bool) -> Self {
        Self { ranges: ranges.to_vec(), negated }
    }
}

/// Appends a tree's states; false where there would be too many.
fn emit(tree: &Tree, program: &mut Vec<State>) -> bool {
    if program.len() > MAX_STATES {
        return false;
    }
    match tree {
        Tree::Take(class) => program.push(State::Take(class.clone())),
        Tree::Sequence(parts) => return parts.iter().all(|part| emit(part, program)),
        Tree::Either(parts) => {
            let Some((last, rest)) = parts.split_last() else { return true };
            let mut ends = Vec::new();
            for part in rest {
                let split = program.len();
                program.push(State::Split(split + 1, 0));
                if !emit(part, program) {
                    return false;
                }
                ends.push(program.len());
                program.push(State::Jump(0));
                let here = program.len();
                program[split] = State::Split(split + 1, here);
            }
            let fits = emit(last, program);
            let here = program.len();
            for end in ends {
                program[end] = State::Jump(here);
            }
            return fits;
        }
        Tree::Repeat { inner, min, max } => {
            for _ in 0..*min {
                if !emit(inner, program) {
                    return false;
                }
            }
            match max {
                None => {
                    let split = program.len();
                    program.push(State::Split(split + 1, 0));
                    if !emit(inner, program) {
                        return false;
                    }
                    program.push(State::Jump(split));
                    let here = program.len();
                    program[split] = State::Split(split + 1, here);
                }
                Some(max) => {
                    let mut splits = Vec::new();
                    for _ in *min..*max {
                        splits.push(program.len());
                        program.push(State::Split(program.len() + 1, 0));
                        if !emit(inner, program) {
                            return false;
                        }
                    }
                    let here = program.len();
                    for split in splits {
                        program[split] = State::Split(split + 1, here);
                    }
                }
            }
        }
    }
    program.len() <= MAX_STATES
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    groups: usize,
}

const DIGITS: [(char, char); 1] = [('0', '9')];
const WORDS: [(char, char); 4] = [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const BLANKS: [(char, char); 2] = [('\t', '\r'), (' ', ' ')];

impl Reader {
    fn bad(&self, what: &'static str) -> BadPattern {
        BadPattern { at: self.at, what }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Result<Tree, BadPattern> {
        let mut parts = vec![self.sequence()?];
        while self.take('|') {
            parts.push(self.sequence()?);
        }
        Ok(Tree::Either(parts))
    }

    fn sequence(&mut self) -> Result<Tree, BadPattern> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let part = self.atom(c)?;
            parts.push(self.repeated(part)?);
        }
        Ok(Tree::Sequence(parts))
    }

    fn atom(&mut self, c: char) -> Result<Tree, BadPattern> {
        if matches!(c, '*' | '+' | '?' | '{') {
            return Err(self.bad("there is nothing before this to repeat"));
        }
        if matches!(c, '^' | '$') {
            return Err(
                self.bad("a pattern always matches the whole text; write `.*` where it need not")
            );
        }
        self.at += 1;
        Ok(match c {
            '(' => {
                if self.groups >= MAX_GROUPS {
                    return Err(self.bad("its groups nest too deep"));
                }
                self.groups += 1;
                if self.peek() == Some('?') {
                    return Err(self.bad("groups have no options"));
                }
                let inner = self.either()?;
                self.groups -= 1;
                if !self.take(')') {
                    return Err(self.bad("this group is not closed"));
                }
                inner
            }
            '[' => Tree::Take(self.class()?),
            '.' => Tree::Take(Class::of(&[('\n', '\n')], true)),
            '\\' => Tree::Take(self.escape()?),
            c => Tree::Take(Class::of(&[(c, c)], false)),
        })
    }

    fn escape(&mut self) -> Result<Class, BadPattern> {
        let Some(c) = self.peek() else {
            return Err(self.bad("nothing follows this `\\`"));
        };
        let class = match c {
            'd' => Class::of(&DIGITS, false),
            'D' => Class::of(&DIGITS, true),
            'w' => Class::of(&WORDS, false),
            'W' => Class::of(&WORDS, true),
            's' => Class::of(&BLANKS, false),
            'S' => Class::of(&BLANKS, true),
            'n' => Class::of(&[('\n', '\n')], false),
            't' => Class::of(&[('\t', '\t')], false),
            'r' => Class::of(&[('\r', '\r')], false),
            c if c.is_ascii_alphanumeric() => return Err(self.bad("this is not an escape")),
            c => Class::of(&[(c, c)], false),
        };
        self.at += 1;
        Ok(class)
    }

    fn class(&mut self) -> Result<Class, BadPattern> {
        let mut class = Class { negated: self.take('^'), ranges: Vec::new() };
        let mut first = true;
        loop {
            let Some(c) = self.peek() else {
                return Err(self.bad("this `[` is not closed"));
            };
            if c == ']' && !first {
                self.at += 1;
                return Ok(class);
            }
            first = false;
            self.at += 1;
            let from = if c == '\\' {
                let escaped = self.escape()?;
                match escaped.ranges.as_slice() {
                    [(from, to)] if from == to && !escaped.negated => *from,
                    _ if escaped.negated => {
                        return Err(self.bad("a class cannot hold the opposite of another"));
                    }
                    _ => {
                        class.ranges.extend(escaped.ranges);
                        continue;
                    }
                }
            } else {
                c
            };
            let ranged = self.peek() == Some('-')
                && self.chars.get(self.at + 1).is_some_and(|&next| next != ']');
            if !ranged {
                class.ranges.push((from, from));
                continue;
            }
            self.at += 1;
            let to = self.peek().unwrap_or(from);
            self.at += 1;
            let to = match to {
                '\\' => match self.escape()?.ranges.as_slice() {
                    [(from, to)] if from == to => *from,
                    _ => return Err(self.bad("a range ends with one character")),
                },
                other => other,
            };
            if to < from {
                return Err(self.bad("this range ends before it starts"));
            }
            class.ranges.push((from, to));
        }
    }

    fn repeated(&mut self, inner: Tree) -> Result<Tree, BadPattern> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.at += 1;
                let min = self.count()?;
                let max = if self.take(',') {
                    if self.peek() == Some('}') { None } else { Some(self.count()?) }
                } else {
                    Some(min)
                };
                if self.peek() != Some('}') {
                    return Err(self.bad("this `{` is not closed"));
                }
                if max.is_some_and(|max| max < min) {
                    return Err(self.bad("this repeats at most fewer times than at least"));
                }
                (min, max)
            }
            Some(_) | None => return Ok(inner),
        };
        self.at += 1;
        if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
            return Err(self.bad("this is repeated twice; put the first in a group"));
        }
        Ok(Tree::Repeat { inner: Box::new(inner), min, max })
    }

    fn count(&mut self) -> Result<u32, BadPattern> {
        let mut count = 0u32;
        let start = self.at;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            count = count * 10 + digit;
            if count as usize > MAX_STATES {
                return Err(self.bad("it repeats too much"));
            }
            self.at += 1;
        }
        if start == self.at { Err(self.bad("a number is wanted here")) } else { Ok(count) }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_whole_texts() {
        let of = |pattern: &str, text: &str| Pattern::new(pattern).map(|p| p.matches(text));
        let name = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";
        assert_eq!(of(name, "web-1"), Ok(true));
        assert_eq!(of(name, "web-"), Ok(false));
        assert_eq!(of(name, ""), Ok(false));
        assert_eq!(of(r"v\d+(\.\d+)*|latest", "v1.20.3"), Ok(true));
        assert_eq!(of(r"v\d+(\.\d+)*|latest", "v1.x"), Ok(false));
        assert_eq!(of("[^]a-]+", "xyz"), Ok(true));
        assert_eq!(of("(a*)*", "aaaa"), Ok(true));
        assert_eq!(of("", ""), Ok(true));
        assert_eq!(of("é.", "éx"), Ok(true));
        assert_eq!(of("a|", ""), Ok(true));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in
            ["(", ")", "[a", "*", "a**", "a{3,2}", "a{", "^a", r"\q", "((a{100}){100}){100}"]
        {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_explodes() {
        let pattern = Pattern::new("(a|a)*(a|aa)+b").expect("a pattern");
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }
}
