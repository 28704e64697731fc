//! The keyboard door: line editing, statements from a stream, output formats.
