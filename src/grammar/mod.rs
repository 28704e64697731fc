//! Text to `Statement`: only our words beyond DataFusion's parser. It never hears of tables that
//! exist, of plans, or of running anything.

mod create;
mod dialect;
mod names;
mod normal;
mod operators;
mod parameters;
mod reader;
mod relaxed;
mod source;
mod train;
mod words;

pub use create::{AlterAction, AlterTable, Check, Column, Condition, CreateTable, Expression, Rows};
pub use parameters::{Bound, bind, parameters};
pub use relaxed::Relaxed;
pub use train::{Call, Direction, Length, NamedOption, OptionValue, Target, Train, Validate};
pub use words::{Piece, WORDS, pieces};

use crate::error::{Error, Result};
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast;
use reader::Reader;
use source::Source;

/// A line and a column, both counted from 1.
pub type Position = (u64, u64);

/// One SQL sentence.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its own source text.
    pub text: String,
    pub kind: Kind,
}

/// What a sentence asks for.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Whatever DataFusion's parser knows and we add nothing to.
    Plain(Box<PlainStatement>),
    CreateTable(Box<CreateTable>),
    AlterTable(Box<AlterTable>),
    Train(Box<Train>),
    /// `RELAX (...) SELECT ...`
    Relax(Box<Relaxed>),
    /// `GRADIENT OF (SELECT ...)`
    Gradient(Box<Relaxed>),
    /// One of the three above, explained.
    Explain(Box<Kind>),
    /// A run that is measured, and not committed.
    Analyze(Box<Train>),
}

impl Statement {
    /// Whether it asks for rows, and changes nothing.
    pub fn is_query(&self) -> bool {
        match &self.kind {
            Kind::Plain(plain) => {
                matches!(plain.as_ref(), PlainStatement::Statement(sql) if matches!(sql.as_ref(), ast::Statement::Query(_)))
            }
            Kind::Relax(_) | Kind::Gradient(_) => true,
            _ => false,
        }
    }

    /// Whether it tells how something is learned or relaxed.
    pub fn is_explanation(&self) -> bool {
        matches!(self.kind, Kind::Explain(_))
    }

    /// Whether it learns.
    pub fn is_train(&self) -> bool {
        matches!(self.kind, Kind::Train(_))
    }
}

/// The sentences of a text, one at a time, so that those before a mistake can run.
/// Places are those of the whole text.
pub fn statements(sql: &str) -> impl Iterator<Item = Result<Statement>> {
    let source = Source::new(sql);
    let (sentences, failure) = source.sentences();
    sentences.into_iter().map(move |tokens| Reader::new(&source, tokens)?.statement()).chain(failure.map(Err))
}

/// Whether a text ends with a finished sentence: a semicolon that is not in a string or a comment.
pub fn is_complete(sql: &str) -> bool {
    Source::new(sql).is_complete()
}

/// One expression, such as a DEFAULT or a CHECK that was kept as text.
pub fn expression(sql: &str) -> Result<ast::Expr> {
    let source = Source::new(sql);
    let (sentences, failure) = source.sentences();
    match (sentences.into_iter().next(), failure) {
        (Some(tokens), None) => Reader::new(&source, tokens)?.whole_expression(),
        (_, Some(failure)) => Err(failure),
        (None, None) => Err(Error::new("an expression is missing")),
    }
}

/// A name as the catalog knows it: lower case unless it was quoted.
pub fn name(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The known word that was probably meant, if one is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |k: &str| strsim::damerau_levenshtein(&word, &k.to_lowercase());
    let allowed = (word.chars().count() / 3).min(3);
    known.into_iter().map(|k| (distance(k), k)).filter(|(d, _)| *d <= allowed).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}
