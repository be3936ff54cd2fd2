//! What is refused about a provider when it is saved.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::{ID_LIMIT, KEY_LIMIT_BYTES, Kind, MODELS_LIMIT, NAME_LIMIT, NewKey, NewProvider, Provider};
use crate::{
    app::App,
    error::{Error, Problem, Result},
    model::{catalogue::is_model, provider::endpoint, settings::Vendor},
};

/// What an id is made of that is made of no letters and digits.
const NAMELESS: &str = "provider";
/// The most of a name that goes into an id.
const OF_NAME: usize = 40;

/// Refuses a new one.
pub(super) fn new(app: &App, id: Option<&str>, new: &NewProvider) -> Result<()> {
    let mut problems = Vec::new();
    if let Some(id) = id {
        if !is_id(id) {
            let message = format!("must be 1 to {ID_LIMIT} of A-Z a-z 0-9 . _ -, and begin with a letter or a digit");
            problems.push(problem("id", message));
        } else if is_vendor(id) {
            let message = format!("must not be '{id}': names of models of this deployment begin with it");
            problems.push(problem("id", message));
        }
    }
    check(app, new, &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// Refuses a change.
pub(super) fn change(app: &App, old: &Provider, new: &NewProvider) -> Result<()> {
    let mut problems = Vec::new();
    check(app, new, &mut problems);
    let moved = (old.kind, &old.custom_url) != (new.kind, &new.custom_url);
    if moved && old.has_key() && matches!(new.api_key, NewKey::Kept) {
        let message =
            "must be given again, or be null, when type or custom_url change: it was given for another address";
        problems.push(problem("api_key", message));
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn check(app: &App, new: &NewProvider, problems: &mut Vec<Problem>) {
    if new.name.trim().is_empty() || new.name.chars().count() > NAME_LIMIT {
        problems.push(problem("name", format!("must be 1 to {NAME_LIMIT} characters long")));
    }
    if let NewKey::Set(key) = &new.api_key
        && !is_key(key.expose_secret())
    {
        let message = format!("must be 1 to {KEY_LIMIT_BYTES} printable ASCII characters without blanks");
        problems.push(problem("api_key", message));
    }
    if new.available_models.len() > MODELS_LIMIT {
        problems.push(problem("available_models", format!("must have at most {MODELS_LIMIT} entries")));
    }
    let mut seen = BTreeSet::new();
    for (index, model) in new.available_models.iter().enumerate() {
        let message = match () {
            () if !is_model(model) => "must be 1 to 200 printable ASCII characters without blanks and '::'",
            () if !seen.insert(model) => "is there twice",
            () => continue,
        };
        problems.push(problem(&format!("available_models[{index}]"), message));
    }
    if let Err(message) = check_url(app, new.kind, new.custom_url.as_deref()) {
        problems.push(problem("custom_url", message));
    }
}

fn check_url(app: &App, kind: Kind, url: Option<&str>) -> Result<(), String> {
    let azure = "must be that of Azure's v1 API, such as https://NAME.openai.azure.com/openai/v1";
    let Some(url) = url else {
        let why = if kind == Kind::Azure { azure } else { "must be given: this type has no address of its own" };
        return if kind.needs_url() { Err(why.to_owned()) } else { Ok(()) };
    };
    app.guard().check(url).map_err(|refusal| refusal.to_string())?;
    let endpoint = endpoint(kind.vendor(), Some(url), None).ok_or("cannot be called")?;
    // What it is called by is not quite what it says.
    app.guard().check(&endpoint).map_err(|refusal| refusal.to_string())?;
    // Azure's older API has other paths, and takes the key in another header.
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    if kind == Kind::Azure && !path.ends_with("/v1") {
        return Err(azure.to_owned());
    }
    Ok(())
}

fn problem(field: &str, message: impl Into<String>) -> Problem {
    Problem { field: field.to_owned(), message: message.into() }
}

/// What may be an id.
pub(super) fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=ID_LIMIT).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(plain)
}

/// Whether it is what names of the deployment's models begin with, however it is written.
pub(super) fn is_vendor(id: &str) -> bool {
    Vendor::from_prefix(&id.to_ascii_lowercase()).is_some()
}

fn is_key(text: &str) -> bool {
    (1..=KEY_LIMIT_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An id that is not taken, of this name: its letters and digits, in small letters, with `-` for what is between them.
pub(super) fn made_id(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut id = words.join("-").to_ascii_lowercase();
    id.truncate(OF_NAME);
    let id = id.trim_end_matches('-');
    let id = if id.is_empty() { NAMELESS } else { id };
    let numbered = (1_u32..).map(|number| if number == 1 { id.to_owned() } else { format!("{id}-{number}") });
    numbered.filter(|id| !is_vendor(id)).find(|id| !taken(id)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_the_name_and_is_nobodys() {
        let made = |name: &str, taken: &[&str]| made_id(name, |id| taken.contains(&id));
        assert_eq!(made("Our vLLM, in Oslo!", &[]), "our-vllm-in-oslo");
        assert_eq!(made("Our vLLM", &["our-vllm", "our-vllm-2"]), "our-vllm-3");
        assert_eq!(made("OpenAI", &[]), "openai-2", "that is the deployment's");
        for name in ["", "äöü", "-- --"] {
            assert_eq!(made(name, &[]), "provider", "{name}");
        }
        let long = made(&"a b".repeat(100), &[]);
        assert!(is_id(&long) && long.len() <= OF_NAME, "{long}");
    }

    #[test]
    fn an_id_begins_with_a_letter_or_a_digit() {
        for id in ["a", "A.b_c-9", "9", &"x".repeat(64)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "-a", ".a", "_a", "!", "a/b", "a b", "é", "a\0", &"x".repeat(65)] {
            assert!(!is_id(id), "{id}");
        }
        assert!(is_vendor("openai") && is_vendor("OpenAI") && is_vendor("demo") && !is_vendor("openai-2"));
    }
}
