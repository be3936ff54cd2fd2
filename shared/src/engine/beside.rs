//! Waiting for something while holding a run: the lease is renewed meanwhile, what others say of the run is looked at, and what a
//! model says of its answer is told as it comes.

use std::{future::Future, pin::pin, time::Duration};

use super::{Held, held::Saved};
use crate::{app::App, clock::Timestamp, error::Result};

/// How often a holder that is not alone looks at the row for what others said, in milliseconds: often enough that a cancelled run sends
/// nothing more after a second.
const LOOK_MS: u64 = 500;

/// What came of waiting.
#[derive(Debug)]
pub(super) enum Beside<T> {
    /// What was waited for.
    Ended(T),
    /// The run shall end: somebody cancelled it, or its deadline has passed.
    Stopped,
    /// Others have changed the run, and it is still ours.
    Changed,
    /// The run is not ours any more.
    Gone,
}

/// Waits for `work`. What was waited for stays begun when something else comes first, if the caller keeps it.
pub(super) async fn beside<T>(app: &App, held: &mut Held, work: impl Future<Output = T>) -> Result<Beside<T>> {
    let mut work = pin!(work);
    let (wake, pieces) = (held.wake.clone(), held.pieces.clone());
    let alone = app.config().sole_epoch.is_some();
    let renew_ms = u64::try_from(app.config().lease_ms / 3).unwrap_or(1).max(1);
    let renewed = held.run.lease.as_ref().map_or(Timestamp::from_millis(0), |lease| lease.until);
    let mut renewed = renewed.plus_ms(app.config().lease_ms.saturating_neg());
    loop {
        let look_ms = if alone { renew_ms } else { LOOK_MS.min(renew_ms) };
        let pause = Duration::from_millis(look_ms.min(held.run.deadline_at.since_ms(app.now())));
        let heard = tokio::select! {
            // What has come of it in the meantime is heard before it is told: as much as there is with one write.
            biased;
            outcome = &mut work => return Ok(Beside::Ended(outcome)),
            () = pieces.due() => true,
            () = wake.notified() => false,
            () = tokio::time::sleep(pause) => false,
        };
        let said = !heard && look(app, held).await;
        if stops(app, held) {
            return Ok(Beside::Stopped);
        }
        if said {
            return Ok(Beside::Changed);
        }
        if heard || app.now().since_ms(renewed) >= renew_ms {
            renewed = app.now();
            held.tell_pieces(renewed);
            held.run.renew(renewed, app.config().lease_ms);
            match held.save(app).await {
                Ok(Saved::Yes) if stops(app, held) => return Ok(Beside::Stopped),
                Ok(Saved::Yes) => {}
                Ok(Saved::Changed | Saved::Refused) => return Ok(Beside::Changed),
                Ok(Saved::Gone) => return Ok(Beside::Gone),
                Err(error) => {
                    tracing::warn!(run = %held.id(), error = %error, "a lease was not renewed, or a piece not told yet")
                }
            }
        }
    }
}

/// Whether the run shall end.
fn stops(app: &App, held: &Held) -> bool {
    held.run.cancel_requested || held.run.deadline_at <= app.now()
}

/// Takes over what others said, as the row has it, and whether they said something of a tool call. A look that fails is no answer.
async fn look(app: &App, held: &mut Held) -> bool {
    match app.store().run(held.tenant(), held.id()).await {
        Ok(Some(found)) if found.value.fence == held.run.fence => {
            held.run.adopt(&found.value, app.now().plus_ms(app.config().lease_ms))
        }
        Ok(Some(found)) => {
            held.run.cancel_requested |= found.value.cancel_requested;
            false
        }
        Ok(None) | Err(_) => false,
    }
}
