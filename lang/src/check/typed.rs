//! Typed trees: every name is resolved, every conversion is explicit, every default is asked for by id.

use crate::diagnostic::Severity;
use crate::ids::{FnId, InputId, LetId, Loc, OverlayId, ResourceId, SecretId, TypeId};
use crate::notation::Notation;
use crate::program::ResourceKind;
use crate::resolve::Ty;
use crate::syntax::ast::BinaryOp;
use crate::value::Scalar;
use std::sync::Arc;

/// A checked expression.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) kind: Kind,
    pub(crate) at: Loc,
}

/// The forms of checked expressions.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A diagnostic has been given.
    Poison,
    Constant(Scalar),
    Interpolate(Vec<Part>),
    List(Vec<Typed>),
    Map(Vec<(Arc<str>, Typed)>),
    /// A record; the defaults of `of` fill what is not given.
    Record {
        of: Option<TypeId>,
        fields: Vec<(Arc<str>, Typed)>,
    },
    /// A case of `of`; the defaults of its parameters fill what is not given.
    Case {
        of: TypeId,
        case: usize,
        fields: Vec<(Arc<str>, Typed)>,
    },
    Local(usize),
    Let(LetId),
    Input(InputId),
    /// What a secret holds, by its name.
    Secret(SecretId),
    /// A resource, by reference.
    Resource(ResourceId),
    /// One instance of a keyed resource, by reference.
    Instance(ResourceId, Box<Typed>),
    /// Every resource of a kind, by reference.
    Every(ResourceKind),
    /// The name of what a reference leads to.
    NameOf(Box<Typed>),
    /// All instances of a keyed resource.
    Instances(ResourceId),
    /// The body of the resource that a reference leads to.
    Follow(Box<Typed>),
    Call {
        of: FnId,
        args: Vec<(usize, Typed)>,
        /// What the type parameters of a builtin are.
        types: Vec<Ty>,
    },
    Field(Box<Typed>, Arc<str>),
    /// An element of a list by position.
    Element(Box<Typed>, Box<Typed>),
    /// An entry of a map.
    Entry(Box<Typed>, Box<Typed>),
    Negate(Box<Typed>),
    Not(Box<Typed>),
    Binary(BinaryOp, Box<Typed>, Box<Typed>),
    /// The left, or the right where the left is absent.
    OrElse(Box<Typed>, Box<Typed>),
    Range {
        from: Box<Typed>,
        to: Box<Typed>,
        inclusive: bool,
    },
    If(Box<[Typed; 3]>),
    Comprehension(Box<Comprehension>),
    /// A value, and the body that sees it as one more local.
    Bind(Box<[Typed; 2]>),
    Match(Box<Match>),
    /// What an optional value is when it is not there.
    Absent,
    With(Box<Typed>, Vec<Update>),
    Convert(Conversion, Box<Typed>),
    /// What is the same in every call of the function around it, by its number.
    Shared(usize, Box<Typed>),
}

/// A piece of an interpolated string.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(Arc<str>),
    Expr(Typed),
}

/// A comprehension; its variables are the locals after those around it.
#[derive(Clone, Debug)]
pub(crate) struct Comprehension {
    /// Of a map: the key of each entry.
    pub(crate) key: Option<Typed>,
    /// Whether the position or the key is a local, too, before the element.
    pub(crate) positioned: bool,
    pub(crate) element: Typed,
    pub(crate) source: Typed,
    pub(crate) condition: Option<Typed>,
}

/// A `match`; one of its arms takes every value of its subject's type.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) subject: Typed,
    pub(crate) arms: Vec<Arm>,
}

/// An arm: any of its tests opens it; what it binds are the locals after those around it.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    pub(crate) tests: Vec<Test>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) body: Typed,
}

/// What a pattern asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// Nothing.
    Any,
    /// Whether the value is there.
    Present,
    Absent,
    Case(Arc<str>),
    Equals(Scalar),
}

/// What an arm gives a name to.
#[derive(Clone, Debug)]
pub(crate) enum Bind {
    Whole,
    Param(Arc<str>),
}

/// One path of a `with`.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) path: Vec<Step>,
    pub(crate) value: Typed,
}

/// What an overlay sets: of all instances of a resource, or of one.
#[derive(Clone, Debug)]
pub(crate) struct Laid {
    pub(crate) resource: ResourceId,
    pub(crate) key: Option<(Key, Loc)>,
    pub(crate) update: Update,
}

/// The key of an instance, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Int(i64),
    Str(Arc<str>),
}

/// A step of a path. `of` is the record that it enters, to be made of defaults where it is absent.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) of: Option<TypeId>,
}

/// A change of representation, or a rule to hold.
#[derive(Clone, Debug)]
pub(crate) enum Conversion {
    /// A string into the case of [`Checked::bare`] with this number.
    Bare(usize),
    /// A string into a text of a kind, as that is printed.
    Read(Notation),
    /// An integer into a decimal.
    Widen,
    /// A plain value into one that counts as secret.
    Hide,
    /// The rule of a refinement.
    Refine(TypeId),
    /// A reference into the body of its resource.
    Follow,
    /// On every element or entry.
    Each(Box<Conversion>),
    /// On some fields; then the defaults of `of` fill what is missing.
    Fields { of: TypeId, fields: Vec<(Arc<str>, Conversion)> },
    /// A record into a map.
    IntoMap(Vec<(Arc<str>, Conversion)>),
    /// One after the other.
    Then(Box<Conversion>, Box<Conversion>),
}

