//! The waist: one SQL sentence in, one `Outcome` out. It owns the order of the layers.

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

/// What one SQL sentence gave.
pub enum Outcome {
    /// A result set, streamed.
    Rows(SendableRecordBatchStream),
    /// A statement that changed something: its command tag, as PostgreSQL says it (`CREATE TABLE`, `INSERT 0 3`).
    Done(String),
}

impl Outcome {
    pub fn schema(&self) -> Option<SchemaRef> {
        match self {
            Outcome::Rows(stream) => Some(stream.schema()),
            Outcome::Done(_) => None,
        }
    }
}

pub struct Session {}
