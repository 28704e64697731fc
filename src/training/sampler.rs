//! Which rows each step sees: all, or a batch of a fresh seeded permutation each epoch.

use super::{Program, Settings};
use crate::program::{Active, Lanes};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(super) struct Sampler {
    batch: Option<usize>,
    order: Vec<u32>,
    random: ChaCha8Rng,
    steps_per_epoch: u64,
}

impl Sampler {
    pub fn new<R: Lanes>(program: &Program<R>, settings: &Settings) -> Self {
        let rows = program.sample.as_ref().map_or(0, |s| s.rows);
        let batch = settings.batch.filter(|_| program.sample.is_some()).map(|b| b.min(rows.max(1)));
        let steps_per_epoch = batch.map_or(1, |b| rows.div_ceil(b).max(1) as u64);
        Self { batch, order: (0..rows as u32).collect(), random: ChaCha8Rng::seed_from_u64(settings.seed), steps_per_epoch }
    }

    /// Prepares a step; returns its epoch (counted from 1) and how many rows it goes over.
    pub fn next<R: Lanes>(&mut self, program: &mut Program<R>, step: u64, rows: usize) -> (u64, f64) {
        let epoch = (step - 1) / self.steps_per_epoch + 1;
        let Some(batch) = self.batch else { return (epoch, rows as f64) };
        let within = ((step - 1) % self.steps_per_epoch) as usize;
        if within == 0 {
            self.shuffle();
        }
        let range = within * batch..((within + 1) * batch).min(self.order.len());
        let mut chosen = self.order[range].to_vec();
        chosen.sort_unstable();
        let scale = self.order.len() as f64 / chosen.len().max(1) as f64;
        let active = program.sample.as_ref().map(|s| s.sampling.active(&chosen)).unwrap_or_default();
        program.activate(&active, scale);
        (epoch, chosen.len() as f64)
    }

    /// All rows take part again.
    pub fn whole<R: Lanes>(&self, program: &mut Program<R>) {
        if self.batch.is_some() {
            let all: Vec<u32> = (0..self.order.len() as u32).collect();
            let active: Vec<Active> = program.sample.as_ref().map(|s| s.sampling.active(&all)).unwrap_or_default();
            program.activate(&active, 1.0);
        }
    }

    /// Fisher and Yates, with unbiased numbers by rejection.
    fn shuffle(&mut self) {
        for i in (1..self.order.len()).rev() {
            let bound = i as u64 + 1;
            let limit = u64::MAX - u64::MAX % bound;
            let number = loop {
                let candidate = self.random.next_u64();
                if candidate < limit {
                    break candidate % bound;
                }
            };
            self.order.swap(i, number as usize);
        }
    }
}