/// Everything checked; tables run parallel to those of the declarations.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) lets: Vec<Typed>,
    /// What each `let` was found to be.
    pub(crate) let_types: Arc<Vec<Ty>>,
    pub(crate) fns: Vec<Typed>,
    /// How many parts of functions are the same in every call.
    pub(crate) shared: usize,
    pub(crate) defaults: Vec<Typed>,
    pub(crate) inputs: Vec<Option<Typed>>,
    /// Where each secret is kept.
    pub(crate) secrets: Vec<Typed>,
    /// By [`TypeId`]: the rule of a refinement, with `it` as local 0.
    pub(crate) rules: Vec<Option<TypedRule>>,
    /// By [`OverlayId`]: what each sets.
    pub(crate) overlays: Vec<Vec<Laid>>,
    /// Parallel to the declarations.
    pub(crate) environments: Vec<TypedEnvironment>,
    /// Each with its position among the declarations.
    pub(crate) policies: Vec<(usize, TypedPolicy)>,
    /// Parallel to the declarations.
    pub(crate) tests: Vec<TypedTest>,
    /// Literals outside resources that a rule must hold for.
    pub(crate) constants: Vec<Constant>,
    /// The enums of the prelude that a bare string makes, the one of a plain string first.
    pub(crate) bare: Arc<[Bare]>,
}

/// An enum that a bare string makes.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    pub(crate) of: TypeId,
    /// The case that it is; the string is its first parameter.
    pub(crate) case: usize,
    /// What the string is.
    pub(crate) from: Ty,
}

/// A refinement's rule.
#[derive(Clone, Debug)]
pub(crate) struct TypedRule {
    /// A list of allowed integers' bounds, or a condition.
    pub(crate) condition: Condition,
    pub(crate) message: Option<Typed>,
    pub(crate) at: Loc,
}

/// What a rule demands.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Between { from: Typed, to: Typed, inclusive: bool },
    Holds(Typed),
}

/// A resource's key and body; the key's variable is local 0 of the body.
#[derive(Clone, Debug)]
pub(crate) struct TypedResource {
    /// Literals in it that a rule must hold for.
    pub(crate) constants: Vec<Constant>,
    pub(crate) keys: Option<Typed>,
    pub(crate) body: Typed,
}

/// A policy; what it looks at is local 0.
#[derive(Clone, Debug)]
pub(crate) struct TypedPolicy {
    pub(crate) source: Typed,
    pub(crate) condition: Option<Typed>,
    /// Each with its message.
    pub(crate) expects: Vec<(Typed, Option<Typed>)>,
    pub(crate) severity: Severity,
    pub(crate) waivers: Vec<TypedWaiver>,
    /// Whether it judges each resource of a kind by that resource alone, and those that it names.
    pub(crate) alone: bool,
}

/// Who lets what break a policy, and how long.
#[derive(Clone, Debug)]
pub(crate) struct TypedWaiver {
    pub(crate) resource: Typed,
    /// The last day, as days since 1970.
    pub(crate) last: i64,
    pub(crate) until: Arc<str>,
    pub(crate) owner: Arc<str>,
    pub(crate) reason: Arc<str>,
    pub(crate) at: Loc,
}

/// A test.
#[derive(Clone, Debug, Default)]
pub(crate) struct TypedTest {
    /// As a request names it.
    pub(crate) environment: Option<String>,
    pub(crate) inputs: Vec<(InputId, Typed)>,
    pub(crate) expectations: Vec<TypedExpectation>,
}

/// What a test expects.
#[derive(Clone, Debug)]
pub(crate) enum TypedExpectation {
    Holds {
        condition: Typed,
        message: Option<Typed>,
    },
    /// That the items of the fragment have mistakes of this code, and of no other.
    Fails {
        code: &'static str,
        at: Loc,
        fragment: Loc,
    },
}

/// What an environment decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct TypedEnvironment {
    pub(crate) overlay: Option<OverlayId>,
    pub(crate) inputs: Vec<(InputId, Typed)>,
    /// The input that takes the rest of its name.
    pub(crate) key: Option<InputId>,
    /// Inputs that were probably meant by names that there are not.
    pub(crate) meant: Vec<InputId>,
}

/// A value that needs nothing from elsewhere, and the rule that must hold for it.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) of: TypeId,
    pub(crate) typed: Typed,
}

impl Typed {
    /// Whether it is the same wherever it is evaluated, and simple enough to be so twice.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.kind {
            Kind::Constant(_) | Kind::Absent => true,
            Kind::List(elements) => elements.iter().all(Typed::is_closed),
            Kind::Map(fields) | Kind::Record { of: None, fields } => {
                fields.iter().all(|(_, field)| field.is_closed())
            }
            Kind::Negate(inner) | Kind::Not(inner) => inner.is_closed(),
            Kind::Binary(_, left, right) => left.is_closed() && right.is_closed(),
            Kind::Poison
            | Kind::Interpolate(_)
            | Kind::Record { of: Some(_), .. }
            | Kind::Case { .. }
            | Kind::Local(_)
            | Kind::Let(_)
            | Kind::Input(_)
            | Kind::Secret(_)
            | Kind::Resource(_)
            | Kind::Instance(..)
            | Kind::Instances(_)
            | Kind::Every(_)
            | Kind::NameOf(_)
            | Kind::Follow(_)
            | Kind::Call { .. }
            | Kind::Field(..)
            | Kind::Element(..)
            | Kind::Entry(..)
            | Kind::OrElse(..)
            | Kind::Range { .. }
            | Kind::If(_)
            | Kind::Comprehension(_)
            | Kind::Bind(_)
            | Kind::Match(_)
            | Kind::With(..)
            | Kind::Convert(..)
            | Kind::Shared(..) => false,
        }
    }
}
