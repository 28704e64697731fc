//! TRAIN with `estimator => 'perturbed'`: the gradient is read off runs of the exact query at perturbed parameters, so that
//! any query can learn, whatever it is made of.

use super::learn::{Column, Learned};
use super::objective::Planned;
use super::settings::Clauses;
use super::train::{self, News};
use crate::error::Result;
use crate::grammar::Length;
use crate::training::{Free, Settings, perturb};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(super) fn start(planned: &Planned, columns: Vec<Column>, clauses: Clauses, pairs: usize) -> mpsc::Receiver<News> {
    let (exact, tables, runtime) = (planned.exact.clone(), planned.tables.clone(), Handle::current());
    train::on_a_thread(move |observe| {
        let steps = match clauses.length {
            Length::Steps(n) | Length::Epochs(n) => n,
        };
        let settings = Settings {
            maximize: clauses.maximize,
            optimizer: clauses.optimizer,
            steps,
            batch: None,
            temperature: clauses.temperature,
            seed: clauses.seed,
        };
        let free = |c: &Column| Free { values: c.values.clone(), width: c.parameter.width(), projection: c.projection };
        let mut parameters: Vec<Free> = columns.iter().map(free).collect();
        let mut evaluate = |values: &[Vec<f64>]| -> Result<Option<f64>> {
            let moved = learned(&columns, values.to_vec(), 0.0, 0);
            runtime.block_on(exact.value(&train::learned_tables(&tables, &moved)?))
        };
        let objective = perturb(&mut parameters, &settings, pairs, &mut evaluate, observe)?;
        Ok(objective.map(|objective| learned(&columns, parameters.into_iter().map(|p| p.values).collect(), objective, steps)))
    })
}

fn learned(columns: &[Column], values: Vec<Vec<f64>>, relaxed_objective: f64, steps: u64) -> Learned {
    let columns: Vec<Column> = columns.iter().cloned().zip(values).map(|(c, values)| Column { values, ..c }).collect();
    let reached = (0..columns.len()).collect();
    Learned { columns, reached, relaxed_objective, steps }
}
