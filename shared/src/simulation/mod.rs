//! Where a simulation takes the core's outside into its hand: time, chance, the store's weather, messages, models and tools; and
//! where it switches a guard off, to show that it would be missed. Without the feature `simulation` all of it is nothing.
//!
//! A simulation lives on one thread: what it decides is thread-local, and a thread without one runs as ever.

#[cfg(feature = "simulation")]
mod outside;
#[cfg(feature = "simulation")]
mod process;

#[cfg(feature = "simulation")]
pub use self::{
    outside::{Entered, Operation, Outside, Weather, enter},
    process::Process,
};
#[cfg(feature = "simulation")]
pub(crate) use self::{
    outside::{draw, off, outside, weather},
    process::{held_up, scoped},
};

/// What keeps a run's history single and its end sure. Each can be switched off in a simulation, which must then notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// What is about to be done is written down before it is done.
    Intent,
    /// A slot is filled once: the slot's row only if it is absent.
    Slot,
    /// A run's row is written only if it is as it was read.
    Revision,
    /// A slot and the run's row that counts it are one transaction.
    OneTransaction,
    /// Runs of a batch that is not accepted are not worked on.
    Staged,
}

/// Whether a simulation has switched that guard off.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn off(_guard: Guard) -> bool {
    false
}

/// Takes the bytes from the simulation's chance, if there is a simulation.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn draw(_bytes: &mut [u8]) -> bool {
    false
}

/// The same work, as a part of the simulated process that begins it.
#[cfg(not(feature = "simulation"))]
pub(crate) fn scoped<F: Future>(work: F) -> F {
    work
}
