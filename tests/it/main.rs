//! Everything that is tested through a border: one binary, a module per subject.

mod models;
