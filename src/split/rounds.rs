//! Runs the rounds of a recursion until its frozen columns end it.

use super::materialize::Run;
use super::recursion::{End, Recursion};
use crate::algebra::{OutputValue, Rows};
use crate::error::{Error, Result};
use crate::program::Lanes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;

/// A recursion that has not ended by then has nothing frozen that ends it.
const MOST_ROUNDS: usize = 100_000;

impl<R: Lanes> Run<'_, R> {
    /// Returns the number of the stage that comes after the recursion.
    pub(super) async fn rounds(&mut self, recursion: &Recursion) -> Result<usize> {
        let mut all = vec![self.frozen.clone()];
        let mut stacked = vec![self.places[recursion.carried[0].0]];
        let mut seen_before = recursion.carried.last().map_or(0, |(begin, _)| self.rows[self.places[*begin]].count());
        for round in 1.. {
            if round > MOST_ROUNDS {
                return Err(Error::new(format!("a recursive query has more than {MOST_ROUNDS} rounds"))
                    .hint("end it by frozen columns, such as a counter: WHERE round < 100"));
            }
            let mut next = vec![];
            for stage in recursion.round.clone() {
                self.stage(stage, round).await?;
                if recursion.carried.iter().any(|(_, from)| *from == stage) {
                    next.push(self.frozen.clone());
                }
            }
            let rows_of = |run: &Self, stage: usize| run.rows[run.places[stage]].count();
            let ended = match recursion.end {
                End::Empty { rows, .. } => rows_of(self, rows) == 0,
                End::Complete { derived, seen } => {
                    let known = rows_of(self, seen);
                    let grows = std::mem::replace(&mut seen_before, known) != known;
                    rows_of(self, derived) == 0 || (!grows && round + 1 >= known)
                }
            };
            for ((begin, from), rows) in recursion.carried.iter().zip(&next) {
                self.split.skeletons[*begin].table.finish(rows)?;
                self.places[*begin] = self.places[*from];
            }
            if let End::Empty { rows, .. } = recursion.end {
                let next = next.swap_remove(0);
                let before = &all[all.len() - 1];
                if !ended && round > 1 && next.num_rows() == before.num_rows() && next.columns() == before.columns() {
                    return Err(Error::new(format!(
                        "a recursive query does not end: round {round} has the frozen columns of the round before"
                    ))
                    .hint("end it by frozen columns, such as a counter: WHERE round < 100"));
                }
                stacked.push(self.places[rows]);
                all.push(next);
            }
            if ended {
                break;
            }
        }
        match recursion.end {
            End::Complete { .. } => Ok(recursion.round.end),
            End::Empty { stacked: stage, .. } => self.stack(stage, &stacked, &all),
        }
    }

    /// Adds the stage of the rows of all rounds.
    fn stack(&mut self, number: usize, stages: &[usize], all: &[RecordBatch]) -> Result<usize> {
        let table = &self.split.skeletons[number].table;
        let all = all.iter().map(|rows| table.fitted(rows)).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&all[0].schema(), &all)?;
        table.finish(&rows)?;
        let plan = format!("the rows of {} and of {} rounds", self.stages[stages[0]].name, stages.len() - 1);
        self.push(
            number,
            1,
            Rows { factors: vec![rows.num_rows()], chosen: None, dimensions: vec![], columns: vec![], groups: None },
            (plan, 0.0),
            rows,
        );
        for output in &mut self.stages[self.places[number]].outputs {
            if let OutputValue::Stacked { stages: of, .. } = &mut output.value {
                *of = stages.to_vec();
            }
        }
        Ok(number + 1)
    }
}
