//! TRAIN with `estimator => 'perturbed'`: the gradient is read off runs of the exact query at perturbed parameters, so that
//! any query can learn, whatever it is made of.

use super::learn::{Column, Learned};
use super::objective::Planned;
use super::settings::Clauses;
use super::train::{self, News};
use super::validation::Validator;
use crate::error::Result;
use crate::training::{Fitted, Free, Settings, perturb};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(super) fn start(
    planned: &Planned,
    columns: Vec<Column>,
    clauses: Clauses,
    pairs: usize,
    validator: Option<Validator>,
) -> mpsc::Receiver<News> {
    let (exact, tables, runtime) = (planned.exact.clone(), planned.tables.clone(), Handle::current());
    train::on_a_thread(move |observe| {
        let settings = Settings {
            maximize: clauses.maximize,
            optimizer: clauses.optimizer,
            steps: clauses.length.in_steps(1),
            batch: None,
            temperature: clauses.temperature,
            seed: clauses.seed,
        };
        let free = |c: &Column| Free { values: c.values.clone(), width: c.parameter.width(), projection: c.projection };
        let mut parameters: Vec<Free> = columns.iter().map(free).collect();
        let all: Vec<usize> = (0..columns.len()).collect();
        let moved = |values: Vec<Vec<f64>>| -> Vec<Column> {
            columns.iter().cloned().zip(values).map(|(c, values)| Column { values, ..c }).collect()
        };
        let mut evaluate = |values: &[Vec<f64>]| -> Result<Option<f64>> {
            runtime.block_on(exact.value(&train::learned_tables(&tables, &moved(values.to_vec()), &all)?))
        };
        let validation = validator.as_ref().map(|v| v.validation(1, &columns, &all));
        let fitted = perturb(&mut parameters, &settings, pairs, &mut evaluate, validation, observe)?;
        let learned = moved(parameters.into_iter().map(|p| p.values).collect());
        Ok(fitted.map(|Fitted { objective: relaxed_objective, steps, validation }| Learned {
            columns: learned,
            reached: all.clone(),
            relaxed_objective,
            steps,
            validation,
        }))
    })
}
