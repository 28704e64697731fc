//! One sentence being read: DataFusion's parser, and the words that are ours.

use super::dialect::DIALECT;
use super::normal::{normalize, normalize_statement};
use super::source::Source;
use super::{Kind, Position, Statement, create, nearest, relaxed, train};
use crate::error::{Error, Place, Result};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, DFParser, DFParserBuilder, Statement as PlainStatement};
use datafusion::sql::sqlparser::ast::{self, CopyOption, CopySource, CopyTarget, Expr, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Statements that other databases or later versions of this one have.
const LATER: [(&[&str], &str); 5] = [
    (&["RESUME"], "RESUME TRAINING"),
    (&["CANCEL"], "CANCEL TRAINING"),
    (&["RESTORE"], "RESTORE"),
    (&["SAVEPOINT"], "SAVEPOINT"),
    (&["MERGE"], "MERGE"),
];

const FIRST_WORDS: [&str; 24] = [
    "SELECT",
    "WITH",
    "VALUES",
    "FROM",
    "TRAIN",
    "RELAX",
    "GRADIENT",
    "EXPLAIN",
    "CREATE",
    "ALTER",
    "DROP",
    "INSERT",
    "UPDATE",
    "DELETE",
    "COPY",
    "SHOW",
    "SET",
    "RESET",
    "DESCRIBE",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "TRUNCATE",
    "ANALYZE",
];

/// How deep expressions and queries may nest; the parser grows its stack as it needs.
const DEPTH: usize = 300;

/// How many operators may follow each other in one expression.
const CHAIN: usize = 5_000;

pub(super) struct Reader<'a> {
    pub source: &'a Source<'a>,
    pub parser: DFParser<'static>,
    start: Location,
    end: Location,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source<'a>, tokens: Vec<TokenWithSpan>) -> Result<Self> {
        let start = tokens.first().map_or(Location::empty(), |t| t.span.start);
        let end = tokens.last().map_or(Location::empty(), |t| t.span.end);
        refuse_time_travel(&tokens)?;
        refuse_chains(&tokens)?;
        let parser = DFParserBuilder::new(tokens).with_dialect(&DIALECT).with_recursion_limit(DEPTH).build()?;
        Ok(Self { source, parser, start, end })
    }

    pub fn statement(mut self) -> Result<Statement> {
        self.refuse_later()?;
        let words: [String; 4] = self.upcoming();
        let kind = match words.each_ref().map(String::as_str) {
            ["TRAIN" | "RELAX", ..] | ["GRADIENT", "OF", ..] => self.learning()?,
            ["EXPLAIN", "TRAIN" | "RELAX", ..] | ["EXPLAIN", "GRADIENT", "OF", _] => {
                self.skip();
                Kind::Explain(Box::new(self.learning()?))
            }
            ["EXPLAIN", "ANALYZE", "TRAIN", _] => {
                self.skip();
                self.skip();
                Kind::Analyze(Box::new(train::train(&mut self)?))
            }
            ["EXPLAIN", "VERBOSE", "TRAIN", _] | ["EXPLAIN", "ANALYZE", "VERBOSE", "TRAIN"] => {
                return Err(self.unsupported("EXPLAIN VERBOSE TRAIN").hint("write EXPLAIN TRAIN ... or EXPLAIN ANALYZE TRAIN ..."));
            }
            ["EXPLAIN", "ANALYZE", "RELAX", _] | ["EXPLAIN", "ANALYZE", "GRADIENT", "OF"] => {
                let what = format!("EXPLAIN ANALYZE {}", words[2]);
                return Err(self.unsupported(&what).hint("EXPLAIN ANALYZE TRAIN ... measures the steps of a run"));
            }
            ["CREATE", "TABLE", _, _] | ["CREATE", "OR", "REPLACE", "TABLE"] => {
                Kind::CreateTable(Box::new(create::create_table(&mut self)?))
            }
            ["CREATE", "TEMP" | "TEMPORARY", ..] | ["CREATE", "OR", "REPLACE", "TEMP" | "TEMPORARY"] => {
                return Err(self.unsupported("a temporary table or view").hint("leave out TEMPORARY"));
            }
            ["ALTER", "TABLE", ..] => Kind::AlterTable(Box::new(create::alter_table(&mut self)?)),
            _ => Kind::Plain(Box::new(self.plain()?)),
        };
        self.expect_end()?;
        Ok(Statement { text: self.source.between(self.start, self.end).to_string(), kind })
    }

    /// TRAIN, RELAX or GRADIENT OF.
    fn learning(&mut self) -> Result<Kind> {
        Ok(match self.peek_word().as_str() {
            "TRAIN" => Kind::Train(Box::new(train::train(self)?)),
            "RELAX" => Kind::Relax(Box::new(relaxed::relax(self)?)),
            _ => Kind::Gradient(Box::new(relaxed::gradient(self)?)),
        })
    }

    pub fn whole_expression(mut self) -> Result<Expr> {
        let expr = self.expression()?;
        self.expect_end()?;
        Ok(expr)
    }

    pub fn expression(&mut self) -> Result<Expr> {
        let mut expr = self.sql().parse_expr().map_err(syntax)?;
        normalize(&mut expr);
        Ok(expr)
    }

    pub fn query(&mut self) -> Result<Box<ast::Query>> {
        let mut query = self.sql().parse_query().map_err(syntax)?;
        normalize(query.as_mut());
        Ok(query)
    }

    /// sqlparser's own parser, below DataFusion's.
    pub fn sql(&mut self) -> &mut Parser<'static> {
        &mut self.parser.parser
    }

    /// The next word in capitals; empty when the next token is not an unquoted word.
    pub fn peek_word(&self) -> String {
        word(&self.parser.parser.peek_token_ref().token)
    }

    pub fn here(&self) -> Position {
        let start = self.parser.parser.peek_token_ref().span.start;
        (start.line, start.column)
    }

    pub fn location(&self) -> Location {
        self.parser.parser.peek_token_ref().span.start
    }

    /// Takes the next word if it is this one.
    pub fn take_word(&mut self, expected: &str) -> bool {
        let found = self.peek_word() == expected;
        if found {
            self.skip();
        }
        found
    }

    pub fn take_token(&mut self, token: &Token) -> bool {
        self.sql().consume_token(token)
    }

    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        self.sql().expect_token(token).map(drop).map_err(syntax)
    }

    pub fn skip(&mut self) {
        self.sql().advance_token();
    }

    pub fn expected<T>(&mut self, what: &str) -> Result<T> {
        let found = self.parser.parser.peek_token();
        self.sql().expected(what, found).map_err(syntax)
    }

    /// An error at the next token.
    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::new(what).at(place(self.here()))
    }

    pub fn unsupported(&self, what: &str) -> Error {
        self.error(format!("{what} is not supported yet"))
    }

    /// The source text from a place up to the next token.
    pub fn text_since(&self, start: Location) -> String {
        self.source.between(start, self.location()).to_string()
    }

    fn expect_end(&mut self) -> Result<()> {
        if self.parser.parser.peek_token_ref().token == Token::EOF { Ok(()) } else { self.expected("end of statement") }
    }

    fn plain(&mut self) -> Result<PlainStatement> {
        let first = self.peek_word();
        let first_here = self.here();
        let mut statement = match first.as_str() {
            "COPY" => self.copy()?,
            _ => self.parser.parse_statement().map_err(Error::from).map_err(|e| {
                let known = FIRST_WORDS.contains(&first.as_str());
                match nearest(&first, FIRST_WORDS) {
                    Some(meant) if !known && e.to_string().contains("an SQL statement") => {
                        Error::new(format!("'{first}' does not begin a statement"))
                            .at(place(first_here))
                            .hint(format!("did you mean {meant}?"))
                    }
                    _ => e,
                }
            })?,
        };
        normalize_statement(&mut statement);
        Ok(statement)
    }

    /// `COPY ... TO` as DataFusion writes it, `COPY ... FROM` and `COPY ... TO ... (FORMAT ...)` as PostgreSQL does.
    fn copy(&mut self) -> Result<PlainStatement> {
        if self.copy_is_plain() {
            return Ok(self.parser.parse_statement()?);
        }
        match self.sql().parse_statement().map_err(syntax)? {
            ast::Statement::Copy { source, to: true, target, options, .. } => copy_to(source, target, options).map(PlainStatement::CopyTo),
            other => Ok(PlainStatement::Statement(Box::new(other))),
        }
    }

    /// Whether a COPY is `COPY x TO 'file'` with nothing after it, or with STORED AS, OPTIONS or PARTITIONED BY.
    fn copy_is_plain(&self) -> bool {
        let parser = &self.parser.parser;
        let tokens: Vec<&Token> = (0..).map(|n| &parser.peek_nth_token_ref(n).token).take_while(|t| **t != Token::EOF).collect();
        let mut depth = 0;
        let direction = tokens.iter().position(|token| {
            depth += i32::from(**token == Token::LParen) - i32::from(**token == Token::RParen);
            depth == 0 && matches!(word(token).as_str(), "FROM" | "TO")
        });
        let Some(at) = direction else { return true };
        let after = tokens.get(at + 2);
        word(tokens[at]) == "TO" && !after.is_some_and(|t| **t == Token::LParen || word(t) == "WITH")
    }

    fn upcoming<const N: usize>(&self) -> [String; N] {
        std::array::from_fn(|n| word(&self.parser.parser.peek_nth_token_ref(n).token))
    }

    fn refuse_later(&self) -> Result<()> {
        let [first, second]: [String; 2] = self.upcoming();
        let later = LATER.iter().find(|(words, _)| first == words[0] && words.get(1).is_none_or(|w| *w == second));
        later.map_or(Ok(()), |(_, name)| Err(self.unsupported(name)))
    }
}

