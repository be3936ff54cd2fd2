//! Field names as the surfaces with camelCase write them. The core's are snake_case.

use shared::Error;

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

/// What the core says of its own fields, with their names so: for errors of the core alone, since what is wrong with the
/// request itself is named as it stands there.
pub(crate) fn fields(error: Error) -> Error {
    error.with_fields(field)
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
