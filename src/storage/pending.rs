//! Changes that are not committed, as a transaction's own statements see them: a snapshot over which they lie.
//! It never hears of files or of the catalog.

use super::snapshot::Place;
use super::{Change, Snapshot, stored_type};
use crate::error::{Error, Result};
use crate::table::TableDefinition;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::error::Result as EngineResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;

/// The tables and views of a snapshot as changes make them.
pub(super) fn apply(snapshot: &mut super::snapshot::Contents, change: &Change) -> Result<()> {
    let missing = |schema: &str, name: &str| Error::new(format!("there is no table {schema}.{name}"));
    match change {
        Change::CreateTable { definition, rows } => {
            let place = Place::Changed(Arc::new(Changed::Rows(rows.clone())));
            snapshot.tables.push(stored(definition)?);
            snapshot.places.push(place);
        }
        Change::AlterTable { definition, rows } => {
            let at = snapshot.position(&definition.schema, &definition.name);
            let at = at.ok_or_else(|| missing(&definition.schema, &definition.name))?;
            let changed = match rows {
                Some(rows) => Changed::Rows(rows.clone()),
                None => Changed::Altered(snapshot.places[at].clone(), snapshot.tables[at].clone()),
            };
            snapshot.tables[at] = stored(definition)?;
            snapshot.places[at] = Place::Changed(Arc::new(changed));
        }
        Change::DropTable { schema, name } => {
            let at = snapshot.position(schema, name).ok_or_else(|| missing(schema, name))?;
            snapshot.tables.remove(at);
            snapshot.places.remove(at);
        }
        Change::Append { schema, name, rows } | Change::Replace { schema, name, rows } => {
            let at = snapshot.position(schema, name).ok_or_else(|| missing(schema, name))?;
            let changed = match (change, &snapshot.places[at]) {
                (Change::Replace { .. }, _) => Changed::Rows(rows.clone()),
                (_, Place::Changed(before)) => before.followed_by(rows).unwrap_or_else(|| {
                    let place = snapshot.places[at].clone();
                    Changed::Appended(place, rows.clone())
                }),
                (_, place) => Changed::Appended(place.clone(), rows.clone()),
            };
            snapshot.places[at] = Place::Changed(Arc::new(changed));
        }
        Change::CreateView(view) => snapshot.views.push(view.clone()),
        Change::DropView { schema, name } => snapshot.views.retain(|v| (&v.schema, &v.name) != (schema, name)),
    }
    Ok(())
}

/// The definition with the types that its columns are read back as.
fn stored(definition: &TableDefinition) -> Result<TableDefinition> {
    let mut definition = definition.clone();
    for column in &mut definition.columns {
        column.data_type = stored_type(&column.data_type)?;
    }
    Ok(definition)
}

/// Rows that no file has yet.
#[derive(Debug)]
pub(super) enum Changed {
    /// All rows of a table.
    Rows(Vec<RecordBatch>),
    /// More rows, after those that there were.
    Appended(Place, Vec<RecordBatch>),
    /// The columns of a new declaration: what there was of the old one, and NULL.
    Altered(Place, TableDefinition),
}

impl Changed {
    /// With more rows at the end, where there are rows of the same columns already.
    fn followed_by(&self, rows: &[RecordBatch]) -> Option<Self> {
        let all = |before: &[RecordBatch]| [before, rows].concat();
        match self {
            Changed::Rows(before) => Some(Changed::Rows(all(before))),
            Changed::Appended(place, before) => Some(Changed::Appended(place.clone(), all(before))),
            Changed::Altered(..) => None,
        }
    }

    pub async fn provider(&self, snapshot: &Snapshot, table: &TableDefinition) -> Result<Arc<dyn TableProvider>> {
        Ok(match self {
            Changed::Rows(rows) => Arc::new(in_memory(table.arrow_schema(), rows)?),
            Changed::Appended(before, rows) => {
                let before = Box::pin(snapshot.provider_of(before, table)).await?;
                let rows = in_memory(before.schema(), rows)?;
                Arc::new(Appended { before, rows })
            }
            Changed::Altered(before, old) => {
                let before = Box::pin(snapshot.provider_of(before, old)).await?;
                let (old, new) = (before.schema(), table.arrow_schema());
                // NOT NULL of the new declaration holds of rows that are read as nullable ones are.
                let field = |f: &Arc<Field>| {
                    f.as_ref().clone().with_nullable(f.is_nullable() || old.field_with_name(f.name()).is_ok_and(Field::is_nullable))
                };
                let schema = Arc::new(Schema::new(new.fields().iter().map(field).collect::<Vec<_>>()));
                Arc::new(Altered { before, schema })
            }
        })
    }
}

fn in_memory(schema: SchemaRef, rows: &[RecordBatch]) -> Result<MemTable> {
    let conform = |batch: &RecordBatch| {
        let columns = batch.columns().iter().zip(schema.fields()).map(|(c, field)| cast(c, field.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
    };
    let rows = rows.iter().filter(|b| b.num_rows() > 0).map(conform).collect::<Result<Vec<_>, _>>()?;
    Ok(MemTable::try_new(schema.clone(), vec![rows])?)
}

#[derive(Debug)]
struct Appended {
    before: Arc<dyn TableProvider>,
    rows: MemTable,
}

#[async_trait]
impl TableProvider for Appended {
    fn schema(&self) -> SchemaRef {
        self.before.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let before = self.before.scan(state, projection, filters, limit).await?;
        let rows = self.rows.scan(state, projection, filters, limit).await?;
        if state.config().target_partitions() > 1 {
            return UnionExec::try_new(vec![before, rows]);
        }
        let schema = before.schema();
        let all = StreamingTable::try_new(schema.clone(), vec![Arc::new(InOrder { schema, parts: vec![before, rows] })])?;
        all.scan(state, None, &[], limit).await
    }
}

/// All rows of one plan after all rows of another, where a union would mix them.
#[derive(Debug)]
struct InOrder {
    schema: SchemaRef,
    parts: Vec<Arc<dyn ExecutionPlan>>,
}

impl PartitionStream for InOrder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let partitions = |plan: &Arc<dyn ExecutionPlan>| {
            let plan = plan.clone();
            (0..plan.output_partitioning().partition_count()).map(move |partition| (plan.clone(), partition))
        };
        let all: Vec<_> = self.parts.iter().flat_map(partitions).collect();
        let rows = stream::iter(all).map(move |(plan, partition)| plan.execute(partition, context.clone())).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

#[derive(Debug)]
struct Altered {
    before: Arc<dyn TableProvider>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Altered {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let old = self.before.schema();
        let wanted: Vec<&Field> = match projection {
            Some(columns) => columns.iter().map(|c| self.schema.field(*c)).collect(),
            None => self.schema.fields().iter().map(AsRef::as_ref).collect(),
        };
        let kept: Vec<usize> = wanted.iter().filter_map(|field| old.index_of(field.name()).ok()).collect();
        let input = self.before.scan(state, Some(&kept), &[], limit).await?;
        let mut next = 0;
        let mut column = |field: &Field| -> EngineResult<(Arc<dyn PhysicalExpr>, String)> {
            let expression: Arc<dyn PhysicalExpr> = if old.index_of(field.name()).is_ok() {
                next += 1;
                Arc::new(Column::new(field.name(), next - 1))
            } else {
                Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?))
            };
            Ok((expression, field.name().clone()))
        };
        let columns = wanted.into_iter().map(&mut column).collect::<EngineResult<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
    }
}
