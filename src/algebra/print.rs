//! The printed face of expressions and stages, as `EXPLAIN TRAIN` shows them.

use super::{Aggregate, Comparison, Expression, Predicate, Stage};
use std::fmt;

impl Stage {
    /// An expression of this stage as SQL over the names of its residuals.
    pub fn show<'a>(&'a self, expression: &'a Expression, live: &'a dyn Fn(usize, usize) -> String) -> String {
        Printer { stage: self, live }.expression(expression)
    }
}

struct Printer<'a> {
    stage: &'a Stage,
    live: &'a dyn Fn(usize, usize) -> String,
}

impl Printer<'_> {
    fn expression(&self, e: &Expression) -> String {
        match e {
            Expression::Number(x) => x.to_string(),
            Expression::Null => "NULL".into(),
            Expression::Residual(slot) => self.stage.residuals[*slot].name.clone(),
            Expression::Input { input, column } => (self.live)(*input, *column),
            Expression::Unary(f, x) => format!("{}({})", f.name(), self.expression(x)),
            Expression::Binary(f, a, b) if f.name().chars().all(|c| !c.is_alphabetic()) => {
                format!("({} {} {})", self.expression(a), f.name(), self.expression(b))
            }
            Expression::Binary(f, a, b) => format!("{}({}, {})", f.name(), self.expression(a), self.expression(b)),
            Expression::Vector(f, arguments) => format!("{}({})", f.name(), self.list(arguments)),
            Expression::Element(x, place) => format!("{}[{}]", self.expression(x), place + 1),
            Expression::Detach(x) => format!("detach({})", self.expression(x)),
            Expression::Coalesce(list) => format!("coalesce({})", self.list(list)),
            Expression::Case { branches, otherwise } => {
                let branches: String =
                    branches.iter().map(|(p, x)| format!(" WHEN {} THEN {}", self.predicate(p), self.expression(x))).collect();
                format!("CASE{branches} ELSE {} END", self.expression(otherwise))
            }
            Expression::Degree(p) => format!("degree({})", self.predicate(p)),
        }
    }

    fn list(&self, list: &[Expression]) -> String {
        list.iter().map(|e| self.expression(e)).collect::<Vec<_>>().join(", ")
    }

    fn predicate(&self, p: &Predicate) -> String {
        match p {
            Predicate::Compare { label, .. } => label.clone(),
            Predicate::And(a, b) => format!("({} AND {})", self.predicate(a), self.predicate(b)),
            Predicate::Or(a, b) => format!("({} OR {})", self.predicate(a), self.predicate(b)),
            Predicate::Not(p) => format!("NOT {}", self.predicate(p)),
            Predicate::IsNull(x) => format!("{} IS NULL", self.expression(x)),
            Predicate::Frozen(slot) => self.stage.residuals[*slot].name.clone(),
            Predicate::Degree(x) => self.expression(x),
            Predicate::Hard(p) => format!("hard({})", self.predicate(p)),
            Predicate::Soft(p, t) => format!("soft({}, {t})", self.predicate(p)),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
        })
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aggregate::Count => "count",
            Aggregate::Sum => "sum",
            Aggregate::Avg => "avg",
            Aggregate::Presence => "presence",
            Aggregate::Absence => "absence",
        })
    }
}
