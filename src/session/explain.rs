//! EXPLAIN TRAIN: what a training query becomes.

use super::{Outcome, Session};
use crate::error::{Error, Result};
use crate::grammar::Train;

pub(super) async fn explain_train(_session: &Session, _train: &Train, _text: &str) -> Result<Outcome> {
    Err(Error::new("EXPLAIN TRAIN is not supported yet"))
}
