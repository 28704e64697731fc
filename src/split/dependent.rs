//! Sub-queries that depend on the rows around them.
//!
//! The rows of the outer query end a stage. The sub-query is split over pairs: where it first reads an outer column, its
//! rows meet the outer rows, whose number they carry from there on. An aggregate groups by that number too, and one
//! without GROUP BY has a row for every outer row (COUNT over no rows is 0, the others are NULL). What the sub-query
//! says of each outer row is a stage with at most one row for it, which the outer rows look up.

use super::expression::never_null;
use super::relation::{Known, Live, Relation, Slot, one_more, place, place_of, text};
use super::rows::{FinishedRows, if_there, present};
use super::subquery::{Call, Kind};
use super::{Splitter, column, column_name};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate};
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlanBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows around a sub-query while it is split.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub rows: FinishedRows,
    /// What the sub-query calls the columns of the rows that it reads.
    bindings: Vec<(Column, usize)>,
    /// The name under which pairs carry the number of their outer row.
    pub key: Column,
}

/// Which degrees of a predicate its reader needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Truth, of rows that have any: it is a factor of their weight.
    Match,
    /// Truth and, where it may be NULL, falsity of every row.
    Value,
}

/// The name under which pairs carry the value that is compared.
fn value_column(value: &Expr) -> Column {
    Column::from_name(text(value))
}

