//! UNION ALL, DISTINCT: rows one after another, and each once.
//!
//! A live column of a union is read from the stage of the branch that a row is of. Where all branches read the same
//! column of the same input, the union reads it too, by row numbers; else a frozen marker chooses.

use super::relation::{Known, Live, Relation, Slot, place};
use super::rows::{number, product};
use super::{Splitter, column, column_name};
use crate::algebra::{Expression, Predicate, Source};
use crate::error::{Error, Result};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{self, Expr, LogicalPlan, LogicalPlanBuilder, Union, lit};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The skeletons of a union while it is made: for each branch its plan and what it has in each new column.
struct Branches {
    relations: Vec<Relation>,
    /// New columns, each with its expression in every branch; `None` for NULL.
    columns: Vec<(usize, Vec<Option<Expr>>)>,
    /// The number columns that are known already, by what they are in every branch.
    rows: HashMap<Vec<Option<usize>>, usize>,
    /// For each branch but the last, whether a row is of it.
    markers: Vec<usize>,
}

impl Splitter<'_> {
    pub(super) fn union(&mut self, union: &Union) -> Result<Relation> {
        let mut branches = vec![];
        for input in &union.inputs {
            branches.push(self.relation(input)?);
        }
        let dependent = |context: &super::dependent::Context| branches.iter().any(|b| b.carries(&context.key));
        if let Some(context) = self.contexts.last().filter(|c| dependent(c)).cloned() {
            let met = branches.into_iter().map(|b| self.meet(b));
            branches = met.collect::<Result<_>>()?;
            branches.iter_mut().for_each(|b| b.carried.retain(|(name, _)| *name == context.key));
        }
        self.concatenate(branches)
    }

    /// DISTINCT is GROUP BY all columns.
    pub(super) fn distinct(&mut self, plan: &LogicalPlan, input: &Arc<LogicalPlan>) -> Result<Relation> {
        let relation = self.relation(input)?;
        if let Some(at) = relation.columns.iter().position(|s| matches!(s, Slot::Live(_))) {
            let name = plan.schema().columns().swap_remove(at);
            return Err(Error::new(format!("DISTINCT over the live column {}", name.name))
                .at(place(&Expr::Column(name)))
                .hint("a live number has no finite set of values: leave it out, or GROUP BY the frozen columns and aggregate it"));
        }
        let keys = input.schema().columns().into_iter().map(Expr::Column).collect();
        let grouped = logical_expr::Aggregate::try_new(input.clone(), keys, vec![])?;
        self.aggregate_of(&grouped, relation)
    }

    /// Rows of several relations with the same columns, one relation after another.
    pub(super) fn concatenate(&mut self, branches: Vec<Relation>) -> Result<Relation> {
        let mut relations = vec![];
        for mut branch in branches {
            branch.flush()?;
            let simple = |s: &Slot| match s {
                Slot::Frozen(_) | Slot::Live(Live::Number(Expression::Input { .. } | Expression::Null)) => true,
                Slot::Live(_) => false,
            };
            let finished = branch.weight.iter().all(|w| matches!(w, Expression::Input { .. }))
                && branch.columns.iter().chain(branch.carried.iter().map(|(_, s)| s)).all(simple);
            if !finished {
                let rows = self.finish_rows(branch)?;
                branch = self.read(&rows)?.0;
            }
            relations.push(branch);
        }
        let width = relations[0].columns.len();
        let carried: Vec<_> = relations[0].carried.iter().map(|(name, _)| name.clone()).collect();
        let weighted = relations.iter().any(|r| !r.weight.is_empty());
        let mut all = Branches { relations, columns: vec![], rows: HashMap::new(), markers: vec![] };
        let mut slots = vec![];
        for at in 0..width + carried.len() {
            let of = |r: &Relation| if at < width { Ok(r.columns[at].clone()) } else { r.of_outer(&carried[at - width]).cloned() };
            let parts = all.relations.iter().map(of).collect::<Result<Vec<Slot>>>()?;
            slots.push(self.united(&mut all, parts)?);
        }
        let mut weight = vec![];
        if weighted {
            let parts = all.relations.iter().map(|r| Slot::Live(Live::Number(product(r.weight.clone())))).collect();
            match self.united(&mut all, parts)? {
                Slot::Live(live) => weight.push(number(live)),
                Slot::Frozen(id) => weight.push(Expression::Residual(id)),
            }
        }
        let names = all.relations.iter().flat_map(|r| r.names.clone()).collect::<BTreeMap<_, _>>();
        let plan = self.union_of_skeletons(&all)?;
        let carried = carried.into_iter().zip(slots.split_off(width)).collect();
        Ok(Relation { plan, columns: slots, weight, pending: vec![], names, known: Known::default(), carried })
    }

    /// A column of a union.
    fn united(&mut self, all: &mut Branches, parts: Vec<Slot>) -> Result<Slot> {
        let is_null = |s: &Slot| matches!(s, Slot::Live(Live::Number(Expression::Null)));
        if parts.iter().all(|s| matches!(s, Slot::Frozen(_)) || is_null(s)) && !parts.iter().all(is_null) {
            let id = self.fresh();
            let column_of = |s: &Slot| if let Slot::Frozen(id) = s { Some(column(*id)) } else { None };
            all.columns.push((id, parts.iter().map(column_of).collect()));
            return Ok(Slot::Frozen(id));
        }
        if let Some((source_column, rows)) = self.same_input(&parts) {
            let row = self.rows_of_union(all, rows);
            return Ok(Slot::Live(Live::Number(Expression::Input { input: row, column: source_column })));
        }
        let mut chosen: Option<Expression> = None;
        for (branch, part) in parts.into_iter().enumerate().rev() {
            let value = match part {
                Slot::Live(live) => {
                    let mut value = number(live);
                    let mut inputs = BTreeMap::new();
                    value.renumber(&mut |id, is_row| *inputs.entry(id).or_insert_with(|| self.only_in(all, branch, id, is_row)));
                    value
                }
                Slot::Frozen(id) => Expression::Residual(self.only_in(all, branch, id, false)),
            };
            chosen = Some(match chosen {
                None => value,
                Some(rest) => {
                    let marker = self.marker(all, branch);
                    Expression::Case { branches: vec![(Predicate::Frozen(marker), value)], otherwise: Box::new(rest) }
                }
            });
        }
        Ok(Slot::Live(Live::Number(chosen.unwrap_or(Expression::Null))))
    }

    /// The column, and the row numbers in every branch, when all branches read the same column of the same input or are NULL.
    fn same_input(&self, parts: &[Slot]) -> Option<(usize, Vec<Option<usize>>)> {
        let mut same: Option<(Source, usize)> = None;
        let mut rows = vec![];
        for part in parts {
            match part {
                Slot::Live(Live::Number(Expression::Null)) => rows.push(None),
                Slot::Live(Live::Number(Expression::Input { input, column })) => {
                    let read = (self.sources[input], *column);
                    if same.is_some_and(|s| s != read) {
                        return None;
                    }
                    same = Some(read);
                    rows.push(Some(*input));
                }
                Slot::Live(_) | Slot::Frozen(_) => return None,
            }
        }
        same.map(|(_, column)| (column, rows))
    }

    fn rows_of_union(&mut self, all: &mut Branches, rows: Vec<Option<usize>>) -> usize {
        if let Some(known) = all.rows.get(&rows) {
            return *known;
        }
        let id = self.fresh();
        let source = rows.iter().flatten().next().map(|r| self.sources[r]).expect("one branch has the input");
        self.sources.insert(id, source);
        all.columns.push((id, rows.iter().map(|r| r.map(column)).collect()));
        all.rows.insert(rows, id);
        id
    }

    /// A column of one branch, NULL in the others.
    fn only_in(&mut self, all: &mut Branches, branch: usize, id: usize, is_row: bool) -> usize {
        let mut rows = vec![None; all.relations.len()];
        rows[branch] = Some(id);
        if is_row {
            return self.rows_of_union(all, rows);
        }
        let new = self.fresh();
        all.columns.push((new, rows.into_iter().map(|r| r.map(column)).collect()));
        new
    }

    fn marker(&mut self, all: &mut Branches, branch: usize) -> usize {
        while all.markers.len() <= branch {
            let (id, of) = (self.fresh(), all.markers.len());
            all.columns.push((id, (0..all.relations.len()).map(|b| Some(lit(b == of))).collect()));
            all.markers.push(id);
        }
        all.markers[branch]
    }

    fn union_of_skeletons(&mut self, all: &Branches) -> Result<LogicalPlan> {
        let mut union: Option<LogicalPlanBuilder> = None;
        for (branch, relation) in all.relations.iter().enumerate() {
            let mut expressions = vec![];
            for (id, parts) in &all.columns {
                let e = match &parts[branch] {
                    Some(e) => e.clone(),
                    None => lit(null_like(&all.relations, parts)?),
                };
                expressions.push(e.alias(column_name(*id)));
            }
            if expressions.is_empty() {
                expressions.push(lit(true).alias("rows"));
            }
            let plan = LogicalPlanBuilder::from(relation.plan.clone()).project(expressions)?;
            union = Some(match union {
                None => plan,
                Some(before) => before.union(plan.build()?)?,
            });
        }
        union.ok_or_else(|| Error::new("a union of nothing"))?.build().map_err(Error::from)
    }
}

/// NULL of the type that a column has in the branches that have it.
fn null_like(relations: &[Relation], parts: &[Option<Expr>]) -> Result<ScalarValue> {
    for (relation, part) in relations.iter().zip(parts) {
        if let Some(Expr::Column(c)) = part {
            let kind = relation.plan.schema().field_with_unqualified_name(&c.name)?.data_type();
            return Ok(ScalarValue::try_from(kind)?);
        }
    }
    Ok(ScalarValue::Null)
}
