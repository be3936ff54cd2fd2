//! Named points of the protocol at which a test can kill or freeze the process: `MUSTER_FAULT=K5:abort:3` aborts at the third
//! pass of K5, `K5:stop:3` stops it as SIGSTOP does. Without the feature `fault-points` nothing of it is compiled.
//!
//! | point | it has just happened that |
//! | --- | --- |
//! | K1 | a run or batch was checked; accepting it is the next write |
//! | K2 | it was accepted, in a call that asks for a worker |
//! | K3 | a message's run was read |
//! | K4 | a call of a model, tool or sub-agent was decided; its intent is the next write, with what was learned before |
//! | K5 | the intent was written; sending is next |
//! | K6 | the answer came |
//! | K7 | a slot of the journal was written, with what comes next |
//! | K8, K9 | it was decided to let go of a run that goes on later; that was written |
//! | K10, K11 | a run's end was decided; a worker has let go of a run |
//! | I1, I2 | a request was found to be the first with its idempotency key; its work was done, with the key's record |
//! | W1, W2, W3 | a delivery was taken in hand; it was sent; what came of it was written |
//! | S1, S2 | a schedule's firing was decided, and what it starts is planned; both were written, and workers asked |
//! | S3 | a firing was decided that starts nothing; it is the next write |
//! | C1, C2, C3 | a change set of agents was opened; their versions were put; all pointers were moved |

/// A named point of the protocol.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn point(_name: &'static str) {}

/// A named point of the protocol.
#[cfg(feature = "fault-points")]
pub fn point(name: &'static str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    static ARMED: OnceLock<Option<(String, bool, u32)>> = OnceLock::new();
    static PASSES: AtomicU32 = AtomicU32::new(0);

    let armed = ARMED.get_or_init(|| {
        let text = crate::config::variable("MUSTER_FAULT")?;
        let mut parts = text.split(':');
        let point = parts.next()?.to_owned();
        let abort = parts.next()? == "abort";
        Some((point, abort, parts.next().and_then(|pass| pass.parse().ok()).unwrap_or(1)))
    });
    let Some((point, abort, pass)) = armed else { return };
    if point != name || PASSES.fetch_add(1, Ordering::SeqCst).saturating_add(1) != *pass {
        return;
    }
    if *abort {
        std::process::abort();
    }
    let me = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-STOP", &me]).status();
    // Another thread takes the signal: this one goes no further until it has.
    std::thread::sleep(std::time::Duration::from_millis(300));
}
