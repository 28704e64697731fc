//! The rows of several stages, one after another: the rounds of WITH RECURSIVE.
//!
//! Exact and relaxed: each row as it is in its own stage, with its weight there.
//! Limit: nothing is soft here.
//! Gradient: each stage receives that of its own rows.
//!
//! Neighbours are joined two by two, so that n stages cost about log2(n) copies of all rows.

use super::{Number, Workplace};
use crate::program::{Domain, Lanes, Value};

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn stacked(&mut self, stages: &[usize], column: usize) -> Number {
        let graph = self.graph();
        let filled: Vec<(Domain, Number)> = stages
            .iter()
            .map(|stage| (self.all.finished[*stage].domain, self.all.finished[*stage].outputs[column]))
            .filter(|(domain, _)| graph.rows(*domain) > 0)
            .collect();
        let values: Vec<(Domain, Value)> = filled.iter().map(|(d, n)| (*d, n.value)).collect();
        let partial = filled.iter().any(|(_, n)| n.presence.is_some());
        let presence = |n: &Number| n.presence.unwrap_or_else(|| graph.number(1.0));
        let presences: Option<Vec<(Domain, Value)>> = partial.then(|| filled.iter().map(|(d, n)| (*d, presence(n))).collect());
        self.note("WITH RECURSIVE", format!("unrolled: the rows of {} rounds one after another", stages.len()));
        // Without any row nothing is read, but for the width.
        let value = self.joined(values).unwrap_or(self.all.finished[stages[0]].outputs[column].value);
        Number { value, presence: presences.and_then(|p| self.joined(p)) }
    }

    /// Columns one after another, over the rows of this stage, with their twins.
    fn joined(&mut self, columns: Vec<(Domain, Value)>) -> Option<Value> {
        let twins: Vec<(Domain, Value)> = columns.iter().map(|(d, v)| (*d, self.twin(*v))).collect();
        let relaxed = self.columns_joined(columns.clone())?;
        if twins == columns {
            return Some(relaxed);
        }
        let exact = self.columns_joined(twins)?;
        Some(self.with_twin(relaxed, exact))
    }

    fn columns_joined(&self, mut columns: Vec<(Domain, Value)>) -> Option<Value> {
        while columns.len() > 1 {
            let last = columns.len() <= 2;
            columns =
                columns.chunks(2).map(|pair| if let [first, second] = pair { self.pair(*first, *second, last) } else { pair[0] }).collect();
        }
        let (domain, value) = columns.pop()?;
        // All rows are those of one stage.
        Some(if domain == self.domain { value } else { self.placed((domain, value), 0, self.domain) })
    }

    fn pair(&self, first: (Domain, Value), second: (Domain, Value), last: bool) -> (Domain, Value) {
        let graph = self.graph();
        let (above, below) = (graph.rows(first.0), graph.rows(second.0));
        let both = if last { self.domain } else { graph.domain("rounds", above + below) };
        (both, graph.add(self.placed(first, 0, both), self.placed(second, above, both)))
    }

    /// A column as a part of a longer one, 0 elsewhere.
    fn placed(&self, (domain, value): (Domain, Value), start: usize, of: Domain) -> Value {
        let graph = self.graph();
        let rows = start as u32..(start + graph.rows(domain)) as u32;
        graph.segment_sum(value, graph.index(domain, of, rows.collect()))
    }
}
