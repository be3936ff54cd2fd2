//! Pinning, when an agent is saved: its servers are asked for their tools, and what they say is checked like what an author writes.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use http::header;
use rmcp::model::Tool as Listed;

use super::{Mcp, Pinned, pin, prepare, session::Session};
use crate::{
    app::App,
    error::Problem,
    net::Guard,
    tenant::Tenant,
    tool::{DESCRIPTION_LIMIT, Kind, Policy, TOOLS_LIMIT, Tool, http::check_headers, schema},
};

/// The most servers of an agent.
pub const SERVERS_LIMIT: usize = 16;
/// The longest name of a server in an agent, in characters: the names of its tools begin with it.
pub const SERVER_NAME_LIMIT: usize = 32;
/// The most that all pinned tools of an agent take together, in bytes of JSON.
pub const PINNED_LIMIT_BYTES: usize = 512 * 1024;
/// How long a server may take to list its tools when an agent is saved.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest name of a tool on its server, in characters.
const TOOL_NAME_LIMIT: usize = 128;

/// What is wrong with a server as its author names it, by its fields.
pub(in crate::tool) fn check(guard: &Guard, tool: &Tool, server: &Mcp) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
    if tool.name.len() > SERVER_NAME_LIMIT {
        refuse(
            "name",
            format!("must be at most {SERVER_NAME_LIMIT} characters long: the names of its tools begin with it"),
        );
    }
    if tool.policy == Policy::Verify {
        refuse("policy", "cannot be verify: a server of this kind does not say whether a call took place".to_owned());
    }
    if let Err(refusal) = guard.check(&server.url) {
        refuse("url", refusal.to_string());
    }
    for name in server.headers.keys() {
        let lower = name.to_ascii_lowercase();
        let ours = [header::ACCEPT, header::CONTENT_TYPE].iter().any(|ours| ours.as_str() == lower);
        if ours || lower.starts_with("mcp-") || lower == "last-event-id" {
            refuse(&format!("headers.{name}"), "cannot be set: it belongs to the protocol".to_owned());
        }
    }
    let mut seen = BTreeSet::new();
    for (index, name) in server.tools.iter().flatten().enumerate() {
        if !(1..=TOOL_NAME_LIMIT).contains(&name.chars().count()) {
            refuse(&format!("tools[{index}]"), format!("must be 1 to {TOOL_NAME_LIMIT} characters long"));
        } else if !seen.insert(name) {
            refuse(&format!("tools[{index}]"), format!("'{name}' is there twice"));
        }
    }
    if server.tools.as_ref().is_some_and(|tools| tools.is_empty() || tools.len() > TOOLS_LIMIT) {
        refuse("tools", format!("must have 1 to {TOOLS_LIMIT} entries, or be left out for all tools of the server"));
    }
    check_headers(&server.headers, &mut problems);
    problems
}

/// What was pinned while an agent was being saved, so that no server is asked twice when the agent has to be saved again.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    known: Vec<(Tool, Tool)>,
}

