//! The printed face of a compiled program, one line an instruction.

use super::kernel::Lanes;
use super::machine::Machine;
use std::fmt;

impl<R: Lanes> fmt::Display for Machine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pass) in self.passes().iter().enumerate() {
            writeln!(f, "pass {number} over {}, {} registers", self.domain_name(pass.domain), pass.registers.len())?;
            for instruction in &pass.instructions {
                writeln!(f, "  {instruction:?}")?;
            }
        }
        Ok(())
    }
}
