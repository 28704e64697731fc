//! Joins: the frozen part of the condition joins the skeletons, the live part is a factor of the weight.
//! An outer join with a live side is the pairs, and each row alone with the degree that nothing matched it, one after
//! another; a semi or anti join weighs each left row by the degree that something, or nothing, matched it.

use super::relation::{Live, Relation, Slot, place};
use super::rows::{FinishedRows, number, product};
use super::{Splitter, column};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate};
use crate::error::{Error, Result};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join, LogicalPlanBuilder, Operator, binary_expr, lit, utils::split_conjunction};

impl Splitter<'_> {
    pub(super) fn inner_join(&mut self, join: &Join) -> Result<Relation> {
        if let Some(joined) = self.lateral_join(join)? {
            return Ok(joined);
        }
        let (left, right) = (self.relation(&join.left)?, self.relation(&join.right)?);
        let left = self.with_outer(left, &join.filter)?;
        self.inner_joined(left, right, join)
    }

    pub(super) fn inner_joined(&mut self, left: Relation, right: Relation, join: &Join) -> Result<Relation> {
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
        let same = if join.null_equality == NullEquality::NullEqualsNull { Operator::IsNotDistinctFrom } else { Operator::Eq };
        let mut conjuncts: Vec<Expr> = join.on.iter().map(|(l, r)| binary_expr(l.clone(), same, r.clone())).collect();
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
        let (mut left, mut right) = (left, right);
        let exclusive = self.exclusive_pairs(&mut left, &mut right)?;
        let (left_plan, right_plan) = (left.plan.clone(), right.plan.clone());
        let (of_left, of_right) = (left.carried.clone(), right.carried.clone());
        let mut both = Self::beside(left, right, left_plan.clone());
        both.known.exclusive = exclusive;
        let mut on = frozen.iter().map(|e| self.skeleton_expression(e, schema, &both)).collect::<Result<Vec<_>>>()?;
        // Pairs of both sides with the rows around them meet where these are the same.
        if let Some(context) = self.contexts.last() {
            let key = |carried: &[(Column, Slot)]| carried.iter().find(|(name, _)| *name == context.key).map(|(_, slot)| slot.clone());
            if let (Some(Slot::Frozen(l)), Some(Slot::Frozen(r))) = (key(&of_left), key(&of_right)) {
                on.push(column(l).eq(column(r)));
            }
        }
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
            let right_width = join.right.schema().fields().len();
            let mut relation = self.outer_join(&swapped(join)?)?;
            relation.columns.rotate_left(right_width);
            return Ok(relation);
        }
        if let Some(joined) = self.lateral_join(join)? {
            return Ok(joined);
        }
        let (left, right) = (self.relation(&join.left)?, self.relation(&join.right)?);
        let left = self.with_outer(left, &join.filter)?;
        self.left_joined(left, right, join)
    }

    /// LEFT JOIN and FULL JOIN.
    pub(super) fn left_joined(&mut self, left: Relation, right: Relation, join: &Join) -> Result<Relation> {
        let (frozen, live) = self.conditions(join, &left, &right)?;
        let schema = both_schema(join)?;
        let full = join.join_type == JoinType::Full;
        if live.is_empty() && right.weight.is_empty() && (!full || left.weight.is_empty()) {
            return self.frozen_outer_join(left, right, join.join_type, frozen, &schema);
        }
        self.soft_outer_join(left, right, frozen, live, &schema, full)
    }

    /// An outer join whose matches are frozen: live columns are NULL where the row is null-extended.
    fn frozen_outer_join(
        &mut self,
        mut left: Relation,
        mut right: Relation,
        kind: JoinType,
        frozen: Vec<Expr>,
        schema: &DFSchema,
    ) -> Result<Relation> {
        let left_width = left.columns.len();
        let mark = |splitter: &mut Self, side: &mut Relation| -> Result<usize> {
            let marker = splitter.fresh();
            side.add(marker, "there".into(), lit(true));
            side.flush()?;
            Ok(marker)
        };
        let of_right = mark(self, &mut right)?;
        let of_left = if kind == JoinType::Full { Some(mark(self, &mut left)?) } else { None };
        let mut both = self.join_skeletons(left, right, kind, frozen, schema)?;
        let there = |splitter: &mut Self, both: &mut Relation, marker: usize| {
            let id = splitter.fresh();
            both.add(id, "matched".into(), column(marker).is_not_null())
        };
        let right_there = there(self, &mut both, of_right);
        let left_there = of_left.map(|marker| there(self, &mut both, marker));
        both.flush()?;
        for (at, slot) in both.columns.iter_mut().enumerate() {
            let there = if at < left_width { left_there } else { Some(right_there) };
            if let (Slot::Live(live), Some(there)) = (slot, there) {
                *live = Live::Number(only_where(Predicate::Frozen(there), number(live.clone())));
            }
        }
        Ok(both)
    }

    /// Pairs with the weight of their match, and each row alone with its weight and the product of (1 - match).
    fn soft_outer_join(
        &mut self,
        left: Relation,
        right: Relation,
        frozen: Vec<Expr>,
        live: Vec<Expr>,
        schema: &DFSchema,
        full: bool,
    ) -> Result<Relation> {
        let (left_width, right_width) = (left.columns.len(), right.columns.len());
        let outer: Vec<Column> = left.carried.iter().map(|(name, _)| name.clone()).collect();
        let left = self.finish_rows(left)?;
        let (mut left_side, left_row) = self.read(&left)?;
        let left_key = self.carry_row(&mut left_side, left_row)?;
        let left_weight = carry_weight(&mut left_side);
        let (mut right_side, mut right_rows) = (right, None);
        if full {
            let rows = self.finish_rows(right_side)?;
            let (side, row) = self.read(&rows)?;
            right_side = side;
            let key = self.carry_row(&mut right_side, row)?;
            let weight = carry_weight(&mut right_side);
            right_rows = Some((rows, key, weight));
        }
        // The pairs that the frozen part of the condition allows. Their weight is the degree of the match.
        let mut pairs = self.join_skeletons(left_side, right_side, JoinType::Inner, frozen, schema)?;
        for conjunct in live {
            self.condition(&mut pairs, schema, &conjunct)?;
        }
        let matches = self.finish_rows(pairs)?;
        let right_weight = right_rows.as_ref().and_then(|(_, _, weight)| weight.clone());
        let (mut all, _) = self.read(&matches)?;
        for weight in left_weight.iter().chain(&right_weight) {
            let factor = number(live_of(all.of_outer(weight)?));
            all.weight.push(factor);
        }
        all.carried.retain(|(name, _)| outer.contains(name));
        let lone_left = self.unmatched(&left, &matches, &left_key, right_weight.as_ref())?;
        let mut branches = vec![all, beside_nulls(lone_left, 0, right_width)];
        if let Some((rows, key, _)) = &right_rows {
            let lone_right = self.unmatched(rows, &matches, key, left_weight.as_ref())?;
            branches.push(beside_nulls(lone_right, left_width, 0));
        }
        self.concatenate(branches)
    }

    /// Rows with the degree that none of their matches is there. `other` is the weight of the other side's rows.
    fn unmatched(&mut self, rows: &FinishedRows, matches: &FinishedRows, key: &Column, other: Option<&Column>) -> Result<Relation> {
        let (mut matches, _) = self.read(matches)?;
        if let Some(other) = other {
            let factor = number(live_of(matches.of_outer(other)?));
            matches.weight.push(factor);
        }
        let stage = self.by_row(&matches, key, Aggregate::Absence, "no row matches")?;
        let (mut alone, row) = self.read(rows)?;
        let (found, _) = self.join_stage(&mut alone, row, stage, matches.key(key)?, &[], JoinType::Left)?;
        let absent = Expression::Coalesce(vec![Expression::Input { input: found, column: 0 }, Expression::Number(1.0)]);
        alone.weight.push(absent);
        Ok(alone)
    }

    /// LEFT SEMI JOIN and LEFT ANTI JOIN.
    pub(super) fn semi_join(&mut self, join: &Join) -> Result<Relation> {
        let (left, right) = (self.relation(&join.left)?, self.relation(&join.right)?);
        let left = self.with_outer(left, &join.filter)?;
        let (frozen, live) = self.conditions(join, &left, &right)?;
        let schema = both_schema(join)?;
        if let (NullEquality::NullEqualsNull, Some(at)) = (join.null_equality, live.first()) {
            let set = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
            return Err(Error::new(format!("{set} over the live column {}", at.human_display()))
                .at(place(at))
                .hint("a live number has no finite set of values: leave it out, or compare it in WHERE EXISTS"));
        }
        let left = self.finish_rows(left)?;
        let (mut side, row) = self.read(&left)?;
        side.weight.clear();
        let key = self.carry_row(&mut side, row)?;
        let mut pairs = self.join_skeletons(side, right, JoinType::Inner, frozen, &schema)?;
        for conjunct in live {
            self.condition(&mut pairs, &schema, &conjunct)?;
        }
        let semi = join.join_type == JoinType::LeftSemi;
        let stage = if semi {
            self.by_row(&pairs, &key, Aggregate::Presence, "a row matches")?
        } else {
            self.by_row(&pairs, &key, Aggregate::Absence, "no row matches")?
        };
        let (mut relation, row) = self.read(&left)?;
        let kind = if semi { JoinType::Inner } else { JoinType::Left };
        let (found, _) = self.join_stage(&mut relation, row, stage, pairs.key(&key)?, &[], kind)?;
        let degree = Expression::Input { input: found, column: 0 };
        relation.weight.push(if semi { degree } else { Expression::Coalesce(vec![degree, Expression::Number(1.0)]) });
        Ok(relation)
    }

    /// A degree of the pairs of each row whose number they carry.
    fn by_row(&mut self, pairs: &Relation, key: &Column, aggregate: Aggregate, label: &str) -> Result<usize> {
        let output = Output { value: OutputValue::Aggregate { aggregate, argument: None, filter: None }, label: label.into() };
        self.end_stage(pairs, Grouping::Keys, vec![pairs.key(key)?], vec![output], vec![])
    }
}

