//! Columns of a SELECT list have different names, as in DuckDB: what is written twice is `x` and `x:1`.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, VisitMut, VisitorMut};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Gives a name to what is in a SELECT list for the second time.
pub(super) fn distinguish<T: VisitMut>(tree: &mut T) {
    let _ = tree.visit(&mut Names);
}

struct Names;

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        lists(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn lists(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => list(&mut select.projection),
        SetExpr::SetOperation { left, right, .. } => {
            lists(left);
            lists(right);
        }
        _ => {}
    }
}

fn list(items: &mut [SelectItem]) {
    let mut known: HashMap<String, usize> = HashMap::new();
    for item in items {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let seen = known.entry(uncast(expr).to_string()).or_default();
        if *seen > 0 {
            let alias = Ident::with_quote('"', format!("{}:{seen}", name(uncast(expr))));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
        *seen += 1;
    }
}

/// The engine names a cast by what it casts.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => uncast(expr),
        other => other,
    }
}

fn name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()).unwrap_or_default(),
        other => other.to_string(),
    }
}
