//! WITH RECURSIVE: rounds over one relation. The frozen columns decide which rows each round has, so the rounds can be
//! unrolled when the skeletons run: the split makes the first round, and says what each further one begins with.
//!
//! UNION ALL: a round is the recursive term over the rows of the round before; the answer is the rows of all rounds.
//!
//! UNION: a row that was there before begins no further round. With `derived` for what the recursive term gives,
//!
//! ```text
//! new  <- derived EXCEPT seen        seen <- seen UNION derived
//! ```
//!
//! A row is derived again as long as that can matter: what stands in its way is live. A chain of rows that are each new has
//! no row twice, so there are at most as many rounds as rows.

use super::relation::{Live, Relation, Slot, refusal};
use super::rows::{number, product};
use super::{Splitter, column, row_outputs};
use crate::algebra::{Expression, Grouping, Output, OutputValue};
use crate::error::{Error, Result};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{JoinType, NullEquality};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, RecursiveQuery, TableScan};
use std::ops::Range;
use std::sync::Arc;

/// Stages that are run again and again.
#[derive(Debug, Clone)]
pub(super) struct Recursion {
    /// The stages of a round.
    pub round: Range<usize>,
    /// What the next round finds in the place of a stage before the round: a stage of the round.
    pub carried: Vec<(usize, usize)>,
    pub end: End,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// When this stage has no rows. Stage `stacked` has the rows of all rounds.
    Empty { rows: usize, stacked: usize },
    /// When `derived` has no rows, or `seen` has no new ones and there were as many rounds as it has rows.
    Complete { derived: usize, seen: usize },
}

/// A relation that stands for a finished stage in the plan of a round.
#[derive(Debug)]
pub(super) struct WorkTable {
    name: String,
    stage: usize,
    layout: Layout,
    /// The frozen columns that the stage passes on.
    passed: Vec<usize>,
}

/// What all rounds have in common.
#[derive(Debug, Clone, PartialEq)]
struct Layout {
    /// Which columns are live.
    live: Vec<bool>,
    /// Whether rows have weights.
    weighted: bool,
}

impl Layout {
    fn of(relation: &Relation) -> Self {
        let live = relation.columns.iter().map(|slot| matches!(slot, Slot::Live(_))).collect();
        Self { live, weighted: !relation.weight.is_empty() }
    }

    fn or(&self, other: &Layout) -> Self {
        let live = self.live.iter().zip(&other.live).map(|(a, b)| a | b).collect();
        Self { live, weighted: self.weighted || other.weighted }
    }
}

/// Whether a scan is of the rows of the round before.
pub fn is_work_table(scan: &TableScan) -> bool {
    source_as_provider(&scan.source).is_ok_and(|provider| provider.downcast_ref::<CteWorkTable>().is_some())
}

