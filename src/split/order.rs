//! Orders: ORDER BY with LIMIT and OFFSET, DISTINCT ON, and comparisons of a rank with a number. A stage ends where rows are
//! ranked. Of a live order, frozen keys before the live one are grouped by; those after it only break ties. A frozen order of
//! rows that a live condition weighs is in [`super::place`].

use super::expression::{is_list, vectors};
use super::frame::frozen_columns;
use super::relation::{Key, Relation, Slot, place, refusal};
use super::rows::number;
use super::{Splitter, column, column_name};
use crate::algebra::{Comparison, Expression, Order, Output, OutputValue, Predicate, Ranking, Source};
use crate::error::{Error, Place, Result};
use crate::scalar::{Binary, Unary};
use datafusion::common::DFSchema;
use datafusion::functions_window::expr_fn::{rank, row_number};
use datafusion::logical_expr::{
    DistinctOn, Expr, ExprFunctionExt, ExprSchemable, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, SkipType, Sort, SortExpr, lit,
};
use std::collections::BTreeMap;

/// Rows in partitions, ranked: the stage can be asked for more rankings of the same order.
#[derive(Debug, Clone)]
pub(super) struct Ranked {
    pub stage: usize,
    pub row: usize,
    pub order: Order,
}

impl Splitter<'_> {
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Relation> {
        let input = self.relation(&sort.input)?;
        let mut input = self.with_outer(input, sort.expr.iter().map(|k| &k.expr))?;
        let keys = self.sort_keys(&sort.expr, sort.input.schema(), &mut input)?;
        if keys.iter().any(Key::is_live) || !input.weight.is_empty() || self.outer_key(&input)?.is_some() {
            input.known.order = Some(keys);
            return match sort.fetch {
                Some(fetch) => self.first_rows(input, 0, Some(fetch as u64)),
                None => Ok(input),
            };
        }
        let sorted = keys.iter().filter_map(frozen_key).collect::<Vec<_>>();
        input.plan = LogicalPlanBuilder::from(input.plan.clone()).sort_with_limit(sorted, sort.fetch)?.build()?;
        Ok(input)
    }

    /// The keys of an ORDER BY; the frozen ones are columns of the skeleton.
    pub(super) fn sort_keys(&mut self, keys: &[SortExpr], schema: &DFSchema, input: &mut Relation) -> Result<Vec<Key>> {
        let mut found = vec![];
        for key in keys {
            let (descending, label) = (!key.asc, key.expr.human_display().to_string());
            let value = self.column(&key.expr, schema, input)?;
            if matches!(value, Slot::Live(_)) && is_list(&key.expr.get_type(schema)?) {
                return Err(vectors(&key.expr));
            }
            let text = format!("{label}{}", if descending { " DESC" } else { "" });
            found.push(Key { value, descending, nulls_first: key.nulls_first, label: text, place: place(&key.expr) });
        }
        input.flush()?;
        Ok(found)
    }

    pub(super) fn limit(&mut self, limit: &Limit, plan: &LogicalPlan) -> Result<Relation> {
        let mut input = self.relation(&limit.input)?;
        let at = || Place::Expression(limit_text(limit));
        if input.known.order.is_some() || self.outer_key(&input)?.is_some() {
            let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
                return Err(Error::new("the number of rows of this LIMIT must be a literal").at(at()).hint("LIMIT 10"));
            };
            return self.first_rows(input, skip as u64, fetch.map(|n| n as u64));
        }
        if !input.weight.is_empty() {
            return Err(without_order(at()));
        }
        input.flush()?;
        input.plan = plan.with_new_exprs(plan.expressions(), vec![input.plan])?;
        Ok(input)
    }

    /// The rows that are among the first by the relation's order, and not among the skipped.
    fn first_rows(&mut self, input: Relation, skip: u64, fetch: Option<u64>) -> Result<Relation> {
        let keys = input.known.order.clone().unwrap_or_default();
        let partition = self.outer_key(&input)?.into_iter().collect();
        self.first_of_each(input, partition, keys, skip, fetch)
    }

    /// The column by which the rows of a sub-query belong to the rows around it.
    pub(super) fn outer_key(&self, input: &Relation) -> Result<Option<usize>> {
        self.contexts.last().filter(|c| input.carries(&c.key)).map(|c| input.key(&c.key)).transpose()
    }

    /// The same within each partition.
    fn first_of_each(&mut self, input: Relation, partition: Vec<usize>, keys: Vec<Key>, skip: u64, fetch: Option<u64>) -> Result<Relation> {
        let last = fetch.map(|n| skip.saturating_add(n));
        let (ranked, mut relation, partition) = match (keys.iter().any(Key::is_live), input.weight.is_empty()) {
            (true, _) => self.rank_rows(input, partition, &keys)?,
            (false, true) => return self.first_of_each_frozen(input, partition, &keys, skip, last),
            (false, false) if keys.is_empty() => return Err(without_order(Place::Expression("LIMIT".into()))),
            (false, false) => self.place_rows(input, partition, &keys)?,
        };
        let taken = last.map_or(Expression::Number(1.0), |last| self.degree_among(&ranked, last));
        let degree = match skip {
            0 => taken,
            skip => Expression::Binary(Binary::Subtract, Box::new(taken), Box::new(self.degree_among(&ranked, skip))),
        };
        relation.weight.push(degree);
        if fetch == Some(1) {
            relation.known.exclusive = Some(partition);
        }
        Ok(relation)
    }

    /// The same by frozen keys: the exact engine numbers the rows.
    fn first_of_each_frozen(
        &mut self,
        mut input: Relation,
        partition: Vec<usize>,
        keys: &[Key],
        skip: u64,
        last: Option<u64>,
    ) -> Result<Relation> {
        input.flush()?;
        let place = self.fresh();
        let by = partition.into_iter().map(column).collect();
        let function = row_number().partition_by(by).order_by(keys.iter().filter_map(frozen_key).collect()).build()?;
        let numbered = LogicalPlanBuilder::from(input.plan.clone()).window(vec![function.alias(column_name(place))])?;
        let taken = last.map_or(lit(true), |last| column(place).lt_eq(lit(last)));
        input.plan = numbered.filter(column(place).gt(lit(skip)).and(taken))?.build()?;
        Ok(input)
    }

    /// `DISTINCT ON (keys) ... ORDER BY keys, live`: the first of each partition.
    pub(super) fn distinct_on(&mut self, distinct: &DistinctOn) -> Result<Relation> {
        let input = self.relation(&distinct.input)?;
        let sorts = distinct.sort_expr.iter().flatten().map(|k| &k.expr);
        let mut input = self.with_outer(input, distinct.on_expr.iter().chain(&distinct.select_expr).chain(sorts))?;
        let schema = distinct.input.schema();
        let sorted = distinct.sort_expr.as_deref().unwrap_or_default();
        let whole = || LogicalPlan::Distinct(datafusion::logical_expr::Distinct::On(distinct.clone()));
        let mut partition = vec![];
        for e in &distinct.on_expr {
            if self.is_live_expression(e, schema, &input)? {
                let what = format!("DISTINCT ON the live value {}", e.human_display());
                return Err(Error::new(what).at(place(e)).hint("a live number has no finite set of values: name frozen columns"));
            }
            partition.push(self.frozen_column(e, schema, &mut input)?);
        }
        let all = self.sort_keys(sorted, schema, &mut input)?;
        let keys = all.get(partition.len()..).unwrap_or_default().to_vec();
        if keys.is_empty() {
            return Err(refusal(
                "DISTINCT ON over a live relation without an order",
                &whole(),
                "ORDER BY the same columns and then one that says which row is the first, or GROUP BY the columns",
            ));
        }
        let mut input = self.project(input, schema, &distinct.select_expr)?;
        input.known.order = Some(all);
        partition.extend(self.outer_key(&input)?);
        self.first_of_each(input, partition, keys, 0, Some(1))
    }

    /// Ends a stage whose rows are ranked within partitions by the first live key. Gives the stage, its rows, and the
    /// partition's columns among them.
    pub(super) fn rank_rows(
        &mut self,
        mut input: Relation,
        mut partition: Vec<usize>,
        keys: &[Key],
    ) -> Result<(Ranked, Relation, Vec<usize>)> {
        let live = keys.iter().position(Key::is_live);
        let (first, key) = live.map(|at| (at, &keys[at])).ok_or_else(|| Error::new("an order without a live key"))?;
        let Slot::Live(value) = key.value.clone() else { unreachable!("the key is live") };
        let sql_partition = partition.clone();
        let before = if first > 0 { Some(self.rows_before(&mut input, &mut partition, &keys[..first], key)?) } else { None };
        let order = Order {
            key: Some(number(value)),
            descending: key.descending,
            nulls_first: key.nulls_first,
            before,
            ties_broken: first + 1 < keys.len(),
            label: key.label.clone(),
        };
        let (ranked, mut relation, passed) = self.in_order(input, (partition, vec![]), order)?;
        let partition: Vec<usize> = sql_partition.iter().map(|id| passed[id]).collect();
        relation.known.ranked.push((ranked.row, partition.clone()));
        Ok((ranked, relation, partition))
    }

    /// Ends a stage whose rows have a place in an order, each in its partition. Gives the new numbers of its columns, too.
    pub(super) fn in_order(
        &mut self,
        input: Relation,
        sorted: (Vec<usize>, Vec<usize>),
        order: Order,
    ) -> Result<(Ranked, Relation, BTreeMap<usize, usize>)> {
        let label = format!("ROW_NUMBER() OVER (ORDER BY {})", order.label);
        let place = Output { value: OutputValue::Ranked { ranking: Ranking::RowNumber, order }, label };
        let (relation, stage, row, passed) = self.partitions(input, sorted, vec![place])?;
        let Some(OutputValue::Ranked { order, .. }) = self.stages[stage].outputs.last().map(|o| o.value.clone()) else {
            unreachable!("the place is the last output")
        };
        Ok((Ranked { stage, row, order }, relation, passed))
    }

    /// How many rows of its partition earlier, frozen keys put before a row, as a column; the partition is divided by these keys.
    fn rows_before(&mut self, input: &mut Relation, partition: &mut Vec<usize>, frozen: &[Key], live: &Key) -> Result<usize> {
        if !input.weight.is_empty() {
            let what = format!("ORDER BY a frozen value and then {}, over rows that a live filter weighs", live.label);
            return Err(Error::new(what).at(live.place.clone()).hint("order by the live value alone, or PARTITION BY the frozen one"));
        }
        input.flush()?;
        let (ranked, before) = (self.fresh(), self.fresh());
        let order = frozen.iter().filter_map(frozen_key).collect();
        let function = rank().partition_by(partition.iter().map(|id| column(*id)).collect()).order_by(order).build()?;
        let plan = LogicalPlanBuilder::from(input.plan.clone()).window(vec![function.alias(column_name(ranked))])?;
        input.plan = plan.build()?;
        input.add(before, "rows before".into(), column(ranked) - lit(1u64));
        input.flush()?;
        for id in frozen_columns(frozen) {
            if !partition.contains(&id) {
                partition.push(id);
            }
        }
        Ok(before)
    }

    /// One more output of a stage that ranks; equal ones are shared.
    pub(super) fn ranking(&mut self, ranked: &Ranked, ranking: Ranking, label: String) -> Expression {
        let value = OutputValue::Ranked { ranking, order: ranked.order.clone() };
        Expression::Input { input: ranked.row, column: self.output(ranked.stage, value, label) }
    }

    pub(super) fn degree_among(&mut self, ranked: &Ranked, first: u64) -> Expression {
        self.ranking(ranked, Ranking::Among(first), among_label(&ranked.order, first))
    }

    pub(super) fn output(&mut self, stage: usize, value: OutputValue, label: String) -> usize {
        let outputs = &mut self.stages[stage].outputs;
        outputs.iter().position(|o| o.value == value).unwrap_or_else(|| {
            outputs.push(Output { value, label });
            outputs.len() - 1
        })
    }

    /// A place in an order compared with a number says which rows are among the first.
    pub(super) fn among(&mut self, comparison: Comparison, a: &Expression, b: &Expression) -> Option<Predicate> {
        use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        let (comparison, input, column, bound) = match (a, b) {
            (Expression::Input { input, column }, Expression::Number(n)) => (comparison, *input, *column, *n),
            (Expression::Number(n), Expression::Input { input, column }) => {
                let turned = match comparison {
                    Greater => Less,
                    GreaterEqual => LessEqual,
                    Less => Greater,
                    LessEqual => GreaterEqual,
                    same => same,
                };
                (turned, *input, *column, *n)
            }
            _ => return None,
        };
        let Some(&Source::Stage(stage)) = self.sources.get(&input) else { return None };
        let mut first = |rows: f64| {
            let column = self.among_of(stage, column, if rows > 0.0 { rows as u64 } else { 0 })?;
            Some(Expression::Input { input, column })
        };
        let degree = |e: Expression| Predicate::Degree(Box::new(e));
        let not = |p: Predicate| Predicate::Not(Box::new(p));
        Some(match comparison {
            LessEqual => degree(first(bound.floor())?),
            Less => degree(first(bound.ceil() - 1.0)?),
            Greater => not(degree(first(bound.floor())?)),
            GreaterEqual => not(degree(first(bound.ceil() - 1.0)?)),
            Equal | NotEqual => {
                let at = if bound == 1.0 {
                    first(1.0)?
                } else {
                    let (upper, lower) = (first(bound.floor())?, first(bound.ceil() - 1.0)?);
                    Expression::Binary(Binary::Subtract, Box::new(upper), Box::new(lower))
                };
                if comparison == Equal { degree(at) } else { not(degree(at)) }
            }
        })
    }

    /// A place is a whole number: compared with a frozen number, it is compared with what lies half-way to the next.
    pub(super) fn half_way(&self, comparison: Comparison, a: Expression, b: Expression) -> (Expression, Expression) {
        use Comparison::{Greater, GreaterEqual, Less, LessEqual};
        let beside = |bound: Expression, above: bool| {
            let (round, half) = if above { (Unary::Floor, 0.5) } else { (Unary::Ceil, -0.5) };
            let whole = Expression::Unary(round, Box::new(bound));
            Expression::Binary(Binary::Add, Box::new(whole), Box::new(Expression::Number(half)))
        };
        match (&a, &b, comparison) {
            (_, Expression::Residual(_), LessEqual | Greater) if self.is_place(&a) => (a, beside(b, true)),
            (_, Expression::Residual(_), Less | GreaterEqual) if self.is_place(&a) => (a, beside(b, false)),
            (Expression::Residual(_), _, GreaterEqual | Less) if self.is_place(&b) => (beside(a, true), b),
            (Expression::Residual(_), _, Greater | LessEqual) if self.is_place(&b) => (beside(a, false), b),
            _ => (a, b),
        }
    }

    /// Whether a number is a place in an order.
    fn is_place(&self, e: &Expression) -> bool {
        let Expression::Input { input, column } = *e else { return false };
        let Some(&Source::Stage(mut stage)) = self.sources.get(&input) else { return false };
        let mut column = column;
        loop {
            match &self.stages[stage].outputs[column].value {
                OutputValue::Ranked { ranking, .. } => return ranking.is_place(),
                OutputValue::Row(Expression::Input { input, column: inner }) => match self.stages[stage].inputs[*input].source {
                    Source::Stage(below) => (stage, column) = (below, *inner),
                    Source::Table(_) => return false,
                },
                _ => return false,
            }
        }
    }

    /// Two bounds that both hold; of two places in one order, the rows among the first that are not among the fewer.
    pub(super) fn between(&self, low: Box<Predicate>, high: Box<Predicate>) -> Predicate {
        let among = |p: &Predicate| {
            let Predicate::Degree(e) = p else { return None };
            let Expression::Input { input, column } = **e else { return None };
            let Some(&Source::Stage(stage)) = self.sources.get(&input) else { return None };
            let ranked = matches!(self.stages[stage].outputs[column].value, OutputValue::Ranked { ranking: Ranking::Among(_), .. });
            ranked.then(|| (input, (**e).clone()))
        };
        match (if let Predicate::Not(fewer) = &*low { among(fewer) } else { None }, among(&high)) {
            (Some((of, fewer)), Some((same, first))) if of == same => {
                Predicate::Degree(Box::new(Expression::Binary(Binary::Subtract, Box::new(first), Box::new(fewer))))
            }
            _ => Predicate::And(low, high),
        }
    }

    /// The output of a stage that says to what degree a row is among the first, where `column` is its place.
    fn among_of(&mut self, stage: usize, column: usize, rows: u64) -> Option<usize> {
        match self.stages[stage].outputs[column].value.clone() {
            OutputValue::Ranked { ranking, order } if ranking.is_place() => {
                let label = among_label(&order, rows);
                Some(self.output(stage, OutputValue::Ranked { ranking: Ranking::Among(rows), order }, label))
            }
            OutputValue::Row(Expression::Input { input, column }) => {
                let Source::Stage(inner) = self.stages[stage].inputs[input].source else { return None };
                let column = self.among_of(inner, column, rows)?;
                let label = self.stages[inner].outputs[column].label.clone();
                Some(self.output(stage, OutputValue::Row(Expression::Input { input, column }), label))
            }
            _ => None,
        }
    }

    /// A filter for the first row of each partition makes its rows exclude each other.
    pub(super) fn note_exclusive(&self, relation: &mut Relation, p: &Predicate) {
        let Predicate::Degree(e) = p else { return };
        let Expression::Input { input, column } = **e else { return };
        let Some(&Source::Stage(stage)) = self.sources.get(&input) else { return };
        let first = matches!(self.stages[stage].outputs[column].value, OutputValue::Ranked { ranking: Ranking::Among(1), .. });
        if let Some((_, partition)) = relation.known.ranked.iter().find(|(row, _)| first && *row == input) {
            relation.known.exclusive = Some(partition.clone());
        }
    }

    /// The columns in which pairs must be equal to exclude each other, where one side's rows do: those of both sides, a
    /// row's number standing for the columns of a side whose rows do not.
    pub(super) fn exclusive_pairs(&mut self, left: &mut Relation, right: &mut Relation) -> Result<Option<Vec<usize>>> {
        if left.known.exclusive.is_none() && right.known.exclusive.is_none() {
            return Ok(None);
        }
        let mut columns = vec![];
        for side in [left, right] {
            match &side.known.exclusive {
                Some(exclusive) => columns.extend(exclusive),
                None => columns.push(self.number_rows(side)?),
            }
        }
        Ok(Some(columns))
    }

    fn number_rows(&mut self, relation: &mut Relation) -> Result<usize> {
        relation.flush()?;
        let id = self.fresh();
        relation.names.insert(id, "row".into());
        relation.plan = LogicalPlanBuilder::from(relation.plan.clone()).window(vec![row_number().alias(column_name(id))])?.build()?;
        Ok(id)
    }
}

/// The key of a skeleton's order.
pub(super) fn frozen_key(key: &Key) -> Option<SortExpr> {
    let Slot::Frozen(id) = key.value else { return None };
    Some(column(id).sort(!key.descending, key.nulls_first))
}

fn among_label(order: &Order, rows: u64) -> String {
    format!("ORDER BY {} LIMIT {rows}", order.label)
}

fn limit_text(limit: &Limit) -> String {
    let part = |word: &str, e: &Option<Box<Expr>>| e.as_ref().map(|e| format!("{word} {}", e.human_display()));
    part("LIMIT", &limit.fetch).into_iter().chain(part("OFFSET", &limit.skip)).collect::<Vec<_>>().join(" ")
}

fn without_order(at: Place) -> Error {
    Error::new("LIMIT without an order, over rows that a live filter weighs")
        .at(at)
        .hint("ORDER BY says which rows are the first; or leave LIMIT out")
}
