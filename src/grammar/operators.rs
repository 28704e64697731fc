//! pgvector's operators: `<->`, `<#>` and `<=>` become the functions they stand for.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    UnaryOperator, VisitMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::mem::replace;
use std::ops::ControlFlow;

/// Joins the tokens that the tokenizer takes the operators apart into.
pub(super) fn join_tokens(tokens: &mut Vec<TokenWithSpan>) {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for mut token in tokens.drain(..) {
        let operator = match (joined.last(), &token.token) {
            (_, Token::Spaceship) => Some("<=>"),
            (Some(before), Token::Arrow) if before.token == Token::Lt && before.span.end == token.span.start => Some("<->"),
            (Some(before), Token::HashArrow) if before.token == Token::Lt && before.span.end == token.span.start => Some("<#>"),
            _ => None,
        };
        if let Some(operator) = operator {
            if operator != "<=>"
                && let Some(before) = joined.pop()
            {
                token.span.start = before.span.start;
            }
            token.token = Token::CustomBinaryOperator(operator.into());
        }
        joined.push(token);
    }
    *tokens = joined;
}

/// Writes the operators of a query or an expression as function calls.
pub(super) fn rewrite<T: VisitMut>(tree: &mut T) {
    let _ = visit_expressions_mut(tree, |expr| {
        if let Expr::BinaryOp { left, op: BinaryOperator::Custom(operator), right } = expr {
            let (left, right) = (take(left), take(right));
            *expr = match operator.as_str() {
                "<->" => call("array_distance", left, right),
                "<=>" => call("cosine_distance", left, right),
                _ => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(call("inner_product", left, right)) },
            };
        }
        ControlFlow::<()>::Continue(())
    });
}

fn take(expr: &mut Expr) -> Expr {
    replace(expr, Expr::Identifier(Ident::new("")))
}

fn call(name: &str, left: Expr, right: Expr) -> Expr {
    let arguments = FunctionArgumentList {
        duplicate_treatment: None,
        args: [left, right].map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).to_vec(),
        clauses: vec![],
    };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
