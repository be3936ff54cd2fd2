//! How alike an answer and a sentence are. That is found out by a run like a judge's, whose model is not told anything but makes embeddings of
//! both: so it is as durable, retried and paid for as every other call of a model.

use crate::{
    agent::{AgentVersion, Definition},
    app::App,
    clock::Timestamp,
    model::{Answer, FaultKind, Finish, ModelFault, ModelName, Request},
    provider::Whose,
    tenant::Tenant,
};

/// What its runs show as their agent's name.
const NAME: &str = "similarity";

/// Who compares, as an agent of the organisation that nobody made: its id follows from what it is.
pub(super) fn agent(tenant: Tenant, model: ModelName, now: Timestamp) -> AgentVersion {
    let named = model.to_string();
    // A completion with this prompt and model is another agent.
    let said: [&[u8]; 3] = [b"compares", NAME.as_bytes(), named.as_bytes()];
    let definition = Definition { compares: true, max_steps: 1, max_tokens: Some(0), ..Definition::new(NAME, model) };
    AgentVersion::unnamed(tenant, &said, definition, now)
}

/// What its run is given: both texts, as a JSON array.
pub(super) fn told(answer: &str, sentence: &str) -> serde_json::Result<String> {
    serde_json::to_string(&[answer, sentence])
}

/// What its run has said.
///
/// # Errors
/// Why that is no similarity.
pub(super) fn read(said: &str) -> Result<f64, String> {
    said.parse().map_err(|_| "what came of the comparison is no number".to_owned())
}

/// Compares the two texts of the request, once. What is answered is the cosine of the angle between their embeddings, −1 to 1.
///
/// # Errors
/// What the failure means for the run.
pub(crate) async fn compare(app: &App, whose: &Whose, request: &Request) -> Result<Answer, ModelFault> {
    let pair = request.turns.last().and_then(|turn| serde_json::from_str::<[String; 2]>(turn.text()).ok());
    let pair =
        pair.ok_or_else(|| ModelFault::new(FaultKind::Refused, "there are no two texts to compare".to_owned()))?;
    let embedded = whose.embed(app, &request.model, &pair).await?;
    let [one, other] = embedded.vectors.as_slice() else {
        return Err(ModelFault::new(FaultKind::Incomprehensible, "there are no two embeddings".to_owned()));
    };
    let text = cosine(one, other).to_string();
    Ok(Answer { text, tool_calls: Vec::new(), finish: Finish::Stop, tokens: embedded.tokens })
}

/// The cosine of the angle between two vectors of the same length; 0 where one has none, for then it has nothing in common with the other.
fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot =
        |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    // Rounding must not make more than the same of what is the same.
    if lengths > 0.0 { (dot(one, other) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_of_the_angle_alone() {
        let close = |one: &[f32], other: &[f32], expected: f64| {
            let is = cosine(one, other);
            assert!((is - expected).abs() < 1e-9, "{one:?} {other:?}: {is}");
        };
        close(&[1.0, 0.0], &[5.0, 0.0], 1.0);
        close(&[1.0, 0.0], &[0.0, 2.0], 0.0);
        close(&[1.0, 0.0], &[-3.0, 0.0], -1.0);
        close(&[1.0, 0.0], &[1.0, 1.0], 0.5_f64.sqrt());
        close(&[0.0, 0.0], &[1.0, 1.0], 0.0);
        let odd = [0.1, 0.2, 0.3, 1e-20, f32::MAX];
        assert!((0.999_999..=1.0).contains(&cosine(&odd, &odd)));
    }

    #[test]
    fn what_is_told_and_said_is_read_again() {
        let told = told("a \"b\"", "ü\n").unwrap();
        assert_eq!(serde_json::from_str::<[String; 2]>(&told).unwrap(), ["a \"b\"", "ü\n"]);
        assert_eq!(read(&(1.0_f64 / 3.0).to_string()), Ok(1.0 / 3.0));
        assert!(read("much").is_err());
    }
}
