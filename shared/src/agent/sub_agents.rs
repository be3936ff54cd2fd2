//! Tools that are agents: whether these are there when an agent is saved, and what they take unless its author says so.

use serde_json::{Map, Value, json};

use super::{Definition, Input, InputType, current, version_of};
use crate::{
    app::App,
    error::{Error, Problem, Result},
    tenant::Tenant,
    tool::{Kind, SubAgent, Tool},
};

/// Looks each agent up, and gives its tool the parameters that it takes if it has none; adds what is wrong. Tools that the agent `had`
/// stay as they are. An agent may name itself: how deep runs may be nested is limited.
pub(super) async fn resolve(
    app: &App,
    tenant: Tenant,
    tools: &mut [Tool],
    had: &[Tool],
    problems: &mut Vec<Problem>,
) -> Result<()> {
    for (index, tool) in tools.iter_mut().enumerate().filter(|(_, tool)| !had.contains(tool)) {
        let Kind::Agent(SubAgent { agent_id, version: number }) = tool.kind else { continue };
        let mut refuse = |field: &str, message: String| {
            problems.push(Problem { field: format!("tools[{index}].{field}"), message });
        };
        let mut agent = match current(app, tenant, agent_id).await {
            Err(Error::NotFound(_)) => {
                refuse("agent_id", "is no agent of the organisation".to_owned());
                continue;
            }
            other => other?,
        };
        if let Some(number) = number.filter(|number| *number != agent.number) {
            agent = match version_of(app, tenant, &agent, number).await {
                Err(Error::NotFound(_)) => {
                    refuse("version", "is no version of that agent".to_owned());
                    continue;
                }
                other => other?,
            };
        }
        if tool.parameters.is_null() {
            tool.parameters = parameters(&agent.definition);
        }
    }
    Ok(())
}

/// What the agent takes: its inputs, or a message.
fn parameters(agent: &Definition) -> Value {
    if agent.inputs.is_empty() {
        let message = json!({"type": "string", "description": "What the agent is told"});
        return json!({"type": "object", "properties": {"message": message}, "required": ["message"],
            "additionalProperties": false});
    }
    let property = |input: &Input| {
        let schema = match input.description.as_str() {
            "" => json!({"type": type_of(input.kind)}),
            description => json!({"type": type_of(input.kind), "description": description}),
        };
        (input.name.clone(), schema)
    };
    let properties: Map<String, Value> = agent.inputs.iter().map(property).collect();
    let required: Vec<&str> =
        agent.inputs.iter().filter(|input| input.required).map(|input| input.name.as_str()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

const fn type_of(kind: InputType) -> &'static str {
    match kind {
        InputType::String => "string",
        InputType::Number => "number",
        InputType::Boolean => "boolean",
        InputType::Integer => "integer",
        InputType::Array => "array",
        InputType::Object => "object",
    }
}