/// The same join, its right side first.
pub(super) fn swapped(join: &Join) -> Result<Join> {
    let kind = join.join_type.swap();
    let on = join.on.iter().map(|(l, r)| (r.clone(), l.clone())).collect();
    let (left, right) = (join.right.clone(), join.left.clone());
    Ok(Join::try_new(left, right, on, join.filter.clone(), kind, join.join_constraint, join.null_equality, false)?)
}

/// The schema of both sides, as conditions see it.
fn both_schema(join: &Join) -> Result<DFSchema> {
    Ok(join.left.schema().join(join.right.schema())?)
}

/// Takes the weight off a relation and carries it along.
fn carry_weight(relation: &mut Relation) -> Option<Column> {
    if relation.weight.is_empty() {
        return None;
    }
    let name = Column::from_name(format!("weight of {}", relation.carried.last().map_or("", |(key, _)| key.name.as_str())));
    relation.carried.push((name.clone(), Slot::Live(Live::Number(product(std::mem::take(&mut relation.weight))))));
    Some(name)
}

fn live_of(slot: &Slot) -> Live {
    match slot {
        Slot::Live(live) => live.clone(),
        Slot::Frozen(id) => Live::Number(Expression::Residual(*id)),
    }
}

/// The relation with so many columns of NULL before and after its own.
fn beside_nulls(mut relation: Relation, before: usize, after: usize) -> Relation {
    let nulls = |count: usize| std::iter::repeat_n(Slot::Live(Live::Number(Expression::Null)), count);
    relation.columns = nulls(before).chain(relation.columns).chain(nulls(after)).collect();
    relation
}

pub(super) fn only_where(p: Predicate, e: Expression) -> Expression {
    Expression::Case { branches: vec![(p, e)], otherwise: Box::new(Expression::Null) }
}
