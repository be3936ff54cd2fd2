//! Who says that a schedule's time has come. The schedule's row is the truth, and a timer only a hint: one that is lost, late or old costs
//! time and nothing else.

#[cfg(feature = "aws")]
mod eventbridge;

#[cfg(feature = "aws")]
pub use self::eventbridge::EventBridge;
use super::Schedule;

/// How long after a time the reaper looks where something else says that it has come, in milliseconds: EventBridge Scheduler is up to a minute
/// late.
#[cfg(feature = "aws")]
const GRACE_MS: i64 = 90_000;

/// Who says that a schedule's time has come.
#[derive(Debug, Default)]
pub enum Timers {
    /// The reaper alone, which looks often enough.
    #[default]
    Reaper,
    /// EventBridge Scheduler, by a message on the workers' queue.
    #[cfg(feature = "aws")]
    EventBridge(EventBridge),
}

impl Timers {
    /// How long after a time the reaper looks whether it was lost, in milliseconds.
    pub(super) const fn grace_ms(&self) -> i64 {
        match self {
            Self::Reaper => 0,
            #[cfg(feature = "aws")]
            Self::EventBridge(_) => GRACE_MS,
        }
    }

    /// Sees to it that the schedule's next time is said, and no other. A failure is no failure of the caller's.
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "only EventBridge has to be told"))]
    pub(super) async fn set(&self, schedule: &Schedule) {
        match self {
            Self::Reaper => {
                let _ = schedule;
            }
            #[cfg(feature = "aws")]
            Self::EventBridge(timers) => {
                let at = schedule.next_at.filter(|_| !schedule.paused && !schedule.deleted);
                if let Err(error) = Box::pin(timers.set(schedule.tenant(), schedule.id, at)).await {
                    tracing::warn!(schedule = %schedule.id, ?error, "a timer was not set; the reaper will look");
                }
            }
        }
    }
}
