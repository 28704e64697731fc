//! Vectors that rows repeat, as those of one side of a join do: each is kept once, and rows read it through an index. What is
//! computed of them is then computed once for each, before the gather.

use crate::buffer::Buffer;
use crate::scalar::Real;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The narrowest vectors that are looked up.
const NARROWEST: usize = 8;
/// Rows that are tried first.
const TRIED: usize = 8192;

/// The vectors without repetition, and which of them each row reads; unless fewer than half of the rows repeat another's.
pub(super) fn dictionary<R: Real>(values: &[R], width: usize) -> Option<(Vec<R>, Buffer<u32>)> {
    let rows = values.len() / width.max(1);
    if width < NARROWEST || rows < 2 || !repeats(values, width) {
        return None;
    }
    let (mut vectors, mut index): (Vec<R>, _) = (vec![], Vec::with_capacity(rows));
    let mut known: HashMap<u64, Vec<u32>> = HashMap::new();
    for row in values.chunks_exact(width) {
        let alike = known.entry(key(row)).or_default();
        let same = |at: &&u32| bits(&vectors[**at as usize * width..][..width]).eq(bits(row));
        let found = alike.iter().find(same).copied();
        index.push(found.unwrap_or_else(|| {
            let new = (vectors.len() / width) as u32;
            alike.push(new);
            vectors.extend_from_slice(row);
            new
        }));
        if vectors.len() > values.len() / 2 {
            return None;
        }
    }
    Some((vectors, index.into()))
}

/// Whether some of a sample of the rows are the same: of a million vectors that come twice, some thirty pairs are.
fn repeats<R: Real>(values: &[R], width: usize) -> bool {
    let rows = values.len() / width;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut any = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % rows
    };
    let mut tried: Vec<usize> = if rows <= TRIED { (0..rows).collect() } else { (0..TRIED).map(|_| any()).collect() };
    tried.sort_unstable();
    tried.dedup();
    let mut keys: Vec<u64> = tried.into_iter().map(|row| key(&values[row * width..][..width])).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

fn key<R: Real>(row: &[R]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bits(row).for_each(|bits| bits.hash(&mut hasher));
    hasher.finish()
}

/// Numbers as they are told apart: NaN is itself, and -0 is not 0.
fn bits<R: Real>(row: &[R]) -> impl Iterator<Item = u64> {
    row.iter().map(|x| x.wide().to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of 9 numbers that differ in one place only, so many of one side by side.
    fn vectors(rows: usize, different: usize, run: usize, place: usize) -> Vec<f32> {
        let row = |row: usize| (0..9).map(move |k| if k == place { (row / run * 7 % different) as f32 } else { k as f32 });
        (0..rows).flat_map(row).collect()
    }

    #[test]
    fn a_dictionary_gives_each_row_its_vector() {
        for (rows, different, run) in [(2, 1, 1), (10, 5, 1), (1000, 10, 1), (50_000, 20_000, 1), (100_000, 10_000, 10)] {
            for place in 0..9 {
                let values = vectors(rows, different, run, place);
                let (kept, index) = dictionary(&values, 9).expect("rows repeat");
                assert_eq!(kept.len(), 9 * different.min(rows));
                let read: Vec<f32> = index.iter().flat_map(|at| kept[*at as usize * 9..][..9].to_vec()).collect();
                assert_eq!(read, values);
            }
        }
        let [zero, nan] = [vec![0.0f32, -0.0], vec![f32::NAN, f32::NAN]].map(|x| x.iter().flat_map(|x| [*x; 8]).collect::<Vec<_>>());
        assert!(dictionary(&zero, 8).is_none(), "0 and -0 are told apart");
        assert_eq!(dictionary(&nan, 8).expect("NaN is itself").1[..], [0, 0]);
    }

    #[test]
    fn what_hardly_repeats_is_no_dictionary() {
        for (rows, different, width) in [(1, 1, 9), (1000, 1000, 9), (1000, 600, 9), (1000, 10, 3)] {
            assert!(dictionary(&vectors(rows, different, 1, 0)[..rows * width], width).is_none(), "{rows} {different} {width}");
        }
    }
}
