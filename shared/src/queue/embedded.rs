//! Messages within one process.
