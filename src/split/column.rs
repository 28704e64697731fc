//! A column of a skeleton as it comes, batch by batch: plain numbers, in memory as long as there is room for them, then in a file.

use super::materialize::reals;
use crate::algebra::{Column, Numbers, ResidualKind};
use crate::buffer::{Buffer, Number, Spill};
use crate::error::{Error, Result};
use crate::program::Lanes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, UInt32Type};
use datafusion::execution::SpillFile;
use datafusion::execution::context::SessionContext;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use std::sync::Arc;

/// Memory for the columns of a run: half of the limit, if there is one, so that the exact engine has the other.
pub struct Budget {
    reservation: MemoryReservation,
    most: Option<usize>,
    disk: Arc<DiskManager>,
    /// A file that is not written: while it is there, so is the folder of files like it.
    folder: Option<Arc<dyn SpillFile>>,
}

impl Budget {
    pub(super) fn new(context: &SessionContext) -> Self {
        let runtime = context.runtime_env();
        let most = if let MemoryLimit::Finite(bytes) = runtime.memory_pool.memory_limit() { Some(bytes / 2) } else { None };
        let reservation = MemoryConsumer::new("columns of a relaxed query").register(&runtime.memory_pool);
        Self { reservation, most, disk: runtime.disk_manager.clone(), folder: None }
    }

    /// Whether there is room for so many bytes; then they are taken.
    fn take(&mut self, bytes: usize) -> bool {
        self.most.is_none_or(|most| self.reservation.size() + bytes <= most && self.reservation.try_grow(bytes).is_ok())
    }

    fn give_back(&mut self, bytes: usize) {
        if self.most.is_some() {
            self.reservation.shrink(bytes);
        }
    }

    fn spill<T: Number>(&mut self) -> Result<Spill<T>> {
        let file = match self.folder.take() {
            Some(file) => file,
            None => self.disk.create_tmp_file("columns of a relaxed query")?,
        };
        let folder = self.folder.insert(file).path().and_then(|path| path.parent());
        Spill::new(folder.unwrap_or(&std::env::temp_dir()))
    }
}

/// Numbers to which more are added.
enum Growing<T> {
    Memory(Vec<T>),
    File(Spill<T>),
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Growing::Memory(vec![])
    }
}

impl<T: Number> Growing<T> {
    fn append(&mut self, numbers: &[T], budget: &mut Budget) -> Result<()> {
        match self {
            Growing::File(spill) => spill.append(numbers),
            Growing::Memory(known) if budget.take(size_of_val(numbers)) => {
                known.extend_from_slice(numbers);
                Ok(())
            }
            Growing::Memory(known) => {
                let mut spill = budget.spill()?;
                spill.append(known)?;
                budget.give_back(size_of_val(known.as_slice()));
                *self = Growing::File(spill);
                self.append(numbers, budget)
            }
        }
    }

    /// The same number so many times.
    fn fill(&mut self, number: T, count: usize, budget: &mut Budget) -> Result<()> {
        const PIECE: usize = 8192;
        let piece = vec![number; PIECE.min(count)];
        (0..count).step_by(PIECE).try_for_each(|at| self.append(&piece[..PIECE.min(count - at)], budget))
    }

    fn finish(self) -> Result<Buffer<T>> {
        match self {
            Growing::Memory(numbers) => Ok(numbers.into()),
            Growing::File(spill) => spill.finish(),
        }
    }
}

/// A residual column as far as its rows have come.
pub(super) struct Incoming<R> {
    rows: usize,
    numbers: Growing<R>,
    /// Row numbers, of a column that is of them.
    index: Option<Growing<u32>>,
    /// The shape of a row, once there is one that is not NULL.
    dimensions: Option<Vec<usize>>,
    valid: Option<Growing<R>>,
}

impl<R: Lanes> Incoming<R> {
    pub fn new(kind: ResidualKind, data_type: &DataType) -> Self {
        let is_vector = matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..));
        Self {
            rows: 0,
            numbers: Growing::default(),
            index: (kind == ResidualKind::Rows).then(Growing::default),
            dimensions: (!is_vector).then(Vec::new),
            valid: None,
        }
    }

    pub fn append(&mut self, array: &ArrayRef, budget: &mut Budget) -> Result<()> {
        match &mut self.index {
            Some(index) => {
                let rows: Vec<u32> = array.as_primitive::<UInt32Type>().iter().map(|row| row.unwrap_or(0)).collect();
                index.append(&rows, budget)?;
            }
            None => self.append_numbers(array, budget)?,
        }
        self.append_validity(array, budget)?;
        self.rows += array.len();
        Ok(())
    }

    fn append_numbers(&mut self, array: &ArrayRef, budget: &mut Budget) -> Result<()> {
        let width = |dimensions: &[usize]| dimensions.iter().product::<usize>();
        if let Some(known) = &self.dimensions
            && array.null_count() == array.len()
        {
            return self.numbers.fill(R::ZERO, array.len() * width(known), budget);
        }
        if array.null_count() == array.len() {
            return Ok(());
        }
        let (values, dimensions) = reals::<R>(array)?;
        match &self.dimensions {
            Some(known) if *known != dimensions => {
                let (one, other) = known.iter().zip(&dimensions).find(|(a, b)| a != b).unwrap_or((&known[0], &dimensions[0]));
                return Err(Error::new(format!("dimension mismatch: a vector column has rows of {one} and of {other} elements"))
                    .hint("give every row the same number of elements"));
            }
            Some(_) => {}
            None => {
                self.numbers.fill(R::ZERO, self.rows * width(&dimensions), budget)?;
                self.dimensions = Some(dimensions);
            }
        }
        self.numbers.append(&values, budget)
    }

    fn append_validity(&mut self, array: &ArrayRef, budget: &mut Budget) -> Result<()> {
        if array.null_count() > 0 && self.valid.is_none() {
            let mut valid = Growing::default();
            valid.fill(R::ONE, self.rows, budget)?;
            self.valid = Some(valid);
        }
        match &mut self.valid {
            Some(valid) => valid.append(&(0..array.len()).map(|row| R::truth(array.is_valid(row))).collect::<Vec<_>>(), budget),
            None => Ok(()),
        }
    }

    /// The row numbers of a column that is of them.
    pub fn finish_index(self) -> Result<Buffer<u32>> {
        self.index.unwrap_or_default().finish()
    }

    pub fn finish(self, factor: usize, dimension: Option<usize>) -> Result<Column<R>> {
        let numbers = match self.index {
            Some(index) => Numbers::Index(index.finish()?),
            None => Numbers::Real { dimensions: self.dimensions.unwrap_or_else(|| vec![0]), values: self.numbers.finish()? },
        };
        Ok(Column { factor, dimension, numbers, valid: self.valid.map(Growing::finish).transpose()? })
    }
}
