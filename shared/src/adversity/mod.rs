//! What a test makes hard for a process: faults of the store, messages that are lost or doubled, workers that hand on, a run that kills. Nothing
//! without the feature `fault-points`.

#[cfg(feature = "fault-points")]
mod made;
#[cfg(not(feature = "fault-points"))]
mod none;

#[cfg(feature = "fault-points")]
pub(crate) use made::*;
#[cfg(not(feature = "fault-points"))]
pub(crate) use none::*;
