//! What is refused about an agent's tools when the agent is saved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DESCRIPTION_LIMIT, Kind, Policy, SERVERS_LIMIT, TIMEOUT_LIMIT_MS, TOOLS_LIMIT, Tool, http, lambda::Functions, mcp,
    schema,
};
use crate::{error::Problem, net::Guard, secret};

/// Adds what is wrong with the tools together, and with each that the agent had not.
pub(crate) fn check(guard: &Guard, functions: &Functions, tools: &[Tool], had: &[Tool], problems: &mut Vec<Problem>) {
    if tools.len() > TOOLS_LIMIT {
        let message = format!("must have at most {TOOLS_LIMIT} entries");
        problems.push(Problem { field: "tools".to_owned(), message });
        return;
    }
    if tools.iter().filter(|tool| matches!(tool.kind, Kind::Mcp(_))).count() > SERVERS_LIMIT {
        let message = format!("must have at most {SERVERS_LIMIT} entries of type mcp");
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
        if had.contains(tool) {
            continue;
        }
        if tool.description.chars().count() > DESCRIPTION_LIMIT {
            refuse("description", format!("must be at most {DESCRIPTION_LIMIT} characters long"));
        }
        if !(1..=TIMEOUT_LIMIT_MS).contains(&tool.timeout_ms) {
            refuse("timeout_ms", format!("must be from 1 to {TIMEOUT_LIMIT_MS}"));
        }
        // What a server's tools are is checked when they are pinned.
        if !matches!(tool.kind, Kind::Mcp(_))
            && let Err(message) = schema::check(&tool.parameters)
        {
            refuse("parameters", message);
        }
        let found = match &tool.kind {
            Kind::Http(request) => {
                check_secrets(&request.headers, &mut refuse);
                http::check_http(guard, request, tool.policy, &tool.parameters)
            }
            Kind::Mcp(server) => {
                check_secrets(&server.headers, &mut refuse);
                mcp::check(guard, tool, server)
            }
            Kind::Lambda(lambda) => functions.check(&lambda.function, tool.policy),
            Kind::Agent(_) if tool.policy != Policy::Idempotent => {
                let message = "must be idempotent for a sub-agent: its run is started exactly once, whatever happens";
                vec![Problem { field: "policy".to_owned(), message: message.to_owned() }]
            }
            Kind::Agent(_) => Vec::new(),
        };
        found.into_iter().for_each(|problem| refuse(&problem.field, problem.message));
    }
}

fn check_secrets(headers: &BTreeMap<String, String>, refuse: &mut impl FnMut(&str, String)) {
    for (name, value) in headers {
        if let Err(malformed) = secret::names(value) {
            refuse(&format!("headers.{name}"), malformed.to_string());
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
