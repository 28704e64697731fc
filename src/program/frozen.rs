//! What stays the same from step to step is computed once.

use super::graph::{Graph, Op, Slot, Value};
use super::kernel::Lanes;
use super::machine::Machine;
use crate::buffer::Buffer;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Graph {
    /// Computes the sums and whole-segment operations below `outputs` that nothing learned reaches; they become residuals. Not for a
    /// machine that runs over samples, of which a sum is another each time.
    pub fn settle<R: Lanes>(&self, residuals: &mut Vec<Buffer<R>>, outputs: &[Value]) {
        let is_settled = |v: Value| self.is_frozen(v) && matches!(self.node(v).op, Op::SegmentSum(..) | Op::Total(..) | Op::Segment(..));
        let (mut seen, mut settled, mut stack) = (BTreeSet::new(), vec![], outputs.to_vec());
        while let Some(v) = stack.pop() {
            match seen.insert(v) {
                true if is_settled(v) => settled.push(v),
                true => stack.extend(self.node(v).op.operands()),
                false => {}
            }
        }
        if settled.is_empty() {
            return;
        }
        let columns = self.computed(residuals, &settled);
        for (v, column) in settled.into_iter().zip(columns) {
            self.0.borrow_mut().nodes[v.0 as usize].op = Op::Residual(residuals.len() as Slot);
            residuals.push(column.into());
        }
    }

    /// The residual columns that a value is computed from.
    pub fn residuals_below(&self, value: Value) -> impl Iterator<Item = Slot> {
        let (mut seen, mut stack) = (BTreeSet::new(), vec![value]);
        while let Some(v) = stack.pop() {
            if seen.insert(v) {
                stack.extend(self.node(v).op.operands());
            }
        }
        seen.into_iter().filter_map(|v| self.residual_slot(v))
    }

    /// The numbers of values that depend on residuals alone.
    pub fn computed<R: Lanes>(&self, residuals: &mut Vec<Buffer<R>>, values: &[Value]) -> Vec<Vec<R>> {
        let given = Arc::new(std::mem::take(residuals));
        let mut machine = Machine::build(self, given.clone(), values, false);
        machine.run();
        let columns = (0..values.len()).map(|number| machine.output(number).to_vec()).collect();
        drop(machine);
        *residuals = Arc::into_inner(given).expect("the machine that shared the residuals is gone");
        columns
    }
}