impl Splitter<'_> {
    pub(super) fn recursive(&mut self, query: &RecursiveQuery, plan: &LogicalPlan) -> Result<Relation> {
        let base = if query.is_distinct { self.distinct(plan, &query.static_term)? } else { self.relation(&query.static_term)? };
        if !base.carried.is_empty() {
            return Err(refusal("a recursive query that reads the query around it", plan, "join with the recursive query instead"));
        }
        // The rounds must agree on what is live, and a round can make a column live that the first rows have frozen.
        let mut layout = Layout::of(&base);
        let (stages, refusals, before) = (self.stages.len(), self.refusals.len(), self.recursions.len());
        loop {
            let begin = self.state(base.clone(), &layout)?;
            let outcome = if query.is_distinct { self.until_complete(query, begin) } else { self.until_empty(query, begin) };
            let (found, relation) = outcome?;
            let joined = layout.or(&found);
            if joined == layout {
                return if self.recursions.len() > before + 1 {
                    Err(refusal("a recursive query inside the rounds of another", plan, "compute the inner one in a table before training"))
                } else {
                    Ok(relation)
                };
            }
            layout = joined;
            self.stages.truncate(stages);
            self.skeletons.truncate(stages);
            self.single.retain(|stage, _| *stage < stages);
            self.refusals.truncate(refusals);
            self.recursions.truncate(before);
        }
    }

    /// UNION ALL.
    fn until_empty(&mut self, query: &RecursiveQuery, begin: WorkTable) -> Result<(Layout, Relation)> {
        let first = self.stages.len();
        let (passed, layout, before) = (begin.passed.clone(), begin.layout.clone(), begin.stage);
        let result = self.within(query.name.clone(), begin, |splitter| splitter.relation(&query.recursive_term))?;
        let found = Layout::of(&result);
        let next = self.state(result, &layout.or(&found))?.stage;
        let round = first..self.stages.len();
        let all = self.stack(before, next, layout, &passed)?;
        self.recursions.push(Recursion { round, carried: vec![(before, next)], end: End::Empty { rows: next, stacked: all.stage } });
        Ok((found, self.read_state(&all)?))
    }

    /// UNION.
    fn until_complete(&mut self, query: &RecursiveQuery, begin: WorkTable) -> Result<(Layout, Relation)> {
        let (layout, begin_new) = (begin.layout.clone(), begin.stage);
        let copy = self.read_state(&begin)?;
        let seen = self.state(copy, &layout)?;
        let begin_seen = seen.stage;
        let first = self.stages.len();
        let derived = self.within(query.name.clone(), begin, |splitter| {
            let plan = LogicalPlan::RecursiveQuery(query.clone());
            splitter.distinct(&plan, &query.recursive_term)
        })?;
        let found = Layout::of(&derived);
        let derived = self.state(derived, &layout.or(&found))?;
        let derived_stage = derived.stage;
        let scan = |name: &str| -> Result<LogicalPlanBuilder> {
            let schema = Arc::new(query.static_term.schema().as_arrow().clone());
            Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(CteWorkTable::new(name, schema))), None)?)
        };
        let (left, right) = ("derived rows", "seen rows");
        let columns = |plan: &LogicalPlanBuilder| plan.schema().columns();
        let (derived_scan, seen_scan) = (scan(left)?, scan(right)?);
        let keys = (columns(&derived_scan), columns(&seen_scan));
        let new = derived_scan
            .clone()
            .join_detailed(seen_scan.clone().build()?, JoinType::LeftAnti, keys, None, NullEquality::NullEqualsNull)?
            .build()?;
        let all = seen_scan.union_distinct(derived_scan.build()?)?.build()?;
        let (new, all) = self.within(right.into(), seen, |splitter| {
            splitter.within(left.into(), derived, |splitter| Ok((splitter.relation(&new)?, splitter.relation(&all)?)))
        })?;
        let weighted = Layout { weighted: true, ..layout.clone() };
        let next_new = self.state(new, &weighted)?.stage;
        let next_seen = self.state(all, &weighted)?;
        self.recursions.push(Recursion {
            round: first..self.stages.len(),
            carried: vec![(begin_new, next_new), (begin_seen, next_seen.stage)],
            end: End::Complete { derived: derived_stage, seen: next_seen.stage },
        });
        Ok((Layout { weighted: true, ..found }, self.read_state(&next_seen)?))
    }

    fn within<T>(&mut self, name: String, table: WorkTable, split: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.work.push(WorkTable { name, ..table });
        let outcome = split(self);
        self.work.pop();
        outcome
    }

    pub(super) fn is_live_work_table(&self, scan: &TableScan) -> bool {
        is_work_table(scan) && self.work.iter().any(|t| t.name == scan.table_name.table())
    }

    /// The rows of the round before.
    pub(super) fn scan_work_table(&mut self, scan: &TableScan) -> Result<Relation> {
        let at = self.work.iter().rposition(|t| t.name == scan.table_name.table());
        let table = self.work.remove(at.ok_or_else(|| Error::new(format!("the split lost the rounds of {}", scan.table_name)))?);
        let relation = self.read_state(&table);
        self.work.insert(at.unwrap_or_default(), table);
        let mut relation = relation?;
        if let Some(wanted) = &scan.projection {
            relation.columns = wanted.iter().map(|c| relation.columns[*c].clone()).collect();
        }
        for filter in &scan.filters {
            self.condition(&mut relation, &scan.projected_schema, filter)?;
        }
        Ok(relation)
    }

    /// Ends a stage in the layout that all rounds have: live columns and the weight as outputs, frozen columns as they are.
    fn state(&mut self, mut relation: Relation, layout: &Layout) -> Result<WorkTable> {
        let (mut outputs, mut passed) = (vec![], vec![]);
        for (slot, live) in relation.columns.clone().into_iter().zip(&layout.live) {
            match slot {
                Slot::Live(value) => outputs.push(number(value)),
                Slot::Frozen(id) if *live => outputs.push(Expression::Residual(id)),
                Slot::Frozen(id) => {
                    let name = relation.names.get(&id).cloned().unwrap_or_default();
                    let new = self.fresh();
                    passed.push(relation.add(new, name, column(id)));
                }
            }
        }
        if layout.weighted {
            outputs.push(product(std::mem::take(&mut relation.weight)));
        }
        relation.flush()?;
        let labels: Vec<String> = (1..=outputs.len()).map(|i| format!("column {i} of a round")).collect();
        let stage = self.close(&relation, Grouping::Rows, vec![], &mut outputs, passed.clone(), vec![])?;
        self.stages[stage].outputs = row_outputs(outputs, &labels);
        Ok(WorkTable { name: String::new(), stage, layout: layout.clone(), passed })
    }

    fn read_state(&mut self, table: &WorkTable) -> Result<Relation> {
        let names = table.passed.iter().map(|id| (*id, "column of a round".to_string())).collect();
        let (mut relation, renamed, row) = self.read_stage(table.stage, &table.passed, &names)?;
        let mut passed = table.passed.iter();
        let mut outputs = 0..;
        let mut live = || Expression::Input { input: row, column: outputs.next().unwrap_or_default() };
        for is_live in &table.layout.live {
            let frozen = if *is_live { None } else { passed.next() };
            relation.columns.push(frozen.map_or_else(|| Slot::Live(Live::Number(live())), |id| Slot::Frozen(renamed[id])));
        }
        if table.layout.weighted {
            relation.weight.push(live());
        }
        Ok(relation)
    }

    /// A stage of the rows of `begin` and of all rounds. Its own skeleton is the first part of them.
    fn stack(&mut self, begin: usize, next: usize, layout: Layout, passed: &[usize]) -> Result<WorkTable> {
        let (relation, renamed, _) = self.read_stage(begin, passed, &Default::default())?;
        let passed: Vec<usize> = passed.iter().map(|id| renamed[id]).collect();
        let stage = self.close(&relation, Grouping::Rows, vec![], &mut [], passed.clone(), vec![])?;
        let outputs = layout.live.iter().filter(|live| **live).count() + usize::from(layout.weighted);
        let stacked = |column: usize| OutputValue::Stacked { stages: vec![begin, next], column };
        self.stages[stage].outputs =
            (0..outputs).map(|c| Output { value: stacked(c), label: format!("column {} of all rounds", c + 1) }).collect();
        Ok(WorkTable { name: String::new(), stage, layout, passed })
    }
}
