//! The reaper: every minute it looks after runs that nobody works on. Knows no protocol: that is the engine's.

use shared::{App, Result, engine};

/// Looks once.
///
/// # Errors
/// As the store says; the next time it looks again.
pub async fn reaper(app: &App) -> Result<()> {
    engine::reap(app).await.map(|_| ())
}
