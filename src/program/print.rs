//! The printed face of a compiled program, one line an instruction.

use super::kernel::Lanes;
use super::machine::Machine;
use std::fmt;

impl<R: Lanes> fmt::Display for Machine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = self.steps().iter().peekable();
        for (number, pass) in self.passes().iter().enumerate() {
            while let Some((_, step)) = steps.next_if(|s| s.0 <= number) {
                writeln!(f, "{step}")?;
            }
            writeln!(f, "pass {number} over {}, {} registers", self.domain_name(pass.domain), pass.registers.len())?;
            for instruction in &pass.instructions {
                writeln!(f, "  {instruction:?}")?;
            }
        }
        steps.try_for_each(|(_, step)| writeln!(f, "{step}"))
    }
}
