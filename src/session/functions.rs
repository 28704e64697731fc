//! Functions that the application has given to a database, which all of its sessions know.

use crate::error::{Error, Result};
use crate::scalar::Function;
use crate::split::user_function;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::Expr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those of one database, in the order in which they came. None ever goes.
#[derive(Clone, Default)]
pub(super) struct Functions(Arc<Mutex<Vec<Function>>>);

impl Functions {
    fn all(&self) -> MutexGuard<'_, Vec<Function>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.all().len()
    }

    /// Adds a function. `context` is one of a new session.
    pub fn add(&self, function: Function, context: &SessionContext) -> Result<()> {
        let (name, mut all) = (function.name(), self.all());
        let state = context.state();
        let is_known = state.udf(name).is_ok()
            || state.higher_order_function(name).is_ok()
            || state.udaf(name).is_ok()
            || state.udwf(name).is_ok()
            || all.iter().any(|known| known.name() == name);
        if is_known {
            return Err(Error::new(format!("a function '{name}' exists already")).hint("choose another name"));
        }
        let dialect = state.config().options().sql_parser.dialect;
        if !matches!(state.sql_to_expr(&format!("{name}(0)"), &dialect), Ok(Expr::Function(_))) {
            return Err(Error::new(format!("'{name}' is a word of SQL, which no function can be called by")).hint("choose another name"));
        }
        all.push(function);
        Ok(())
    }

    /// Makes them known to a session.
    pub fn make_known(&self, context: &SessionContext) {
        for function in self.all().iter().filter(|f| context.state_ref().read().udf(f.name()).is_err()) {
            user_function::register(context, function);
        }
    }
}
