//! Aggregates: the end of a stage. Aggregates that nothing live reaches are left to the exact engine.

use super::array::array_agg;
use super::expression::{constant, is_list, vectors};
use super::grouping::is_distinct;
use super::join::only_where;
use super::relation::{Live, Relation, Slot, place, text};
use super::rows::number;
use super::{Splitter, column};
use crate::algebra::{Aggregate, Expression, Grouping, Moment, Order, Output, OutputValue, Predicate, Source};
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{AggregateFunctionParams, NullTreatment};
use datafusion::logical_expr::{self, Expr, ExprSchemable, lit};
use std::collections::BTreeSet;

/// What an aggregate computes, over the columns of its input.
#[derive(Debug, Clone)]
pub(super) struct Aggregation {
    pub keys: Vec<Expr>,
    pub aggregates: Vec<Expr>,
    pub schema: DFSchema,
    /// The type of the column that tells GROUPING SETS apart.
    pub grouping_id: DataType,
}

impl Splitter<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &logical_expr::Aggregate) -> Result<Relation> {
        let input = self.relation(&aggregate.input)?;
        self.aggregate_of(aggregate, input)
    }

    /// An aggregate over a relation that is split already.
    pub(super) fn aggregate_of(&mut self, aggregate: &logical_expr::Aggregate, input: Relation) -> Result<Relation> {
        let mut input = self.with_outer(input, aggregate.group_expr.iter().chain(&aggregate.aggr_expr))?;
        // A key that is written twice is one column of the result.
        let mut group_by: Vec<&Expr> = vec![];
        for key in &aggregate.group_expr {
            if !group_by.contains(&key) {
                group_by.push(key);
            }
        }
        let count = group_by.len();
        let all = group_by.into_iter().chain(&aggregate.aggr_expr).cloned();
        let (schema, mut keys) = self.unnest(&mut input, aggregate.input.schema(), all)?;
        let aggregates = keys.split_off(count);
        let id = aggregate.schema.field_with_unqualified_name(logical_expr::Aggregate::INTERNAL_GROUPING_ID);
        let grouping_id = id.map_or(DataType::UInt8, |f| f.data_type().clone());
        self.grouped(&Aggregation { keys, aggregates, schema, grouping_id }, input)
    }

    /// Keys and aggregates, one column each.
    pub(super) fn grouped(&mut self, aggregation: &Aggregation, mut input: Relation) -> Result<Relation> {
        if let [Expr::GroupingSet(set)] = aggregation.keys.as_slice() {
            return self.grouping_sets(aggregation, set, input);
        }
        let mut aggregation = aggregation.clone();
        let mut of_models = vec![];
        for at in 0..aggregation.keys.len() {
            if let Some(model) = self.model_key(&mut aggregation, at, &mut input)? {
                of_models.push((at, model));
            } else if self.is_live_expression(&aggregation.keys[at], &aggregation.schema, &input)? {
                let (shared, schema, key) = self.shared_by_key(&aggregation.keys[at], &aggregation.schema, input)?;
                (input, aggregation.schema) = (shared, schema);
                aggregation.keys[at] = key;
            }
        }
        for at in 0..aggregation.aggregates.len() {
            input = self.first_by_place(&mut aggregation, at, input)?;
        }
        let mut distinct = false;
        for e in &mut aggregation.aggregates {
            if !input.weight.is_empty() || self.is_live_expression(e, &aggregation.schema, &input)? {
                *e = exact_count(e);
                distinct |= is_distinct(e);
            }
        }
        let mut grouped = if distinct { self.with_distinct(&aggregation, input)? } else { self.plain(&aggregation, input)? };
        for (at, model) in of_models {
            self.read_model_key(&mut grouped, at, model)?;
        }
        Ok(grouped)
    }

    /// Frozen keys, and no aggregate over distinct values.
    fn plain(&mut self, aggregation: &Aggregation, mut input: Relation) -> Result<Relation> {
        let context = self.contexts.last().filter(|c| input.carries(&c.key)).cloned();
        let Aggregation { keys, aggregates, schema, .. } = aggregation;
        let keys = keys.iter().map(|e| self.frozen_column(e, schema, &mut input)).collect::<Result<Vec<_>>>()?;
        let weighted = !input.weight.is_empty();
        let (mut live, mut frozen, mut order) = (vec![], vec![], vec![]);
        let mut arrays = vec![];
        for e in aggregates {
            if !weighted && !self.is_live_expression(e, schema, &input)? {
                let id = self.fresh();
                frozen.push((self.skeleton_expression(e, schema, &input)?, id));
                order.push(Err((id, empty_value(e, schema)?)));
                continue;
            }
            let output = match array_agg(e) {
                Some(params) => self.array(e, params, schema, &mut input).inspect(|_| arrays.push(e)),
                None => self.live_aggregate(e, schema, &mut input),
            };
            match output {
                Ok(output) => {
                    let counts = matches!(
                        output.value,
                        OutputValue::Aggregate { aggregate: Aggregate::Count, .. }
                            | OutputValue::Moment { moment: Moment::RegressionCount, .. }
                    );
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
        let within = |columns: &Vec<usize>| columns.iter().all(|c| grouped_by.contains(c));
        // Where rows exclude each other within parts of a group, its presence is a stage of its own.
        let apart = match &input.known.exclusive {
            Some(columns) if presence && outer.is_none() && !within(columns) => {
                Some(self.presence_by_parts(&input, &grouped_by, columns.clone())?)
            }
            _ => None,
        };
        let exclusive = input.known.exclusive.clone().filter(within);
        if presence && apart.is_none() {
            live.push(presence_as(if exclusive.is_some() { Aggregate::PresenceOfOne } else { Aggregate::Presence }));
        }
        let then_by = self.order_of_arrays(&arrays, schema, &mut input, &grouped_by)?.into_iter().collect();
        let stage = self.end_stage_in_order(&input, grouping, (grouped_by.clone(), then_by), live, frozen.clone())?;
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
        if let Some(parts) = apart {
            // Both stages have the same groups in the same order.
            let same = self.fresh();
            self.sources.insert(same, Source::Stage(parts));
            relation.add(same, "group".into(), column(row));
            relation.flush()?;
            relation.weight.push(Expression::Input { input: same, column: 0 });
        } else if presence {
            let presence = self.stages[stage].outputs.len() - 1;
            relation.weight.push(Expression::Input { input: row, column: presence });
            relation.known.exclusive = exclusive.map(|columns| columns.iter().map(|c| renamed[c]).collect());
        }
        Ok(relation)
    }

    /// The presence of groups whose rows exclude each other where they are equal in `columns`: a sum of weights within such
    /// a part, and parts like rows of their own.
    fn presence_by_parts(&mut self, input: &Relation, keys: &[usize], columns: Vec<usize>) -> Result<usize> {
        let all: Vec<usize> = keys.iter().copied().chain(columns.into_iter().filter(|c| !keys.contains(c))).collect();
        let parts = self.end_stage(input, Grouping::Keys, all.clone(), vec![presence_as(Aggregate::PresenceOfOne)], vec![])?;
        let (mut relation, renamed, row) = self.read_stage(parts, &all, &input.names)?;
        relation.weight = vec![Expression::Input { input: row, column: 0 }];
        let keys = keys.iter().map(|k| renamed[k]).collect();
        self.end_stage(&relation, Grouping::Keys, keys, vec![presence_as(Aggregate::Presence)], vec![])
    }

    /// Ends the stage of an aggregate with these outputs.
    pub(super) fn end_stage(
        &mut self,
        input: &Relation,
        grouping: Grouping,
        keys: Vec<usize>,
        outputs: Vec<Output>,
        frozen: Vec<(Expr, usize)>,
    ) -> Result<usize> {
        self.end_stage_in_order(input, grouping, (keys, vec![]), outputs, frozen)
    }

    /// The same, with the rows of equal keys in the order of further columns.
    fn end_stage_in_order(
        &mut self,
        input: &Relation,
        grouping: Grouping,
        sorted: (Vec<usize>, Vec<usize>),
        mut outputs: Vec<Output>,
        frozen: Vec<(Expr, usize)>,
    ) -> Result<usize> {
        // Every expression of the stage is renumbered together; predicates travel as degrees.
        let mut expressions = input.weight.clone();
        let weights = expressions.len();
        expressions.extend(outputs.iter().flat_map(Output::expressions));
        let stage = self.close_in_order(input, grouping, sorted, &mut expressions, vec![], frozen)?;
        let mut rest = expressions.split_off(weights).into_iter();
        outputs.iter_mut().for_each(|output| output.replace(&mut rest));
        self.stages[stage].weight = expressions;
        self.stages[stage].outputs = outputs;
        Ok(stage)
    }

    pub(super) fn live_aggregate(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Output> {
        let inner = if let Expr::Alias(alias) = e { &alias.expr } else { e };
        let Expr::AggregateFunction(function) = inner else {
            return Err(Error::new("an aggregate that has no gradient").at(place(e)));
        };
        let (name, params) = (function.func.name().to_string(), &function.params);
        let label = text(inner);
        let refuse = |what: String, hint: &str| Err(Error::new(what).at(place(inner)).hint(hint));
        if params.distinct {
            return refuse(format!("{label} in this place"), "aggregate distinct values in a sub-query with GROUP BY");
        }
        if name == "first_value" || name == "last_value" {
            return self.first_value(inner, &name, params, schema, input);
        }
        let filter = params.filter.as_deref().map(|p| self.predicate(p, schema, input)).transpose()?;
        if let Some(moment) = Moment::ALL.iter().copied().find(|m| m.name() == name) {
            let (y, x) = match params.args.as_slice() {
                [x] => (x, x),
                // REGR_*(y, x): the value explained comes first.
                [y, x] => (y, x),
                _ => return refuse(format!("{label} of a live relation"), "it is of one value or of two"),
            };
            let (y, x) = (self.number(y, schema, input)?, self.number(x, schema, input)?);
            return Ok(Output { value: OutputValue::Moment { moment, x, y, filter }, label });
        }
        if let ("approx_percentile_cont_with_weight", [x, weight, ..]) = (name.as_str(), params.args.as_slice()) {
            let aggregate = Aggregate::Quantile(fraction(inner, params, 2)?);
            let (value, weight) = (self.number(x, schema, input)?, self.number(weight, schema, input)?);
            let argument = Some(match filter {
                Some(p) => only_where(p, value),
                None => value,
            });
            let filter = Some(Predicate::Degree(Box::new(weight)));
            return Ok(Output { value: OutputValue::Aggregate { aggregate, argument, filter }, label });
        }
        let aggregate = match name.as_str() {
            "count" => Aggregate::Count,
            "sum" => Aggregate::Sum,
            "avg" => Aggregate::Avg,
            "min" => Aggregate::Min,
            "max" => Aggregate::Max,
            "median" | "approx_median" => Aggregate::Quantile(0.5),
            "percentile_cont" | "approx_percentile_cont" => Aggregate::Quantile(fraction(inner, params, 1)?),
            "bool_and" => Aggregate::And,
            "bool_or" => Aggregate::Or,
            _ => {
                return refuse(
                    format!("the aggregate {name} of a live relation has no relaxation yet"),
                    "COUNT, SUM, AVG, MIN, MAX, MEDIAN, PERCENTILE_CONT, ARRAY_AGG, FIRST_VALUE, LAST_VALUE, VAR, STDDEV, COVAR, CORR, REGR_*, BOOL_AND and BOOL_OR have one",
                );
            }
        };
        if let (Aggregate::Min | Aggregate::Max | Aggregate::Quantile(_), Some(e)) = (aggregate, params.args.first())
            && is_list(&e.get_type(schema)?)
        {
            return Err(vectors(inner));
        }
        let argument = match (aggregate, params.args.as_slice()) {
            (Aggregate::Count, [e]) if !self.is_live_expression(e, schema, input)? => self.count_argument(e, schema, input)?,
            (Aggregate::Quantile(_), [e, ..]) | (_, [e]) => Some(self.number(e, schema, input)?),
            _ => return refuse(format!("{label} of a live relation"), "aggregate one expression"),
        };
        Ok(Output { value: OutputValue::Aggregate { aggregate, argument, filter }, label })
    }

    /// FIRST_VALUE(v ORDER BY live), and LAST_VALUE, which is the first of the opposite order.
    fn first_value(
        &mut self,
        e: &Expr,
        name: &str,
        params: &AggregateFunctionParams,
        schema: &DFSchema,
        input: &mut Relation,
    ) -> Result<Output> {
        let keys = self.sort_keys(&params.order_by, schema, input)?;
        let Some((Slot::Live(key), rest)) = keys.split_first().map(|(key, rest)| (key.value.clone(), rest)) else {
            return Err(Error::new(format!(
                "{} over a live relation, by a frozen key before a live one or without an order",
                e.human_display()
            ))
            .at(place(e))
            .hint("ORDER BY frozen columns, or a live value first, or keep the rows with ROW_NUMBER() OVER (...) = 1 in a sub-query"));
        };
        let [value] = params.args.as_slice() else { return Err(Error::new(format!("{name} takes one argument")).at(place(e))) };
        let (first, last) = (&keys[0], name == "last_value");
        let order = Order {
            key: Some(number(key)),
            descending: first.descending != last,
            nulls_first: first.nulls_first != last,
            before: None,
            ties_broken: !rest.is_empty(),
            label: first.label.clone(),
        };
        let value = self.number(value, schema, input)?;
        let filter = params.filter.as_deref().map(|p| self.predicate(p, schema, input)).transpose()?;
        let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        Ok(Output { value: OutputValue::First { value, ignore_nulls, order, filter }, label: e.human_display().to_string() })
    }

    /// COUNT(frozen) counts where it is not NULL, whatever its type; COUNT(*) counts rows.
    pub(super) fn count_argument(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Option<Expression>> {
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
        Ok(input.add(id, text(e), expression))
    }
}

/// The count of distinct values that APPROX_DISTINCT approximates; other aggregates as they are.
fn exact_count(e: &Expr) -> Expr {
    match e {
        Expr::Alias(alias) => Expr::Alias(logical_expr::expr::Alias { expr: Box::new(exact_count(&alias.expr)), ..alias.clone() }),
        Expr::AggregateFunction(f) if f.func.name() == "approx_distinct" => {
            let params = AggregateFunctionParams { distinct: true, ..f.params.clone() };
            Expr::AggregateFunction(logical_expr::expr::AggregateFunction { func: count_udaf(), params })
        }
        other => other.clone(),
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

/// The degree to which a group has a row.
fn presence_as(aggregate: Aggregate) -> Output {
    Output { value: OutputValue::Aggregate { aggregate, argument: None, filter: None }, label: "presence of the group".into() }
}

/// The fraction of PERCENTILE_CONT, which argument `at` is; in a descending order it counts from the other end.
fn fraction(e: &Expr, params: &AggregateFunctionParams, at: usize) -> Result<f64> {
    let given = params.args.get(at).and_then(constant).and_then(|value| value.cast_to(&DataType::Float64).ok());
    match given {
        Some(ScalarValue::Float64(Some(p))) if (0.0..=1.0).contains(&p) => {
            Ok(if params.order_by.first().is_some_and(|key| !key.asc) { 1.0 - p } else { p })
        }
        _ => Err(Error::new("the fraction of a percentile must be a literal between 0 and 1").at(place(e)).hint("PERCENTILE_CONT(x, 0.9)")),
    }
}
