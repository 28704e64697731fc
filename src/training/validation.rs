//! Validation: another number than the objective says which of the parameters on the way are kept, and when to stop early.

use super::Evaluate;
use crate::error::{Place, Result};

/// How parameters are validated, and the best so far.
pub struct Validation<'a> {
    pub maximize: bool,
    /// Steps from one to the next; the last step is validated too.
    pub every: u64,
    /// So many in a row that are no better than the best end the run.
    pub patience: Option<u64>,
    pub evaluate: Box<Evaluate<'a>>,
    pub best: Option<Best>,
    /// How many there have been since the best.
    pub since: u64,
}

/// The first parameters with the best value.
pub struct Best {
    pub value: f64,
    /// Of each parameter.
    pub values: Vec<Vec<f64>>,
}

impl Validation<'_> {
    pub(super) fn is_due(&self, step: u64, steps: u64) -> bool {
        step.is_multiple_of(self.every) || step == steps
    }

    /// Validates what a step has led to. NULL, and what is not a number, are never better.
    pub(super) fn measure(&mut self, step: u64, values: Vec<Vec<f64>>) -> Result<Option<f64>> {
        let value = (self.evaluate)(&values).map_err(|e| {
            e.at(Place::Step { step, operator: "the query of VALIDATE".into() })
                .hint("it must give one number over whatever is learned; the database keeps its values")
        })?;
        match value.filter(|x| self.is_better(*x)) {
            Some(value) => (self.best, self.since) = (Some(Best { value, values }), 0),
            None => self.since += 1,
        }
        Ok(value)
    }

    pub(super) fn is_over(&self) -> bool {
        self.patience.is_some_and(|patience| self.since >= patience)
    }

    fn is_better(&self, x: f64) -> bool {
        match &self.best {
            Some(best) if self.maximize => x > best.value,
            Some(best) => x < best.value,
            None => !x.is_nan(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_of_the_best_is_kept_and_what_is_no_number_is_never_better() {
        for (sign, maximize) in [(1.0, false), (-1.0, true)] {
            let told = [None, Some(f64::NAN), Some(2.0), Some(1.0), Some(1.0), None, Some(f64::NAN), Some(0.5)];
            let mut answers = told.into_iter();
            let evaluate = Box::new(move |_: &[Vec<f64>]| Ok(answers.next().unwrap().map(|x| sign * x)));
            let mut validation = Validation { maximize, every: 2, patience: Some(3), evaluate, best: None, since: 0 };
            let since: Vec<u64> = (1..=7)
                .map(|step| {
                    validation.measure(step, vec![vec![step as f64]]).unwrap();
                    assert_eq!(validation.is_over(), step == 7);
                    validation.since
                })
                .collect();
            assert_eq!(since, [1, 2, 0, 0, 1, 2, 3]);
            assert_eq!(validation.best.as_ref().map(|b| (b.value, b.values[0][0])), Some((sign, 4.0)));
            validation.measure(8, vec![vec![8.0]]).unwrap();
            assert!(validation.best.as_ref().is_some_and(|b| b.values == [[8.0]]) && !validation.is_over());
            assert_eq!((1..=7).filter(|step| validation.is_due(*step, 7)).collect::<Vec<_>>(), [2, 4, 6, 7]);
        }
    }
}
