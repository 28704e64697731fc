//! Rows as text in cells, brought to a width, and drawn.

use super::Stop;
use super::format::io_or_engine;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{CellAlignment, ContentArrangement, Table};
use nu_ansi_term::Style;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The borders of a table.
const BORDERS: &str = "||--+-++|    ++++++";

/// Columns that a list is shortened to at the least, and any other cell.
const LIST: usize = 24;
const NARROWEST: usize = 8;

/// The cells of a result.
pub(super) struct Grid {
    pub columns: Vec<Column>,
    pub rows: usize,
    /// Before which row the dots are, and how many rows they stand for.
    elided: Option<(usize, usize)>,
}

pub(super) struct Column {
    pub name: String,
    is_number: bool,
    is_list: bool,
    pub cells: Vec<String>,
    /// Those of the cells; none where they are plain.
    pub styles: Vec<Style>,
}

impl Grid {
    pub fn new(schema: &Schema, batches: &[RecordBatch]) -> Result<Self, Stop> {
        let options = FormatOptions::default().with_null("NULL").with_display_error(true);
        let mut columns: Vec<Column> = schema
            .fields()
            .iter()
            .map(|field| Column {
                name: field.name().clone(),
                is_number: field.data_type().is_numeric(),
                is_list: matches!(field.data_type(), DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)),
                cells: vec![],
                styles: vec![],
            })
            .collect();
        for batch in batches {
            for (column, array) in columns.iter_mut().zip(batch.columns()) {
                let formatter = ArrayFormatter::try_new(array, &options).map_err(io_or_engine)?;
                column.cells.extend((0..batch.num_rows()).map(|row| formatter.value(row).to_string()));
            }
        }
        Ok(Self { columns, rows: batches.iter().map(RecordBatch::num_rows).sum(), elided: None })
    }

    /// A row of dots before row `at`, for what `total` rows have more.
    pub fn elide(&mut self, at: usize, total: usize) {
        for column in &mut self.columns {
            let dots = ".".repeat(column.width().clamp(1, 3));
            column.cells.insert(at, dots);
        }
        self.elided = Some((at, total - self.rows));
        self.rows += 1;
    }

    /// Brings the grid to so many columns of the terminal: lists become shorter, then other cells, then columns in the middle are left out.
    pub fn fit(&mut self, width: usize) {
        let before: Vec<usize> = self.columns.iter().map(Column::width).collect();
        let mut widths = before.clone();
        for is_list in [true, false] {
            let least = |c: &Column| if is_list { LIST } else { NARROWEST }.max(c.name.width());
            while let Some(excess) = drawn_width(&widths).checked_sub(width).filter(|excess| *excess > 0) {
                let can = |i: &usize| self.columns[*i].is_list == is_list && widths[*i] > least(&self.columns[*i]);
                let Some(widest) = (0..widths.len()).filter(can).max_by_key(|i| widths[*i]) else { break };
                // Down to the next widest, so that all of them are cut alike.
                let next = (0..widths.len()).filter(can).map(|i| widths[i]).filter(|w| *w < widths[widest]).max().unwrap_or(0);
                widths[widest] = next.max(least(&self.columns[widest])).max(widths[widest].saturating_sub(excess));
            }
        }
        for ((column, before), now) in self.columns.iter_mut().zip(before).zip(&widths) {
            if *now < before {
                column.cells.iter_mut().for_each(|cell| shorten(cell, *now, column.is_list));
            }
        }
        self.leave_out(&mut widths, width);
    }

    /// Leaves out columns in the middle, if there are more than fit.
    fn leave_out(&mut self, widths: &mut Vec<usize>, width: usize) {
        if drawn_width(widths) <= width || self.columns.len() <= 2 {
            return;
        }
        let mut gap = self.columns.len() / 2;
        let (name, cells) = ("...".into(), vec!["...".into(); self.rows]);
        self.columns[gap] = Column { name, is_number: false, is_list: false, cells, styles: vec![] };
        widths[gap] = 3;
        while drawn_width(widths) > width && self.columns.len() > 3 {
            let after = self.columns.len() - gap > gap + 1;
            let place = if after { gap + 1 } else { gap - 1 };
            self.columns.remove(place);
            widths.remove(place);
            gap -= usize::from(!after);
        }
    }

    pub fn draw(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_preset(BORDERS).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|c| c.name.as_str()));
        for row in 0..self.rows {
            table.add_row(self.columns.iter().map(|c| c.cells[row].as_str()));
        }
        for (column, drawn) in self.columns.iter().zip(table.column_iter_mut()) {
            if column.is_number {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        let drawn = table.to_string();
        if self.columns.iter().all(|column| column.styles.is_empty()) {
            return writeln!(out, "{drawn}");
        }
        let lines = |text: &String| text.split('\n').count();
        let head = 2 + self.columns.iter().map(|column| lines(&column.name)).max().unwrap_or(1);
        let lines_of = |row: usize| self.columns.iter().map(|column| lines(&column.cells[row])).max().unwrap_or(1);
        let mut rows = (0..self.rows).flat_map(|row| std::iter::repeat_n(row, lines_of(row))).peekable();
        for (number, line) in drawn.lines().enumerate() {
            match rows.next_if(|_| number >= head) {
                Some(row) => writeln!(out, "{}", self.painted(line, row))?,
                None => writeln!(out, "{line}")?,
            }
        }
        Ok(())
    }

    /// A drawn line of a row, with its cells in their styles.
    fn painted(&self, line: &str, row: usize) -> String {
        let (mut text, mut letters) = (String::new(), line.chars().peekable());
        for (number, column) in self.columns.iter().enumerate() {
            let border = if number == 0 { "| " } else { " | " };
            text.extend(letters.by_ref().take(border.len()));
            let (mut cell, mut room) = (String::new(), column.width());
            while let Some(letter) = letters.next_if(|letter| letter.width().unwrap_or(0) <= room) {
                room -= letter.width().unwrap_or(0);
                cell.push(letter);
            }
            text += &column.style(row).paint(cell).to_string();
        }
        text.extend(letters);
        text
    }

    /// Each row by itself, a line for each column.
    pub fn draw_expanded(&self, out: &mut impl Write) -> io::Result<()> {
        let names = self.columns.iter().map(|c| c.name.width()).max().unwrap_or(0);
        for row in 0..self.rows {
            let number = match self.elided {
                Some((at, _)) if row == at => {
                    writeln!(out, "...")?;
                    continue;
                }
                Some((at, more)) if row > at => row + more,
                _ => row + 1,
            };
            writeln!(out, "-[ row {number} ]{}", "-".repeat(names.max(12)))?;
            for column in &self.columns {
                let pad = " ".repeat(names - column.name.width());
                writeln!(out, "{}{pad} | {}", column.name, column.style(row).paint(&column.cells[row]))?;
            }
        }
        Ok(())
    }
}

