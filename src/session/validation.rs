//! VALIDATE: a query that the exact engine runs, again and again, over what has been learned so far.

use super::create::place;
use super::learn::Column;
use super::objective::{Exact, Planned};
use super::train::learned_tables;
use crate::error::{Error, Result};
use crate::grammar::{Direction, Length, Validate};
use crate::table::TableDefinition;
use crate::training::Validation;
use arrow::array::RecordBatch;
use tokio::runtime::Handle;

/// The query over the snapshot of the objective.
pub(super) struct Validator {
    exact: Exact,
    /// Those with learnable columns that the objective reads.
    tables: Vec<(TableDefinition, RecordBatch)>,
    clause: Validate,
}

impl Validator {
    /// Plans the query of a TRAIN that has one.
    pub async fn new(planned: &Planned, clause: Option<&Validate>) -> Result<Option<Self>> {
        let Some(clause) = clause else { return Ok(None) };
        let exact = async {
            let exact = planned.exact.beside(&clause.query).await?;
            must_be_a_number(&exact)?;
            exact.can_run().await?;
            Ok(exact)
        };
        let exact = exact.await.map_err(|e: Error| e.at(place(clause.position)))?;
        Ok(Some(Self { exact, tables: planned.tables.clone(), clause: clause.clone() }))
    }

    /// Runs the query over the columns as they are: what fails should fail before anything is learned.
    pub async fn first(&self) -> Result<()> {
        self.value(&self.tables).await.map(drop).map_err(|e| e.at(place(self.clause.position)))
    }

    /// For a run whose epochs have so many steps, and whose parameters are the reached ones of the columns.
    pub fn validation<'a>(&'a self, per_epoch: u64, columns: &'a [Column], reached: &'a [usize]) -> Validation<'a> {
        let runtime = Handle::current();
        let evaluate = move |values: &[Vec<f64>]| {
            let mut columns = columns.to_vec();
            for (&i, values) in reached.iter().zip(values) {
                columns[i].values.clone_from(values);
            }
            runtime.block_on(self.value(&learned_tables(&self.tables, &columns, reached)?))
        };
        Validation {
            maximize: self.clause.direction == Direction::Maximize,
            every: self.clause.every.in_steps(per_epoch),
            patience: self.clause.patience,
            evaluate: Box::new(evaluate),
            best: None,
            since: 0,
        }
    }

    async fn value(&self, tables: &[(TableDefinition, RecordBatch)]) -> Result<Option<f64>> {
        let values = self.exact.values(tables).await?;
        if values.len() > 1 {
            let what = format!("a validation has one row, this one has {}", values.len());
            return Err(Error::new(what).hint("aggregate: SELECT SUM(...), AVG(...) or COUNT(*)"));
        }
        Ok(values.into_iter().next().flatten())
    }

    /// What EXPLAIN says.
    pub fn told(&self) -> String {
        let Validate { direction, every, patience, .. } = &self.clause;
        let direction = if *direction == Direction::Maximize { "maximize" } else { "minimize" };
        let (count, unit) = match every {
            Length::Steps(n) => (n, "step"),
            Length::Epochs(n) => (n, "epoch"),
        };
        let every = if *count == 1 { unit.to_string() } else { format!("{count} {unit}s") };
        let patience = patience.map_or(String::new(), |p| format!(", and {p} in a row that are no better end the run"));
        format!("{direction} the exact value, after every {every}: the best commits{patience}")
    }
}

fn must_be_a_number(exact: &Exact) -> Result<()> {
    let kinds = exact.kinds();
    match kinds.as_slice() {
        [kind] if kind.is_numeric() || kind.is_null() => Ok(()),
        [kind] => Err(Error::new(format!("a validation is a number, this one is {kind}")).hint("CAST(... AS DOUBLE), or count")),
        kinds => Err(Error::new(format!("a validation has one column, this one has {}", kinds.len())).hint("keep one of them")),
    }
}
