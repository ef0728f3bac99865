//! The untyped tree of one item. Every range counts from the item's first byte.

use crate::program::ResourceKind;
use std::sync::Arc;

/// A range of bytes, relative to the item's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rel {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A name where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    pub(crate) at: Rel,
}

/// One item of a file.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) public: bool,
    pub(crate) name: Name,
    pub(crate) kind: ItemKind,
    /// The types of local bindings, which [`Local::ty`] counts into.
    pub(crate) local_types: Vec<TypeExpr>,
}

/// What an item declares. The name of a `use`, of items or of data, is the path that it reads.
#[derive(Debug)]
pub(crate) enum ItemKind {
    Use {
        names: Vec<Name>,
    },
    /// `use "./sizes.json" as sizes: {Str: Size}`.
    Data {
        name: Name,
        ty: TypeExpr,
    },
    /// `package acme { path: "vendor/acme" }`, or `{ version: "1.2.0" }` for what this folder is.
    Package {
        fields: Vec<Field>,
    },
    Resource {
        kind: ResourceKind,
        key: Option<Key>,
        body: Expr,
    },
    Let {
        ty: Option<TypeExpr>,
        value: Expr,
    },
    Input {
        ty: TypeExpr,
        default: Option<Expr>,
    },
    Secret {
        source: Expr,
    },
    Overlay {
        on: Option<Name>,
        fields: Vec<Field>,
    },
    Environment {
        key: Option<Name>,
        fields: Vec<Field>,
    },
    Policy(Box<Policy>),
    /// Its name is a sentence.
    Test(Box<Test>),
    Type {
        body: TypeExpr,
        rule: Option<Rule>,
    },
    Enum {
        cases: Vec<Case>,
    },
    Fn {
        generics: Vec<Generic>,
        params: Vec<FieldDecl>,
        result: TypeExpr,
        body: Expr,
    },
}

/// What a policy looks at, and what it expects.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) each: Option<Each>,
    /// `severity: warning`.
    pub(crate) severity: Option<Name>,
    pub(crate) clauses: Vec<Clause>,
}

/// `for name in list where condition`.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) variable: Name,
    pub(crate) source: Expr,
    pub(crate) condition: Option<Expr>,
}

/// A line of a policy.
#[derive(Debug)]
pub(crate) enum Clause {
    /// `expect condition, "message"`.
    Expect { condition: Expr, message: Option<Expr> },
    /// `waive resource until "date" by "owner" because "reason"`.
    Waive { resource: Expr, until: Name, owner: Name, reason: Name },
}

/// What a test assumes, and what it expects.
#[derive(Debug, Default)]
pub(crate) struct Test {
    pub(crate) settings: Vec<Setting>,
    pub(crate) expectations: Vec<Expectation>,
}

/// The environment of a test, or one of its inputs.
#[derive(Debug)]
pub(crate) enum Setting {
    /// `prod`, or `preview["branch"]`.
    Environment { name: Name, key: Option<Name> },
    /// `input = value`.
    Input { name: Name, value: Expr },
}

/// A line of a test.
#[derive(Debug)]
pub(crate) enum Expectation {
    /// `expect condition, "message"`.
    Holds { condition: Expr, message: Option<Expr> },
    /// `expect fails CODE { items }`; the range is what stands between the braces.
    Fails { code: Name, fragment: Rel },
}

/// A type parameter, with what it must be able to do.
#[derive(Debug)]
pub(crate) struct Generic {
    pub(crate) name: Name,
    pub(crate) bound: Option<Name>,
}

/// `[i] for i in 1..=3`.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) variable: Name,
    pub(crate) keys: Expr,
}

/// `where 1..=9 else "…"`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Expr,
    pub(crate) message: Option<Expr>,
}

/// A case of an enum, with its parameters.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: Name,
    pub(crate) params: Vec<FieldDecl>,
    pub(crate) at: Rel,
}

/// `name: Type = default`, in a record type, an enum's case or a function's parameters.
#[derive(Debug)]
pub(crate) struct FieldDecl {
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
    pub(crate) default: Option<Expr>,
}

