//! An objective, its gradient, and what must hold of both.

use super::super::*;
use crate::buffer::{Buffer, Spill};
use std::sync::Arc;

/// A tiny deterministic source of numbers in (-1, 1).
pub fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

pub fn columns<R>(residuals: Vec<Vec<R>>) -> Arc<Vec<Buffer<R>>> {
    Arc::new(residuals.into_iter().map(Buffer::from).collect())
}

/// The same numbers in files.
fn spilled(residuals: &[Buffer<f64>]) -> Arc<Vec<Buffer<f64>>> {
    let spilled = |numbers: &Buffer<f64>| {
        let mut spill = Spill::new(&std::env::temp_dir()).expect("a temporary folder");
        spill.append(numbers).expect("space");
        spill.finish().expect("a file")
    };
    Arc::new(residuals.iter().map(spilled).collect())
}

/// An objective over some rows, with the numbers of its parameters.
pub struct Case {
    pub graph: Graph,
    pub parameters: Vec<(Value, usize)>,
    pub residuals: Arc<Vec<Buffer<f64>>>,
    pub objective: Value,
}

impl Case {
    /// The gradient is that of central differences, and from files it is the same, bit for bit.
    pub fn check(&self, name: &str) {
        let values: Vec<Value> = self.parameters.iter().map(|p| p.0).collect();
        let gradients = gradient(&self.graph, self.objective, &values);
        let mut outputs = vec![self.objective];
        outputs.extend(gradients.iter().map(|g| g.expect("each parameter is reached")));
        let mut machine = Machine::<f64>::build(&self.graph, self.residuals.clone(), &outputs, false);
        let start: Vec<Vec<f64>> = self.parameters.iter().enumerate().map(|(i, p)| numbers(100 + i as u64, p.1)).collect();
        for (slot, values) in start.iter().enumerate() {
            machine.parameter_mut(slot as u32).copy_from_slice(values);
        }
        machine.run();
        let mut from_files = Machine::<f64>::build(&self.graph, spilled(&self.residuals), &outputs, false);
        for (slot, values) in start.iter().enumerate() {
            from_files.parameter_mut(slot as u32).copy_from_slice(values);
        }
        from_files.run();
        assert!((0..outputs.len()).all(|o| machine.output(o) == from_files.output(o)), "{name}: from files");
        let gradients: Vec<Vec<f64>> = (0..start.len()).map(|i| machine.output(i + 1).to_vec()).collect();
        let h = 1e-5;
        for (slot, values) in start.iter().enumerate() {
            for element in (0..values.len()).step_by((values.len() / 7).max(1)) {
                let mut at = |delta: f64| {
                    machine.parameter_mut(slot as u32)[element] = values[element] + delta;
                    machine.run();
                    machine.output(0)[0]
                };
                let difference = (at(h) - at(-h)) / (2.0 * h);
                at(0.0);
                let slope = gradients[slot][element];
                assert!(
                    (slope - difference).abs() <= 1e-6 * slope.abs().max(1e-2),
                    "{name}: parameter {slot} element {element}: {slope} is not {difference}\n{machine}"
                );
            }
        }
    }
}
