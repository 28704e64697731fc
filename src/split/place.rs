//! Frozen orders of rows that a live condition weighs: the exact engine sorts, and a row's place depends on which of the rows
//! before it are present.

use super::aggregate::Aggregation;
use super::frame::frozen_columns;
use super::order::Ranked;
use super::relation::{Key, Live, Relation, Slot, one_more};
use super::rows::{number, product};
use super::{Splitter, column, column_name};
use crate::algebra::{Expression, Order, Predicate, Source};
use crate::error::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::min_max::min_udaf;
use datafusion::logical_expr::expr::{AggregateFunctionParams, NullTreatment, WindowFunction};
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlanBuilder};

impl Splitter<'_> {
    /// Ends a stage whose rows are in a frozen order within partitions. Gives the stage, its rows, and the partition's columns
    /// among them.
    pub(super) fn place_rows(&mut self, input: Relation, partition: Vec<usize>, keys: &[Key]) -> Result<(Ranked, Relation, Vec<usize>)> {
        let (ranked, mut relation, partition, _) = self.placed(input, partition, keys)?;
        relation.known.ranked.push((ranked.row, partition.clone()));
        Ok((ranked, relation, partition))
    }

    /// The same, where rows of equal keys have the place of the first of them.
    pub(super) fn place_peers(&mut self, input: Relation, partition: Vec<usize>, keys: &[Key]) -> Result<(Ranked, Relation)> {
        let (ranked, mut relation, partition, keys) = self.placed(input, partition, keys)?;
        let first = self.fresh();
        let peers = partition.into_iter().chain(keys).map(column).collect();
        let over = Expr::from(WindowFunction::new(min_udaf(), vec![column(ranked.row)])).partition_by(peers).build()?;
        relation.plan = LogicalPlanBuilder::from(relation.plan.clone()).window(vec![over.alias(column_name(first))])?.build()?;
        self.sources.insert(first, Source::Stage(ranked.stage));
        Ok((Ranked { row: first, ..ranked }, relation))
    }

    fn placed(&mut self, mut input: Relation, partition: Vec<usize>, keys: &[Key]) -> Result<(Ranked, Relation, Vec<usize>, Vec<usize>)> {
        let at = self.place_in_order(&mut input, &partition, keys)?;
        let label = keys.iter().map(|k| k.label.as_str()).collect::<Vec<_>>().join(", ");
        let order = Order { key: None, descending: false, nulls_first: false, before: None, ties_broken: true, label };
        let keys: Vec<usize> = frozen_columns(keys).collect();
        let sorted = [at].into_iter().chain(keys.iter().copied()).collect();
        let (ranked, relation, passed) = self.in_order(input, (partition.clone(), sorted), order)?;
        let renumbered = |columns: Vec<usize>| columns.iter().map(|id| passed[id]).collect();
        Ok((ranked, relation, renumbered(partition), renumbered(keys)))
    }

    /// FIRST_VALUE(v ORDER BY frozen) and LAST_VALUE of a live relation: the mean of v over the rows that are first, of which
    /// there is one.
    pub(super) fn first_by_place(&mut self, aggregation: &mut Aggregation, at: usize, mut input: Relation) -> Result<Relation> {
        let Aggregation { keys, aggregates, schema, .. } = aggregation;
        let e = aggregates[at].clone();
        let Some((params, last)) = first_value(&e) else { return Ok(input) };
        let live = !input.weight.is_empty() || self.is_live_expression(&e, schema, &input)?;
        if !live || params.order_by.is_empty() {
            return Ok(input);
        }
        let mut order = self.sort_keys(&params.order_by, schema, &mut input)?;
        if order.iter().any(Key::is_live) {
            return Ok(input);
        }
        let not_null = params.args.first().filter(|_| params.null_treatment == Some(NullTreatment::IgnoreNulls));
        let there = params.filter.map(|p| *p).into_iter().chain(not_null.map(|v| v.clone().is_not_null())).reduce(Expr::and);
        if last {
            order.iter_mut().for_each(|k| (k.descending, k.nulls_first) = (!k.descending, !k.nulls_first));
        }
        let mut partition = keys.iter().map(|key| self.frozen_column(key, schema, &mut input)).collect::<Result<Vec<_>>>()?;
        partition.extend(self.outer_key(&input)?);
        // Rows that do not count are before none; for all else the rows keep their own weight.
        let own = input.weight.clone();
        if let Some(there) = &there {
            input.columns.push(Slot::Live(Live::Number(product(own.clone()))));
            let counts = self.predicate(there, schema, &mut input)?;
            input.weight.push(Expression::Degree(Box::new(counts)));
        }
        let (ranked, mut relation, _) = self.place_rows(input, partition, &order)?;
        if there.is_some() {
            let weight = relation.columns.pop().filter(|_| !own.is_empty());
            relation.weight = weight.into_iter().filter_map(|slot| if let Slot::Live(w) = slot { Some(number(w)) } else { None }).collect();
        }
        let first = self.degree_among(&ranked, 1);
        relation.columns.push(Slot::Live(Live::Truth(Predicate::Degree(Box::new(first)))));
        let name = format!("first by {} {}", ranked.order.label, self.fresh());
        let (more, first) = one_more(schema, name, DataType::Boolean)?;
        *schema = more;
        aggregates[at] = avg_udaf().call(params.args).filter(there.map_or(first.clone(), |there| there.and(first))).build()?;
        Ok(relation)
    }
}

/// What a FIRST_VALUE takes, and whether it is a LAST_VALUE.
fn first_value(e: &Expr) -> Option<(AggregateFunctionParams, bool)> {
    match e {
        Expr::Alias(alias) => first_value(&alias.expr),
        Expr::AggregateFunction(f) if f.func.name() == "first_value" => Some((f.params.clone(), false)),
        Expr::AggregateFunction(f) if f.func.name() == "last_value" => Some((f.params.clone(), true)),
        _ => None,
    }
}
