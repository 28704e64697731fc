//! `CREATE TABLE` and `ALTER TABLE`: columns that may be LEARNABLE, and CHECKs that keep them in a set.

use super::reader::{Reader, place, syntax};
use super::train::{Train, train};
use super::{Position, name, nearest};
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast::{ColumnOption, DataType, Expr, ObjectName, Query};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: ObjectName,
    pub position: Position,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub columns: Vec<Column>,
    /// Columns of the primary key, wherever it was declared.
    pub primary_key: Vec<(String, Position)>,
    /// CHECKs of the table and of its columns.
    pub checks: Vec<Check>,
    /// `AS SELECT ...` or `AS TRAIN ...`.
    pub source: Option<Rows>,
}

/// Where the rows of a new table come from.
#[derive(Debug, Clone)]
pub enum Rows {
    Query(Box<Query>),
    Train(Box<Train>, String),
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub position: Position,
    pub data_type: DataType,
    pub learnable: bool,
    pub not_null: bool,
    pub default: Option<Expression>,
}

/// An expression with its source text.
#[derive(Debug, Clone)]
pub struct Expression {
    pub expr: Box<Expr>,
    pub text: String,
    pub position: Position,
}

#[derive(Debug, Clone)]
pub struct Check {
    pub condition: Condition,
    /// The condition as it was written.
    pub text: String,
    pub position: Position,
}

#[derive(Debug, Clone)]
pub enum Condition {
    Expression(Box<Expr>),
    /// The column's vectors have Euclidean length 1.
    UnitNorm(String),
    /// The column's vectors have non-negative elements that sum to 1.
    Simplex(String),
}

#[derive(Debug, Clone)]
pub struct AlterTable {
    pub name: ObjectName,
    pub position: Position,
    pub if_exists: bool,
    pub action: AlterAction,
}

#[derive(Debug, Clone)]
pub enum AlterAction {
    AddColumn { column: Box<Column>, checks: Vec<Check>, if_not_exists: bool },
    DropColumn { column: String, position: Position, if_exists: bool },
    SetLearnable { column: String, position: Position },
    DropLearnable { column: String, position: Position },
}

const COLUMN_WORDS: [&str; 5] = ["LEARNABLE", "DEFAULT", "CHECK", "PRIMARY", "NOT"];

pub(super) fn create_table(reader: &mut Reader) -> Result<CreateTable> {
    reader.skip();
    let or_replace = reader.sql().parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    reader.skip();
    let if_not_exists = reader.sql().parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    if or_replace && if_not_exists {
        return Err(reader.error("OR REPLACE and IF NOT EXISTS exclude each other").hint("keep one of them"));
    }
    let position = reader.here();
    let name = reader.sql().parse_object_name(false).map_err(syntax)?;
    let mut table =
        CreateTable { name, position, or_replace, if_not_exists, columns: vec![], primary_key: vec![], checks: vec![], source: None };
    let mut refusals = Vec::new();
    if reader.take_token(&Token::LParen) {
        elements(reader, &mut table, &mut refusals)?;
    }
    if let Some(error) = Error::all(refusals) {
        return Err(error);
    }
    if reader.take_word("AS") {
        table.source = Some(rows(reader)?);
    } else if table.columns.is_empty() {
        return reader.expected("( and columns, or AS and a query");
    }
    Ok(table)
}

fn rows(reader: &mut Reader) -> Result<Rows> {
    if reader.peek_word() == "TRAIN" {
        let start = reader.location();
        let train = train(reader)?;
        return Ok(Rows::Train(Box::new(train), reader.text_since(start)));
    }
    Ok(Rows::Query(reader.query()?))
}

/// Columns and constraints up to the closing parenthesis. Refused constraints are read to their end, so that all are reported.
fn elements(reader: &mut Reader, table: &mut CreateTable, refusals: &mut Vec<Error>) -> Result<()> {
    loop {
        if !constraint(reader, table, refusals)? {
            let column = column(reader, &mut table.primary_key, &mut table.checks, refusals)?;
            table.columns.push(column);
        }
        if reader.take_token(&Token::RParen) {
            return Ok(());
        }
        if !reader.take_token(&Token::Comma) {
            return unexpected(reader);
        }
        if reader.take_token(&Token::RParen) {
            return Ok(());
        }
    }
}

fn unexpected<T>(reader: &mut Reader) -> Result<T> {
    let word = reader.peek_word();
    match nearest(&word, COLUMN_WORDS) {
        Some(meant) if !word.is_empty() => {
            Err(reader.error(format!("unknown word '{word}' in a column definition")).hint(format!("did you mean {meant}?")))
        }
        _ => reader.expected("',' or ')'"),
    }
}

