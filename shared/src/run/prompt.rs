//! What an agent is told: a message or inputs, checked against what it declares.

use serde::{Deserialize, Serialize};

use crate::{
    agent::{self, Definition, Inputs},
    error::Problem,
};

/// The longest message, in bytes of UTF-8: less than a body may have.
pub const MESSAGE_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A message.
    Message(String),
    /// Inputs by name: given to the model as JSON.
    Inputs(Inputs),
}

impl Prompt {
    fn text(self, field: &str) -> Result<String, Problem> {
        let problem = |message: String| Problem { field: field.to_owned(), message };
        let text = match self {
            Self::Message(text) if text.trim().is_empty() => return Err(problem("must not be empty".to_owned())),
            Self::Message(text) => text,
            Self::Inputs(inputs) => serde_json::Value::Object(inputs).to_string(),
        };
        if text.len() > MESSAGE_LIMIT_BYTES {
            return Err(problem(format!("must be at most {MESSAGE_LIMIT_BYTES} bytes long")));
        }
        Ok(text)
    }

    /// What the model reads, and the inputs that the agent declares; checked. `at` stands before the names of fields. `earlier` are
    /// the inputs of the chat so far, which hold for a message that goes on with it.
    pub(crate) fn checked(
        self,
        agent: &Definition,
        at: &str,
        earlier: Option<Inputs>,
    ) -> Result<(String, Option<Inputs>), Vec<Problem>> {
        let declared = &agent.inputs;
        let field = format!("{at}inputs");
        let inputs = match &self {
            _ if declared.is_empty() => None,
            Self::Inputs(given) => {
                let problems = agent::input_problems(declared, given, &field);
                if !problems.is_empty() {
                    return Err(problems);
                }
                Some(given.clone())
            }
            Self::Message(_) => {
                let earlier = earlier.filter(|given| agent::input_problems(declared, given, &field).is_empty());
                if earlier.is_none() && declared.iter().any(|input| input.required) {
                    let message = format!("the agent takes inputs, not a message: {}", agent::input_names(declared));
                    return Err(vec![Problem { field, message }]);
                }
                earlier
            }
        };
        if let Some(limit) = inputs.as_ref().and_then(|given| agent::too_long(&agent.system_prompt, declared, given)) {
            let message = format!("make the system prompt longer than {limit} bytes");
            return Err(vec![Problem { field, message }]);
        }
        let name = if matches!(self, Self::Message(_)) { "message" } else { "inputs" };
        let text = self.text(&format!("{at}{name}")).map_err(|problem| vec![problem])?;
        Ok((text, inputs))
    }
}
