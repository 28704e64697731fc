//! Sub-queries as functions of what they read of the outer query, while a plan is prepared and split.
//!
//! The optimizer's rules see the outer columns of a correlated sub-query only when they are arguments. What is frozen is
//! given back to the exact engine as the sub-query that it was.

use super::lateral;
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, SkipType, Subquery, TypeSignature, Volatility, lit,
};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Exists,
    /// A value compared with any row of the sub-query. The value is the last argument.
    Any(Operator),
    Scalar,
}

/// A sub-query whose arguments are the outer columns that it reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub kind: Kind,
    pub plan: Arc<LogicalPlan>,
    /// The outer columns as the plan calls them, in the order of the arguments.
    pub outer: Vec<Column>,
    pub returned: DataType,
    signature: Signature,
}

impl Call {
    /// The call that an expression is, with its arguments.
    pub fn of(e: &Expr) -> Option<(&Call, &[Expr])> {
        let Expr::ScalarFunction(f) = e else { return None };
        Some((f.func.inner().downcast_ref::<Call>()?, &f.args))
    }

    fn expression(kind: Kind, plan: LogicalPlan, value: Option<Expr>, schema: &DFSchema) -> EngineResult<Expr> {
        let mut outer: Vec<(Column, Expr)> = vec![];
        each_outer_reference(&plan, &mut |e, c| {
            if !outer.iter().any(|(known, _)| known == c) {
                // What the enclosing query does not have either is a column of the one around it.
                let argument = if schema.has_column(c) { Expr::Column(c.clone()) } else { e.clone() };
                outer.push((c.clone(), argument));
            }
        })?;
        let returned = if kind == Kind::Scalar { plan.schema().field(0).data_type().clone() } else { DataType::Boolean };
        let (outer, mut args): (Vec<_>, Vec<_>) = outer.into_iter().unzip();
        args.extend(value);
        let call = Call { kind, plan: Arc::new(plan), outer, returned, signature: signature() };
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(call)), args)))
    }

    /// The sub-query itself, its outer columns replaced by the arguments.
    fn given_back(&self, args: &[Expr], schema: &DFSchema) -> EngineResult<Expr> {
        let outer = args.iter().map(|e| to_outer(e, schema)).collect::<EngineResult<Vec<_>>>()?;
        let plan = self.plan.as_ref().clone().transform_up(|node| {
            node.map_expressions(|e| {
                e.transform_up(|e| match &e {
                    Expr::OuterReferenceColumn(_, c) => match self.outer.iter().position(|known| known == c) {
                        Some(place) => Ok(Transformed::yes(outer[place].clone())),
                        None => Ok(Transformed::no(e)),
                    },
                    _ => Ok(Transformed::no(e)),
                })
            })
        })?;
        let plan = given_back(plan.data)?;
        let mut outer_ref_columns = vec![];
        each_outer_reference(&plan, &mut |e, _| {
            if !outer_ref_columns.contains(e) {
                outer_ref_columns.push(e.clone());
            }
        })?;
        let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Default::default() };
        let value = || args.last().cloned().map(Box::new).expect("a comparison has a value");
        Ok(match self.kind {
            Kind::Exists => Expr::Exists(Exists { subquery, negated: false }),
            Kind::Any(Operator::Eq) => Expr::InSubquery(InSubquery { expr: value(), subquery, negated: false }),
            Kind::Any(op) => Expr::SetComparison(SetComparison { expr: value(), subquery, op, quantifier: SetQuantifier::Any }),
            Kind::Scalar => Expr::ScalarSubquery(subquery),
        })
    }
}

/// The plan with its sub-queries as calls, each prepared by itself, and its lateral joins as ordinary ones.
pub(super) fn take_out(plan: LogicalPlan, prepare: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
    let taken = plan.transform_up(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            let name = names.save(&e);
            let taken = e.transform_up(|e| taken_out(e, &schema, prepare))?;
            Ok(taken.update_data(|e| name.restore(e)))
        })?
        .transform_data(lateral::taken_out)
    })?;
    Ok(taken.data)
}

