//! The tests that need more than one function: a module for each part.

mod dynamo;
mod store_contract;
