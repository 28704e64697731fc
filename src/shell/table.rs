//! Results as a table to look at: all rows when they are few, the first and the last when they are many.

use super::Stop;
use super::explanation;
use super::format::io_or_engine;
use super::grid::Grid;
use crate::session::Outcome;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use std::collections::VecDeque;
use std::io::Write;

/// How a table is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Columns of the terminal; without one nothing is shortened.
    pub width: Option<usize>,
    /// Each row by itself.
    pub expanded: bool,
    /// Results with more rows than this are shown in part.
    pub most: usize,
    /// Whether it is an explanation in its colours.
    pub painted: bool,
}

pub(super) async fn write(out: &mut impl Write, mut rows: Outcome, schema: &SchemaRef, look: Look) -> Result<(), Stop> {
    let mut kept = Kept { shown: look.most, ..Kept::default() };
    while let Some(batch) = rows.next().await {
        kept.push(batch?);
    }
    let (total, shown) = (kept.total, kept.shown);
    let ends = kept.ends(schema)?;
    let mut grid = Grid::new(schema, &ends)?;
    if total > shown {
        grid.elide(ends[0].num_rows(), total);
    }
    if look.painted {
        explanation::paint(&mut grid);
    }
    if look.expanded {
        grid.draw_expanded(out)?;
    } else {
        if let Some(width) = look.width {
            grid.fit(width);
        }
        grid.draw(out)?;
    }
    let rows = if total == 1 { "row" } else { "rows" };
    let shown = if total > shown { format!(", {shown} shown") } else { String::new() };
    writeln!(out, "({total} {rows}{shown})")?;
    Ok(())
}

/// The first rows, and the batches that hold the last ones.
#[derive(Default)]
struct Kept {
    /// How many rows are kept.
    shown: usize,
    total: usize,
    first: Vec<RecordBatch>,
    last: VecDeque<RecordBatch>,
    held: usize,
}

impl Kept {
    fn push(&mut self, batch: RecordBatch) {
        let head = self.shown.div_ceil(2).saturating_sub(self.total).min(batch.num_rows());
        if head > 0 {
            self.first.push(batch.slice(0, head));
        }
        self.total += batch.num_rows();
        let rest = batch.slice(head, batch.num_rows() - head);
        self.held += rest.num_rows();
        self.last.push_back(rest);
        while let Some(oldest) = self.last.front()
            && self.held - oldest.num_rows() >= self.shown / 2
        {
            self.held -= oldest.num_rows();
            self.last.pop_front();
        }
    }

    fn ends(self, schema: &SchemaRef) -> Result<[RecordBatch; 2], Stop> {
        let first = concat_batches(schema, &self.first).map_err(io_or_engine)?;
        let last = concat_batches(schema, self.last.iter()).map_err(io_or_engine)?;
        let shown = last.num_rows().min(self.shown / 2);
        Ok([first, last.slice(last.num_rows() - shown, shown)])
    }
}
