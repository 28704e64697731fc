//! Which rows each step sees: all, or a batch of a fresh seeded permutation each epoch.

use super::{Program, Settings};
use crate::program::Lanes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(super) struct Sampler {
    batch: Option<usize>,
    /// A permutation, of which as much is drawn as steps have come to see.
    order: Vec<u32>,
    chosen: Vec<u32>,
    /// Room for numbers of as many rows.
    spare: Vec<u32>,
    random: ChaCha8Rng,
    steps_per_epoch: u64,
}

impl Sampler {
    pub fn new<R: Lanes>(program: &Program<R>, settings: &Settings) -> Self {
        let rows = program.sample.as_ref().map_or(0, |s| s.rows);
        let batch = settings.batch.filter(|_| program.sample.is_some()).map(|b| b.min(rows.max(1)));
        let steps_per_epoch = batch.map_or(1, |b| rows.div_ceil(b).max(1) as u64);
        let [chosen, spare] = [(); 2].map(|()| Vec::with_capacity(batch.unwrap_or(0)));
        let order = (0..rows as u32).collect();
        Self { batch, order, chosen, spare, random: ChaCha8Rng::seed_from_u64(settings.seed), steps_per_epoch }
    }

    /// Prepares a step; returns its epoch (counted from 1) and how many rows it goes over.
    pub fn next<R: Lanes>(&mut self, program: &mut Program<R>, step: u64, rows: usize) -> (u64, f64) {
        let epoch = (step - 1) / self.steps_per_epoch + 1;
        let Some(batch) = self.batch else { return (epoch, rows as f64) };
        let begin = ((step - 1) % self.steps_per_epoch) as usize * batch;
        let end = (begin + batch).min(self.order.len());
        // All numbers before all rows, so that no row waits for another.
        self.spare.clear();
        for at in begin..end {
            let other = at as u32 + self.below((self.order.len() - at) as u32);
            self.spare.push(other);
        }
        for (at, other) in (begin..end).zip(&self.spare) {
            self.order.swap(at, *other as usize);
        }
        self.chosen.clear();
        self.chosen.extend_from_slice(&self.order[begin..end]);
        sort(&mut self.chosen, &mut self.spare, self.order.len());
        let scale = self.order.len() as f64 / self.chosen.len().max(1) as f64;
        program.activate(&self.chosen, scale);
        (epoch, self.chosen.len() as f64)
    }

    /// All rows take part again.
    pub fn whole<R: Lanes>(&self, program: &mut Program<R>) {
        if self.batch.is_some() {
            let all: Vec<u32> = (0..self.order.len() as u32).collect();
            program.activate(&all, 1.0);
        }
    }

    /// A number below `bound`, unbiased by rejection (Lemire, 2019). Of each row with one that no step has seen, that is Fisher's and
    /// Yates' permutation (Durstenfeld, 1964).
    fn below(&mut self, bound: u32) -> u32 {
        loop {
            let product = u64::from(self.random.next_u32()) * u64::from(bound);
            let low = product as u32;
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return (product >> 32) as u32;
            }
        }
    }
}

const DIGIT: usize = 11;

/// Sorts numbers below `bound`, digit by digit from the last one, with room for as many.
fn sort(numbers: &mut Vec<u32>, spare: &mut Vec<u32>, bound: usize) {
    spare.resize(numbers.len(), 0);
    let bits = bound.next_power_of_two().ilog2();
    for shift in (0..bits).step_by(DIGIT) {
        let digit = |number: u32| number as usize >> shift & ((1 << DIGIT) - 1);
        let mut places = [0u32; 1 << DIGIT];
        numbers.iter().for_each(|n| places[digit(*n)] += 1);
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for &number in numbers.iter() {
            let place = &mut places[digit(number)];
            spare[*place as usize] = number;
            *place += 1;
        }
        std::mem::swap(numbers, spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_order() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for bound in [1, 2, 3, 2048, 2049, 1_000_000, u32::MAX as usize] {
            let mut numbers: Vec<u32> = (0..500).map(|_| random.next_u32() % bound as u32).collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            sort(&mut numbers, &mut vec![], bound);
            assert_eq!(numbers, expected, "below {bound}");
        }
    }
}
