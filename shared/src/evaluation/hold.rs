//! Who does what of an evaluation must not be done by two at a time, for it costs money or much work. Whoever looks at the evaluation takes it
//! in its row, and gives it back; what a dead process has taken is free after a while, and at once where a host knows that it is alone. That
//! only saves work: what is written at the end holds because the row still says who has it.

use super::{Evaluation, TRIES, settle};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::EvaluationId,
    run::Lease,
    store::{self, row::Write},
    tenant::Tenant,
};

/// An evaluation that this look has taken.
#[derive(Debug)]
pub(super) struct Hold {
    tenant: Tenant,
    id: EvaluationId,
    /// What this look calls itself: no other does, also none of the same process.
    by: String,
}

impl Evaluation {
    /// Whether somebody has it, or it shall be left alone for a while.
    fn held(&self, now: Timestamp, sole_epoch: Option<&str>) -> bool {
        let alive = |lease: &Lease| sole_epoch.is_none_or(|epoch| lease.owner.starts_with(epoch));
        self.hold.as_ref().is_some_and(|lease| lease.until > now && alive(lease))
    }
}

/// Takes the evaluation, unless somebody has it or all is known of it.
pub(super) async fn take(app: &App, tenant: Tenant, id: EvaluationId) -> Result<Option<Hold>> {
    let seen = settle::found(app, tenant, id).await?;
    if seen.value.settled.is_some() || seen.value.held(app.now(), app.config().sole_epoch.as_deref()) {
        return Ok(None);
    }
    let hold = Hold { tenant, id, by: format!("{}/{}", app.owner(), crate::id::process(app.now())) };
    let evaluation = Evaluation { hold: Some(hold.lease(app)), ..seen.value };
    match app.store().save_evaluation(&evaluation, seen.rev, Vec::new()).await {
        Ok(()) => Ok(Some(hold)),
        Err(store::Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Hold {
    fn lease(&self, app: &App) -> Lease {
        Lease { owner: self.by.clone(), until: app.now().plus_ms(app.config().lease_ms) }
    }

    /// Changes the row, in one transaction with these writes: if it still says that this look has it, and `change` wants to. Answers the
    /// evaluation as it is then; nothing was written when it is `None`.
    pub(super) async fn change(
        &self,
        app: &App,
        beside: Vec<Write>,
        change: impl Fn(Evaluation) -> Option<Evaluation>,
    ) -> Result<Option<Evaluation>> {
        for _ in 0..TRIES {
            let seen = settle::found(app, self.tenant, self.id).await?;
            let ours = seen.value.hold.as_ref().is_some_and(|lease| lease.owner == self.by);
            let Some(evaluation) = change(seen.value).filter(|_| ours) else { return Ok(None) };
            match app.store().save_evaluation(&evaluation, seen.rev, beside.clone()).await {
                Ok(()) => return Ok(Some(evaluation)),
                Err(store::Error::Conflict { index: 0 }) => {}
                // What should be written beside it cannot be any more.
                Err(store::Error::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable("the evaluation is being written all the time".into()))
    }

    /// Keeps it for a while longer: whether this look still has it.
    pub(super) async fn renew(&self, app: &App) -> Result<bool> {
        let lease = self.lease(app);
        let renewed = |evaluation: Evaluation| Some(Evaluation { hold: Some(lease.clone()), ..evaluation });
        Ok(self.change(app, Vec::new(), renewed).await?.is_some())
    }

    /// Gives it back. When that fails it is free after a while.
    pub(super) async fn give_back(self, app: &App) {
        let given = |evaluation: Evaluation| Some(Evaluation { hold: None, ..evaluation });
        if let Err(error) = self.change(app, Vec::new(), given).await {
            tracing::warn!(evaluation = %self.id, error = ?error, "an evaluation was not given back");
        }
    }
}
