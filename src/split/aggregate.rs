//! Aggregates: the end of a stage. Keys are frozen; aggregates that nothing live reaches are left to the exact engine.

use super::relation::{Live, Relation, Slot, place, refusal};
use super::{Splitter, column};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate};
use crate::error::{Error, Result};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{self, Expr, LogicalPlan};

impl Splitter<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &logical_expr::Aggregate) -> Result<Relation> {
        let mut input = self.relation(&aggregate.input)?;
        let schema = aggregate.input.schema().clone();
        let keys = self.keys(aggregate, &schema, &mut input)?;
        let weighted = !input.weight.is_empty();
        let (mut live, mut frozen, mut order) = (vec![], vec![], vec![]);
        for e in &aggregate.aggr_expr {
            if !weighted && !self.is_live_expression(e, &schema, &input)? {
                let id = self.fresh();
                frozen.push((self.skeleton_expression(e, &schema, &input)?, id));
                order.push(Err(id));
                continue;
            }
            match self.live_aggregate(e, &schema, &mut input) {
                Ok(output) => {
                    order.push(Ok(live.len()));
                    live.push(output);
                }
                Err(refusal) => self.refusals.push(refusal),
            }
        }
        if let Some(error) = Error::all(self.refusals.clone()) {
            return Err(error);
        }
        input.flush()?;
        let grouping = if keys.is_empty() { Grouping::Whole } else { Grouping::Keys };
        if weighted && grouping == Grouping::Keys {
            live.push(Output {
                value: OutputValue::Aggregate { aggregate: Aggregate::Presence, argument: None, filter: None },
                label: "presence of the group".into(),
            });
        }
        let stage = self.end_stage(&input, grouping, keys.clone(), live, frozen.clone())?;
        let passed: Vec<usize> = keys.iter().copied().chain(frozen.iter().map(|(_, id)| *id)).collect();
        let (mut relation, renamed, row) = self.read_stage(stage, &passed, &input.names)?;
        relation.columns = keys.iter().map(|k| Slot::Frozen(renamed[k])).collect();
        relation.columns.extend(order.iter().map(|o| match o {
            Ok(output) => Slot::Live(Live::Number(Expression::Input { input: row, column: *output })),
            Err(id) => Slot::Frozen(renamed[id]),
        }));
        if weighted && grouping == Grouping::Keys {
            let presence = self.stages[stage].outputs.len() - 1;
            relation.weight.push(Expression::Input { input: row, column: presence });
        }
        Ok(relation)
    }

    fn keys(&mut self, aggregate: &logical_expr::Aggregate, schema: &DFSchema, input: &mut Relation) -> Result<Vec<usize>> {
        let mut keys = vec![];
        for e in &aggregate.group_expr {
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
    fn end_stage(
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
