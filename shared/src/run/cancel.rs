//! Cancelling runs.

use super::{Run, visible};
use crate::{
    app::App,
    error::{Error, Result},
    id::RunId,
    store,
    tenant::{Caller, Scope, Tenant},
};

/// How often the row is read again when others write it at the same time.
const TRIES: usize = 20;

/// Asks the run to end. One that nobody holds has ended when this returns; one that a worker holds ends when the worker
/// sees it, and begins nothing new in between. What was sent already cannot be taken back. A run that has ended stays.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn cancel(app: &App, caller: &Caller, id: RunId) -> Result<Run> {
    caller.require(Scope::RunsWrite)?;
    request_cancel(app, caller.tenant(), id).await
}

pub(crate) async fn request_cancel(app: &App, tenant: Tenant, id: RunId) -> Result<Run> {
    for _ in 0..TRIES {
        let found = visible(app, tenant, id).await?;
        let mut run = found.value;
        if run.status.terminal() || run.cancel_requested && !run.free(app.now(), app.config().sole_epoch.as_deref()) {
            return Ok(run);
        }
        let now = app.now();
        run.cancel_requested = true;
        run.updated_at = now;
        if run.free(now, app.config().sole_epoch.as_deref()) {
            run.interrupt(now);
        }
        match app.store().save_run(&run, Some(found.rev), Vec::new()).await {
            Ok(_) => {
                app.signals().wake(id);
                return Ok(run);
            }
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable("the run is being written all the time".into()))
}
