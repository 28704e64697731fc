//! The columns that a stage reads, as values over its rows: residuals, and columns of live relations through row numbers.

use super::dictionary::dictionary;
use super::{Number, Workplace};
use crate::algebra::{Dimension, Numbers, Source};
use crate::buffer::Buffer;
use crate::program::{Domain, Index, Lanes, ONE, Slot, Value};

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn residual(&mut self, slot: usize) -> Number {
        if let Some(&known) = self.columns.get(&slot) {
            return known;
        }
        let column = &mut self.rows.columns[slot];
        let valid = column.valid.clone();
        let (values, width) = match &mut column.numbers {
            Numbers::Real { dimensions, values } => (std::mem::take(values), dimensions.iter().product()),
            Numbers::Index(_) => unreachable!("row numbers are read through inputs"),
        };
        let value = self.add_residual(values, width, slot);
        let presence = valid.map(|v| self.add_residual(v, 1, slot));
        let number = Number { value, presence };
        self.columns.insert(slot, number);
        number
    }

    /// Numbers of the rows of a column's factor, for the rows of the stage.
    pub(super) fn add_residual(&mut self, values: Buffer<R>, width: usize, slot: usize) -> Value {
        let (domain, along) = self.rows_of(slot);
        let found = if values.is_spilled() { None } else { dictionary(&values, width) };
        let value = match found {
            Some((vectors, index)) => {
                let graph = self.graph();
                let kept = graph.domain(&format!("vectors of {}", self.stage.name), vectors.len() / width);
                let value = self.all.add_residual(vectors.into(), kept, width);
                if kept == ONE { value } else { graph.gather(value, graph.index(domain, kept, index)) }
            }
            None => self.all.add_residual(values, domain, width),
        };
        self.spread(value, &along)
    }

    /// The rows that a column is of, and the indices, one after another, by which the rows of the stage refer to them.
    pub(super) fn rows_of(&mut self, slot: usize) -> (Domain, Vec<Index>) {
        let (factor, dimension) = (self.rows.columns[slot].factor, self.rows.columns[slot].dimension);
        let (domain, along) = self.factors[factor];
        let Some(dimension) = dimension else { return (domain, along.into_iter().collect()) };
        let (of_dimension, index) = match self.dimensions.get(&dimension) {
            Some(known) => *known,
            None => {
                let (graph, Dimension { rows, of_row, .. }) = (self.graph(), self.rows.dimensions[dimension].clone());
                let of_dimension = graph.domain(&format!("rows that {} looks up", self.stage.name), rows);
                let is_one = of_dimension == ONE || domain == ONE;
                let known = (of_dimension, (!is_one).then(|| graph.index(domain, of_dimension, of_row)));
                self.dimensions.insert(dimension, known);
                known
            }
        };
        (of_dimension, index.into_iter().chain(along).collect())
    }

    /// A value for the rows of the stage.
    fn spread(&self, value: Value, along: &[Index]) -> Value {
        along.iter().fold(value, |value, index| self.all.graph.gather(value, *index))
    }

    /// A column of a live relation, brought to the rows of this stage.
    pub(super) fn input(&mut self, input: usize, column: usize) -> Number {
        let source = self.stage.inputs[input];
        let (parent, found) = match source.source {
            Source::Table(table) => (self.all.tables[&table], Number { value: self.all.parameters[column], presence: None }),
            Source::Stage(stage) => (self.all.finished[stage].domain, self.all.finished[stage].outputs[column]),
        };
        let graph = self.graph();
        if graph.rows(parent) == 0 {
            let zero = graph.spread(graph.number(0.0), graph.width(found.value));
            return Number { value: zero, presence: Some(graph.number(0.0)) };
        }
        let presence_here = self.row_presence(source.rows);
        let (here, along) = self.rows_of(source.rows);
        let spread = |at: &mut Self, value: Value| {
            if parent == ONE || here == ONE {
                return at.one_row(value, parent, source.rows);
            }
            if parent == here {
                return at.spread(value, &along);
            }
            let index = at.index(source.rows, parent);
            at.spread(graph.gather(value, index), &along)
        };
        let value = self.of_degrees([found.value], |at, [v]| spread(at, v));
        let presence = found.presence.map(|p| self.of_degrees([p], |at, [p]| spread(at, p)));
        Number { value, presence: self.both(presence, presence_here) }
    }

    /// A single row that reads one row of a longer table: a gather of one row is a sum over a mask of one row.
    pub(super) fn one_row(&mut self, value: Value, parent: Domain, slot: usize) -> Value {
        if parent == ONE {
            return value;
        }
        let row = match &self.rows.columns[slot].numbers {
            Numbers::Index(rows) => rows[0] as usize,
            Numbers::Real { .. } => unreachable!("an input's rows are row numbers"),
        };
        let graph = self.graph();
        let mut mask = vec![R::ZERO; graph.rows(parent)];
        mask[row] = R::ONE;
        self.all.residuals.push(mask.into());
        let mask = graph.residual(self.all.residuals.len() as Slot - 1, parent, 1);
        graph.total(graph.scale(mask, value), parent)
    }

    pub(super) fn index(&mut self, slot: usize, parent: Domain) -> Index {
        if let Some(&index) = self.indices.get(&slot) {
            return index;
        }
        let rows = match &self.rows.columns[slot].numbers {
            Numbers::Index(rows) => rows.clone(),
            Numbers::Real { .. } => unreachable!("an input's rows are row numbers"),
        };
        let (child, _) = self.rows_of(slot);
        let index = self.all.graph.index(child, parent, rows);
        self.indices.insert(slot, index);
        index
    }

    /// 1 where a row number is not NULL, as after an outer join.
    pub(super) fn row_presence(&mut self, slot: usize) -> Option<Value> {
        if let Some(known) = self.columns.get(&slot) {
            return known.presence;
        }
        let valid = self.rows.columns[slot].valid.clone()?;
        let value = self.add_residual(valid, 1, slot);
        self.columns.insert(slot, Number { value, presence: Some(value) });
        Some(value)
    }
}
