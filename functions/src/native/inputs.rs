//! The inputs that an agent declares, as bodies have them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::agent::{Input, InputType};

/// An input that an agent declares.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputView {
    /// `A-Z a-z 0-9 _`, different within an agent. `{{name}}` in the system prompt takes its value.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// What it is.
    #[schemars(length(max = 2_000))]
    #[serde(default)]
    description: String,
    /// Whether each run must be given it: `true` unless given.
    #[serde(default = "yes")]
    required: bool,
    /// What its values are: `string` unless given.
    #[serde(default, rename = "type")]
    kind: InputTypeView,
}

const fn yes() -> bool {
    true
}

/// What the values of an input are.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum InputTypeView {
    /// A text.
    #[default]
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A number without a fraction.
    Integer,
    /// A list of anything.
    Array,
    /// Anything by name.
    Object,
}

impl From<InputView> for Input {
    fn from(view: InputView) -> Self {
        let kind = match view.kind {
            InputTypeView::String => InputType::String,
            InputTypeView::Number => InputType::Number,
            InputTypeView::Boolean => InputType::Boolean,
            InputTypeView::Integer => InputType::Integer,
            InputTypeView::Array => InputType::Array,
            InputTypeView::Object => InputType::Object,
        };
        Self { name: view.name, description: view.description, required: view.required, kind }
    }
}

impl From<Input> for InputView {
    fn from(input: Input) -> Self {
        let kind = match input.kind {
            InputType::String => InputTypeView::String,
            InputType::Number => InputTypeView::Number,
            InputType::Boolean => InputTypeView::Boolean,
            InputType::Integer => InputTypeView::Integer,
            InputType::Array => InputTypeView::Array,
            InputType::Object => InputTypeView::Object,
        };
        Self { name: input.name, description: input.description, required: input.required, kind }
    }
}

/// The inputs that these views mean.
pub(super) fn inputs(views: Vec<InputView>) -> Vec<Input> {
    views.into_iter().map(Into::into).collect()
}

/// The views of these inputs.
pub(super) fn views(inputs: Vec<Input>) -> Vec<InputView> {
    inputs.into_iter().map(Into::into).collect()
}
