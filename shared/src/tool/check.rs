//! What is refused about an agent's tools when the agent is saved.

use std::collections::BTreeSet;

use super::{DESCRIPTION_LIMIT, Kind, TIMEOUT_LIMIT_MS, TOOLS_LIMIT, Tool, http, lambda::Functions, schema};
use crate::{error::Problem, net::Guard, secret};

/// Adds what is wrong with the tools.
pub(crate) fn check(guard: &Guard, functions: &Functions, tools: &[Tool], problems: &mut Vec<Problem>) {
    if tools.len() > TOOLS_LIMIT {
        let message = format!("must have at most {TOOLS_LIMIT} entries");
        problems.push(Problem { field: "tools".to_owned(), message });
        return;
    }
    let mut names = BTreeSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let mut refuse = |field: &str, message: String| {
            problems.push(Problem { field: format!("tools[{index}].{field}"), message });
        };
        if !is_name(&tool.name) {
            refuse("name", "must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -".to_owned());
        } else if !names.insert(tool.name.as_str()) {
            refuse("name", format!("'{}' is the name of another tool too", tool.name));
        }
        if tool.description.chars().count() > DESCRIPTION_LIMIT {
            refuse("description", format!("must be at most {DESCRIPTION_LIMIT} characters long"));
        }
        if !(1..=TIMEOUT_LIMIT_MS).contains(&tool.timeout_ms) {
            refuse("timeout_ms", format!("must be from 1 to {TIMEOUT_LIMIT_MS}"));
        }
        if let Err(message) = schema::check(&tool.parameters) {
            refuse("parameters", message);
        }
        for problem in check_kind(guard, functions, tool) {
            refuse(&problem.field, problem.message);
        }
    }
}

/// What is wrong with how the tool is called.
fn check_kind(guard: &Guard, functions: &Functions, tool: &Tool) -> Vec<Problem> {
    match &tool.kind {
        Kind::Http(request) => {
            let malformed = request.headers.iter().filter_map(|(name, value)| {
                let message = secret::names(value).err()?.to_string();
                Some(Problem { field: format!("headers.{name}"), message })
            });
            malformed.chain(http::check_http(guard, request, tool.policy, &tool.parameters)).collect()
        }
        Kind::Lambda(lambda) => functions.check(&lambda.function, tool.policy),
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