impl Pins {
    /// Pins the tools of every server that has none yet; servers that have some are left alone and not asked.
    ///
    /// # Errors
    /// What is wrong with what the servers say, by field.
    pub(crate) async fn pin(&mut self, app: &App, tenant: Tenant, tools: &mut [Tool]) -> Result<(), Vec<Problem>> {
        let asked = tools.iter_mut().enumerate().map(async |(index, tool)| {
            let Kind::Mcp(server) = &tool.kind else { return Ok(None) };
            if !server.pinned.is_empty() {
                return Ok(None);
            }
            let unpinned = tool.clone();
            *tool = match self.known.iter().find(|(known, _)| *known == unpinned) {
                Some((_, pinned)) => pinned.clone(),
                None => pinned(app, tenant, index, &unpinned, server).await?,
            };
            Ok::<_, Vec<Problem>>(Some((unpinned, tool.clone())))
        });
        let (mut problems, mut known) = (Vec::new(), Vec::new());
        for outcome in join_all(asked).await {
            match outcome {
                Ok(pinned) => known.extend(pinned),
                Err(found) => problems.extend(found),
            }
        }
        if !known.is_empty() && problems.is_empty() {
            check_together(tools, &mut problems);
        }
        self.known = known;
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// The server with its tools pinned.
async fn pinned(app: &App, tenant: Tenant, index: usize, tool: &Tool, server: &Mcp) -> Result<Tool, Vec<Problem>> {
    let problem = |field: &str, message: String| Problem { field: format!("tools[{index}].{field}"), message };
    let listed = list(app, tenant, server).await.map_err(|message| vec![problem("url", message)])?;
    let (mut problems, mut pins) = (Vec::new(), Vec::new());
    for (field, found) in allowed(server, &listed) {
        match found.map(|listed| pin::pinned(&tool.name, listed.clone(), tool.policy)) {
            None => problems.push(problem(&field, "is no tool of the server".to_owned())),
            Some(pin) => {
                problems.extend(
                    flaws(&pin).map(|flaw| problem(&field, format!("the server's tool '{}' {flaw}", pin.tool))),
                );
                pins.push(pin);
            }
        }
    }
    if pins.is_empty() && problems.is_empty() {
        problems.push(problem("url", "the MCP server has no tools".to_owned()));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Tool { kind: Kind::Mcp(Mcp { pinned: pins, ..server.clone() }), ..tool.clone() })
}

/// The tools that are allowed, each with the field that names it.
fn allowed<'a>(server: &Mcp, listed: &'a [Listed]) -> Vec<(String, Option<&'a Listed>)> {
    match &server.tools {
        Some(names) => {
            let find = |name: &String| listed.iter().find(|tool| tool.name == name.as_str());
            names.iter().enumerate().map(|(index, name)| (format!("tools[{index}]"), find(name))).collect()
        }
        // One more than there may be shows that there are too many.
        None => listed.iter().take(TOOLS_LIMIT + 1).map(|tool| ("url".to_owned(), Some(tool))).collect(),
    }
}

async fn list(app: &App, tenant: Tenant, server: &Mcp) -> Result<Vec<Listed>, String> {
    let wire = prepare(app, tenant, server, LIST_TIMEOUT).await.map_err(|refused| refused.message)?;
    let session = Session::open(wire).await.map_err(|trouble| trouble.to_string())?;
    session.tools().await.map_err(|trouble| trouble.to_string())
}

/// What is wrong with a tool as its server describes it.
fn flaws(pin: &Pinned) -> impl Iterator<Item = String> {
    let name = (!(1..=TOOL_NAME_LIMIT).contains(&pin.tool.chars().count()) || pin.tool.contains(char::is_control))
        .then(|| format!("must have a name of 1 to {TOOL_NAME_LIMIT} characters"));
    let long = pin.description.chars().count() > DESCRIPTION_LIMIT;
    let long = long.then(|| format!("has a description of more than {DESCRIPTION_LIMIT} characters"));
    let schema = schema::check(&pin.parameters).err().map(|flaw| format!("has parameters that cannot be used: {flaw}"));
    name.into_iter().chain(long).chain(schema)
}

/// What is wrong with all tools together, now that the servers' are known: too many, too large, or two of one name.
fn check_together(tools: &[Tool], problems: &mut Vec<Problem>) {
    let mut refuse = |field: String, message: String| problems.push(Problem { field, message });
    let mut names = BTreeSet::new();
    let (mut count, mut bytes): (usize, usize) = (0, 0);
    for (index, tool) in tools.iter().enumerate() {
        for one in pin::callable(tool) {
            count = count.saturating_add(1);
            if let Kind::Mcp(_) = one.kind {
                bytes = bytes.saturating_add(one.description.len()).saturating_add(one.parameters.to_string().len());
            }
            if !names.insert(one.name.clone()) {
                refuse(format!("tools[{index}].name"), format!("'{}' is the name of another tool too", one.name));
            }
        }
    }
    if count > TOOLS_LIMIT {
        refuse(
            "tools".to_owned(),
            format!("must be at most {TOOLS_LIMIT} with those of the servers: name fewer in 'tools'"),
        );
    }
    if bytes > PINNED_LIMIT_BYTES {
        let message = format!("the servers' tools take more than {PINNED_LIMIT_BYTES} bytes: name fewer in 'tools'");
        refuse("tools".to_owned(), message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pin(name: &str, description: &str, parameters: serde_json::Value) -> Vec<String> {
        let listed = json!({"name": name, "description": description, "inputSchema": parameters});
        flaws(&pin::pinned("s", serde_json::from_value(listed).unwrap(), Policy::Once)).collect()
    }

    #[test]
    fn what_a_server_describes_is_held_to_the_limits_of_authors() {
        let object = json!({"type": "object"});
        assert_eq!(pin("a", &"x".repeat(DESCRIPTION_LIMIT), object.clone()), Vec::<String>::new());
        assert!(pin("a", &"x".repeat(DESCRIPTION_LIMIT + 1), object.clone())[0].contains("description"));
        assert!(pin("", "", object.clone())[0].contains("name"));
        assert!(pin("a\n", "", object)[0].contains("name"));
        assert!(pin("a", "", json!({"type": "string"}))[0].contains("parameters"));
        let large = json!({"type": "object", "description": "x".repeat(schema::SCHEMA_LIMIT_BYTES)});
        assert!(pin("a", "", large)[0].contains("larger"));
    }
}
