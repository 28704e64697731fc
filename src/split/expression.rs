//! Expressions: what is frozen becomes a column of the skeleton, what is live becomes plain data.

use super::image;
use super::relation::{self, Live, Relation, Slot, place, place_of};
use super::rows::number;
use super::subquery::{Call, Kind, call_given_back};
use super::{Splitter, column, user_function};
use crate::algebra::{Aggregate, Comparison, Expression, Grouping, Output, OutputValue, Predicate, Vector};
use crate::error::{Error, Result, both};
use crate::scalar::{Binary, Slope, Unary};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Case, InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

impl Splitter<'_> {
    /// Whether the expression reads a live column, directly or in a sub-query.
    pub(super) fn is_live_expression(&self, e: &Expr, schema: &DFSchema, relation: &Relation) -> Result<bool> {
        let mut live = false;
        e.apply(|node| {
            match node {
                Expr::Column(c) => live |= matches!(relation.columns[schema.index_of_column(c)?], Slot::Live(_)),
                Expr::OuterReferenceColumn(_, c) => live |= matches!(relation.of_outer(c)?, Slot::Live(_)),
                _ => {}
            }
            if let Some((call, _)) = Call::of(node) {
                live = live || self.is_live(&call.plan)?;
            }
            Ok(if live { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(live)
    }

    /// A frozen expression over the skeleton's columns.
    pub(super) fn skeleton_expression(&self, e: &Expr, schema: &DFSchema, relation: &Relation) -> Result<Expr> {
        let rewritten = e.clone().transform(|node| {
            let slot = match &node {
                Expr::Column(c) => &relation.columns[schema.index_of_column(c)?],
                Expr::OuterReferenceColumn(_, c) => relation.of_outer(c)?,
                _ => return call_given_back(node, relation.plan.schema()),
            };
            match slot {
                Slot::Frozen(id) => Ok(Transformed::yes(column(*id))),
                Slot::Live(_) => Err(Error::new(format!("the split took the live {node} for frozen")).into()),
            }
        })?;
        Ok(rewritten.data)
    }

    /// A column of a projection.
    pub(super) fn column(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Slot> {
        if !self.is_live_expression(e, schema, input)? {
            return Ok(Slot::Frozen(self.frozen_column(e, schema, input)?));
        }
        if e.get_type(schema)? == DataType::Boolean {
            return Ok(Slot::Live(Live::Truth(self.predicate(e, schema, input)?)));
        }
        Ok(Slot::Live(Live::Number(self.number(e, schema, input)?)))
    }

    /// An expression as a live number (or vector).
    pub(super) fn number(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Expression> {
        if !self.is_live_expression(e, schema, input)? {
            return self.frozen_number(e, schema, input);
        }
        if e.get_type(schema)? == DataType::Boolean && !matches!(e, Expr::Alias(_) | Expr::Column(_) | Expr::OuterReferenceColumn(..)) {
            return Ok(Expression::Degree(Box::new(self.predicate(e, schema, input)?)));
        }
        match e {
            Expr::Alias(alias) => self.number(&alias.expr, schema, input),
            Expr::Column(c) => Ok(number(input.live(schema.index_of_column(c)?)?)),
            Expr::Negative(x) => Ok(Expression::Unary(Unary::Negate, Box::new(self.number(x, schema, input)?))),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let operands = both(self.number(left, schema, input), self.number(right, schema, input));
                self.arithmetic(e, *op, operands?, schema)
            }
            Expr::Cast(cast) => self.cast(e, &cast.expr, cast.field.data_type(), schema, input),
            Expr::TryCast(cast) => self.cast(e, &cast.expr, cast.field.data_type(), schema, input),
            Expr::Case(case) => self.case(case, schema, input),
            Expr::ScalarFunction(function) => self.function(e, function, schema, input),
            Expr::OuterReferenceColumn(_, c) => match input.of_outer(c)? {
                Slot::Live(live) => Ok(number(live.clone())),
                Slot::Frozen(_) => self.frozen_number(e, schema, input),
            },
            other => Err(no_gradient(other)),
        }
    }

    fn frozen_number(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Expression> {
        if let Some(value) = constant(e) {
            if value.is_null() {
                return Ok(Expression::Null);
            }
            if let Ok(ScalarValue::Float64(Some(x))) = value.cast_to(&DataType::Float64)
                && value.data_type().is_numeric()
            {
                return Ok(Expression::Number(x));
            }
        }
        let kind = e.get_type(schema)?;
        if !is_number_like(&kind) {
            let what = format!("{} is {kind}, where a live expression needs numbers", e.human_display());
            return Err(Error::new(what)
                .at(place(e))
                .hint("text may be in frozen columns; a live choice is one of numbers: CASE WHEN ... THEN 1 ELSE 0 END"));
        }
        Ok(Expression::Residual(self.frozen_column(e, schema, input)?))
    }

    fn arithmetic(&self, e: &Expr, op: Operator, (a, b): (Expression, Expression), schema: &DFSchema) -> Result<Expression> {
        let binary = |function, a, b| Expression::Binary(function, Box::new(a), Box::new(b));
        match op {
            Operator::Plus => Ok(binary(Binary::Add, a, b)),
            Operator::Minus => Ok(binary(Binary::Subtract, a, b)),
            Operator::Multiply => Ok(binary(Binary::Multiply, a, b)),
            Operator::Divide if e.get_type(schema)?.is_integer() => {
                self.step(Unary::Trunc, binary(Binary::Divide, a, b), e, "integer division of a live value is a step")
            }
            Operator::Divide => Ok(binary(Binary::Divide, a, b)),
            // What is left over rises with the dividend; how often the divisor fits is a step.
            Operator::Modulo => {
                let fits = self.step(Unary::Trunc, binary(Binary::Divide, a.clone(), b.clone()), e, "modulo of a live value is a step")?;
                Ok(binary(Binary::Subtract, a, binary(Binary::Multiply, b, Expression::Detach(Box::new(fits)))))
            }
            Operator::StringConcat => Err(text(e)),
            _ => Err(no_gradient(e)),
        }
    }

    fn cast(&mut self, whole: &Expr, inner: &Expr, to: &DataType, schema: &DFSchema, input: &mut Relation) -> Result<Expression> {
        let from = inner.get_type(schema)?;
        if matches!(to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            return Err(text(whole));
        }
        if to.is_integer() && (from.is_floating() || from.is_decimal()) {
            let x = self.number(inner, schema, input)?;
            return self.step(Unary::Trunc, x, whole, "a cast of a live value to an integer is a step");
        }
        if !is_number_like(to) {
            return Err(no_gradient(whole));
        }
        self.number(inner, schema, input)
    }

    fn case(&mut self, case: &Case, schema: &DFSchema, input: &mut Relation) -> Result<Expression> {
        let mut branches = vec![];
        for (when, then) in &case.when_then_expr {
            let condition = case.expr.as_ref().map_or_else(|| (**when).clone(), |e| (**e).clone().eq((**when).clone()));
            let (p, x) = both(self.predicate(&condition, schema, input), self.number(then, schema, input))?;
            branches.push((p, x));
        }
        let otherwise = case.else_expr.as_ref().map_or(Ok(Expression::Null), |e| self.number(e, schema, input))?;
        Ok(Expression::Case { branches, otherwise: Box::new(otherwise) })
    }

    fn function(&mut self, e: &Expr, function: &ScalarFunction, schema: &DFSchema, input: &mut Relation) -> Result<Expression> {
        if let Some((call, [])) = Call::of(e) {
            let relation = self.alone(&call.plan)?;
            return self.one_row(relation, input, place_of(&call.plan));
        }
        if let Some(f) = user_function::of(&function.func) {
            let arguments = function.args.iter().map(|x| self.number(x, schema, input)).collect::<Result<Vec<_>>>()?;
            return Ok(Expression::Call { function: f.clone(), arguments, label: relation::text(e) });
        }
        let name = function.func.name();
        let shape = (name, function.args.as_slice());
        match shape {
            ("detach", [x]) => return Ok(Expression::Detach(Box::new(self.number(x, schema, input)?))),
            ("coalesce" | "nvl", list) => {
                return Ok(Expression::Coalesce(list.iter().map(|x| self.number(x, schema, input)).collect::<Result<_>>()?));
            }
            ("array_element", [x, Expr::Literal(number, _)]) if is_number_like(&e.get_type(schema)?) => {
                if let Ok(ScalarValue::Int64(Some(place @ 1..))) = number.cast_to(&DataType::Int64) {
                    return Ok(Expression::Element(Box::new(self.number(x, schema, input)?), place as usize - 1));
                }
            }
            ("log", [x]) => return Ok(Expression::Unary(Unary::Log10, Box::new(self.number(x, schema, input)?))),
            ("log", [base, x]) => {
                let (base, x) = both(self.number(base, schema, input), self.number(x, schema, input))?;
                let ln = |e| Box::new(Expression::Unary(Unary::Ln, Box::new(e)));
                return Ok(Expression::Binary(Binary::Divide, ln(x), ln(base)));
            }
            _ => {}
        }
        if let Some((f, operands)) = image::call(name, &function.args)? {
            let arguments = operands.iter().map(|x| self.number(x, schema, input)).collect::<Result<Vec<_>>>()?;
            return Ok(Expression::Vector { function: f, arguments, label: relation::text(e) });
        }
        if let Some(f) = Vector::ALL.iter().find(|f| f.name() == name && f.arity() == function.args.len()) {
            let arguments = function.args.iter().map(|x| self.number(x, schema, input)).collect::<Result<Vec<_>>>()?;
            return Ok(Expression::Vector { function: *f, arguments, label: relation::text(e) });
        }
        if let (Some(f), [x, digits @ ..]) = (Unary::ALL.iter().find(|f| f.name() == name && f.slope_kind() == Slope::Step), shape.1) {
            let x = self.number(x, schema, input)?;
            let step = |x| self.step(*f, x, e, &format!("{name} of a live value is a step"));
            let unit = match digits {
                [] => return step(x),
                [digits] => constant(digits).and_then(|d| d.cast_to(&DataType::Int32).ok()),
                _ => None,
            };
            let Some(ScalarValue::Int32(Some(digits))) = unit else { return step(x).and(Err(no_gradient(e))) };
            let scaled = |f, x| Expression::Binary(f, Box::new(x), Box::new(Expression::Number(10f64.powi(digits))));
            return Ok(scaled(Binary::Divide, step(scaled(Binary::Multiply, x))?));
        }
        if let (Some(f), [x]) = (Unary::ALL.iter().find(|f| f.name() == name), shape.1) {
            return Ok(Expression::Unary(*f, Box::new(self.number(x, schema, input)?)));
        }
        if matches!(name, "greatest" | "least") && is_list(&e.get_type(schema)?) {
            return Err(vectors(e));
        }
        if let (Some(f), [first, rest @ ..]) = (Binary::ALL.iter().find(|f| f.name() == name && f.slope_kind() != Slope::Step), shape.1)
            && !rest.is_empty()
        {
            let mut value = self.number(first, schema, input)?;
            for x in rest {
                value = Expression::Binary(*f, Box::new(value), Box::new(self.number(x, schema, input)?));
            }
            return Ok(value);
        }
        if takes_text(e, schema) { Err(text(e)) } else { Err(no_gradient(e)) }
    }

    /// A step function, which only a run whose values are exact can take.
    fn step(&self, step: Unary, x: Expression, e: &Expr, what: &str) -> Result<Expression> {
        if self.takes_steps {
            return Ok(Expression::Step(step, Box::new(x)));
        }
        Err(Error::new(format!("{what}: {}", e.human_display())).at(place(e)).hint(
            "CAST(... AS DOUBLE) before it, so that a small change of the value has an effect, or keep it exact: RELAX (forward => 'exact')",
        ))
    }

    /// The relation of a sub-query that does not depend on the rows around it.
    fn alone(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        let contexts = std::mem::take(&mut self.contexts);
        let relation = self.relation(plan);
        self.contexts = contexts;
        relation
    }

    /// EXISTS over rows that do not depend on those around it.
    fn exists(&mut self, plan: &LogicalPlan, input: &mut Relation) -> Result<Predicate> {
        let mut relation = self.alone(plan)?;
        relation.flush()?;
        let output = Output {
            value: OutputValue::Aggregate { aggregate: Aggregate::Presence, argument: None, filter: None },
            label: "a row exists".into(),
        };
        let stage = self.end_stage(&relation, Grouping::Whole, vec![], vec![output], vec![])?;
        Ok(Predicate::Degree(Box::new(self.first_row(stage, input))))
    }

    /// An expression as a live truth value.
    pub(super) fn predicate(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Predicate> {
        if !self.is_live_expression(e, schema, input)? {
            return Ok(Predicate::Frozen(self.frozen_column(e, schema, input)?));
        }
        let mut boxed = |splitter: &mut Self, e: &Expr| splitter.predicate(e, schema, input).map(Box::new);
        match e {
            Expr::Alias(alias) => self.predicate(&alias.expr, schema, input),
            Expr::Column(c) => Ok(match input.live(schema.index_of_column(c)?)? {
                Live::Truth(p) => p,
                Live::Number(e) => Predicate::Degree(Box::new(e)),
            }),
            Expr::OuterReferenceColumn(..) => Ok(Predicate::Degree(Box::new(self.number(e, schema, input)?))),
            Expr::Not(p) => Ok(Predicate::Not(boxed(self, p)?)),
            Expr::IsTrue(p) => Ok(never_null(*boxed(self, p)?)),
            Expr::IsFalse(p) => Ok(never_null(Predicate::Not(boxed(self, p)?))),
            Expr::IsNotTrue(p) => Ok(Predicate::Not(Box::new(never_null(*boxed(self, p)?)))),
            Expr::IsNotFalse(p) => Ok(Predicate::Not(Box::new(never_null(Predicate::Not(boxed(self, p)?))))),
            Expr::IsUnknown(p) => Ok(Predicate::IsNull(Box::new(Expression::Degree(boxed(self, p)?)))),
            Expr::IsNotUnknown(p) => Ok(Predicate::Not(Box::new(Predicate::IsNull(Box::new(Expression::Degree(boxed(self, p)?)))))),
            Expr::IsNull(x) => Ok(Predicate::IsNull(Box::new(self.number(x, schema, input)?))),
            Expr::IsNotNull(x) => Ok(Predicate::Not(Box::new(Predicate::IsNull(Box::new(self.number(x, schema, input)?))))),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let (a, b) = (boxed(self, left), boxed(self, right));
                let (a, b) = both(a, b)?;
                Ok(if *op == Operator::And { Predicate::And(a, b) } else { Predicate::Or(a, b) })
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.compare(e, left, *op, right, schema, input),
            Expr::Between(between) => {
                let low = between.expr.clone().gt_eq(*between.low.clone());
                let high = between.expr.clone().lt_eq(*between.high.clone());
                let (low, high) = (boxed(self, &low)?, boxed(self, &high)?);
                let within = self.between(low, high);
                Ok(if between.negated { Predicate::Not(Box::new(within)) } else { within })
            }
            Expr::InList(list) => self.in_list(list, schema, input),
            Expr::ScalarFunction(f) if f.func.name() == "hard" => Ok(Predicate::Hard(boxed(self, &f.args[0])?)),
            Expr::ScalarFunction(f) if f.func.name() == "soft" => match &f.args[1] {
                Expr::Literal(t, _) => match t.cast_to(&DataType::Float64) {
                    Ok(ScalarValue::Float64(Some(t))) if t > 0.0 => Ok(Predicate::Soft(boxed(self, &f.args[0])?, t)),
                    _ => Err(Error::new(format!("a temperature must be positive, not {t}")).at(place(e)).hint("soft(predicate, 0.1)")),
                },
                _ => Err(Error::new("the temperature of soft() must be a literal number").at(place(e)).hint("soft(predicate, 0.1)")),
            },
            Expr::Case(_) => Ok(Predicate::Degree(Box::new(self.case_of_truths(e, schema, input)?))),
            other if Call::of(other).is_some() => match Call::of(other) {
                Some((call, [])) if call.kind == Kind::Exists => self.exists(&call.plan, input),
                Some((call, [])) => Ok(Predicate::Degree(Box::new({
                    let relation = self.alone(&call.plan)?;
                    self.one_row(relation, input, place_of(&call.plan))?
                }))),
                _ => Err(Error::new("a sub-query over a live relation in this place")
                    .at(place(other))
                    .hint("write it in the SELECT list or in WHERE")),
            },
            other if takes_text(other, schema) => Err(text(other)),
            other => Err(no_gradient(other)),
        }
    }

    fn case_of_truths(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Expression> {
        let Expr::Case(case) = e else { return Err(no_gradient(e)) };
        self.case(case, schema, input)
    }

    fn compare(&mut self, e: &Expr, left: &Expr, op: Operator, right: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Predicate> {
        let comparison = match op {
            Operator::Gt => Comparison::Greater,
            Operator::GtEq => Comparison::GreaterEqual,
            Operator::Lt => Comparison::Less,
            Operator::LtEq => Comparison::LessEqual,
            Operator::Eq => Comparison::Equal,
            Operator::NotEq => Comparison::NotEqual,
            _ if takes_text(e, schema) => return Err(text(e)),
            _ => return Err(no_gradient(e)),
        };
        if is_list(&left.get_type(schema)?) || is_list(&right.get_type(schema)?) {
            return Err(vectors(e));
        }
        let (a, b) = both(self.number(left, schema, input), self.number(right, schema, input))?;
        if let Some(among) = self.among(comparison, &a, &b) {
            return Ok(among);
        }
        let (a, b) = self.half_way(comparison, a, b);
        Ok(Predicate::Compare { comparison, left: Box::new(a), right: Box::new(b), label: relation::text(e) })
    }

    fn in_list(&mut self, list: &InList, schema: &DFSchema, input: &mut Relation) -> Result<Predicate> {
        let mut any = None;
        for item in &list.list {
            let equal = self.predicate(&list.expr.as_ref().clone().eq(item.clone()), schema, input)?;
            any = Some(match any {
                None => equal,
                Some(so_far) => Predicate::Or(Box::new(so_far), Box::new(equal)),
            });
        }
        let any = any.ok_or_else(|| Error::new("an empty IN list"))?;
        Ok(if list.negated { Predicate::Not(Box::new(any)) } else { any })
    }
}

/// The predicate, false where it is NULL.
pub(super) fn never_null(p: Predicate) -> Predicate {
    Predicate::Degree(Box::new(Expression::Coalesce(vec![Expression::Degree(Box::new(p)), Expression::Number(0.0)])))
}

/// A literal, through the casts that the planner put around it.
pub(super) fn constant(e: &Expr) -> Option<ScalarValue> {
    match e {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        Expr::Negative(x) => constant(x)?.arithmetic_negate().ok(),
        Expr::Alias(alias) => constant(&alias.expr),
        _ => None,
    }
}

fn is_number_like(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => is_number_like(item.data_type()),
        DataType::Boolean | DataType::Null => true,
        other => other.is_numeric(),
    }
}

pub(super) fn is_list(kind: &DataType) -> bool {
    matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// Why an order of live vectors is refused.
pub(super) fn vectors(e: &Expr) -> Error {
    Error::new(format!("live vectors have no order: {}", e.human_display()))
        .at(place(e))
        .hint("compare numbers of them: an element v[1], array_distance(a, b), inner_product(a, b)")
}

fn takes_text(e: &Expr, schema: &DFSchema) -> bool {
    let is_text = |kind: DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let mut found = false;
    let walked = e.apply(|node| {
        let written = matches!(node, Expr::Literal(..));
        found |= (!written && node.get_type(schema).is_ok_and(is_text)) || matches!(node, Expr::Like(_) | Expr::SimilarTo(_));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && found
}

fn no_gradient(e: &Expr) -> Error {
    Error::new(format!("{} has no gradient", e.human_display())).at(place(e)).hint(
        "compute it in a table before training, use a function that has a slope, or train without one: RELAX (estimator => 'perturbed')",
    )
}

fn text(e: &Expr) -> Error {
    Error::new(format!("a string function of a live value has no gradient: {}", e.human_display()))
        .at(place(e))
        .hint("strings can only be made of frozen columns")
}
