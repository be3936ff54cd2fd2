//! Named points of the protocol at which a test can kill or freeze the process: `MUSTER_FAULT=K5:abort:3` aborts at the third
//! pass of K5, `K5:stop:3` stops it as SIGSTOP does. Without the feature `fault-points` nothing of it is compiled.

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
