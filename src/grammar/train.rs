//! `TRAIN ... { MINIMIZE | MAXIMIZE } (SELECT ...)` and its clauses, which may come in any order.

use super::reader::{Reader, place};
use super::relaxed::{Relaxed, in_parentheses};
use super::{Position, name, nearest};
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast::{ObjectNamePart, Query};
use datafusion::sql::sqlparser::tokenizer::Token;

/// What is trained, towards what, and how.
#[derive(Debug, Clone)]
pub struct Train {
    /// With the columns to train; none: every learnable column that the objective reaches.
    pub objective: Relaxed,
    pub direction: Direction,
    pub optimizer: Option<Call>,
    pub length: Option<Length>,
    /// Rows of a batch.
    pub batch: Option<u64>,
    pub seed: Option<u64>,
    pub validate: Option<Validate>,
}

/// Another query that says how good is what has been learned so far, and how often it is asked.
#[derive(Debug, Clone)]
pub struct Validate {
    pub direction: Direction,
    pub query: Box<Query>,
    pub position: Position,
    pub every: Length,
    /// So many validations in a row that are no better than the best one end the run.
    pub patience: Option<u64>,
}

/// A table, or one column of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub table: String,
    pub column: Option<String>,
    pub position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Minimize,
    Maximize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Epochs(u64),
    Steps(u64),
}

impl Length {
    /// As steps, of which an epoch has so many.
    pub fn in_steps(self, per_epoch: u64) -> u64 {
        match self {
            Length::Steps(n) => n,
            Length::Epochs(n) => n.saturating_mul(per_epoch),
        }
    }
}

/// An optimizer and its options: `adam (learning_rate => 0.01)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub name: String,
    pub position: Position,
    pub options: Vec<NamedOption>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NamedOption {
    pub name: String,
    pub value: OptionValue,
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    Number(f64),
    Text(String),
    Boolean(bool),
}

impl std::fmt::Display for OptionValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OptionValue::Number(x) => write!(f, "{x}"),
            OptionValue::Text(text) => write!(f, "'{text}'"),
            OptionValue::Boolean(truth) => write!(f, "{truth}"),
        }
    }
}

const CLAUSES: [&str; 7] = ["USING", "FOR", "BATCH", "SEED", "RELAX", "VALIDATE", "CHECKPOINT"];

pub(super) fn train(reader: &mut Reader) -> Result<Train> {
    reader.skip();
    let mut refusals = Vec::new();
    let targets = targets(reader, &mut refusals)?;
    let direction = direction(reader, "a table, MINIMIZE or MAXIMIZE")?;
    let objective = Relaxed { targets, ..in_parentheses(reader)? };
    let mut train = Train { objective, direction, optimizer: None, length: None, batch: None, seed: None, validate: None };
    if let Err(error) = clauses(reader, &mut train, &mut refusals) {
        return Err(Error::all(refusals.into_iter().chain([error.clone()])).unwrap_or(error));
    }
    train.objective.refusals = refusals;
    Ok(train)
}

fn direction(reader: &mut Reader, expected: &str) -> Result<Direction> {
    if reader.take_word("MINIMIZE") {
        Ok(Direction::Minimize)
    } else if reader.take_word("MAXIMIZE") {
        Ok(Direction::Maximize)
    } else {
        reader.expected(expected)
    }
}

/// Tables and columns, up to MINIMIZE, MAXIMIZE, RELAX or the end.
pub(super) fn targets(reader: &mut Reader, refusals: &mut Vec<Error>) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    while !matches!(reader.peek_word().as_str(), "MINIMIZE" | "MAXIMIZE" | "RELAX") {
        let position = reader.here();
        let object = reader.sql().parse_object_name(false).map_err(super::reader::syntax)?;
        let mut parts: Vec<String> = object.0.iter().filter_map(ObjectNamePart::as_ident).map(name).collect();
        if parts.len() == 3 && parts[0] == "main" {
            parts.remove(0);
        }
        if parts.len() > 2 {
            refusals.push(Error::new(format!("'{object}' is not a table or a table.column")).at(place(position)));
        }
        let mut parts = parts.into_iter();
        targets.push(Target { table: parts.next().unwrap_or_default(), column: parts.next(), position });
        if !reader.take_token(&Token::Comma) {
            break;
        }
    }
    Ok(targets)
}

fn clauses(reader: &mut Reader, train: &mut Train, refusals: &mut Vec<Error>) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    loop {
        let clause = reader.peek_word();
        if clause.is_empty() {
            return Ok(());
        }
        if seen.contains(&clause) {
            refusals.push(reader.error(format!("{clause} is given twice")).hint("keep one of them"));
        }
        match clause.as_str() {
            "USING" => train.optimizer = Some(optimizer(reader, refusals)?),
            "FOR" => train.length = length(reader, "FOR", refusals)?,
            "BATCH" => train.batch = positive(reader, "BATCH", refusals)?,
            "SEED" => train.seed = seed(reader, refusals)?,
            "RELAX" => {
                reader.skip();
                train.objective.options = options(reader, refusals)?;
            }
            "VALIDATE" => train.validate = validate(reader, refusals)?,
            "CHECKPOINT" => return Err(reader.unsupported(&clause).hint("leave the clause out")),
            _ => return Err(unknown(reader, &clause)),
        }
        seen.push(clause);
    }
}

