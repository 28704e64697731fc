//! ARRAY_AGG of live values by a frozen order.
//!
//! Exact: the values of a group's rows, one after another, as a vector. Relaxed: the same, at any temperature. Which rows
//! there are, and in which order, is frozen, and a vector of the program has one length and no NULL in it: so all groups have
//! as many rows, and every row has a value. Gradient: that of each element goes to its row.

use super::{Number, Workplace};
use crate::algebra::{Expression, Grouping, Groups};
use crate::error::{Error, Place, Result};
use crate::program::{Lanes, ONE};

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn array(&mut self, value: &Expression, label: &str) -> Number {
        let graph = self.graph();
        self.note(label, "segment-select: the rows one after another");
        if self.rows.count() == 0 {
            return Number { value: graph.number(0.0), presence: Some(graph.number(0.0)) };
        }
        let x = self.numeric(value);
        let refused = |what: &str, hint: &str| Err(Error::new(format!("{label} {what}")).at(Place::Expression(label.into())).hint(hint));
        let checked = match (self.length_of_groups(), x.presence) {
            (Err((one, other)), _) => refused(
                &format!("over groups of {one} and of {other} rows"),
                "a vector has one length: leave out rows, or join with all places, until every group has as many",
            ),
            (_, Some(presence)) if !self.all.is_all_one(presence) => {
                refused("where some rows are NULL", "COALESCE(..., 0), or leave these rows out in WHERE")
            }
            _ => Ok(()),
        };
        if let Err(error) = checked {
            return self.all.refuse(error);
        }
        Number { value: if self.domain == ONE { x.value } else { graph.stack(x.value, self.segments()) }, presence: None }
    }

    /// How many rows each group has, or two numbers of rows that differ.
    pub(super) fn length_of_groups(&self) -> Result<usize, (usize, usize)> {
        let groups = self.rows.groups.as_ref().filter(|_| self.stage.grouping == Grouping::Keys);
        let Some(groups) = groups.and_then(Groups::of_one) else {
            return Ok(self.rows.count());
        };
        let mut lengths = groups.of_row.chunk_by(|a, b| a == b).map(<[u32]>::len);
        let first = lengths.next().unwrap_or(0);
        lengths.find(|n| *n != first).map_or(Ok(first), |other| Err((first, other)))
    }
}