/// A constraint of the table; false when the next element is a column.
fn constraint(reader: &mut Reader, table: &mut CreateTable, refusals: &mut Vec<Error>) -> Result<bool> {
    if reader.take_word("CONSTRAINT") && !matches!(reader.peek_word().as_str(), "PRIMARY" | "CHECK" | "UNIQUE" | "FOREIGN") {
        reader.sql().parse_identifier().map_err(syntax)?;
    }
    match reader.peek_word().as_str() {
        "PRIMARY" => {
            primary_key_word(reader, &table.primary_key, refusals)?;
            reader.expect_token(&Token::LParen)?;
            loop {
                let position = reader.here();
                let column = reader.sql().parse_identifier().map_err(syntax)?;
                table.primary_key.push((name(&column), position));
                if !reader.take_token(&Token::Comma) {
                    break;
                }
            }
            reader.expect_token(&Token::RParen)?;
        }
        "CHECK" => {
            let check = check(reader, None)?;
            table.checks.push(check);
        }
        word @ ("UNIQUE" | "FOREIGN") => {
            refusals.push(refused(reader, word));
            reader.sql().parse_optional_table_constraint().map_err(syntax)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn primary_key_word(reader: &mut Reader, known: &[(String, Position)], refusals: &mut Vec<Error>) -> Result<()> {
    if !known.is_empty() {
        refusals.push(reader.error("a table has one primary key").hint("for several columns write PRIMARY KEY (a, b)"));
    }
    reader.sql().expect_keywords(&[Keyword::PRIMARY, Keyword::KEY]).map_err(syntax)
}

fn refused(reader: &Reader, word: &str) -> Error {
    match word {
        "UNIQUE" => reader.error("UNIQUE is not supported").hint("declare a PRIMARY KEY, or leave it out"),
        "FOREIGN" | "REFERENCES" => reader.error("foreign keys are not supported").hint("leave the constraint out"),
        _ => reader.error(format!("{word} on a column is not supported")).hint("leave it out"),
    }
}

fn column(
    reader: &mut Reader,
    primary_key: &mut Vec<(String, Position)>,
    checks: &mut Vec<Check>,
    refusals: &mut Vec<Error>,
) -> Result<Column> {
    let position = reader.here();
    let name = name(&reader.sql().parse_identifier().map_err(syntax)?);
    if matches!(reader.sql().peek_token_ref().token, Token::Comma | Token::RParen) || reader.peek_word() == "LEARNABLE" {
        return Err(reader.error(format!("column '{name}' has no type")).hint("write a type, such as DOUBLE, after the name"));
    }
    let data_type = reader.sql().parse_data_type().map_err(syntax)?;
    let mut column = Column { name, position, data_type, learnable: false, not_null: false, default: None };
    while column_option(reader, &mut column, primary_key, checks, refusals)? {}
    Ok(column)
}

/// One option of a column; false when there is none.
fn column_option(
    reader: &mut Reader,
    column: &mut Column,
    primary_key: &mut Vec<(String, Position)>,
    checks: &mut Vec<Check>,
    refusals: &mut Vec<Error>,
) -> Result<bool> {
    if reader.take_word("CONSTRAINT") {
        reader.sql().parse_identifier().map_err(syntax)?;
    }
    let (position, start) = (reader.here(), reader.location());
    match reader.peek_word().as_str() {
        "LEARNABLE" => {
            reader.skip();
            column.learnable = true;
        }
        "CHECK" => checks.push(check(reader, Some(&column.name))?),
        "PRIMARY" => {
            primary_key_word(reader, primary_key, refusals)?;
            primary_key.push((column.name.clone(), position));
        }
        "DEFAULT" => {
            if column.default.is_some() {
                refusals.push(reader.error(format!("column '{}' has two DEFAULTs", column.name)).hint("keep one of them"));
            }
            column.default = default(reader, position, start)?;
        }
        word => {
            let word = word.to_string();
            let Some(option) = reader.sql().parse_optional_column_option().map_err(syntax)? else { return Ok(false) };
            match option {
                ColumnOption::NotNull => column.not_null = true,
                ColumnOption::Null => {}
                _ => refusals.push(refused(reader, &word).at(place(position))),
            }
        }
    }
    Ok(true)
}

/// sqlparser's column options know that NOT NULL ends a DEFAULT.
fn default(reader: &mut Reader, position: Position, start: Location) -> Result<Option<Expression>> {
    let Some(ColumnOption::Default(mut expr)) = reader.sql().parse_optional_column_option().map_err(syntax)? else {
        return reader.expected("an expression after DEFAULT");
    };
    super::normal::normalize(&mut expr);
    let text = reader.text_since(start);
    let text = text.get("DEFAULT".len()..).unwrap_or_default().trim().to_string();
    Ok(Some(Expression { expr: Box::new(expr), text, position }))
}

/// `CHECK (...)`, and on a vector `CHECK (c UNIT NORM)` or `CHECK (c SIMPLEX)`, the column or the parentheses left out or not.
fn check(reader: &mut Reader, column: Option<&str>) -> Result<Check> {
    let position = reader.here();
    reader.skip();
    let start = reader.location();
    let parenthesis = reader.take_token(&Token::LParen);
    let inner = reader.location();
    let condition = match set(reader, column)? {
        Some(condition) => condition,
        None if !parenthesis => return reader.expected("( after CHECK"),
        None => Condition::Expression(Box::new(reader.expression()?)),
    };
    let text = reader.text_since(if parenthesis { inner } else { start });
    if parenthesis {
        reader.expect_token(&Token::RParen)?;
    }
    Ok(Check { condition, text, position })
}

/// `[column] UNIT NORM` or `[column] SIMPLEX`, if that is what comes next.
fn set(reader: &mut Reader, column: Option<&str>) -> Result<Option<Condition>> {
    let position = reader.here();
    let named = if begins_set(reader, 0) {
        None
    } else if matches!(reader.sql().peek_token_ref().token, Token::Word(_)) && begins_set(reader, 1) {
        Some(name(&reader.sql().parse_identifier().map_err(syntax)?))
    } else {
        return Ok(None);
    };
    let Some(column) = named.or_else(|| column.map(String::from)) else {
        let error = Error::new("a column is missing before UNIT NORM or SIMPLEX").at(place(position));
        return Err(error.hint("write CHECK (column UNIT NORM)"));
    };
    if reader.take_word("SIMPLEX") {
        return Ok(Some(Condition::Simplex(column)));
    }
    reader.skip();
    reader.skip();
    Ok(Some(Condition::UnitNorm(column)))
}

/// Whether the n-th token from here begins UNIT NORM or SIMPLEX, and is not a column of that name in an expression.
fn begins_set(reader: &mut Reader, n: usize) -> bool {
    let [first, second] = [n, n + 1].map(|n| reader.sql().peek_nth_token_ref(n).token.clone());
    match first {
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("simplex") => {
            matches!(second, Token::RParen | Token::Comma | Token::EOF | Token::Word(_))
        }
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("unit") => {
            matches!(second, Token::Word(w) if w.value.eq_ignore_ascii_case("norm"))
        }
        _ => false,
    }
}

pub(super) fn alter_table(reader: &mut Reader) -> Result<AlterTable> {
    reader.skip();
    reader.skip();
    let if_exists = reader.sql().parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let position = reader.here();
    let name = reader.sql().parse_object_name(false).map_err(syntax)?;
    let action = match reader.peek_word().as_str() {
        "ADD" => add_column(reader)?,
        "ALTER" => alter_column(reader)?,
        "DROP" => drop_column(reader)?,
        word @ ("RENAME" | "SET" | "OWNER") => return Err(reader.unsupported(&format!("ALTER TABLE ... {word}"))),
        _ => return reader.expected("ADD COLUMN, DROP COLUMN or ALTER COLUMN"),
    };
    Ok(AlterTable { name, position, if_exists, action })
}

fn add_column(reader: &mut Reader) -> Result<AlterAction> {
    reader.skip();
    if matches!(reader.peek_word().as_str(), "CONSTRAINT" | "CHECK" | "PRIMARY" | "FOREIGN" | "UNIQUE") {
        return Err(reader.unsupported("adding a constraint to a table").hint("declare it in CREATE TABLE, or with ADD COLUMN"));
    }
    reader.take_word("COLUMN");
    let if_not_exists = reader.sql().parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let (mut primary_key, mut checks, mut refusals) = (vec![], vec![], vec![]);
    let column = column(reader, &mut primary_key, &mut checks, &mut refusals)?;
    if let Some((_, position)) = primary_key.first() {
        refusals.push(Error::new("a primary key cannot be added to a table").at(place(*position)).hint("declare it in CREATE TABLE"));
    }
    match Error::all(refusals) {
        Some(error) => Err(error),
        None => Ok(AlterAction::AddColumn { column: Box::new(column), checks, if_not_exists }),
    }
}

fn drop_column(reader: &mut Reader) -> Result<AlterAction> {
    reader.skip();
    reader.take_word("COLUMN");
    let if_exists = reader.sql().parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let position = reader.here();
    let column = name(&reader.sql().parse_identifier().map_err(syntax)?);
    Ok(AlterAction::DropColumn { column, position, if_exists })
}

fn alter_column(reader: &mut Reader) -> Result<AlterAction> {
    reader.skip();
    reader.take_word("COLUMN");
    let position = reader.here();
    let column = name(&reader.sql().parse_identifier().map_err(syntax)?);
    let action = reader.peek_word();
    if matches!(action.as_str(), "SET" | "DROP") {
        reader.skip();
        if reader.take_word("LEARNABLE") {
            return Ok(if action == "SET" {
                AlterAction::SetLearnable { column, position }
            } else {
                AlterAction::DropLearnable { column, position }
            });
        }
    }
    match reader.peek_word().as_str() {
        "DEFAULT" | "NOT" | "TYPE" | "DATA" => Err(reader.unsupported("this ALTER COLUMN")),
        _ => reader.expected("SET LEARNABLE or DROP LEARNABLE"),
    }
}
