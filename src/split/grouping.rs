//! Aggregates that are not plain GROUP BY over frozen keys: GROUPING SETS, keys that are live, and DISTINCT. Each is made
//! of plain ones over the same finished rows.

use super::aggregate::Aggregation;
use super::expression::constant;
use super::relation::{Live, Relation, Slot, one_more, place};
use super::rows::number;
use super::{Splitter, column};
use crate::algebra::{Expression, Predicate, Source};
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, ExprSchemable, GroupingSet, LogicalPlanBuilder, Operator, binary_expr, lit};
use std::sync::Arc;

impl Splitter<'_> {
    /// GROUPING SETS, ROLLUP, CUBE: one GROUP BY for each set, one after another. Keys that a set leaves out are NULL.
    pub(super) fn grouping_sets(&mut self, aggregation: &Aggregation, set: &GroupingSet, input: Relation) -> Result<Relation> {
        let keys: Vec<Expr> = set.distinct_expr().into_iter().cloned().collect();
        let rows = self.finish_rows(input)?;
        let mut branches = vec![];
        let mut seen: Vec<Vec<Expr>> = vec![];
        for set in sets(set) {
            let (input, _) = self.read(&rows)?;
            let plain = Aggregation { keys: set.clone(), ..aggregation.clone() };
            let mut grouped = self.grouped(&plain, input)?;
            let aggregates = grouped.columns.split_off(set.len());
            let mut columns = vec![];
            let mut left_out = 0u64;
            for key in &keys {
                let at = set.iter().position(|k| k == key);
                left_out = left_out << 1 | u64::from(at.is_none());
                columns.push(at.map_or(Slot::Live(Live::Number(Expression::Null)), |at| grouped.columns[at].clone()));
            }
            // A set that is written twice has groups of its own each time.
            let again = seen.iter().filter(|s| **s == set).count() as u64;
            seen.push(set);
            let id = ScalarValue::UInt64(Some(again << keys.len() | left_out)).cast_to(&aggregation.grouping_id)?;
            let of_set = self.fresh();
            columns.push(Slot::Frozen(grouped.add(of_set, "grouping".into(), lit(id))));
            columns.extend(aggregates);
            grouped.columns = columns;
            branches.push(grouped);
        }
        self.concatenate(branches)
    }

    /// A live key that is a column of a table of one row, the same for all rows: its row number stands for it. Gives the table and
    /// the column.
    pub(super) fn model_key(&mut self, aggregation: &mut Aggregation, at: usize, input: &mut Relation) -> Result<Option<(Source, usize)>> {
        let Expr::Column(key) = &aggregation.keys[at] else { return Ok(None) };
        let slot = &input.columns[aggregation.schema.index_of_column(key)?];
        let Slot::Live(Live::Number(Expression::Input { input: row, column })) = *slot else { return Ok(None) };
        let Some(&source @ Source::Table(table)) = self.sources.get(&row) else { return Ok(None) };
        if !self.tables.iter().any(|t| t.number == table && t.rows == 1) {
            return Ok(None);
        }
        let id = self.fresh();
        input.add(id, "row".into(), super::column(row));
        input.flush()?;
        input.columns.push(Slot::Frozen(id));
        let name = format!("row of {} {id}", key.name);
        (aggregation.schema, aggregation.keys[at]) = one_more(&aggregation.schema, name, DataType::UInt32)?;
        Ok(Some((source, column)))
    }

    /// The live column of a group for the row number that it is grouped by.
    pub(super) fn read_model_key(&mut self, grouped: &mut Relation, at: usize, (source, column): (Source, usize)) -> Result<()> {
        let Slot::Frozen(number) = grouped.columns[at] else { return Ok(()) };
        let row = self.fresh();
        self.sources.insert(row, source);
        grouped.add(row, "row".into(), super::column(number));
        grouped.columns[at] = Slot::Live(Live::Number(Expression::Input { input: row, column }));
        grouped.flush()
    }

    /// A live key of finitely many values: each row is shared among them by degree. The key becomes a frozen column at the end.
    pub(super) fn shared_by_key(&mut self, key: &Expr, schema: &DFSchema, mut input: Relation) -> Result<(Relation, DFSchema, Expr)> {
        let support = self.support(key, schema, &mut input)?;
        let width = input.columns.len();
        input.columns.extend(support.iter().map(|(_, p)| Slot::Live(Live::Truth(p.clone()))));
        let rows = self.finish_rows(input)?;
        let mut branches = vec![];
        for (at, (value, _)) in support.iter().enumerate() {
            let (mut branch, _) = self.read(&rows)?;
            let degree = number(branch.live(width + at)?);
            branch.weight.push(degree);
            branch.columns.truncate(width);
            let id = self.fresh();
            branch.add(id, key.human_display().to_string(), lit(value.clone()));
            branch.columns.push(Slot::Frozen(id));
            branches.push(branch);
        }
        let relation = self.concatenate(branches)?;
        let name = format!("key {}", self.fresh());
        let (schema, key) = one_more(schema, name, key.get_type(schema)?)?;
        Ok((relation, schema, key))
    }

    /// The values of a live key, and the predicate that it has each.
    fn support(&mut self, key: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<Vec<(ScalarValue, Predicate)>> {
        let inner = key.clone().unalias();
        if inner.get_type(schema)? == DataType::Boolean {
            let p = self.predicate(&inner, schema, input)?;
            let mut support = vec![(ScalarValue::from(true), p.clone()), (ScalarValue::from(false), Predicate::Not(Box::new(p.clone())))];
            if inner.nullable(schema)? {
                support.push((ScalarValue::Boolean(None), Predicate::IsNull(Box::new(Expression::Degree(Box::new(p))))));
            }
            return Ok(support);
        }
        if let Expr::Case(case) = &inner
            && let Some(values) = literals(case)
        {
            let mut support = vec![];
            for value in values {
                let value = value.cast_to(&inner.get_type(schema)?)?;
                let is = |e: &Expr| Box::new(lit(constant(e).and_then(|v| v.cast_to(&value.data_type()).ok()).as_ref() == Some(&value)));
                let chosen = Case {
                    expr: case.expr.clone(),
                    when_then_expr: case.when_then_expr.iter().map(|(when, then)| (when.clone(), is(then))).collect(),
                    else_expr: Some(case.else_expr.as_ref().map_or_else(|| Box::new(lit(value.is_null())), |e| is(e))),
                };
                if !support.iter().any(|(known, _)| *known == value) {
                    support.push((value.clone(), self.predicate(&Expr::Case(chosen), schema, input)?));
                }
            }
            return Ok(support);
        }
        if let Expr::Column(c) = &inner
            && let Slot::Live(Live::Number(Expression::Case { branches, otherwise })) = input.columns[schema.index_of_column(c)?].clone()
            && let Some(values) = numbers(&branches, &otherwise)
        {
            let kind = inner.get_type(schema)?;
            let of = |value: Option<f64>| {
                let is = |e: &Expression| Expression::Number(f64::from(u8::from(leaf(e) == Some(value))));
                let branches = branches.iter().map(|(p, e)| (p.clone(), is(e))).collect();
                Predicate::Degree(Box::new(Expression::Case { branches, otherwise: Box::new(is(&otherwise)) }))
            };
            return values.into_iter().map(|v| Ok((ScalarValue::Float64(v).cast_to(&kind)?, of(v)))).collect();
        }
        Err(Error::new(format!("GROUP BY the live value {}", key.human_display()))
            .at(place(key))
            .hint("group by frozen columns, a live predicate, or a CASE over literals: another live number has no finite set of values, but it may be aggregated, or compared: HAVING ... > (SELECT a FROM m)"))
    }

    /// Aggregates of which some are over distinct frozen values: those are aggregates of the groups of each value.
    pub(super) fn with_distinct(&mut self, aggregation: &Aggregation, input: Relation) -> Result<Relation> {
        let rows = self.finish_rows(input)?;
        let (distinct, plain): (Vec<_>, Vec<_>) = aggregation.aggregates.iter().cloned().partition(is_distinct);
        let (main, _) = self.read(&rows)?;
        for e in &distinct {
            if let Err(refusal) = self.is_over_frozen_values(e, &aggregation.schema, &main) {
                self.refusals.push(refusal);
            }
        }
        let mut main = self.grouped(&Aggregation { aggregates: plain, ..aggregation.clone() }, main)?;
        let width = aggregation.keys.len();
        let mut found = vec![];
        for e in &distinct {
            let (input, _) = self.read(&rows)?;
            let of_values = self.of_distinct_values(aggregation, e, input)?;
            let mut on = vec![];
            for (ours, theirs) in main.columns[..width].iter().zip(&of_values.columns) {
                let (Slot::Frozen(ours), Slot::Frozen(theirs)) = (ours, theirs) else {
                    return Err(Error::new("the split took a key for live").at(place(e)));
                };
                on.push(binary_expr(column(*ours), Operator::IsNotDistinctFrom, column(*theirs)));
            }
            if let Some(context) = self.contexts.last()
                && main.carries(&context.key)
            {
                on.push(column(main.key(&context.key)?).eq(column(of_values.key(&context.key)?)));
            }
            let builder = LogicalPlanBuilder::from(main.plan.clone());
            main.plan = match on.is_empty() {
                true => builder.cross_join(of_values.plan.clone())?.build()?,
                false => builder.join_on(of_values.plan.clone(), JoinType::Left, on)?.build()?,
            };
            main.names.extend(of_values.names.clone());
            let value = number(of_values.live(width)?);
            let counts = matches!(e.clone().unalias(), Expr::AggregateFunction(f) if f.func.name() == "count");
            let value = if counts { Expression::Coalesce(vec![value, Expression::Number(0.0)]) } else { value };
            found.push(Slot::Live(Live::Number(value)));
        }
        let mut plain = main.columns.split_off(width).into_iter();
        let mut found = found.into_iter();
        let ordered = aggregation.aggregates.iter().filter_map(|e| if is_distinct(e) { found.next() } else { plain.next() });
        main.columns.extend(ordered.collect::<Vec<_>>());
        Ok(main)
    }

    fn is_over_frozen_values(&self, e: &Expr, schema: &DFSchema, input: &Relation) -> Result<()> {
        let inner = e.clone().unalias();
        let refused = |what: &str, hint: &str| Err(Error::new(format!("{} {what}", inner.human_display())).at(place(&inner)).hint(hint));
        match &inner {
            Expr::AggregateFunction(f) if f.params.args.len() == 1 => match self.is_live_expression(&f.params.args[0], schema, input)? {
                true => refused("over a live value", "DISTINCT is over frozen values: a live number has no finite set of them"),
                false => Ok(()),
            },
            _ => refused("of a live relation", "aggregate one expression"),
        }
    }

    /// One aggregate over distinct values, for each group.
    fn of_distinct_values(&mut self, aggregation: &Aggregation, e: &Expr, mut input: Relation) -> Result<Relation> {
        let schema = &aggregation.schema;
        let Expr::AggregateFunction(mut function) = e.clone().unalias() else {
            return Err(Error::new("an aggregate that has no gradient").at(place(e)));
        };
        let value = function.params.args[0].clone();
        let there = function.params.filter.take().map_or_else(|| value.clone().is_not_null(), |p| value.clone().is_not_null().and(*p));
        self.condition(&mut input, schema, &there)?;
        let mut keys = aggregation.keys.clone();
        keys.push(value.clone());
        let mut fields = vec![];
        for (at, key) in keys.iter().enumerate() {
            fields.push(Arc::new(Field::new(format!("key {at}"), key.get_type(schema)?, true)));
        }
        let values = self.grouped(&Aggregation { keys, aggregates: vec![], ..aggregation.clone() }, input)?;
        let of = |at: usize| Expr::Column(Column::from_name(format!("key {at}")));
        let width = aggregation.keys.len();
        function.params.args = vec![of(width)];
        function.params.distinct = false;
        let outer = Aggregation {
            keys: (0..width).map(of).collect(),
            aggregates: vec![Expr::AggregateFunction(function)],
            schema: DFSchema::from_unqualified_fields(fields.into(), Default::default())?,
            grouping_id: aggregation.grouping_id.clone(),
        };
        self.grouped(&outer, values)
    }
}

