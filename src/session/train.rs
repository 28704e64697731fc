//! TRAIN: the sentence of the system.

use super::{Outcome, Session};
use crate::error::{Error, Result};
use crate::grammar::Train;

pub(super) async fn train(_session: &Session, _train: &Train, _text: &str) -> Result<Outcome> {
    Err(Error::new("TRAIN is not supported yet"))
}
