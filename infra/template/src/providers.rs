//! The providers' settings: parameters of the template, and variables of the functions that ask or list models.

use shared::model::settings::Vendor;

use crate::logical_id;

/// The parameters. Base URLs are kept from view too: some carry credentials.
pub(crate) fn parameters() -> String {
    let parameter = |(variable, about): (&str, String)| {
        let name = parameter(variable);
        format!("  {name}: {{ Type: String, Default: \"\", NoEcho: true, Description: \"{about}\" }}\n")
    };
    settings().map(parameter).collect()
}

/// The variables of a function that asks or lists models, as lines. One that is empty counts as not set.
pub(crate) fn variables() -> String {
    let variable = |(variable, _): (&str, String)| format!("          {variable}: !Ref {}\n", parameter(variable));
    settings().map(variable).chain([OTHERS.to_owned()]).collect()
}

/// What such a function knows besides: prices, the models that grade and compare, and the functions that tools may be.
const OTHERS: &str = "          MUSTER_PRICES: !Ref Prices
          MUSTER_JUDGE_MODEL: !Ref JudgeModel
          MUSTER_EMBEDDING_MODEL: !Ref EmbeddingModel
          MUSTER_TOOL_FUNCTIONS: !Join [\",\", !Ref ToolFunctions]
          MUSTER_FUNCTION_SCOPE: !Sub \"arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:\"
";

/// Each setting's variable, and what it is.
fn settings() -> impl Iterator<Item = (&'static str, String)> {
    Vendor::ALL.into_iter().flat_map(|vendor| {
        let name = vendor.prefix();
        let key = vendor.key_variables().first().map(|variable| (*variable, format!("API key of {name}")));
        let base = vendor.base_url_variable();
        let base = base.map(|variable| (variable, format!("Base URL of {name}, unless it is the provider's own")));
        key.into_iter().chain(base)
    })
}

/// `OPENAI_API_KEY` is the parameter `OpenaiApiKey`.
fn parameter(variable: &str) -> String {
    logical_id(&variable.to_lowercase())
}
