//! A relaxed query as a function of its learnable columns: value and gradient where the caller wants them.

use super::learn::{self, Column, Ready};
use super::objective::{Answer, Exact, Objective, Planned};
use super::{Session, settings, train};
use crate::algebra::Parameter;
use crate::error::{Error, Result};
use crate::grammar::{self, Kind};
use crate::program::Slot;
use crate::relaxation::Softness;
use crate::table::TableDefinition;
use crate::training::Program;
use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;

impl Session {
    /// The objective of a TRAIN, or the query of a GRADIENT OF, as a function, in double precision. Nothing is trained and nothing is changed.
    ///
    /// The scales of its comparisons are those of the values that the columns have now, and stay.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = nabladb::Session::open(Default::default()).await?;
    /// session.run("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)").await?;
    /// session.run("INSERT INTO m DEFAULT VALUES").await?;
    /// let mut query = session.relaxed("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m)").await?;
    /// assert_eq!(query.value(), Some(9.0));
    /// assert_eq!(query.gradient("m.a"), Some(&[6.0][..]));
    /// query.set("m.a", &[5.0])?;
    /// assert_eq!((query.value(), query.exact().await?), (Some(25.0), Some(25.0)));
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    pub fn relaxed<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<RelaxedQuery>> {
        self.relax(sql).boxed()
    }

    async fn relax(&self, sql: &str) -> Result<RelaxedQuery> {
        let statement = grammar::statements(sql).next().unwrap_or_else(|| Err(Error::new("there is no statement")))?;
        match &statement.kind {
            Kind::Train(train) => {
                let clauses = settings::clauses(train)?;
                self.relaxed_query(&train.objective, clauses.softness, clauses.temperature.first).await
            }
            Kind::Gradient(query) => {
                let (softness, temperature) = settings::relaxed(query)?;
                self.relaxed_query(query, softness, temperature).await
            }
            _ => Err(Error::new("only a TRAIN and a GRADIENT OF have a relaxed objective").hint("GRADIENT OF (SELECT ...)")),
        }
    }

    pub(super) async fn relaxed_query(&self, query: &grammar::Relaxed, softness: Softness, temperature: f64) -> Result<RelaxedQuery> {
        let Objective { planned, split, .. } = Objective::new(self, query, Answer::Number).await?;
        let columns = train::columns(&planned, query)?;
        let Planned { exact, tables, .. } = planned;
        let materialized = split.materialize::<f64>(&Objective::one_partition(&exact.context)).await?;
        let Ready { program, reached, .. } = learn::ready(materialized, &columns, softness, temperature, false)?;
        Ok(RelaxedQuery { program, reached, columns, exact, tables, temperature })
    }
}

/// A relaxed objective, ready to be evaluated at any values of its learnable columns.
pub struct RelaxedQuery {
    program: Program<f64>,
    columns: Vec<Column>,
    /// Numbers of the columns that a gradient reaches, in the order of the program's parameters.
    reached: Vec<usize>,
    exact: Exact,
    tables: Vec<(TableDefinition, RecordBatch)>,
    temperature: f64,
}

impl RelaxedQuery {
    /// The learnable columns that the objective reads, as `table.column`.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.parameter.name.as_str())
    }

    /// Values of a column, row after row.
    pub fn values(&self, column: &str) -> Option<&[f64]> {
        self.number(column).map(|i| self.columns[i].values.as_slice())
    }

    /// Gives a column other values, as many as it has.
    pub fn set(&mut self, column: &str, values: &[f64]) -> Result<()> {
        let number = self.number(column).ok_or_else(|| Error::new(format!("the objective reads no learnable column '{column}'")))?;
        let ours = &mut self.columns[number].values;
        if ours.len() != values.len() {
            return Err(Error::new(format!("column '{column}' has {} numbers, not {}", ours.len(), values.len())));
        }
        ours.copy_from_slice(values);
        let theirs = self.program.machine.parameter_mut(number as Slot);
        if !theirs.is_empty() {
            theirs.copy_from_slice(values);
        }
        Ok(())
    }

    /// The tables with learnable columns that the objective reads, and for each column its table's number.
    pub(super) fn tables(&self) -> &[(TableDefinition, RecordBatch)] {
        &self.tables
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.columns.iter().map(|c| &c.parameter)
    }

    /// The temperature that the next value is computed at.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Sets the temperature, which is positive.
    pub fn set_temperature(&mut self, temperature: f64) {
        self.temperature = temperature;
    }

    /// The relaxed objective; `None` for NULL.
    pub fn value(&mut self) -> Option<f64> {
        self.program.machine.set(self.program.temperature, self.temperature);
        self.program.machine.run();
        (self.program.machine.output(1)[0] != 0.0).then(|| self.program.machine.output(0)[0])
    }

    /// The gradient with respect to a column, rows x width; `None` where none reaches it.
    pub fn gradient(&mut self, column: &str) -> Option<&[f64]> {
        let number = self.number(column)?;
        let place = self.reached.iter().position(|i| *i == number)?;
        self.value();
        Some(self.program.machine.output(self.program.parameters[place].output))
    }

    /// The exact objective of the same query at the same values; `None` for NULL.
    pub fn exact(&self) -> BoxFuture<'_, Result<Option<f64>>> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        async move { self.exact.value(&train::learned_tables(&self.tables, &self.columns, &all)?).await }.boxed()
    }

    fn number(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.parameter.name == column)
    }
}