fn unknown(reader: &Reader, clause: &str) -> Error {
    let error = reader.error(format!("unknown clause '{clause}' of TRAIN"));
    match nearest(clause, CLAUSES) {
        Some(meant) => error.hint(format!("did you mean {meant}?")),
        None => error.hint(format!("the clauses are {}", CLAUSES[..6].join(", "))),
    }
}

fn optimizer(reader: &mut Reader, refusals: &mut Vec<Error>) -> Result<Call> {
    reader.skip();
    let position = reader.here();
    let name = name(&reader.sql().parse_identifier().map_err(super::reader::syntax)?);
    let options = if reader.sql().peek_token_ref().token == Token::LParen { options(reader, refusals)? } else { vec![] };
    Ok(Call { name, position, options })
}

fn length(reader: &mut Reader, clause: &str, refusals: &mut Vec<Error>) -> Result<Option<Length>> {
    let count = positive(reader, clause, refusals)?;
    let unit = reader.peek_word();
    let length: fn(u64) -> Length = match unit.as_str() {
        "EPOCH" | "EPOCHS" => Length::Epochs,
        "STEP" | "STEPS" => Length::Steps,
        _ => return reader.expected("EPOCHS or STEPS"),
    };
    reader.skip();
    Ok(count.map(length))
}

/// `VALIDATE { MINIMIZE | MAXIMIZE } (SELECT ...) EVERY n { STEPS | EPOCHS } [ PATIENCE p ]`
fn validate(reader: &mut Reader, refusals: &mut Vec<Error>) -> Result<Option<Validate>> {
    let clause = reader.here();
    reader.skip();
    let direction = direction(reader, "MINIMIZE or MAXIMIZE")?;
    let Relaxed { query, position, .. } = in_parentheses(reader)?;
    if reader.peek_word() != "EVERY" {
        let error = Error::new("VALIDATE does not say how often").at(place(clause));
        return Err(error.hint("write EVERY 10 STEPS, or EVERY 1 EPOCH, after its query"));
    }
    let every = length(reader, "EVERY", refusals)?;
    let patience = if reader.peek_word() == "PATIENCE" { positive(reader, "PATIENCE", refusals)? } else { None };
    Ok(every.map(|every| Validate { direction, query, position, every, patience }))
}

/// The count after a clause's word; a refusal, and `None`, when it is not a whole positive number.
fn positive(reader: &mut Reader, clause: &str, refusals: &mut Vec<Error>) -> Result<Option<u64>> {
    reader.skip();
    let position = reader.here();
    let written = number(reader)?;
    match written.parse::<u64>() {
        Ok(count) if count > 0 => Ok(Some(count)),
        _ => {
            let what = format!("{clause} {written}: the number must be positive and whole");
            refusals.push(Error::new(what).at(place(position)).hint(format!("such as {clause} 10")));
            Ok(None)
        }
    }
}

fn seed(reader: &mut Reader, refusals: &mut Vec<Error>) -> Result<Option<u64>> {
    reader.skip();
    let position = reader.here();
    let written = number(reader)?;
    let seed = written.parse().ok();
    if seed.is_none() {
        refusals.push(Error::new(format!("SEED {written}: the seed must be a whole number from 0 to {}", u64::MAX)).at(place(position)));
    }
    Ok(seed)
}

pub(super) fn options(reader: &mut Reader, refusals: &mut Vec<Error>) -> Result<Vec<NamedOption>> {
    reader.expect_token(&Token::LParen)?;
    let mut options: Vec<NamedOption> = Vec::new();
    while !reader.take_token(&Token::RParen) {
        let position = reader.here();
        let name = name(&reader.sql().parse_identifier().map_err(super::reader::syntax)?);
        if !reader.take_token(&Token::RArrow) && !reader.take_token(&Token::Eq) {
            return reader.expected("=> and a value");
        }
        if options.iter().any(|o| o.name == name) {
            refusals.push(Error::new(format!("option '{name}' is given twice")).at(place(position)).hint("keep one of them"));
        }
        options.push(NamedOption { name, value: value(reader)?, position });
        if !reader.take_token(&Token::Comma) {
            reader.expect_token(&Token::RParen)?;
            break;
        }
    }
    Ok(options)
}

fn value(reader: &mut Reader) -> Result<OptionValue> {
    match reader.peek_word().as_str() {
        "" => {}
        "TRUE" | "FALSE" => {
            let truth = reader.peek_word() == "TRUE";
            reader.skip();
            return Ok(OptionValue::Boolean(truth));
        }
        word => {
            reader.skip();
            return Ok(OptionValue::Text(word.to_lowercase()));
        }
    }
    if let Token::SingleQuotedString(text) = &reader.sql().peek_token_ref().token {
        let text = text.clone();
        reader.skip();
        return Ok(OptionValue::Text(text));
    }
    let position = reader.here();
    let written = number(reader)?;
    match written.parse() {
        Ok(number) => Ok(OptionValue::Number(number)),
        Err(_) => Err(Error::new(format!("'{written}' is not a number")).at(place(position))),
    }
}

/// A number as it was written, its sign included.
fn number(reader: &mut Reader) -> Result<String> {
    let sign = if reader.take_token(&Token::Minus) { "-" } else { "" };
    if let Token::Number(digits, _) = &reader.sql().peek_token_ref().token {
        let written = format!("{sign}{}", digits.replace('_', ""));
        reader.skip();
        return Ok(written);
    }
    reader.expected("a number")
}