impl Splitter<'_> {
    /// Gives every live sub-query of the expressions a column of its own at the end of the relation.
    pub(super) fn unnest(
        &mut self,
        relation: &mut Relation,
        schema: &DFSchema,
        expressions: impl IntoIterator<Item = Expr>,
    ) -> Result<(DFSchema, Vec<Expr>)> {
        let mut schema = schema.clone();
        let mut unnested = vec![];
        for e in expressions {
            let e = e.transform_up(|node| match self.column_of_call(&node, relation, &mut schema)? {
                Some(column) => Ok(Transformed::yes(column)),
                None => Ok(Transformed::no(node)),
            })?;
            unnested.push(e.data);
        }
        Ok((schema, unnested))
    }

    fn column_of_call(&mut self, e: &Expr, relation: &mut Relation, schema: &mut DFSchema) -> Result<Option<Expr>> {
        let Some((call, args)) = Call::of(e).filter(|(_, args)| !args.is_empty()) else { return Ok(None) };
        if !self.is_live_expression(e, schema, relation)? {
            return Ok(None);
        }
        let slot = match call.kind {
            Kind::Scalar => self.value_of_rows(relation, schema, call, args)?,
            Kind::Exists | Kind::Any(_) => Slot::Live(Live::Truth(self.truth_of_rows(relation, schema, call, args, Need::Value)?)),
        };
        relation.columns.push(slot);
        let name = format!("{} {}", e.human_display(), self.fresh());
        let (more, column) = one_more(schema, name, call.returned.clone())?;
        *schema = more;
        Ok(Some(column))
    }

    /// A conjunct that is a live EXISTS or IN: rows that match nothing go, the others weigh as much as they match.
    pub(super) fn semi_condition(&mut self, relation: &mut Relation, schema: &DFSchema, e: &Expr) -> Result<bool> {
        let Some((call, args)) = Call::of(e).filter(|(call, args)| call.kind != Kind::Scalar && !args.is_empty()) else {
            return Ok(false);
        };
        let truth = self.truth_of_rows(relation, schema, call, args, Need::Match)?;
        relation.weight.push(Expression::Degree(Box::new(truth)));
        Ok(true)
    }

    /// Ends the stage of the outer rows. A sub-query calls the arguments, which are over their columns, by these names.
    pub(super) fn around(
        &mut self,
        relation: &mut Relation,
        schema: &DFSchema,
        names: impl IntoIterator<Item = Column>,
        args: &[Expr],
    ) -> Result<Context> {
        let width = relation.columns.len();
        for e in args {
            let slot = self.column(e, schema, relation)?;
            relation.columns.push(slot);
        }
        let rows = self.finish_rows(relation.clone())?;
        let key = Column::from_name(format!("outer row {}", self.fresh()));
        Ok(Context { rows, bindings: names.into_iter().zip(width..width + args.len()).collect(), key })
    }

    /// Ends the stage of the outer rows, and splits the sub-query over pairs with them.
    fn pairs(&mut self, relation: &mut Relation, schema: &DFSchema, call: &Call, args: &[Expr]) -> Result<(Context, Relation)> {
        let names = call.outer.iter().cloned().chain(args.last().map(value_column));
        let context = self.around(relation, schema, names, args)?;
        self.contexts.push(context.clone());
        let pairs = self.relation(&call.plan).and_then(|inner| self.meet(inner));
        self.contexts.pop();
        Ok((context, pairs?))
    }

    /// The outer rows again, as they were before their sub-query.
    fn outer_rows(&mut self, context: &Context, width: usize, relation: &mut Relation) -> Result<usize> {
        let (outer, row) = self.read(&context.rows)?;
        *relation = outer;
        relation.columns.truncate(width);
        Ok(row)
    }

    /// EXISTS, or a value compared with any row.
    fn truth_of_rows(&mut self, relation: &mut Relation, schema: &DFSchema, call: &Call, args: &[Expr], need: Need) -> Result<Predicate> {
        let width = relation.columns.len();
        let (context, mut pairs) = self.pairs(relation, schema, call, args)?;
        let filters = match call.kind {
            Kind::Any(op) => {
                let value = args.last().ok_or_else(|| Error::new("a comparison with a sub-query has no value"))?;
                let inner = call.plan.schema();
                let field = Arc::new(Field::new("value", value.get_type(schema)?, true));
                let right = Expr::Column(Column::from(inner.qualified_field(0)));
                let nullable = need == Need::Value && (value.nullable(schema)? || inner.field(0).is_nullable());
                let compared = BinaryExpr::new(Box::new(Expr::OuterReferenceColumn(field, value_column(value))), op, Box::new(right));
                let compared = Expr::BinaryExpr(compared);
                // Groups and sets within the sub-query carry only the number of the outer row.
                self.contexts.push(context.clone());
                let met = self.with_outer(pairs, [&compared]);
                self.contexts.pop();
                pairs = met?;
                self.any(&mut pairs, &compared, inner, nullable)?
            }
            _ => vec![None],
        };
        pairs.flush()?;
        let presence = |filter: Option<Predicate>, label: &str| Output {
            value: OutputValue::Aggregate { aggregate: Aggregate::Presence, argument: None, filter },
            label: label.into(),
        };
        let labels = if call.kind == Kind::Exists { ["a row exists", ""] } else { ["a row matches", "a row may match"] };
        let outputs: Vec<Output> = filters.into_iter().zip(labels).map(|(filter, label)| presence(filter, label)).collect();
        let nullable = outputs.len() > 1;
        let key = pairs.key(&context.key)?;
        let stage = self.end_stage(&pairs, Grouping::Keys, vec![key], outputs, vec![])?;
        let row = self.outer_rows(&context, width, relation)?;
        let kind = if need == Need::Match { JoinType::Inner } else { JoinType::Left };
        let (found, _) = self.join_stage(relation, row, stage, key, &[], kind)?;
        let degree = |column: usize| {
            let degree = Expression::Input { input: found, column };
            if need == Need::Match { degree } else { Expression::Coalesce(vec![degree, Expression::Number(0.0)]) }
        };
        Ok(match nullable {
            true => Predicate::Known { truth: Box::new(degree(0)), possible: Box::new(degree(1)) },
            false => Predicate::Degree(Box::new(degree(0))),
        })
    }

    /// A filter for the pairs that compare true and, where that may be NULL, one for those that do not compare false.
    /// A frozen comparison joins the skeletons.
    fn any(&mut self, pairs: &mut Relation, compared: &Expr, schema: &DFSchema, nullable: bool) -> Result<Vec<Option<Predicate>>> {
        if self.is_live_expression(compared, schema, pairs)? {
            let truth = self.predicate(compared, schema, pairs)?;
            let possible = nullable.then(|| Predicate::Not(Box::new(never_null(Predicate::Not(Box::new(truth.clone()))))));
            return Ok([Some(truth)].into_iter().chain(possible.map(Some)).collect());
        }
        let condition = self.skeleton_expression(compared, schema, pairs)?;
        pairs.flush()?;
        let only = |condition: Expr| LogicalPlanBuilder::from(pairs.plan.clone()).filter(condition);
        let matches = only(condition.clone())?;
        if !nullable {
            pairs.plan = matches.build()?;
            return Ok(vec![None]);
        }
        let Expr::BinaryExpr(BinaryExpr { left, right, .. }) = &condition else {
            return Err(Error::new(format!("{compared} is no comparison")));
        };
        // Apart, so that the exact engine can hash the first and filter the others early.
        let unknown_right = only(right.as_ref().clone().is_null())?.build()?;
        let unknown_left = only(left.as_ref().clone().is_null().and(right.as_ref().clone().is_not_null()))?.build()?;
        pairs.plan = matches.union(unknown_right)?.union(unknown_left)?.build()?;
        let id = self.fresh();
        pairs.add(id, text(compared), condition.is_true());
        Ok(vec![Some(Predicate::Frozen(id)), None])
    }

    /// A scalar sub-query: the value of the one row for each outer row, NULL where there is none.
    fn value_of_rows(&mut self, relation: &mut Relation, schema: &DFSchema, call: &Call, args: &[Expr]) -> Result<Slot> {
        let width = relation.columns.len();
        let (context, mut inner) = self.pairs(relation, schema, call, args)?;
        let key = inner.key(&context.key)?;
        if inner.known.exclusive.as_ref().is_some_and(|columns| columns.iter().all(|c| *c == key)) {
            let stage = self.one_of_rows(&mut inner, vec![key])?;
            let row = self.outer_rows(&context, width, relation)?;
            let (found, _) = self.join_stage(relation, row, stage, key, &[], JoinType::Left)?;
            return Ok(Slot::Live(Live::Number(if_there(Expression::Input { input: found, column: 0 }))));
        }
        if !inner.weight.is_empty() {
            let weight = std::mem::take(&mut inner.weight);
            inner.columns[0] = Slot::Live(present(inner.live(0)?, weight));
        }
        inner.carried.retain(|(name, _)| *name == context.key);
        inner.columns.truncate(1);
        let finished = self.finish_rows(inner)?;
        let key = column_name(finished.relation.key(&context.key)?);
        self.skeletons[finished.stage].unique = Some((key, place_of(&call.plan)));
        let (values, _) = self.read(&finished)?;
        let key = values.key(&context.key)?;
        let row = self.outer_rows(&context, width, relation)?;
        relation.plan =
            LogicalPlanBuilder::from(relation.plan.clone()).join_on(values.plan, JoinType::Left, [column(row).eq(column(key))])?.build()?;
        relation.names.extend(values.names);
        Ok(values.columns.into_iter().next().expect("a scalar sub-query has one column"))
    }

    /// The relation over pairs with the outer rows, if it is not yet; what it carries of them is theirs again.
    pub(super) fn meet(&mut self, relation: Relation) -> Result<Relation> {
        let Some(context) = self.contexts.last().cloned() else { return Ok(relation) };
        if relation.carries(&context.key) {
            return Ok(relation);
        }
        let (outer, row) = self.read(&context.rows)?;
        self.join_outer(relation, outer, row, &context)
    }

    fn join_outer(&mut self, mut relation: Relation, mut outer: Relation, row: usize, context: &Context) -> Result<Relation> {
        relation.flush()?;
        let key = self.fresh();
        outer.add(key, "outer row".into(), column(row));
        outer.flush()?;
        let builder = LogicalPlanBuilder::from(relation.plan.clone());
        relation.plan = match relation.carried.iter().find(|(name, _)| *name == context.key) {
            Some((_, Slot::Frozen(known))) => builder.join_on(outer.plan, JoinType::Inner, [column(*known).eq(column(key))])?.build()?,
            _ => builder.cross_join(outer.plan)?.build()?,
        };
        relation.names.extend(outer.names);
        relation.known = Known::default();
        relation.carried.retain(|(name, _)| *name != context.key && !context.bindings.iter().any(|(bound, _)| bound == name));
        relation.carried.extend(context.bindings.iter().map(|(name, at)| (name.clone(), outer.columns[*at].clone())));
        relation.carried.push((context.key.clone(), Slot::Frozen(key)));
        Ok(relation)
    }

    /// The relation with the outer columns that the expressions read.
    pub(super) fn with_outer<'e>(&mut self, relation: Relation, expressions: impl IntoIterator<Item = &'e Expr>) -> Result<Relation> {
        let mut missing = None;
        for e in expressions {
            e.apply(|e| {
                if let Expr::OuterReferenceColumn(_, c) = e
                    && !relation.carries(c)
                {
                    missing = Some(e.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        let Some(missing) = missing else { return Ok(relation) };
        match self.contexts.last().cloned() {
            Some(context) => {
                let (outer, row) = self.read(&context.rows)?;
                self.join_outer(relation, outer, row, &context)
            }
            None => Err(Error::new(format!("{} is a column of a query around this one", missing.human_display()))
                .at(place(&missing))
                .hint("read it in a sub-query of the query that has it, or join with an aggregate grouped by the key")),
        }
    }

    /// The groups of an aggregate inside a sub-query. Without GROUP BY there is one for every outer row, whether it has rows or not.
    pub(super) fn groups_of_pairs(
        &mut self,
        context: &Context,
        stage: usize,
        key: usize,
        passed: &[usize],
        names: &BTreeMap<usize, String>,
        for_each_outer_row: bool,
    ) -> Result<(Relation, BTreeMap<usize, usize>, usize)> {
        if !for_each_outer_row {
            let (mut relation, renamed, row) = self.read_stage(stage, passed, names)?;
            relation.carried = vec![(context.key.clone(), Slot::Frozen(renamed[&key]))];
            return Ok((relation, renamed, row));
        }
        let (mut outer, outer_row) = self.read(&context.rows)?;
        let (row, renamed) = self.join_stage(&mut outer, outer_row, stage, key, passed, JoinType::Left)?;
        let own = self.fresh();
        outer.add(own, "outer row".into(), column(outer_row));
        outer.flush()?;
        outer.carried = context.bindings.iter().map(|(name, at)| (name.clone(), outer.columns[*at].clone())).collect();
        outer.carried.push((context.key.clone(), Slot::Frozen(own)));
        Ok((Relation { columns: vec![], weight: vec![], known: Known::default(), ..outer }, renamed, row))
    }
}
