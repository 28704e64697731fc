//! What a sentence gave: rows, or a tag that says what was done.

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};

/// What one SQL sentence gave.
pub enum Outcome {
    /// A result set, streamed.
    Rows(SendableRecordBatchStream),
    /// A statement that changed something: its command tag, as PostgreSQL says it (`CREATE TABLE`, `INSERT 0 3`).
    Done(String),
}

impl Outcome {
    /// The rows of one batch.
    pub(super) fn batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        Outcome::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter([Ok(batch)]))))
    }

    pub fn schema(&self) -> Option<SchemaRef> {
        match self {
            Outcome::Rows(stream) => Some(stream.schema()),
            Outcome::Done(_) => None,
        }
    }

    /// The next rows; `None` at the end, and for a statement that has none.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self {
            Outcome::Rows(stream) => stream.next().await.map(|batch| batch.map_err(Error::from)),
            Outcome::Done(_) => None,
        }
    }

    /// All rows at once.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}
