//! Ends a stage whose rows are read again as they are, by any number of relations.

use super::join::only_where;
use super::relation::{Live, Relation, Slot};
use super::{Splitter, column};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate, Source};
use crate::error::{Place, Result};
use crate::scalar::Binary;
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{LogicalPlanBuilder, lit};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of a finished stage.
#[derive(Debug, Clone)]
pub(super) struct FinishedRows {
    pub stage: usize,
    /// The relation over the columns of the stage. Its plan is the one that made the stage.
    pub relation: Relation,
    /// Stands for the row's number in the stage.
    row: usize,
    /// Columns of the stage that it passes on.
    passed: Vec<usize>,
}

impl Splitter<'_> {
    /// Ends a stage: live columns become its outputs, but for those that are columns of an input as they are;
    /// the weight becomes one output.
    pub(super) fn finish_rows(&mut self, relation: Relation) -> Result<FinishedRows> {
        self.finish_in_order(relation, Grouping::Rows, (vec![], vec![]), &[], &mut [])
    }

    /// The same, sorted by keys and then by further columns. The stage passes the columns of `kept` on too, and `more` is
    /// renumbered to its slots.
    pub(super) fn finish_in_order(
        &mut self,
        mut relation: Relation,
        grouping: Grouping,
        sorted: (Vec<usize>, Vec<usize>),
        kept: &[usize],
        more: &mut [Expression],
    ) -> Result<FinishedRows> {
        relation.flush()?;
        let row = self.fresh();
        let mut outputs: Vec<Expression> = vec![];
        let mut output = |e: Expression| -> Expression {
            if matches!(e, Expression::Input { .. } | Expression::Null) {
                return e;
            }
            let column = outputs.iter().position(|known| *known == e).unwrap_or_else(|| {
                outputs.push(e);
                outputs.len() - 1
            });
            Expression::Input { input: row, column }
        };
        for slot in relation.columns.iter_mut().chain(relation.carried.iter_mut().map(|(_, slot)| slot)) {
            if let Slot::Live(live) = slot {
                *live = Live::Number(output(number(live.clone())));
            }
        }
        if !relation.weight.is_empty() {
            relation.weight = vec![output(product(std::mem::take(&mut relation.weight)))];
        }
        let mut passed: BTreeSet<usize> = kept.iter().copied().collect();
        relation.renumber(&mut |id| {
            passed.insert(id);
            id
        });
        passed.remove(&row);
        let passed: Vec<usize> = passed.into_iter().collect();
        let own = outputs.len();
        outputs.extend_from_slice(more);
        let stage = self.close_in_order(&relation, grouping, sorted, &mut outputs, passed.clone(), vec![])?;
        more.clone_from_slice(&outputs.split_off(own));
        self.stages[stage].outputs = outputs
            .into_iter()
            .enumerate()
            .map(|(i, e)| Output { value: OutputValue::Row(e), label: format!("column {}", i + 1) })
            .collect();
        Ok(FinishedRows { stage, relation, row, passed })
    }

    /// The rows as a relation, and the column with their numbers.
    pub(super) fn read(&mut self, rows: &FinishedRows) -> Result<(Relation, usize)> {
        let (relation, row, _) = self.read_renamed(rows)?;
        Ok((relation, row))
    }

    /// The same, with the new numbers of the columns.
    pub(super) fn read_renamed(&mut self, rows: &FinishedRows) -> Result<(Relation, usize, BTreeMap<usize, usize>)> {
        let (read, mut renamed, row) = self.read_stage(rows.stage, &rows.passed, &rows.relation.names)?;
        for (before, now) in &renamed {
            if let Some(source) = self.sources.get(before).copied() {
                self.sources.insert(*now, source);
            }
        }
        renamed.insert(rows.row, row);
        let mut relation = rows.relation.clone();
        relation.renumber(&mut |id| renamed[&id]);
        Ok((Relation { plan: read.plan, names: read.names, ..relation }, row, renamed))
    }

    /// Carries the number of a row along as an ordinary column, under a name of its own.
    pub(super) fn carry_row(&mut self, relation: &mut Relation, row: usize) -> Result<Column> {
        let (id, name) = (self.fresh(), Column::from_name(format!("row {}", self.next)));
        relation.add(id, "row".into(), column(row));
        relation.flush()?;
        relation.carried.push((name.clone(), Slot::Frozen(id)));
        Ok(name)
    }

    /// Joins a finished stage to a relation by a column of each; returns the stage's rows. Only a left join keeps what has no partner.
    pub(super) fn join_stage(
        &mut self,
        relation: &mut Relation,
        by: usize,
        stage: usize,
        key: usize,
        passed: &[usize],
        kind: JoinType,
    ) -> Result<(usize, BTreeMap<usize, usize>)> {
        let all: Vec<usize> = std::iter::once(key).chain(passed.iter().copied()).collect();
        let names = relation.names.clone();
        let (read, renamed, row) = self.read_stage(stage, &all, &names)?;
        relation.plan =
            LogicalPlanBuilder::from(relation.plan.clone()).join_on(read.plan, kind, [column(by).eq(column(renamed[&key]))])?.build()?;
        relation.names.extend(read.names);
        Ok((row, renamed))
    }

    /// A one-row relation as a stage of its own, and its first column for every row of another relation.
    pub(super) fn one_row(&mut self, mut relation: Relation, into: &mut Relation, place: Place) -> Result<Expression> {
        if relation.known.exclusive.as_ref().is_some_and(Vec::is_empty) {
            let stage = self.one_of_rows(&mut relation, vec![])?;
            return Ok(if_there(self.first_row(stage, into)));
        }
        let value = relation.live(0)?;
        let mut outputs = vec![number(present(value, std::mem::take(&mut relation.weight)))];
        relation.flush()?;
        let stage = self.close(&relation, Grouping::Rows, vec![], &mut outputs, vec![], vec![])?;
        self.stages[stage].outputs =
            outputs.into_iter().map(|e| Output { value: OutputValue::Row(e), label: "scalar sub-query".into() }).collect();
        self.single.insert(stage, place);
        Ok(self.first_row(stage, into))
    }

    /// The first column of rows of which at most one is present among those of equal keys: its mean, and the degree to which there
    /// is one.
    pub(super) fn one_of_rows(&mut self, relation: &mut Relation, keys: Vec<usize>) -> Result<usize> {
        relation.flush()?;
        let value = number(relation.live(0)?);
        let aggregates = [(Aggregate::Avg, Some(value)), (Aggregate::PresenceOfOne, None)];
        let outputs = aggregates.map(|(aggregate, argument)| Output {
            value: OutputValue::Aggregate { aggregate, argument, filter: None },
            label: "scalar sub-query".into(),
        });
        let grouping = if keys.is_empty() { Grouping::Whole } else { Grouping::Keys };
        self.end_stage(relation, grouping, keys, outputs.to_vec(), vec![])
    }

    /// The first output of a one-row stage, for every row of a relation.
    pub(super) fn first_row(&mut self, stage: usize, into: &mut Relation) -> Expression {
        let id = self.fresh();
        self.sources.insert(id, Source::Stage(stage));
        into.add(id, "row 0".into(), lit(0u32));
        Expression::Input { input: id, column: 0 }
    }
}

/// The mean of [`Splitter::one_of_rows`], NULL to the degree that there is no row.
pub(super) fn if_there(mean: Expression) -> Expression {
    let Expression::Input { input, column } = mean else { return mean };
    only_where(Predicate::Degree(Box::new(Expression::Input { input, column: column + 1 })), mean)
}

/// The value, NULL to the degree that its row is absent.
pub(super) fn present(value: Live, weight: Vec<Expression>) -> Live {
    if weight.is_empty() {
        return value;
    }
    Live::Number(only_where(Predicate::Degree(Box::new(product(weight))), number(value)))
}

pub(super) fn number(live: Live) -> Expression {
    match live {
        Live::Number(e) => e,
        Live::Truth(p) => Expression::Degree(Box::new(p)),
    }
}

pub(super) fn product(factors: Vec<Expression>) -> Expression {
    factors.into_iter().reduce(|a, b| Expression::Binary(Binary::Multiply, Box::new(a), Box::new(b))).unwrap_or(Expression::Number(1.0))
}
