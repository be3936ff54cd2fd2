//! The CoAgent surface, through its border, on each backend.

mod agents;
mod completions;
mod logs;
mod providers;
mod testset_matrix;
mod testset_parts;
mod testset_runs;
mod testsets;
