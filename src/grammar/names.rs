//! Columns of a SELECT list have different names, as in DuckDB: what is written twice is `x` and `x:1`.
//! Numbers go on through a statement, so that the branches of a UNION have no name in two places.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, VisitMut, VisitorMut, visit_expressions_mut};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Gives a name to what is in a SELECT list for the second time.
pub(super) fn distinguish<T: VisitMut>(tree: &mut T) {
    let _ = tree.visit(&mut Names::default());
}

#[derive(Default)]
struct Names {
    /// How many names were given.
    given: usize,
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.lists(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Names {
    fn lists(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.list(&mut select.projection),
            SetExpr::SetOperation { left, right, .. } => {
                self.lists(left);
                self.lists(right);
            }
            _ => {}
        }
    }

    fn list(&mut self, items: &mut [SelectItem]) {
        let mut known = HashSet::new();
        for item in items {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let named = without_queries(uncast(expr));
            if !known.insert(named.to_string().to_lowercase()) {
                self.given += 1;
                let alias = Ident::with_quote('"', format!("{}:{}", name(&named), self.given));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
    }
}

/// The engine names a cast by what it casts.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => uncast(expr),
        other => other,
    }
}

/// The engine gives all sub-queries one name.
fn without_queries(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |part| {
        let query = |before: &str| Expr::Identifier(Ident::new(format!("{before}<subquery>")));
        match part {
            Expr::Subquery(_) => *part = query(""),
            Expr::Exists { negated, .. } => *part = query(if *negated { "NOT EXISTS " } else { "EXISTS " }),
            Expr::InSubquery { expr, negated, .. } => {
                *part = Expr::InList { expr: expr.clone(), list: vec![query("")], negated: *negated };
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    expr
}

fn name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()).unwrap_or_default(),
        other => other.to_string(),
    }
}
