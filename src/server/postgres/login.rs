//! Who may come in by PostgreSQL's wire: everybody, or users with passwords, by SCRAM-SHA-256 (RFC 7677).

use crate::server::metrics;
use crate::server::users::Users;
use futures::Sink;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password};
use pgwire::api::auth::{AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler};
use pgwire::api::{ClientInfo, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The login of one connection.
pub(super) struct Login {
    way: Way,
    /// Whether only clients with TLS may come in.
    needs_tls: bool,
    entered: Arc<AtomicBool>,
}

enum Way {
    Anybody(Anybody),
    Users(Box<SASLAuthStartupHandler<DefaultServerParameterProvider>>),
}

pub(super) struct Anybody;

impl NoopStartupHandler for Anybody {}

impl Login {
    pub fn new(users: Option<Arc<Users>>, needs_tls: bool, entered: Arc<AtomicBool>) -> Self {
        let way = match users {
            None => Way::Anybody(Anybody),
            Some(users) => {
                let scram = ScramAuth::new(Arc::new(Passwords(users)));
                Way::Users(Box::new(SASLAuthStartupHandler::new(Arc::default()).with_scram(scram)))
            }
        };
        Self { way, needs_tls, entered }
    }
}

#[async_trait::async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if self.needs_tls && !client.is_secure() {
            let info = ErrorInfo::new("FATAL".into(), "28000".into(), "this server needs TLS: connect with sslmode=require".into());
            return Err(PgWireError::UserError(Box::new(info)));
        }
        let entered = match &self.way {
            Way::Anybody(anybody) => anybody.on_startup(client, message).await,
            Way::Users(users) => users.on_startup(client, message).await,
        };
        if entered.is_ok() && matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            self.entered.store(true, SeqCst);
        }
        if let Err(PgWireError::InvalidPassword(_)) = &entered {
            metrics::refused_login();
        }
        entered
    }
}

struct Passwords(Arc<Users>);

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords")
    }
}

#[async_trait::async_trait]
impl AuthSource for Passwords {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let name = login.user().unwrap_or_default();
        let random = || crate::server::users::random().map_err(|e| PgWireError::ApiError(Box::new(e)));
        // Whoever is not there has a password that nobody knows, so that a client cannot tell.
        let (salt, unknown) = (random()?.as_bytes()[..16].to_vec(), random()?);
        let password = self.0.password(name).unwrap_or(&unknown);
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        Ok(Password::new(Some(salt), salted))
    }
}
