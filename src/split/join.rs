//! Joins: the frozen part of the condition joins the skeletons, the live part is a factor of the weight.
//! An outer join with a live side adds the null-extended row of each left row, with the degree that nothing matched it.

use super::relation::{Live, Relation, Slot};
use super::{Splitter, column, column_name};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate, Source};
use crate::error::Result;
use crate::scalar::Binary;
use datafusion::common::{DFSchema, JoinType, ScalarValue};
use datafusion::logical_expr::{Expr, Join, LogicalPlanBuilder, lit, utils::split_conjunction};
use std::collections::BTreeMap;

impl Splitter<'_> {
    pub(super) fn inner_join(&mut self, join: &Join) -> Result<Relation> {
        let (left, right) = (self.relation(&join.left)?, self.relation(&join.right)?);
        let (frozen, live) = self.conditions(join, &left, &right)?;
        let mut pairs = self.join_skeletons(left, right, JoinType::Inner, frozen, &join.schema)?;
        for conjunct in live {
            self.condition(&mut pairs, &join.schema, &conjunct)?;
        }
        Ok(pairs)
    }

    /// The conjuncts of the join's condition, frozen and live, over the join's columns.
    fn conditions(&mut self, join: &Join, left: &Relation, right: &Relation) -> Result<(Vec<Expr>, Vec<Expr>)> {
        let both = Self::beside(left.clone(), right.clone(), left.plan.clone());
        let mut conjuncts: Vec<Expr> = join.on.iter().map(|(l, r)| l.clone().eq(r.clone())).collect();
        conjuncts.extend(join.filter.iter().flat_map(split_conjunction).cloned());
        let (mut frozen, mut live) = (vec![], vec![]);
        let schema = both_schema(join)?;
        for conjunct in conjuncts {
            if self.is_live_expression(&conjunct, &schema, &both)? { live.push(conjunct) } else { frozen.push(conjunct) }
        }
        Ok((frozen, live))
    }

    fn join_skeletons(
        &mut self,
        left: Relation,
        right: Relation,
        kind: JoinType,
        frozen: Vec<Expr>,
        schema: &DFSchema,
    ) -> Result<Relation> {
        let (left_plan, right_plan) = (left.plan.clone(), right.plan.clone());
        let mut both = Self::beside(left, right, left_plan.clone());
        let on = frozen.iter().map(|e| self.skeleton_expression(e, schema, &both)).collect::<Result<Vec<_>>>()?;
        let builder = LogicalPlanBuilder::from(left_plan);
        both.plan = if on.is_empty() && kind == JoinType::Inner {
            builder.cross_join(right_plan)?
        } else if on.is_empty() {
            builder.join_on(right_plan, kind, [lit(true)])?
        } else {
            builder.join_on(right_plan, kind, on)?
        }
        .build()?;
        Ok(both)
    }

    pub(super) fn outer_join(&mut self, join: &Join) -> Result<Relation> {
        if join.join_type == JoinType::Right {
            let (l, r) = (join.left.schema().fields().len(), join.right.schema().fields().len());
            let swapped = Join::try_new(
                join.right.clone(),
                join.left.clone(),
                join.on.iter().map(|(l, r)| (r.clone(), l.clone())).collect(),
                join.filter.clone(),
                JoinType::Left,
                join.join_constraint,
                join.null_equality,
                false,
            )?;
            let mut relation = self.outer_join(&swapped)?;
            relation.columns.rotate_left(r);
            debug_assert_eq!(relation.columns.len(), l + r);
            return Ok(relation);
        }
        let (left, mut right) = (self.relation(&join.left)?, self.relation(&join.right)?);
        let (frozen, live) = self.conditions(join, &left, &right)?;
        let schema = both_schema(join)?;
        if live.is_empty() && right.weight.is_empty() {
            let marker = self.fresh();
            right.add(marker, "matched".into(), lit(true));
            right.flush()?;
            let left_width = left.columns.len();
            let mut both = self.join_skeletons(left, right, JoinType::Left, frozen, &schema)?;
            let matched = self.fresh();
            both.add(matched, "matched".into(), column(marker).is_not_null());
            both.flush()?;
            for slot in &mut both.columns[left_width..] {
                if let Slot::Live(live) = slot {
                    *live = Live::Number(only_where(Predicate::Frozen(matched), number(live.clone())));
                }
            }
            return Ok(both);
        }
        self.soft_outer_join(left, right, frozen, live, &schema)
    }

    /// Pairs with the weight of their match, and each left row alone with the product of (1 - match).
    fn soft_outer_join(
        &mut self,
        left: Relation,
        right: Relation,
        frozen: Vec<Expr>,
        live: Vec<Expr>,
        schema: &DFSchema,
    ) -> Result<Relation> {
        let (right_width, right_columns) = (right.columns.len(), right.columns.clone());
        // The left rows, finished: their live columns and weight become columns of a stage.
        let left_weight = product(left.weight.clone());
        let left_rows = self.finish_rows(left, Some(left_weight))?;
        let (left_stage, left_row) = (left_rows.stage, left_rows.row);
        let left_columns = left_rows.relation.columns.len();
        // The pairs that the frozen part of the condition allows, each with the degree of its match.
        let mut left_side = left_rows.relation.clone();
        left_side.weight.clear();
        let mut pairs = self.join_skeletons(left_side, right, JoinType::Inner, frozen, schema)?;
        for conjunct in live {
            self.condition(&mut pairs, schema, &conjunct)?;
        }
        let match_degree = product(std::mem::take(&mut pairs.weight));
        pairs.columns.drain(..left_columns);
        // The left row's number must pass through as an ordinary column.
        let left_key = self.fresh();
        pairs.add(left_key, "left row".into(), column(left_row));
        pairs.flush()?;
        pairs.columns.push(Slot::Frozen(left_key));
        let matches = self.finish_rows(pairs, Some(match_degree))?;
        let Slot::Frozen(left_key) = matches.relation.columns[right_width] else { unreachable!("a row number is frozen") };
        let (absent, absent_key, absent_row) = self.absence(&matches, left_key)?;
        self.union_of_matches(left_rows, matches, (left_key, absent, absent_key, absent_row), &right_columns, left_stage)
    }

    /// For each left row that has a pair: the degree to which none of its pairs matches.
    fn absence(&mut self, matches: &FinishedRows, left_key: usize) -> Result<(Relation, usize, usize)> {
        let mut rows = matches.relation.clone();
        let weight = std::mem::take(&mut rows.weight);
        let mut expressions = weight;
        let stage = self.close(&rows, Grouping::Keys, vec![left_key], &mut expressions, vec![], vec![])?;
        self.stages[stage].weight = expressions;
        self.stages[stage].outputs = vec![Output {
            value: OutputValue::Aggregate { aggregate: Aggregate::Absence, argument: None, filter: None },
            label: "no match".into(),
        }];
        let (relation, renamed, row) = self.read_stage(stage, &[left_key], &rows.names)?;
        Ok((relation, renamed[&left_key], row))
    }

    fn union_of_matches(
        &mut self,
        left: FinishedRows,
        matches: FinishedRows,
        (left_key, absent, absent_key, absent_row): (usize, Relation, usize, usize),
        right_columns: &[Slot],
        left_stage: usize,
    ) -> Result<Relation> {
        let frozen: Vec<usize> = matches.relation.columns[..right_columns.len()]
            .iter()
            .filter_map(|s| if let Slot::Frozen(id) = s { Some(*id) } else { None })
            .collect();
        let (key, pair_row, lone_row) = (self.fresh(), self.fresh(), self.fresh());
        self.sources.insert(pair_row, Source::Stage(matches.stage));
        self.sources.insert(lone_row, self.sources[&absent_row]);
        let null_rows = lit(ScalarValue::UInt32(None));
        let new: BTreeMap<usize, usize> = frozen.iter().map(|id| (*id, self.fresh())).collect();
        let mut matched = vec![
            column(left_key).alias(column_name(key)),
            column(matches.row).alias(column_name(pair_row)),
            null_rows.clone().alias(column_name(lone_row)),
        ];
        matched.extend(frozen.iter().map(|id| column(*id).alias(column_name(new[id]))));
        let matched = LogicalPlanBuilder::from(matches.relation.plan.clone()).project(matched)?.build()?;
        let lone = LogicalPlanBuilder::from(left.relation.plan.clone()).join_on(
            absent.plan,
            JoinType::Left,
            [column(left.row).eq(column(absent_key))],
        )?;
        let types = matches.relation.plan.schema().clone();
        let mut alone = vec![
            column(left.row).alias(column_name(key)),
            null_rows.alias(column_name(pair_row)),
            column(absent_row).alias(column_name(lone_row)),
        ];
        for id in &frozen {
            let kind = types.field_with_unqualified_name(&column_name(*id))?.data_type().clone();
            alone.push(lit(ScalarValue::try_from(&kind)?).alias(column_name(new[id])));
        }
        let lone = lone.project(alone)?.build()?;
        let union = LogicalPlanBuilder::from(matched).union(lone)?.build()?;
        let passed: Vec<usize> = left.passed.keys().copied().collect();
        let (left_again, again, left_row) = self.read_stage(left_stage, &passed, &left.relation.names)?;
        let renamed: BTreeMap<usize, usize> = left.passed.iter().map(|(id, before)| (*before, again[id])).collect();
        let plan = LogicalPlanBuilder::from(left_again.plan.clone())
            .join_on(union, JoinType::Inner, [column(left_row).eq(column(key))])?
            .build()?;
        let mut relation = Relation { plan, ..left_again };
        let is_pair = self.fresh();
        relation.add(is_pair, "matched".into(), column(pair_row).is_not_null());
        relation.flush()?;
        let moved = |e: &Slot, renamed: &BTreeMap<usize, usize>, from: usize, to: usize| match e {
            Slot::Frozen(id) => Slot::Frozen(renamed[id]),
            Slot::Live(live) => Slot::Live(Live::Number(at_row(number(live.clone()), from, to))),
        };
        relation.columns = left.relation.columns.iter().map(|s| moved(s, &renamed, left.row, left_row)).collect();
        for slot in &matches.relation.columns[..right_columns.len()] {
            let column = match moved(slot, &new, matches.row, pair_row) {
                Slot::Live(live) => Slot::Live(Live::Number(only_where(Predicate::Frozen(is_pair), number(live)))),
                frozen => frozen,
            };
            relation.columns.push(column);
        }
        relation.weight = left.relation.weight.iter().map(|w| at_row(w.clone(), left.row, left_row)).collect();
        let of_pair = product(matches.relation.weight.iter().map(|w| at_row(w.clone(), matches.row, pair_row)).collect());
        let of_lone = Expression::Coalesce(vec![Expression::Input { input: lone_row, column: 0 }, Expression::Number(1.0)]);
        relation.weight.push(Expression::Case { branches: vec![(Predicate::Frozen(is_pair), of_pair)], otherwise: Box::new(of_lone) });
        Ok(relation)
    }

    /// Ends a stage whose rows are read again as they are: live columns and the weight become its outputs.
    fn finish_rows(&mut self, mut relation: Relation, weight: Option<Expression>) -> Result<FinishedRows> {
        relation.flush()?;
        let mut expressions: Vec<Expression> =
            relation.columns.iter().filter_map(|s| if let Slot::Live(live) = s { Some(number(live.clone())) } else { None }).collect();
        let live = expressions.len();
        expressions.extend(weight.clone());
        let passed: Vec<usize> = Self::all_columns(&relation.plan).into_iter().filter(|id| !self.sources.contains_key(id)).collect();
        let stage = self.close(&relation, Grouping::Rows, vec![], &mut expressions, passed.clone(), vec![])?;
        let label = |i: usize| if i < live { format!("column {}", i + 1) } else { "weight".into() };
        self.stages[stage].outputs =
            expressions.into_iter().enumerate().map(|(i, e)| Output { value: OutputValue::Row(e), label: label(i) }).collect();
        let (mut finished, renamed, row) = self.read_stage(stage, &passed, &relation.names)?;
        let mut next = 0;
        finished.columns = relation
            .columns
            .iter()
            .map(|s| match s {
                Slot::Frozen(id) => Slot::Frozen(renamed[id]),
                Slot::Live(_) => {
                    next += 1;
                    Slot::Live(Live::Number(Expression::Input { input: row, column: next - 1 }))
                }
            })
            .collect();
        finished.weight = weight.iter().map(|_| Expression::Input { input: row, column: live }).collect();
        Ok(FinishedRows { relation: finished, stage, row, passed: renamed })
    }

    /// A one-row relation as a stage of its own, and its first column for every row of another relation.
    pub(super) fn one_row(&mut self, mut relation: Relation, into: &mut Relation) -> Result<Expression> {
        let value = relation.live(0)?;
        relation.columns = vec![Slot::Live(value)];
        let rows = self.finish_rows(relation, None)?;
        self.single.insert(rows.stage);
        let id = self.fresh();
        self.sources.insert(id, Source::Stage(rows.stage));
        into.add(id, "row 0".into(), lit(0u32));
        let Slot::Live(live) = &rows.relation.columns[0] else { unreachable!("a live sub-query has a live column") };
        Ok(at_row(number(live.clone()), rows.row, id))
    }
}

