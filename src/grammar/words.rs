//! The words of the language, and what each piece of a text is, for whoever shows or completes it.

use super::source::Source;
use datafusion::sql::sqlparser::tokenizer::{Token, Whitespace};
use std::ops::Range;

/// The words that statements are made of, in alphabetical order: those of SQL, and ours.
#[rustfmt::skip]
pub const WORDS: [&str; 158] = [
    "ADD", "ALL", "ALTER", "ANALYZE", "AND", "ANTI", "ANY", "ARRAY", "AS", "ASC", "AT", "BATCH", "BEGIN", "BETWEEN", "BIGINT",
    "BLOB", "BOOLEAN", "BY", "BYTEA", "CASE", "CAST", "CHECK", "COLUMN", "COMMIT", "COPY", "CREATE", "CROSS", "CUBE",
    "CURRENT_DATE", "DATE", "DEALLOCATE", "DECIMAL", "DEFAULT", "DELETE", "DESC", "DESCRIBE", "DISTINCT", "DOUBLE", "DROP", "ELSE",
    "END", "EPOCHS", "EVERY", "EXCEPT", "EXECUTE", "EXISTS", "EXPLAIN", "EXTERNAL", "FALSE", "FETCH", "FILTER", "FIRST", "FLOAT",
    "FOLLOWING", "FOR", "FROM", "FULL", "GRADIENT", "GROUP", "GROUPING", "HAVING", "IF", "ILIKE", "IN", "INNER", "INSERT", "INT",
    "INTEGER", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "KEY", "LAST", "LATERAL", "LEARNABLE", "LEFT", "LIKE", "LIMIT",
    "LOCATION", "MAXIMIZE", "MINIMIZE", "NATURAL", "NORM", "NOT", "NULL", "NULLS", "OF", "OFFSET", "ON", "OR", "ORDER", "OUTER",
    "OVER", "PARTITION", "PATIENCE", "PRECEDING", "PREPARE", "PRIMARY", "QUALIFY", "RANGE", "REAL", "RECURSIVE", "RELAX", "RENAME",
    "REPLACE", "RESET", "RESPECT", "RIGHT", "ROLLBACK", "ROLLUP", "ROW", "ROWS", "SCHEMA", "SEED", "SELECT", "SEMI", "SET", "SETS",
    "SHOW", "SIMPLEX", "SMALLINT", "SOME", "START", "STEPS", "STORED", "TABLE", "TABLES", "TEMPORARY", "TEXT", "THEN", "TIME",
    "TIMESTAMP", "TINYINT", "TO", "TRAIN", "TRANSACTION", "TRUE", "TRUNCATE", "UNBOUNDED", "UNION", "UNIQUE", "UNIT", "UNNEST",
    "UPDATE", "USING", "VALIDATE", "VALUES", "VARCHAR", "VIEW", "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN", "WITHOUT", "ZONE",
];

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// One of [`WORDS`].
    Word,
    /// The name of something, quoted or not.
    Name,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A comment.
    Comment,
    /// Signs and blanks, and what cannot be read.
    Other,
}

/// The pieces of a text with their bytes, in order and without gaps.
///
/// ```
/// use nabladb::session::{Piece, pieces};
/// let kinds: Vec<Piece> = pieces("SELECT 'a'").into_iter().map(|(_, piece)| piece).collect();
/// assert_eq!(kinds, [Piece::Word, Piece::Other, Piece::Text]);
/// ```
pub fn pieces(sql: &str) -> Vec<(Range<usize>, Piece)> {
    let source = Source::new(sql);
    let mut pieces: Vec<(Range<usize>, Piece)> = source
        .tokens()
        .0
        .into_iter()
        .map(|token| {
            let piece = match &token.token {
                Token::Word(word) if word.quote_style.is_none() && is_word(&word.value) => Piece::Word,
                Token::Word(_) => Piece::Name,
                Token::Number(..) => Piece::Number,
                Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => Piece::Comment,
                Token::SingleQuotedString(_) | Token::DollarQuotedString(_) | Token::EscapedStringLiteral(_) => Piece::Text,
                _ => Piece::Other,
            };
            (source.bytes(token.span), piece)
        })
        .collect();
    let read = pieces.last().map_or(0, |(bytes, _)| bytes.end);
    if read < sql.len() {
        // A string that is still open.
        let open = if sql[read..].trim_start().starts_with('\'') { Piece::Text } else { Piece::Other };
        pieces.push((read..sql.len(), open));
    }
    pieces
}

fn is_word(word: &str) -> bool {
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}
