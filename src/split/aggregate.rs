//! Aggregates: the end of a stage. Keys are frozen; aggregates that nothing live reaches are left to the exact engine.

use super::relation::{Live, Relation, Slot, place, refusal};
use super::{Splitter, column};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate};
use crate::error::{Error, Result};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{self, Expr, ExprSchemable, LogicalPlan, lit};
use std::collections::BTreeSet;

impl Splitter<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &logical_expr::Aggregate) -> Result<Relation> {
        let input = self.relation(&aggregate.input)?;
        self.aggregate_of(aggregate, input)
    }

    /// An aggregate over a relation that is split already.
    pub(super) fn aggregate_of(&mut self, aggregate: &logical_expr::Aggregate, input: Relation) -> Result<Relation> {
        let input = self.with_outer(input, aggregate.group_expr.iter().chain(&aggregate.aggr_expr))?;
        let context = self.contexts.last().filter(|c| input.carries(&c.key)).cloned();
        let (mut input, width) = (input, aggregate.group_expr.len());
        let all = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).cloned();
        let (schema, mut expressions) = self.unnest(&mut input, aggregate.input.schema(), all)?;
        let aggregates = expressions.split_off(width);
        let keys = self.keys(aggregate, &expressions, &schema, &mut input)?;
        let weighted = !input.weight.is_empty();
        let (mut live, mut frozen, mut order) = (vec![], vec![], vec![]);
        for e in &aggregates {
            if !weighted && !self.is_live_expression(e, &schema, &input)? {
                let id = self.fresh();
                frozen.push((self.skeleton_expression(e, &schema, &input)?, id));
                order.push(Err((id, empty_value(e, &schema)?)));
                continue;
            }
            match self.live_aggregate(e, &schema, &mut input) {
                Ok(output) => {
                    let counts = matches!(output.value, OutputValue::Aggregate { aggregate: Aggregate::Count, .. });
                    order.push(Ok((live.len(), counts)));
                    live.push(output);
                }
                Err(refusal) => self.refusals.push(refusal),
            }
        }
        if let Some(error) = Error::all(self.refusals.clone()) {
            return Err(error);
        }
        input.flush()?;
        let outer = context.as_ref().map(|c| input.key(&c.key)).transpose()?;
        let grouped_by: Vec<usize> = outer.into_iter().chain(keys.iter().copied().collect::<BTreeSet<_>>()).collect();
        let whole = keys.is_empty();
        let grouping = match (whole, outer.is_some()) {
            (true, false) => Grouping::Whole,
            (true, true) => Grouping::Each,
            (false, _) => Grouping::Keys,
        };
        let presence = weighted && grouping == Grouping::Keys;
        if presence {
            live.push(Output {
                value: OutputValue::Aggregate { aggregate: Aggregate::Presence, argument: None, filter: None },
                label: "presence of the group".into(),
            });
        }
        let stage = self.end_stage(&input, grouping, grouped_by.clone(), live, frozen.clone())?;
        let passed: Vec<usize> = grouped_by.iter().copied().chain(frozen.iter().map(|(_, id)| *id)).collect();
        let (mut relation, renamed, row) = match (&context, outer) {
            (Some(context), Some(key)) => self.groups_of_pairs(context, stage, key, &passed, &input.names, whole)?,
            _ => self.read_stage(stage, &passed, &input.names)?,
        };
        relation.columns = keys.iter().map(|k| Slot::Frozen(renamed[k])).collect();
        for column_of in order {
            let slot = match column_of {
                Ok((output, counts)) => {
                    let value = Expression::Input { input: row, column: output };
                    let counted = grouping == Grouping::Each && counts;
                    let value = if counted { Expression::Coalesce(vec![value, Expression::Number(0.0)]) } else { value };
                    Slot::Live(Live::Number(value))
                }
                Err((id, empty)) if grouping == Grouping::Each && !empty.is_null() => {
                    let filled = self.fresh();
                    let e = coalesce(vec![column(renamed[&id]), lit(empty)]);
                    Slot::Frozen(relation.add(filled, input.names.get(&id).cloned().unwrap_or_default(), e))
                }
                Err((id, _)) => Slot::Frozen(renamed[&id]),
            };
            relation.columns.push(slot);
        }
        relation.flush()?;
        if presence {
            let presence = self.stages[stage].outputs.len() - 1;
            relation.weight.push(Expression::Input { input: row, column: presence });
        }
        Ok(relation)
    }

    fn keys(
        &mut self,
        aggregate: &logical_expr::Aggregate,
        keys_of: &[Expr],
        schema: &DFSchema,
        input: &mut Relation,
    ) -> Result<Vec<usize>> {
        let mut keys = vec![];
        for e in keys_of {
            if let Expr::GroupingSet(_) = e {
                return Err(refusal(
                    "GROUPING SETS over a live relation",
                    &LogicalPlan::Aggregate(aggregate.clone()),
                    "write one GROUP BY query for each set",
                ));
            }
            if self.is_live_expression(e, schema, input)? {
                self.refusals.push(
                    Error::new(format!("GROUP BY the live value {}", e.human_display()))
                        .at(place(e))
                        .hint("group by frozen columns; a live number has no finite set of values"),
                );
                continue;
            }
            keys.push(self.frozen_column(e, schema, input)?);
        }
        Ok(keys)
    }

    /// Ends the stage of an aggregate with these outputs.
    pub(super) fn end_stage(
        &mut self,
        input: &Relation,
        grouping: Grouping,
        keys: Vec<usize>,
        mut outputs: Vec<Output>,
        frozen: Vec<(Expr, usize)>,
    ) -> Result<usize> {
        // Every expression of the stage is renumbered together; predicates travel as degrees.
        let mut expressions = input.weight.clone();
        let weights = expressions.len();
        for output in &outputs {
            if let OutputValue::Aggregate { argument, filter, .. } = &output.value {
                expressions.extend(argument.clone());
                expressions.extend(filter.clone().map(|p| Expression::Degree(Box::new(p))));
            }
        }
        let stage = self.close(input, grouping, keys, &mut expressions, vec![], frozen)?;
        let mut rest = expressions.split_off(weights).into_iter();
        for output in &mut outputs {
            if let OutputValue::Aggregate { argument, filter, .. } = &mut output.value {
                *argument = argument.take().and_then(|_| rest.next());
                *filter = filter.take().and_then(|_| rest.next()).map(|e| match e {
                    Expression::Degree(p) => *p,
                    other => Predicate::Degree(Box::new(other)),
                });
            }
        }
        self.stages[stage].weight = expressions;
        self.stages[stage].outputs = outputs;
        Ok(stage)
    }

    fn live_aggregate(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Output> {
        let inner = if let Expr::Alias(alias) = e { &alias.expr } else { e };
        let Expr::AggregateFunction(function) = inner else {
            return Err(Error::new("an aggregate that has no gradient").at(place(e)));
        };
        let (name, params) = (function.func.name().to_string(), &function.params);
        let label = inner.human_display().to_string();
        let refuse = |what: String, hint: &str| Err(Error::new(what).at(place(inner)).hint(hint));
        if params.distinct {
            return refuse(
                format!("{label} of a live relation"),
                "DISTINCT is not supported yet over live rows: aggregate in a sub-query with GROUP BY",
            );
        }
        let aggregate = match name.as_str() {
            "count" => Aggregate::Count,
            "sum" => Aggregate::Sum,
            "avg" => Aggregate::Avg,
            _ => return refuse(format!("the aggregate {name} of a live relation has no relaxation yet"), "COUNT, SUM and AVG have one"),
        };
        let filter = params.filter.as_deref().map(|p| self.predicate(p, schema, input)).transpose()?;
        let argument = match (aggregate, params.args.as_slice()) {
            (Aggregate::Count, [e]) if !self.is_live_expression(e, schema, input)? => self.count_argument(e, schema, input)?,
            (_, [e]) => Some(self.number(e, schema, input)?),
            _ => return refuse(format!("{label} of a live relation"), "aggregate one expression"),
        };
        Ok(Output { value: OutputValue::Aggregate { aggregate, argument, filter }, label })
    }

    /// COUNT(frozen) counts where it is not NULL, whatever its type; COUNT(*) counts rows.
    fn count_argument(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Option<Expression>> {
        if let Expr::Literal(value, _) = e {
            return Ok(value.is_null().then_some(Expression::Null));
        }
        let id = self.frozen_column(&e.clone().is_not_null(), schema, input)?;
        let there =
            Expression::Case { branches: vec![(Predicate::Frozen(id), Expression::Number(1.0))], otherwise: Box::new(Expression::Null) };
        Ok(Some(there))
    }

    /// A frozen expression as a column of the skeleton.
    pub(super) fn frozen_column(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<usize> {
        let expression = self.skeleton_expression(e, schema, input)?;
        if let Expr::Column(c) = &expression
            && let Some(id) = c.name.strip_prefix('c').and_then(|n| n.parse().ok())
            && expression == column(id)
            && !self.sources.contains_key(&id)
        {
            return Ok(id);
        }
        let id = self.fresh();
        Ok(input.add(id, e.human_display().to_string(), expression))
    }
}

/// What a frozen aggregate is over no rows.
fn empty_value(e: &Expr, schema: &DFSchema) -> Result<ScalarValue> {
    let inner = if let Expr::Alias(alias) = e { &alias.expr } else { e };
    match inner {
        Expr::AggregateFunction(function) => Ok(function.func.default_value(&e.get_type(schema)?)?),
        _ => Ok(ScalarValue::Null),
    }
}
