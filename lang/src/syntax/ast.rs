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
}

/// What an item declares. The name of a `use` is the path that it reads.
#[derive(Debug)]
pub(crate) enum ItemKind {
    Use { names: Vec<Name> },
    Resource { kind: ResourceKind, key: Option<Key>, body: Expr },
    Let { ty: Option<TypeExpr>, value: Expr },
    Input { ty: TypeExpr, default: Option<Expr> },
    Type { body: TypeExpr, rule: Option<Rule> },
    Enum { cases: Vec<Case> },
    Fn { params: Vec<FieldDecl>, result: TypeExpr, body: Expr },
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
    Range { from: Box<Expr>, to: Box<Expr>, inclusive: bool },
    If(Box<[Expr; 3]>),
    Comprehension(Box<Comprehension>),
    With(Box<Expr>, Vec<Field>),
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
    pub(crate) value: Expr,
}

/// An argument of a call.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) name: Option<Name>,
    pub(crate) value: Expr,
}

/// `[element for variable in source if condition]`.
#[derive(Debug)]
pub(crate) struct Comprehension {
    pub(crate) element: Expr,
    pub(crate) variable: Name,
    pub(crate) source: Expr,
    pub(crate) condition: Option<Expr>,
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