/// A type as written.
#[derive(Debug)]
pub(crate) struct TypeExpr {
    pub(crate) kind: TypeKind,
    pub(crate) at: Rel,
}

/// The forms of types.
#[derive(Debug)]
pub(crate) enum TypeKind {
    Name(Arc<str>),
    /// `Secret<Str>`.
    Of(Name, Box<TypeExpr>),
    List(Box<TypeExpr>),
    Map(Box<TypeExpr>),
    Record(Vec<FieldDecl>),
    Optional(Box<TypeExpr>),
}

/// An expression.
#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) at: Rel,
}

/// The forms of expressions. `Error` stands where a diagnostic has already been given.
#[derive(Debug)]
pub(crate) enum ExprKind {
    Error,
    Bool(bool),
    Number(Number),
    Str(Vec<Piece>),
    List(Vec<Expr>),
    Record(Vec<Field>),
    Name(Arc<str>),
    Field(Box<Expr>, Name),
    Index(Box<Expr>, Box<Expr>),
    Call(Box<Expr>, Vec<Arg>),
    Unary(UnaryOp, Box<Expr>),
    Binary(BinaryOp, Rel, Box<Expr>, Box<Expr>),
    Range {
        from: Box<Expr>,
        to: Box<Expr>,
        inclusive: bool,
    },
    If(Box<[Expr; 3]>),
    Comprehension(Box<Comprehension>),
    /// A comprehension of a map: its keys, and the rest.
    Entries(Box<(Expr, Comprehension)>),
    With(Box<Expr>, Vec<Field>),
    Let(Box<Local>),
    Match(Box<Match>),
    /// `absent`: what an optional value is when it is not there.
    Absent,
}

/// A number as written: `1_000.5MiB` is digits `1000.5` and unit `MiB`.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) digits: Arc<str>,
    pub(crate) unit: Arc<str>,
}

/// A piece of a string.
#[derive(Debug)]
pub(crate) enum Piece {
    Text(Arc<str>),
    Interpolation(Expr),
}

/// `path.to.key: value`. Outside `with`, a path has one step.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) path: Vec<Name>,
    /// The key after the first step, `n[1].host`: only in overlays.
    pub(crate) key: Option<Box<Expr>>,
    pub(crate) value: Expr,
}

/// An argument of a call.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) name: Option<Name>,
    pub(crate) value: Expr,
}

/// `[element for variable in source if condition]`; of two variables, the first is the position or
/// the key.
#[derive(Debug)]
pub(crate) struct Comprehension {
    pub(crate) element: Expr,
    pub(crate) position: Option<Name>,
    pub(crate) variable: Name,
    pub(crate) source: Expr,
    pub(crate) condition: Option<Expr>,
}

/// `let name: Type = value in body`.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) name: Name,
    /// A position in [`Item::local_types`].
    pub(crate) ty: Option<usize>,
    pub(crate) value: Expr,
    pub(crate) body: Expr,
}

/// `match subject { pattern or pattern -> body }`.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) subject: Expr,
    pub(crate) arms: Vec<Arm>,
    /// The place of the closing brace.
    pub(crate) close: Rel,
}

/// An arm of a `match`.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) body: Expr,
}

/// What an arm waits for.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) kind: PatternKind,
    pub(crate) at: Rel,
}

/// The forms of patterns.
#[derive(Debug)]
pub(crate) enum PatternKind {
    /// A case, or a new name for whatever comes; `_` and `absent` too.
    Name(Name),
    /// A case with some of its parameters.
    Case(Name, Vec<Binder>),
    /// A string, a number or a truth value.
    Literal(Expr),
}

/// `parameter: name`, or a parameter that keeps its name.
#[derive(Debug)]
pub(crate) struct Binder {
    pub(crate) param: Name,
    pub(crate) name: Name,
}

/// Operators in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Negate,
    Not,
}

/// Operators between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
}

impl BinaryOp {
    /// How it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
        }
    }
}
