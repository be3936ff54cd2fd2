//! Whether a trigger can be one: its texts are templates, and what it would start can be started.

use serde_json::{Value as Json, json};

use super::{DESCRIPTION_LIMIT, Definition, NAME_LIMIT, Source, Told, chain, object};
use crate::{
    agent::{self, InputType},
    app::App,
    error::{Error, Problem, Result},
    id::TriggerId,
    order::{self, Order, OrderItem, Work},
    run::{By, Cause, Prompt},
    template,
    tenant::Caller,
};

/// The most bytes of JSON of inputs with their templates, and of what the Cotool surface keeps.
const JSON_LIMIT_BYTES: usize = 64 * 1024;

pub(super) async fn all(app: &App, caller: &Caller, id: TriggerId, definition: &Definition) -> Result<()> {
    let Definition { name, description, filter, told, terms, cotool, .. } = definition;
    let mut problems = Vec::new();
    let mut refuse = |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
    if !(1..=NAME_LIMIT).contains(&name.chars().count()) {
        refuse("name", format!("must be 1 to {NAME_LIMIT} characters long"));
    }
    if description.chars().count() > DESCRIPTION_LIMIT {
        refuse("description", format!("must be at most {DESCRIPTION_LIMIT} characters long"));
    }
    if cotool.as_ref().is_some_and(|cotool| too_large(&json!(cotool.config))) {
        refuse("config", format!("must be at most {JSON_LIMIT_BYTES} bytes of JSON"));
    }
    problems.extend(filter.as_ref().and_then(|filter| template::check_expression("filter", filter).err()));
    if let Told::Rows { rows, custom_id, .. } = told {
        problems.extend(template::check_expression("rows", rows).err());
        problems.extend(custom_id.as_ref().and_then(|own| template::check_text("custom_id", own).err()));
    }
    if let Told::Each { custom_id: Some(own), .. } = told {
        problems.extend(template::check_text("custom_id", own).err());
    }
    if let Told::Prompt(prompt) | Told::Rows { prompt, .. } | Told::Each { prompt, .. } = told {
        if matches!(prompt, Prompt::Inputs(inputs) if too_large(&json!(inputs))) {
            problems.push(Problem {
                field: "inputs".to_owned(),
                message: format!("must be at most {JSON_LIMIT_BYTES} bytes of JSON"),
            });
        } else {
            template::check_prompt(prompt, &mut problems);
        }
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    chain::check(app, caller, definition).await?;
    object::check(app, caller, definition)?;
    let agent = agent::wanted(app, caller.tenant(), terms.agent_id, terms.version).await?;
    let declared: Vec<(&str, InputType)> =
        agent.definition.inputs.iter().map(|input| (input.name.as_str(), input.kind)).collect();
    let work = match told {
        Told::Prompt(prompt) => Work::Run(template::sample(prompt, &declared)),
        Told::Rows { prompt, .. } | Told::Each { prompt, .. } => {
            Work::Items(vec![OrderItem { custom_id: None, prompt: template::sample(prompt, &declared) }])
        }
        // Whatever comes: it is held to what the agent declares when it does.
        Told::Body => {
            let inputs = declared.iter().map(|(name, kind)| ((*name).to_owned(), template::value_of(*kind))).collect();
            let prompt = Prompt::Inputs(inputs);
            if definition.source == Source::S3 {
                Work::Items(vec![OrderItem { custom_id: None, prompt }])
            } else {
                Work::Run(prompt)
            }
        }
    };
    let unnumbered = |field: &str| field.replace("items[0].", "").replace("items[0]", "rows");
    order::check(app, caller, &Order { terms: terms.clone(), work }, Cause::of(By::Trigger(id)))
        .await
        .map_err(|error| error.with_fields(unnumbered))
}

fn too_large(value: &Json) -> bool {
    value.to_string().len() > JSON_LIMIT_BYTES
}
