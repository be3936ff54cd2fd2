//! Who calls, and whether now is the time: the key, then its limits. Knows no route.

use shared::{
    App, Caller, Result, api_key,
    limit::{self, Applied},
};

use crate::{Request, Surface};

/// Who calls. The request holds a place among those in flight until it is answered.
///
/// # Errors
/// [`shared::Error::Unauthorized`], [`shared::Error::Forbidden`], [`shared::Error::RateLimited`]; [`shared::Error::Invalid`] for
/// an idempotency key that is none, and for parameters of a query where the call takes none.
pub(crate) async fn caller(app: &App, request: &Request) -> Result<Caller> {
    let default = match request.envelope().surface {
        Surface::Coagent => limit::COAGENT,
        Surface::Native | Surface::Cotera | Surface::Cotool => limit::DEFAULT,
    };
    within(app, request, default).await
}

/// The same for a call that has limits of its own.
pub(crate) async fn within(app: &App, request: &Request, default: Applied) -> Result<Caller> {
    let caller = api_key::authenticate(app, request.bearer_key(), request.org_id()).await?;
    let admitted = limit::enter(app, &caller, caller.limits().or(default)).await?;
    request.envelope().admit(admitted);
    // Also where nothing is created and so nothing is replayed: a key that is none is a mistake everywhere.
    request.idempotency_key()?;
    request.no_other_query()?;
    Ok(caller)
}