fn taken_out(e: Expr, schema: &DFSchema, prepare: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>) -> EngineResult<Transformed<Expr>> {
    let inner = |s: Subquery| -> EngineResult<LogicalPlan> { Ok(prepare(any_order(Arc::unwrap_or_clone(s.subquery), false))?) };
    let (call, negated) = match e {
        Expr::Exists(Exists { subquery, negated }) => {
            let rows = LogicalPlanBuilder::from(any_order(Arc::unwrap_or_clone(subquery.subquery), true)).project(vec![lit(true)])?;
            (Call::expression(Kind::Exists, prepare(rows.build()?)?, None, schema)?, negated)
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            (Call::expression(Kind::Any(Operator::Eq), inner(subquery)?, Some(*expr), schema)?, negated)
        }
        // x > ALL (...) is NOT (x <= ANY (...)).
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let all = quantifier == SetQuantifier::All;
            let op = if all { op.negate().ok_or_else(|| Error::new(format!("{op} ALL has no opposite")))? } else { op };
            (Call::expression(Kind::Any(op), inner(subquery)?, Some(*expr), schema)?, all)
        }
        Expr::ScalarSubquery(subquery) => (Call::expression(Kind::Scalar, inner(subquery)?, None, schema)?, false),
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(if negated { Expr::Not(Box::new(call)) } else { call }))
}

/// The plan without an ORDER BY that decides nothing; where `existence` is all that matters, without a LIMIT of a row or more.
fn any_order(plan: LogicalPlan, existence: bool) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => any_order(Arc::unwrap_or_clone(sort.input), existence),
        LogicalPlan::Limit(limit) if existence && lets_a_row_through(&limit) => any_order(Arc::unwrap_or_clone(limit.input), true),
        other => other,
    }
}

fn lets_a_row_through(limit: &Limit) -> bool {
    let fetch = limit.get_fetch_type().is_ok_and(|f| matches!(f, FetchType::Literal(None | Some(1..))));
    fetch && limit.get_skip_type().is_ok_and(|s| matches!(s, SkipType::Literal(0)))
}

/// The plan with its calls as the sub-queries that they were, and its lateral joins.
pub(super) fn given_back(plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    let given = plan.transform_up(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            let name = names.save(&e);
            let given = e.transform_up(|e| call_given_back(e, &schema))?;
            Ok(given.update_data(|e| name.restore(e)))
        })?
        .transform_data(lateral::given_back)
    })?;
    Ok(given.data)
}

/// A call as the sub-query that it was; its arguments are over `schema`.
pub(super) fn call_given_back(e: Expr, schema: &DFSchema) -> EngineResult<Transformed<Expr>> {
    match Call::of(&e) {
        Some((call, args)) => Ok(Transformed::yes(call.given_back(args, schema)?)),
        None => Ok(Transformed::no(e)),
    }
}

/// Whether the plan reads columns of the query around it.
pub(super) fn reads_outer(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    each_outer_reference(plan, &mut |_, _| found = true)?;
    Ok(found)
}

/// The calls in an expression, outermost first.
pub(super) fn each_call(e: &Expr, f: &mut dyn FnMut(&Call) -> Result<()>) -> Result<()> {
    e.apply(|e| {
        if let Some((call, _)) = Call::of(e) {
            f(call)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// What the right side of a lateral join reads, the join's condition says.
pub(super) fn each_outer_reference(plan: &LogicalPlan, f: &mut dyn FnMut(&Expr, &Column)) -> EngineResult<()> {
    plan.apply_expressions(|e| {
        e.apply(|e| {
            if let Expr::OuterReferenceColumn(_, c) = e {
                f(e, c);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    let inputs = plan.inputs();
    let outside = if lateral::is_lateral(plan) { &inputs[..1] } else { &inputs[..] };
    outside.iter().try_for_each(|input| each_outer_reference(input, f))
}

pub(super) fn signature() -> Signature {
    Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Immutable)
}

fn to_outer(e: &Expr, schema: &DFSchema) -> EngineResult<Expr> {
    let outer = e.clone().transform_up(|e| match e {
        Expr::Column(c) => {
            let (_, field) = schema.qualified_field_from_column(&c)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), c)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outer.data)
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Exists => "exists",
            Kind::Any(_) => "any",
            Kind::Scalar => "subquery",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(self.returned.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        Err(Error::new("a sub-query was left out of the plan").into())
    }
}
