//! What sqlparser reads, in the form in which the engine takes it.

use super::{names, operators};
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::VisitMut;

/// A query or an expression.
pub(super) fn normalize<T: VisitMut>(tree: &mut T) {
    operators::rewrite(tree);
    names::distinguish(tree);
}

/// A whole statement.
pub(super) fn normalize_statement(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => normalize(inner.as_mut()),
        Statement::CopyTo(copy) => {
            if let CopyToSource::Query(query) = &mut copy.source {
                normalize(query.as_mut());
            }
        }
        Statement::Explain(explain) => normalize_statement(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
    }
}
