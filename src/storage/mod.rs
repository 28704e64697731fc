//! Tables to DuckLake and back: commit all or nothing, and the history of runs.
//! This room never hears of SQL statements, gradients or training.
