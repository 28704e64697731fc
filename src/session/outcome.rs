//! What a sentence gave: rows, or a tag that says what was done.

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What one SQL sentence gave. A TRAIN learns while its rows are read: an outcome that is dropped before their end cancels it.
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

    /// The columns of the result; `None` for a statement that has none.
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

    /// The one value of a result of one row and one column; text is `Utf8`, whatever the engine's own type.
    ///
    /// # Errors
    /// The result has other rows or columns; or what failed while it was computed.
    pub async fn value(self) -> Result<ScalarValue> {
        let columns = self.schema().map_or(0, |schema| schema.fields().len());
        let batches = self.collect().await?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        match batches.iter().find(|batch| batch.num_rows() > 0) {
            Some(batch) if (rows, columns) == (1, 1) => match ScalarValue::try_from_array(batch.column(0), 0)? {
                ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => Ok(ScalarValue::Utf8(text)),
                value => Ok(value),
            },
            _ => Err(Error::new(format!("one value was asked for, and there are {rows} rows of {columns} columns"))),
        }
    }

    /// The same, and each batch is shown to `look` as it passes.
    pub(crate) fn inspected(self, mut look: impl FnMut(&RecordBatch) + Send + 'static) -> Self {
        let Outcome::Rows(rows) = self else { return self };
        let schema = rows.schema();
        Outcome::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, rows.inspect_ok(move |batch| look(batch)))))
    }

    /// The same, and `act` is called when it fails.
    pub(super) fn on_error(self, act: impl Fn() + Send + 'static) -> Self {
        let Outcome::Rows(rows) = self else { return self };
        let schema = rows.schema();
        Outcome::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, rows.inspect_err(move |_| act()))))
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

impl Stream for Outcome {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        match &mut *self {
            Outcome::Rows(stream) => stream.poll_next_unpin(cx).map(|batch| batch.map(|b| b.map_err(Error::from))),
            Outcome::Done(_) => Poll::Ready(None),
        }
    }
}
