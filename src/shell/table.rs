//! Results as a table to look at: all rows when they are few, the first and the last when they are many.

use super::Stop;
use super::format::io_or_engine;
use crate::session::Outcome;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use std::collections::VecDeque;
use std::io::Write;

/// Results with more rows than this are shown in part.
const SHOWN: usize = 40;

pub(super) async fn write(out: &mut impl Write, mut rows: Outcome, schema: &SchemaRef) -> Result<(), Stop> {
    let mut kept = Kept::default();
    while let Some(batch) = rows.next().await {
        kept.push(batch?);
    }
    let total = kept.total;
    let (first, last) = kept.ends(schema)?;
    if total <= SHOWN {
        let all = concat_batches(schema, [&first, &last]).map_err(io_or_engine)?;
        let lines = lines(&all)?;
        writeln!(out, "{}", lines.join("\n"))?;
        return Ok(writeln!(out, "({total} {})", if total == 1 { "row" } else { "rows" })?);
    }
    let both = concat_batches(schema, [&first, &last]).map_err(io_or_engine)?;
    let lines = elided(&lines(&both)?, &first)?;
    writeln!(out, "{}", lines.join("\n"))?;
    Ok(writeln!(out, "({total} rows, {SHOWN} shown)")?)
}

/// The first rows, and the batches that hold the last ones.
#[derive(Default)]
struct Kept {
    total: usize,
    first: Vec<RecordBatch>,
    last: VecDeque<RecordBatch>,
    held: usize,
}

impl Kept {
    fn push(&mut self, batch: RecordBatch) {
        let head = (SHOWN / 2).saturating_sub(self.total).min(batch.num_rows());
        if head > 0 {
            self.first.push(batch.slice(0, head));
        }
        self.total += batch.num_rows();
        let rest = batch.slice(head, batch.num_rows() - head);
        self.held += rest.num_rows();
        self.last.push_back(rest);
        while let Some(oldest) = self.last.front()
            && self.held - oldest.num_rows() >= SHOWN / 2
        {
            self.held -= oldest.num_rows();
            self.last.pop_front();
        }
    }

    fn ends(self, schema: &SchemaRef) -> Result<(RecordBatch, RecordBatch), Stop> {
        let first = concat_batches(schema, &self.first).map_err(io_or_engine)?;
        let last = concat_batches(schema, self.last.iter()).map_err(io_or_engine)?;
        let shown = last.num_rows().min(SHOWN / 2);
        Ok((first, last.slice(last.num_rows() - shown, shown)))
    }
}

fn lines(batch: &RecordBatch) -> Result<Vec<String>, Stop> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    let drawn = pretty_format_batches_with_options(std::slice::from_ref(batch), &options).map_err(io_or_engine)?;
    Ok(drawn.to_string().lines().map(String::from).collect())
}

/// A line of dots after the first rows. A row may take several lines, so these are counted on the first rows alone.
fn elided(both: &[String], first: &RecordBatch) -> Result<Vec<String>, Stop> {
    let first_lines = lines(first)?.len() - 1;
    let dotted = |cell: &str| format!("| {:<1$} ", &"..."[..cell.len().saturating_sub(2).min(3)], cell.len().saturating_sub(2));
    let dots: String = both.first().into_iter().flat_map(|border| border.split('+')).filter(|cell| !cell.is_empty()).map(dotted).collect();
    let mut lines = both.to_vec();
    lines.insert(first_lines.min(lines.len()), dots + "|");
    Ok(lines)
}
