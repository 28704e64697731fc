//! Numbers on their way to a file, chunk by chunk: an Arrow IPC stream of one column and one batch, in a temporary folder.
//! The system loads what is read of it and, being told when it has been read, keeps no more than that.

use super::{Buffer, Held, Mapped};
use crate::error::{Error, Result};
use arrow::array::{ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::{self, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, Float32Type, Float64Type, ToByteSlice, UInt32Type};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamEncoder;
use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A number that Arrow has a type for.
pub trait Number: ArrowNativeType {
    #[doc(hidden)]
    type Arrow: ArrowPrimitiveType<Native = Self>;
}

impl Number for f32 {
    type Arrow = Float32Type;
}

impl Number for f64 {
    type Arrow = Float64Type;
}

impl Number for u32 {
    type Arrow = UInt32Type;
}

/// Numbers that are being written.
pub struct Spill<T> {
    folder: PathBuf,
    /// Only the numbers. How many there are comes before them in the stream, and is not known until the last.
    numbers: BufWriter<File>,
    count: usize,
    kind: PhantomData<T>,
}

impl<T: Number> Spill<T> {
    /// Begins a file in this folder, which goes when the last to read it does. Fails where the folder cannot be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|e| failed(&e))?;
        Ok(Self { folder: folder.to_path_buf(), numbers: BufWriter::with_capacity(1 << 18, file), count: 0, kind: PhantomData })
    }

    /// Fails where the disk is full.
    pub fn append(&mut self, numbers: &[T]) -> Result<()> {
        self.count += numbers.len();
        self.numbers.write_all(numbers.to_byte_slice()).map_err(|e| failed(&e))
    }

    /// All numbers, to read.
    pub fn finish(self) -> Result<Buffer<T>> {
        if self.count == 0 {
            return Ok(Buffer::default());
        }
        self.mapped().map(|column| Buffer(Held::File(Arc::new(column)))).map_err(|e| failed(&e))
    }

    fn mapped(self) -> io::Result<Column<T>> {
        let mut numbers = self.numbers.into_inner().map_err(io::IntoInnerError::into_error)?;
        numbers.rewind()?;
        let values = ScalarBuffer::new(map(&numbers)?.0, 0, self.count);
        let start = values.inner().as_ptr();
        let array = PrimitiveArray::<T::Arrow>::new(values, None);
        let batch = RecordBatch::try_from_iter([("numbers", Arc::new(array) as _)]).map_err(io::Error::other)?;
        let mut encoder = StreamEncoder::try_new(&batch.schema()).map_err(io::Error::other)?;
        let mut parts = encoder.encode(&batch).map_err(io::Error::other)?;
        parts.extend(encoder.finish().map_err(io::Error::other)?);
        let mut stream = tempfile::tempfile_in(&self.folder)?;
        for part in parts {
            // The numbers go from file to file.
            if part.as_ptr() == start { io::copy(&mut numbers, &mut stream).map(drop)? } else { stream.write_all(&part)? }
        }
        Column::read(&stream).map_err(io::Error::other)
    }
}

/// The column of a stream in a file.
struct Column<T: Number> {
    map: Arc<Mmap>,
    values: ScalarBuffer<T>,
}

impl<T: Number> Column<T> {
    fn read(stream: &File) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (mut bytes, map) = map(stream)?;
        let batch = StreamDecoder::new().with_require_alignment(true).decode(&mut bytes)?.ok_or("the file holds no batch")?;
        Ok(Self { map, values: batch.column(0).as_primitive::<T::Arrow>().values().clone() })
    }
}

impl<T: Number> Mapped<T> for Column<T> {
    fn numbers(&self) -> &[T] {
        &self.values
    }

    fn release(&self, numbers: Range<usize>) {
        let begin = self.values.inner().as_ptr() as usize - self.map.as_ptr() as usize;
        let [from, to] = [numbers.start, numbers.end].map(|n| begin + n * size_of::<T>());
        // SAFETY: the map is of a file that nobody writes, so what is dropped of it is read again as it was.
        let dropped = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, from, to - from) };
        debug_assert!(dropped.is_ok(), "the system keeps pages that it may drop: {dropped:?}");
    }
}

/// A file as memory.
fn map(file: &File) -> io::Result<(buffer::Buffer, Arc<Mmap>)> {
    // SAFETY: the file has no name, so that no other process writes it, and this one has written it for the last time.
    let map = Arc::new(unsafe { Mmap::map(file)? });
    Ok((Bytes::from_owner(Shared(map.clone())).into(), map))
}

struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(format!("rows beyond the memory limit cannot be written to a temporary file: {error}"))
        .hint("free some disk space, let TMPDIR name a folder that has it, or raise the memory limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spilled<T: Number>(numbers: &[T]) -> Buffer<T> {
        let mut spill = Spill::new(&std::env::temp_dir()).expect("a temporary folder");
        numbers.chunks(1000).for_each(|chunk| spill.append(chunk).expect("space"));
        spill.finish().expect("a file")
    }

    #[test]
    fn numbers_come_back_from_a_file_as_they_were() {
        for length in [0, 1, 7, 8, 100_000, 3_000_001] {
            let numbers: Vec<u32> = (0..length).map(|i: u32| i.wrapping_mul(2_654_435_761)).collect();
            let buffer = spilled(&numbers);
            assert_eq!(buffer.is_spilled(), length > 0);
            assert!(*buffer == *numbers, "{length}");
            buffer.release(0..buffer.len());
            assert!(*buffer == *numbers, "{length}, after they were released");
            let mut seen = numbers.iter();
            assert!(buffer.all(|x| seen.next() == Some(x)) && seen.next().is_none());
        }
        let special = [0.0, -0.0, f64::INFINITY, f64::MIN_POSITIVE, 1e-320];
        assert!(spilled(&special).iter().zip(special).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