/// Time travel, wherever it stands in a sentence: `FROM t AT (VERSION => 3)`.
fn refuse_time_travel(tokens: &[TokenWithSpan]) -> Result<()> {
    let tokens: Vec<&TokenWithSpan> = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let travel = tokens.windows(4).find(|w| {
        w[1].token == Token::LParen
            && w[3].token == Token::RArrow
            && word(&w[0].token) == "AT"
            && matches!(word(&w[2].token).as_str(), "VERSION" | "TIMESTAMP")
    });
    travel.map_or(Ok(()), |w| {
        let start = w[0].span.start;
        Err(Error::new("AT (VERSION => ...) is not supported yet").at(place((start.line, start.column))))
    })
}

/// `a + b + c + ...` nests to the left as deep as it is long, and every pass over it would need the stack for that.
fn refuse_chains(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut lengths, mut sets) = (vec![0], 0);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => lengths.push(0),
            Token::RParen | Token::RBracket => drop((lengths.len() > 1).then(|| lengths.pop())),
            Token::Comma => lengths.iter_mut().next_back().into_iter().for_each(|length| *length = 0),
            Token::Word(w) if matches!(w.keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT) => sets += 1,
            Token::Word(w) if !matches!(w.keyword, Keyword::AND | Keyword::OR) => {}
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period | Token::EOF => {}
            _ => lengths.iter_mut().next_back().into_iter().for_each(|length| *length += 1),
        }
        if lengths.last().is_some_and(|length| *length > CHAIN) || sets > CHAIN {
            let start = token.span.start;
            let error = Error::new(format!("an expression has more than {CHAIN} operators in a row")).at(place((start.line, start.column)));
            return Err(error.hint("write IN (...), or put the values into a table"));
        }
    }
    Ok(())
}

