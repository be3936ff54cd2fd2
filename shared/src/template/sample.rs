//! What a prompt with templates may come to, to see whether an agent would take it. Pure.

use serde_json::{Value as Json, json};

use super::one_expression;
use crate::{
    agent::{InputType, Inputs},
    run::Prompt,
};

/// What a prompt may come to: the values of templates are such as the agent wants.
pub(crate) fn sample(prompt: &Prompt, declared: &[(&str, InputType)]) -> Prompt {
    let Prompt::Inputs(inputs) = prompt else { return Prompt::Message("an event".to_owned()) };
    let value = |(name, value): (&String, &Json)| {
        let open = value.as_str().is_some_and(|source| one_expression(source).is_some());
        let kind = declared.iter().find(|(its, _)| its == name).map(|(_, kind)| *kind);
        (name.clone(), kind.filter(|_| open).map_or_else(|| value.clone(), value_of))
    };
    Prompt::Inputs(inputs.iter().map(value).collect::<Inputs>())
}

/// A value of that type.
pub(crate) fn value_of(kind: InputType) -> Json {
    match kind {
        InputType::String => json!("x"),
        InputType::Number | InputType::Integer => json!(1),
        InputType::Boolean => json!(true),
        InputType::Array => json!([]),
        InputType::Object => json!({}),
    }
}
