//! The printed face of a compiled program, one line an instruction.

use super::kernel::Lanes;
use super::machine::Machine;
use super::schedule::{Action, Instruction, Stage};
use crate::scalar::Function;
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
                            writeln!(f, "  {}", printed(instruction, &self.memory().functions))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// An instruction, with the names of the functions that it calls.
pub(super) fn printed(instruction: &Instruction, functions: &[Function]) -> String {
    let shown = |name: &str, operands: String, into: u32, width: u32| {
        format!("Compute {{ action: {name}({operands}), into: {into}, width: {width} }}")
    };
    match *instruction {
        Instruction::Compute { action: Action::Call(callee, x), into, width, .. } => {
            shown("Call", format!("{}, {x:?}", callee.of(functions).name()), into, width)
        }
        Instruction::Compute { action: Action::PullBack(callee, x, cotangent), into, width, .. } => {
            shown("PullBack", format!("{}, {x:?}, {cotangent:?}", callee.of(functions).name()), into, width)
        }
        _ => format!("{instruction:?}"),
    }
}