pub(super) fn is_distinct(e: &Expr) -> bool {
    matches!(e.clone().unalias(), Expr::AggregateFunction(f) if f.params.distinct)
}

fn sets(set: &GroupingSet) -> Vec<Vec<Expr>> {
    match set {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].to_vec()).collect(),
        GroupingSet::Cube(keys) => (0..1usize << keys.len())
            .map(|without| keys.iter().enumerate().filter(|(at, _)| without >> at & 1 == 0).map(|(_, k)| k.clone()).collect())
            .collect(),
    }
}

/// The values of a CASE over literals; one without ELSE is NULL too.
fn literals(case: &Case) -> Option<Vec<ScalarValue>> {
    let mut values = case.when_then_expr.iter().map(|(_, then)| constant(then)).collect::<Option<Vec<_>>>()?;
    values.push(case.else_expr.as_ref().map_or(Some(ScalarValue::Null), |e| constant(e))?);
    Some(values)
}

fn numbers(branches: &[(Predicate, Expression)], otherwise: &Expression) -> Option<Vec<Option<f64>>> {
    let mut values: Vec<Option<f64>> = vec![];
    for e in branches.iter().map(|(_, e)| e).chain([otherwise]) {
        let value = leaf(e)?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Some(values)
}

/// A number or NULL.
#[allow(clippy::option_option)]
fn leaf(e: &Expression) -> Option<Option<f64>> {
    match e {
        Expression::Number(x) => Some(Some(*x)),
        Expression::Null => Some(None),
        _ => None,
    }
}
