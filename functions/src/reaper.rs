//! The reaper: every minute it looks after runs that nobody works on, and takes away what writers left behind that died.
//! Knows no protocol: that is the engine's.

use shared::{
    App, Result, engine,
    store::{Backend, dynamo::SWEPT_AFTER_MS},
};

/// Looks once.
///
/// # Errors
/// As the store says; the next time it looks again.
pub async fn reaper(app: &App) -> Result<()> {
    engine::reap(app).await?;
    #[allow(irrefutable_let_patterns, reason = "with the embedded store beside it, it is not the only one")]
    if let Backend::Dynamo(store) = app.store().backend() {
        store.sweep(app.now().plus_ms(-SWEPT_AFTER_MS)).await?;
    }
    Ok(())
}