/// Columns of a table whose columns have these widths, borders included.
fn drawn_width(widths: &[usize]) -> usize {
    1 + widths.iter().map(|width| width + 3).sum::<usize>()
}

impl Column {
    fn width(&self) -> usize {
        let lines = self.cells.iter().flat_map(|cell| cell.lines()).map(UnicodeWidthStr::width);
        lines.max().unwrap_or(0).max(self.name.width())
    }

    fn style(&self, row: usize) -> Style {
        self.styles.get(row).copied().unwrap_or_default()
    }
}

/// Cuts the lines of a cell to a width; of a list, the end tells that there is more.
fn shorten(cell: &mut String, width: usize, is_list: bool) {
    if cell.lines().all(|line| line.width() <= width) {
        return;
    }
    let end = if is_list { ", ...]" } else { "..." };
    let cut = |line: &str| {
        if line.width() <= width {
            return line.to_string();
        }
        let (mut kept, mut taken) = (String::new(), end.len());
        for letter in line.chars() {
            taken += letter.width().unwrap_or(0);
            if taken > width {
                break;
            }
            kept.push(letter);
        }
        // A list ends after a whole element.
        if is_list && let Some((whole, _)) = kept.rsplit_once(',') {
            kept.truncate(whole.len());
        }
        kept + end
    };
    *cell = cell.lines().map(cut).collect::<Vec<_>>().join("\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(columns: &[(&str, &str)]) -> Grid {
        let column = |(name, cell): &(&str, &str)| Column {
            name: name.to_string(),
            is_number: cell.parse::<f64>().is_ok(),
            is_list: cell.starts_with('['),
            cells: vec![cell.to_string()],
            styles: vec![],
        };
        Grid { columns: columns.iter().map(column).collect(), rows: 1, elided: None }
    }

    fn drawn(grid: &Grid) -> String {
        let mut out = vec![];
        grid.draw(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lists_are_shortened_before_text_and_columns_are_left_out_last() {
        let list = "[0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]";
        let columns = [("id", "7"), ("emb", list), ("name", "a name of some length"), ("x", "1.5")];
        let mut whole = grid(&columns);
        whole.fit(200);
        assert!(drawn(&whole).contains(list));
        let mut lists = grid(&columns);
        lists.fit(70);
        let text = drawn(&lists);
        assert!(text.contains("| [0.25, 0.5, 0.75, 1.0, ...] |") && text.contains("a name of some length"), "{text}");
        let mut texts = grid(&columns);
        texts.fit(60);
        let text = drawn(&texts);
        assert!(text.contains("...") && !text.contains("some length") && text.lines().all(|line| line.width() <= 60), "{text}");
        let mut few = grid(&columns);
        few.fit(24);
        let text = drawn(&few);
        assert!(text.lines().all(|line| line.width() <= 24) && text.contains("| id ") && text.contains("   x |"), "{text}");
    }

    #[test]
    fn long_cells_take_no_longer_than_their_letters() {
        let long = format!("[{}]", vec!["0.123456789"; 100_000].join(", "));
        let mut grid = grid(&[("emb", &long), ("text", &"x".repeat(1_000_000))]);
        let start = std::time::Instant::now();
        grid.fit(80);
        let text = drawn(&grid);
        assert!(text.lines().all(|line| line.width() <= 80) && text.contains(", ...] |"), "{text}");
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    #[test]
    fn numbers_stand_right_and_wide_letters_take_two_columns() {
        let mut grid = grid(&[("n", "7"), ("名", "漢字漢字漢字")]);
        grid.columns[0].cells[0] = "-12.5".into();
        grid.fit(22);
        assert_eq!(
            drawn(&grid),
            "+-------+-----------+\n|     n | 名        |\n+-------+-----------+\n| -12.5 | 漢字漢... |\n+-------+-----------+\n"
        );
    }
}
