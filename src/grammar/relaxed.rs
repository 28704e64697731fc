//! Queries that are relaxed: `RELAX (...) SELECT ...` and `GRADIENT OF (SELECT ...)`.

use super::Position;
use super::reader::{Reader, place};
use super::train::{NamedOption, Target, options, targets};
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast::{Query, SetExpr};
use datafusion::sql::sqlparser::tokenizer::Token;

/// A query that is to be relaxed, how, and which learnable columns it is a function of.
#[derive(Debug, Clone)]
pub struct Relaxed {
    pub query: Box<Query>,
    pub position: Position,
    /// Empty: every learnable column that the query reads.
    pub targets: Vec<Target>,
    pub options: Vec<NamedOption>,
    /// What is wrong with the clauses; whoever runs the sentence says it with all else.
    pub refusals: Vec<Error>,
}

/// `RELAX [ (...) ] SELECT ...`
pub(super) fn relax(reader: &mut Reader) -> Result<Relaxed> {
    reader.skip();
    let mut refusals = vec![];
    let written = reader.sql().peek_token_ref().token == Token::LParen;
    let options = if written { options(reader, &mut refusals)? } else { vec![] };
    let (position, query) = (reader.here(), reading_query(reader)?);
    Ok(Relaxed { query, position, targets: vec![], options, refusals })
}

/// `GRADIENT OF (SELECT ...) [ WITH RESPECT TO table.column, ... ] [ RELAX (...) ]`
pub(super) fn gradient(reader: &mut Reader) -> Result<Relaxed> {
    reader.skip();
    reader.skip();
    let mut relaxed = in_parentheses(reader)?;
    loop {
        match reader.peek_word().as_str() {
            "WITH" if relaxed.targets.is_empty() => {
                for word in ["WITH", "RESPECT", "TO"] {
                    if !reader.take_word(word) {
                        return reader.expected("WITH RESPECT TO table.column");
                    }
                }
                relaxed.targets = targets(reader, &mut relaxed.refusals)?;
                if relaxed.targets.is_empty() {
                    return reader.expected("table.column");
                }
            }
            "RELAX" if relaxed.options.is_empty() => {
                reader.skip();
                relaxed.options = options(reader, &mut relaxed.refusals)?;
            }
            "" => return Ok(relaxed),
            word => {
                let error = Error::new(format!("unknown clause '{word}' of GRADIENT OF")).at(place(reader.here()));
                return Err(error.hint("the clauses are WITH RESPECT TO and RELAX, each once"));
            }
        }
    }
}

/// `(SELECT ...)`
pub(super) fn in_parentheses(reader: &mut Reader) -> Result<Relaxed> {
    reader.expect_token(&Token::LParen)?;
    let (position, query) = (reader.here(), reading_query(reader)?);
    reader.expect_token(&Token::RParen)?;
    Ok(Relaxed { query, position, targets: vec![], options: vec![], refusals: vec![] })
}

/// A query that changes nothing; sqlparser takes INSERT for one too.
fn reading_query(reader: &mut Reader) -> Result<Box<Query>> {
    let position = reader.here();
    let query = reader.query()?;
    match query.body.as_ref() {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(Error::new("only a query can be relaxed").at(place(position)).hint("write SELECT ..."))
        }
        _ => Ok(query),
    }
}
