//! The text of a script, taken apart into the tokens of its sentences.

use super::dialect::DIALECT;
use super::operators;
use crate::error::{Error, Place};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

pub(super) struct Source<'a> {
    text: &'a str,
    /// The byte at which each line starts, and whether each of its letters is one.
    lines: Vec<(usize, bool)>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            start += line.len();
            (start - line.len(), line.is_ascii())
        });
        let lines = lines.collect();
        Self { text, lines }
    }

    /// The tokens of each sentence, an end mark last, and the mistake that ended the reading.
    pub fn sentences(&self) -> (Vec<Vec<TokenWithSpan>>, Option<Error>) {
        let (tokens, failure) = self.tokens();
        let mut sentences = Vec::new();
        let mut sentence = Vec::new();
        for token in tokens {
            if token.token == Token::SemiColon {
                finish(&mut sentences, &mut sentence, token.span.start);
            } else if !sentence.is_empty() || !matches!(token.token, Token::Whitespace(_)) {
                sentence.push(token);
            }
        }
        if failure.is_none() {
            let end = sentence.last().map_or(Location::empty(), |t: &TokenWithSpan| t.span.end);
            finish(&mut sentences, &mut sentence, end);
        }
        (sentences, failure)
    }

    pub fn is_complete(&self) -> bool {
        let (tokens, failure) = self.tokens();
        let last = tokens.iter().rev().find(|t| !matches!(t.token, Token::Whitespace(_)));
        failure.is_none() && last.is_some_and(|t| t.token == Token::SemiColon)
    }

    /// The text between two places, without the blanks around it.
    pub fn between(&self, start: Location, end: Location) -> &'a str {
        self.exactly(start, end).trim()
    }

    /// The text between two places.
    pub fn exactly(&self, start: Location, end: Location) -> &'a str {
        self.text.get(self.offset(start)..self.offset(end)).unwrap_or_default()
    }

    /// The text from a place on.
    pub fn from(&self, start: Location) -> &'a str {
        &self.text[self.offset(start)..]
    }

    /// The bytes of a token.
    pub fn bytes(&self, span: Span) -> std::ops::Range<usize> {
        self.offset(span.start)..self.offset(span.end)
    }

    /// All tokens, and the mistake that ended the reading.
    pub fn tokens(&self) -> (Vec<TokenWithSpan>, Option<Error>) {
        let mut tokens = Vec::new();
        let failure = Tokenizer::new(&DIALECT, self.text).tokenize_with_location_into_buf(&mut tokens).err();
        operators::join_tokens(&mut tokens);
        let failure = failure.map(|e| {
            let hint = if e.message.contains("Unterminated") { "close it" } else { "remove or quote it" };
            Error::new(e.message.to_lowercase()).at(Place::Position { line: e.location.line, column: e.location.column }).hint(hint)
        });
        (tokens, failure)
    }

    fn offset(&self, location: Location) -> usize {
        let line = (location.line as usize).saturating_sub(1);
        let Some(&(start, is_ascii)) = self.lines.get(line) else { return self.text.len() };
        let column = (location.column as usize).saturating_sub(1);
        if is_ascii {
            return (start + column).min(self.text.len());
        }
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(i, _)| start + i)
    }
}

fn finish(sentences: &mut Vec<Vec<TokenWithSpan>>, sentence: &mut Vec<TokenWithSpan>, end: Location) {
    while sentence.last().is_some_and(|t| matches!(t.token, Token::Whitespace(_))) {
        sentence.pop();
    }
    if !sentence.is_empty() {
        sentence.push(TokenWithSpan { token: Token::EOF, span: Span::new(end, end) });
        sentences.push(std::mem::take(sentence));
    }
}