pub(super) fn place((line, column): Position) -> Place {
    Place::Position { line, column }
}

pub(super) fn syntax(error: ParserError) -> Error {
    Error::from(DataFusionError::from(error))
}

fn word(token: &Token) -> String {
    match token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_uppercase(),
        _ => String::new(),
    }
}

/// PostgreSQL's options in DataFusion's words.
fn copy_to(source: CopySource, target: CopyTarget, options: Vec<CopyOption>) -> Result<CopyToStatement> {
    let source = match source {
        CopySource::Query(query) => CopyToSource::Query(query),
        CopySource::Table { table_name, columns } if columns.is_empty() => CopyToSource::Relation(table_name),
        CopySource::Table { .. } => {
            return Err(Error::new("COPY of some columns of a table is not supported").hint("write COPY (SELECT ...) TO ..."));
        }
    };
    let CopyTarget::File { filename: target } = target else {
        return Err(Error::new(format!("COPY TO {target} is not supported")).hint("write to a file: COPY ... TO 'file.csv'"));
    };
    let (mut stored_as, mut written) = (None, Vec::new());
    for option in options {
        let (key, value) = match option {
            CopyOption::Format(format) => {
                stored_as = Some(format.value.to_uppercase());
                continue;
            }
            CopyOption::Header(header) => ("format.has_header", header.to_string()),
            CopyOption::Delimiter(letter) => ("format.delimiter", letter.to_string()),
            CopyOption::Quote(letter) => ("format.quote", letter.to_string()),
            CopyOption::Escape(letter) => ("format.escape", letter.to_string()),
            CopyOption::Null(text) => ("format.null_value", text),
            other => return Err(Error::new(format!("COPY option {other} is not supported"))),
        };
        written.push((key.to_string(), Value::SingleQuotedString(value)));
    }
    Ok(CopyToStatement { source, target, partitioned_by: vec![], stored_as, options: written })
}
