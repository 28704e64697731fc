//! The printed face of a compiled program, one line an instruction.

use super::kernel::Lanes;
use super::machine::Machine;
use super::schedule::Stage;
use std::fmt;

impl<R: Lanes> fmt::Display for Machine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, strip) in self.strips().enumerate() {
            writeln!(f, "strip {number} along {}", self.domain_name(strip.spine))?;
            for (place, stage) in strip.stages.iter().enumerate() {
                match stage {
                    Stage::Segments(_) => self.step(number, place).map_or(Ok(()), |step| writeln!(f, "{step}"))?,
                    Stage::Pass(pass) => {
                        writeln!(f, "pass over {}, {} registers", self.domain_name(pass.domain), pass.registers.len())?;
                        for instruction in &pass.instructions {
                            writeln!(f, "  {instruction:?}")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