/// Rows of a finished stage, read as a relation.
struct FinishedRows {
    relation: Relation,
    stage: usize,
    /// The column that holds the row's number in the stage.
    row: usize,
    /// Columns of the stage that it passes on: their numbers in the stage, and in the relation.
    passed: BTreeMap<usize, usize>,
}

/// The schema of both sides, as conditions see it.
fn both_schema(join: &Join) -> Result<DFSchema> {
    Ok(join.left.schema().join(join.right.schema())?)
}

pub(super) fn number(live: Live) -> Expression {
    match live {
        Live::Number(e) => e,
        Live::Truth(p) => Expression::Degree(Box::new(p)),
    }
}

fn only_where(p: Predicate, e: Expression) -> Expression {
    Expression::Case { branches: vec![(p, e)], otherwise: Box::new(Expression::Null) }
}

pub(super) fn product(factors: Vec<Expression>) -> Expression {
    factors.into_iter().reduce(|a, b| Expression::Binary(Binary::Multiply, Box::new(a), Box::new(b))).unwrap_or(Expression::Number(1.0))
}

/// The expression with the row numbers of column `from` read from column `to` instead.
fn at_row(mut e: Expression, from: usize, to: usize) -> Expression {
    e.renumber(&mut |id, is_row| if is_row && id == from { to } else { id });
    e
}
