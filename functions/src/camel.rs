//! Field names as the surfaces with camelCase write them. The core's are snake_case.

use shared::{Error, error::Problem};

/// The path of a field with its names in camelCase: `items[3].system_prompt` is `items[3].systemPrompt`.
pub(crate) fn field(path: &str) -> String {
    let mut parts = path.split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// The error with its fields so.
pub(crate) fn error(error: &Error) -> String {
    let Error::Invalid(problems) = error else { return error.to_string() };
    let said = problems.iter().map(|Problem { field: path, message }| match path.as_str() {
        "" => message.clone(),
        path => format!("{}: {message}", field(path)),
    });
    said.collect::<Vec<_>>().join("; ")
}

/// The core's error with its fields so: for a surface that knows which names are the core's and which are the caller's own.
pub(crate) fn named(error: Error) -> Error {
    let Error::Invalid(mut problems) = error else { return error };
    for problem in &mut problems {
        problem.field = field(&problem.field);
    }
    Error::Invalid(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_written_in_camel_case() {
        for (path, camel) in
            [("", ""), ("model", "model"), ("items[3].system_prompt", "items[3].systemPrompt"), ("chat_id", "chatId")]
        {
            assert_eq!(field(path), camel);
        }
    }
}
