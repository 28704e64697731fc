//! Rows in batches of the size that the engine works on. A slice of a list keeps all elements of the whole beside it, and a
//! function of the elements would go over all of them for each slice; here each batch has its own elements only.

use crate::error::Result;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::OffsetBuffer;
use std::sync::Arc;

/// Rows of a batch, as DataFusion's default.
const ROWS: usize = 8192;

/// The rows of `batch`, in order. Nothing is copied.
pub fn parts(batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let starts = (0..batch.num_rows().max(1)).step_by(ROWS);
    let part = |start: usize| {
        let slice = batch.slice(start, ROWS.min(batch.num_rows() - start));
        let options = RecordBatchOptions::new().with_row_count(Some(slice.num_rows()));
        Ok(RecordBatch::try_new_with_options(batch.schema(), slice.columns().iter().map(own).collect(), &options)?)
    };
    starts.map(part).collect()
}

/// The same values, of which lists have no other elements than their own.
fn own(array: &ArrayRef) -> ArrayRef {
    let Some(list) = array.as_list_opt::<i32>() else { return array.clone() };
    let offsets = list.value_offsets();
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let elements = own(&list.values().slice(first as usize, (last - first) as usize));
    let lengths = OffsetBuffer::from_lengths(offsets.windows(2).map(|w| (w[1] - w[0]) as usize));
    let arrow::datatypes::DataType::List(field) = list.data_type() else { return array.clone() };
    Arc::new(ListArray::new(field.clone(), lengths, elements, list.nulls().cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::types::Int32Type;

    #[test]
    fn each_part_has_its_own_elements_and_together_they_are_the_whole() {
        let rows = 2 * ROWS + 5;
        let values = (0..rows as i32).map(|i| (i % 7 != 3).then(|| (0..i % 4).map(|k| (k != 2).then_some(i + k)).collect::<Vec<_>>()));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(values));
        let batch = RecordBatch::try_from_iter([("lists", lists)]).unwrap();
        let parts = parts(&batch).unwrap();
        assert_eq!(parts.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [ROWS, ROWS, 5]);
        let most = parts.iter().map(|p| p.column(0).as_list::<i32>().values().len()).max().unwrap();
        assert!(most <= 4 * ROWS);
        assert_eq!(arrow::compute::concat_batches(&batch.schema(), &parts).unwrap(), batch);
        assert_eq!(super::parts(&batch.slice(0, 0)).unwrap()[0].num_rows(), 0);
    }
}
