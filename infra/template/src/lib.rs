//! template.yaml: every route is a function of its own, from the route table; the tables come from the store; the rest is
//! `frame.yaml`. What the template says about a route is said once, in its row.

mod api;
mod function;
mod providers;
mod tables;

use functions::Route;
use shared::error::Fault;

pub use function::Function;

/// The hand-written part. A line `#@name` stands for what is rendered.
const FRAME: &str = include_str!("../frame.yaml");

/// The function of completions, whose path the operator may name.
const COMPLETE: &str = "coagent_complete";

/// The template.
///
/// # Errors
/// When the store cannot say how its tables are made.
pub fn render() -> Result<String, Fault> {
    let parts = [
        ("parameters", providers::parameters()),
        ("tables", tables::resources()?),
        ("functions", all().map(|function| function.resources()).collect()),
        ("policies", api::policies()),
        ("paths", api::paths()),
    ];
    let mut text = String::new();
    for line in FRAME.lines() {
        let name = line.trim().strip_prefix("#@");
        match parts.iter().find(|(part, _)| Some(*part) == name) {
            Some((_, rendered)) => text.push_str(rendered),
            None => text.extend([line, "\n"]),
        }
    }
    Ok(text)
}

/// Every function: one for each route, and those that no route reaches.
pub fn all() -> impl Iterator<Item = Function> {
    deployed().map(Function::of_route).chain(Function::others())
}

/// The routes that are deployed: all but those that only the embedded host answers.
pub fn deployed() -> impl Iterator<Item = &'static Route> {
    Route::all().filter(|route| route.operation.deployed)
}

/// What a function's resource is called: `create_agent` is `CreateAgent`.
#[must_use]
pub fn logical_id(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    name.split('_').map(capital).collect()
}
