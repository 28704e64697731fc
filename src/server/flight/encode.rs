//! Batches as every client can read them: text and bytes in the layouts that Arrow has had from its beginning, not as views; and, as a
//! planner knows less than a result of where there is no NULL, every column nullable.

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use tonic::Status;

pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Vec<_>>()))
}

fn plain_field(field: &Arc<Field>) -> Field {
    Field::new(field.name(), plain_type(field.data_type()), true)
}

fn plain_type(data_type: &DataType) -> DataType {
    let inside = |field: &Arc<Field>| Arc::new(plain_field(field));
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(of) | DataType::ListView(of) => DataType::List(inside(of)),
        DataType::LargeList(of) | DataType::LargeListView(of) => DataType::LargeList(inside(of)),
        DataType::FixedSizeList(of, length) => DataType::FixedSizeList(inside(of), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

#[allow(clippy::result_large_err)]
pub(super) fn plain(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Status> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let plain = columns.collect::<Result<Vec<_>, _>>().and_then(|columns| {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
    });
    plain.map_err(|e| Status::internal(e.to_string()))
}
