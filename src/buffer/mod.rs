//! Numbers side by side: in memory, or, where they are too many for it, in an Arrow file that is mapped into it.
//! It never hears of what the numbers are.

mod spill;

pub use spill::{Number, Spill};

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Numbers that are not changed any more. Cheap to clone.
///
/// ```
/// let numbers: nabladb::buffer::Buffer<f64> = vec![1.0, 2.0].into();
/// assert_eq!(numbers.iter().sum::<f64>(), 3.0);
/// ```
pub struct Buffer<T>(Held<T>);

enum Held<T> {
    Memory(Arc<Vec<T>>),
    File(Arc<dyn Mapped<T>>),
}

/// Numbers of a file. Those that are read are loaded, and stay until they are released.
trait Mapped<T>: Send + Sync {
    fn numbers(&self) -> &[T];
    fn release(&self, numbers: Range<usize>);
}

/// Numbers of a file that are looked at before they are released.
const PIECE: usize = 1 << 20;

impl<T> Buffer<T> {
    /// Whether they are in a file.
    pub fn is_spilled(&self) -> bool {
        matches!(self.0, Held::File(_))
    }

    /// How many bytes are in a file.
    pub fn spilled_bytes(&self) -> usize {
        if self.is_spilled() { size_of_val(&**self) } else { 0 }
    }

    /// Gives back the memory that some numbers of a file take. They are loaded again when they are read.
    pub fn release(&self, numbers: Range<usize>) {
        if let Held::File(file) = &self.0 {
            file.release(numbers);
        }
    }

    /// Whether this holds of all numbers; those of a file pass through memory.
    pub fn all(&self, mut holds: impl FnMut(&T) -> bool) -> bool {
        let mut begin = 0;
        self.chunks(PIECE).all(|piece| {
            let all = piece.iter().all(&mut holds);
            self.release(begin..begin + piece.len());
            begin += piece.len();
            all
        })
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Held::Memory(numbers) => numbers,
            Held::File(file) => file.numbers(),
        }
    }
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Held::Memory(numbers) => Held::Memory(numbers.clone()),
            Held::File(file) => Held::File(file.clone()),
        })
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        vec![].into()
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} numbers{})", self.len(), if self.is_spilled() { " in a file" } else { "" })
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self(Held::Memory(Arc::new(numbers)))
    }
}

impl<T> FromIterator<T> for Buffer<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        numbers.into_iter().collect::<Vec<T>>().into()
    }
}
