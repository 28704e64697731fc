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
    random: ChaCha8Rng,
    steps_per_epoch: u64,
}

impl Sampler {
    pub fn new<R: Lanes>(program: &Program<R>, settings: &Settings) -> Self {
        let rows = program.sample.as_ref().map_or(0, |s| s.rows);
        let batch = settings.batch.filter(|_| program.sample.is_some()).map(|b| b.min(rows.max(1)));
        let steps_per_epoch = batch.map_or(1, |b| rows.div_ceil(b).max(1) as u64);
        let (order, chosen) = ((0..rows as u32).collect(), Vec::with_capacity(batch.unwrap_or(0)));
        Self { batch, order, chosen, random: ChaCha8Rng::seed_from_u64(settings.seed), steps_per_epoch }
    }

    /// Prepares a step; returns its epoch (counted from 1) and how many rows it goes over.
    pub fn next<R: Lanes>(&mut self, program: &mut Program<R>, step: u64, rows: usize) -> (u64, f64) {
        let epoch = (step - 1) / self.steps_per_epoch + 1;
        let Some(batch) = self.batch else { return (epoch, rows as f64) };
        let begin = ((step - 1) % self.steps_per_epoch) as usize * batch;
        let end = (begin + batch).min(self.order.len());
        for at in begin..end {
            let other = at + self.below((self.order.len() - at) as u64) as usize;
            self.order.swap(at, other);
        }
        self.chosen.clear();
        self.chosen.extend_from_slice(&self.order[begin..end]);
        self.chosen.sort_unstable();
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

    /// A number below `bound`, unbiased by rejection. Of each row with one that no step has seen, that is Fisher's and Yates'
    /// permutation (Durstenfeld, 1964).
    fn below(&mut self, bound: u64) -> u64 {
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let candidate = self.random.next_u64();
            if candidate < limit {
                return candidate % bound;
            }
        }
    }
}
