//! The temperature over the steps of a run: geometric from the first to the last.

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    pub first: f64,
    pub last: f64,
}

impl Temperature {
    /// At a step counted from 1; the first step has the first temperature and the final step the last.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        if step >= steps && steps > 1 {
            return self.last;
        }
        let progress = if steps > 1 { (step - 1) as f64 / (steps - 1) as f64 } else { 0.0 };
        self.first * (self.last / self.first).powf(progress)
    }
}
