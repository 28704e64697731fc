//! What skeletons read in place of live relations: the frozen columns and row numbers of a table with live
//! columns, and of a finished stage.

use crate::error::{Error, Result};
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::{Arc, Mutex, PoisonError};

/// The column with a row's number.
const ROW: &str = "__row";

pub(super) fn row_column(table: &str) -> Column {
    Column::new(Some(TableReference::bare(table)), ROW)
}

/// A table some of whose columns are live, loaded.
#[derive(Debug)]
pub struct LiveTable {
    pub number: usize,
    pub schema: String,
    pub name: String,
    /// Live columns and their numbers among all learnable columns of the run.
    pub parameters: Vec<(String, usize)>,
    pub rows: usize,
    frozen: Arc<MemTable>,
}

impl LiveTable {
    /// `rows` holds all columns of the table, in one batch.
    pub fn new(number: usize, schema: &str, name: &str, parameters: Vec<(String, usize)>, rows: &RecordBatch) -> Result<Self> {
        let frozen: Vec<usize> =
            (0..rows.num_columns()).filter(|i| !parameters.iter().any(|(p, _)| p == rows.schema().field(*i).name())).collect();
        let batch = numbered(&rows.project(&frozen)?, ROW)?;
        let frozen = Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?);
        Ok(Self { number, schema: schema.to_string(), name: name.to_string(), parameters, rows: rows.num_rows(), frozen })
    }

    pub(super) fn is(&self, name: &TableReference) -> bool {
        name.table() == self.name && name.schema().unwrap_or("main") == self.schema
    }

    pub(super) fn parameter(&self, column: &str) -> Option<usize> {
        self.parameters.iter().find(|(name, _)| name == column).map(|(_, number)| *number)
    }

    pub(super) fn source(&self) -> Arc<dyn TableSource> {
        provider_as_source(self.frozen.clone())
    }
}

/// The rows with one more column, of their numbers.
pub(super) fn numbered(batch: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let schema = batch.schema();
    let fields = schema.fields().iter().cloned().chain([Arc::new(Field::new(name, DataType::UInt32, false))]);
    let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..batch.num_rows() as u32));
    let columns = batch.columns().iter().cloned().chain([numbers]).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
}

/// The rows of a stage, known once it is materialized; those of the last round, where it is run in rounds.
#[derive(Debug)]
pub(super) struct StageTable {
    schema: SchemaRef,
    finished: Mutex<Option<Arc<MemTable>>>,
}

pub(super) fn source(table: Arc<StageTable>) -> Arc<dyn TableSource> {
    provider_as_source(table)
}

impl StageTable {
    /// The columns of a finished stage: keys or kept columns, then frozen aggregates.
    pub fn columns(
        plan: &LogicalPlan,
        schema: &DFSchema,
        keys: &[usize],
        kept: &[usize],
        aggregates: &[(Expr, usize)],
    ) -> Result<Vec<Field>> {
        let mut fields = vec![];
        for id in keys.iter().chain(kept) {
            fields.push(plan.schema().field_with_unqualified_name(&super::column_name(*id))?.as_ref().clone());
        }
        for (e, id) in aggregates {
            fields.push(Field::new(super::column_name(*id), e.get_type(schema)?, true));
        }
        Ok(fields)
    }

    pub fn new(mut fields: Vec<Field>) -> Self {
        fields.push(Field::new(ROW, DataType::UInt32, false));
        Self { schema: Arc::new(Schema::new(fields)), finished: Mutex::new(None) }
    }

    /// Names of the columns but for the row numbers.
    pub fn kept(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|f| f.name().as_str()).filter(|name| *name != ROW)
    }

    /// Rows as the columns of the table but for the row numbers.
    pub fn fitted(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let fields: Vec<Field> =
            self.schema.fields().iter().filter(|f| f.name() != ROW).map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let cast = fields
            .iter()
            .zip(rows.columns())
            .map(|(f, c)| if f.data_type() == c.data_type() { Ok(c.clone()) } else { datafusion::arrow::compute::cast(c, f.data_type()) });
        let columns: Vec<ArrayRef> = cast.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    /// Gives the finished stage its rows: the columns of its schema but for the row numbers.
    pub fn finish(&self, rows: &RecordBatch) -> Result<()> {
        let batch = numbered(&self.fitted(rows)?, ROW)?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(table));
        Ok(())
    }
}

#[async_trait]
impl TableProvider for StageTable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(f.name() != ROW)).collect::<Vec<_>>()))
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(table) = finished else {
            return Err(Error::new("a skeleton reads a stage that is not finished").into());
        };
        table.scan(state, projection, filters, limit).await
    }
}
