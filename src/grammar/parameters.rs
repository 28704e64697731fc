//! Literals in place of `?` and `$1`, before the text is read: so a parameter may stand wherever a literal may.

use super::source::Source;
use crate::error::{Error, Place, Result};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

/// A text whose parameters have been replaced by literals.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The text with literals.
    pub text: String,
    /// Where each parameter was, and where its literal is.
    moves: Vec<(Span, Span)>,
}

impl Bound {
    /// An error with the places that the parts of the text had before.
    pub fn placed(&self, error: Error) -> Error {
        error.moved(|line, column| {
            let here = Location { line, column };
            let Some((before, now)) = self.moves.iter().rev().find(|(_, now)| now.start <= here) else { return (line, column) };
            if here < now.end {
                (before.start.line, before.start.column)
            } else if line == now.end.line {
                (before.end.line, before.end.column + column - now.end.column)
            } else {
                (before.end.line + line - now.end.line, column)
            }
        })
    }
}

/// Writes literals where a text has parameters: the first for the first `?`, or for `$1`. Without literals a PREPARE stays as it is: its
/// parameters are its own.
///
/// # Errors
/// There are more parameters than literals, or fewer; they have names; or `?` stands beside `$1`.
pub fn bind(sql: &str, literals: &[String]) -> Result<Bound> {
    let source = Source::new(sql);
    let (tokens, failure) = source.tokens();
    if let Some(failure) = failure {
        return Err(failure);
    }
    if literals.is_empty() && prepares(&tokens) {
        return Ok(Bound { text: sql.into(), moves: vec![] });
    }
    let placeholders = placeholders(&tokens)?;
    let mut bound = Bound { text: String::with_capacity(sql.len()), moves: vec![] };
    let (mut done, mut here) = (Location { line: 1, column: 1 }, Location { line: 1, column: 1 });
    let mut write = |text: &str, here: &mut Location| {
        bound.text.push_str(text);
        match text.rsplit_once('\n') {
            Some((lines, last)) => {
                here.line += lines.matches('\n').count() as u64 + 1;
                here.column = last.chars().count() as u64 + 1;
            }
            None => here.column += text.chars().count() as u64,
        }
    };
    let asked = placeholders.iter().map(|(number, _)| *number).max().unwrap_or(0);
    for (number, span) in placeholders {
        let Some(literal) = literals.get(number - 1) else { continue };
        let before = source.exactly(done, span.start);
        write(before, &mut here);
        // `LIMIT?` is two words.
        if before.ends_with(is_of_word) {
            write(" ", &mut here);
        }
        let start = here;
        write(literal, &mut here);
        bound.moves.push((span, Span::new(start, here)));
        done = span.end;
        if source.from(done).starts_with(is_of_word) {
            write(" ", &mut here);
        }
    }
    write(source.from(done), &mut here);
    if asked != literals.len() {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let given = if literals.len() == 1 { "is given" } else { "are given" };
        return Err(Error::new(format!("the statement has {}, and {} {given}", count(asked, "parameter"), count(literals.len(), "value"))));
    }
    Ok(bound)
}

/// How many parameters a text has; none if it prepares a statement, whose own they are.
pub fn parameters(sql: &str) -> Result<usize> {
    let source = Source::new(sql);
    let (tokens, failure) = source.tokens();
    match failure {
        Some(failure) => Err(failure),
        None if prepares(&tokens) => Ok(0),
        None => Ok(placeholders(&tokens)?.iter().map(|(number, _)| *number).max().unwrap_or(0)),
    }
}

fn prepares(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_)));
    first.is_some_and(|t| matches!(&t.token, Token::Word(word) if word.value.eq_ignore_ascii_case("prepare")))
}

/// The number of each placeholder, counted from 1, and where it is.
fn placeholders(tokens: &[TokenWithSpan]) -> Result<Vec<(usize, Span)>> {
    let (mut found, mut numbered) = (vec![], None);
    for token in tokens {
        let Token::Placeholder(name) = &token.token else { continue };
        let refused = |what: String| Error::new(what).at(Place::Position { line: token.span.start.line, column: token.span.start.column });
        let is_numbered = name.starts_with('$');
        if *numbered.get_or_insert(is_numbered) != is_numbered {
            return Err(refused("parameters are ? or $1, not both in one statement".into()));
        }
        let number = match name.strip_prefix('$') {
            Some(digits) => digits.parse().ok().filter(|n| *n > 0),
            None if name == "?" => Some(found.len() + 1),
            None => None,
        };
        let Some(number) = number else {
            return Err(refused(format!("parameter {name} has no number")).hint("write ?, or $1, $2, ..."));
        };
        found.push((number, token.span));
    }
    Ok(found)
}

/// Whether a letter may be one of a word, or of a string, that a literal beside it would go on with.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "_'\"".contains(c)
}
