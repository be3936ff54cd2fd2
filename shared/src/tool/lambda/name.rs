//! Names of functions within one account and region.

use crate::config::Invalid;

/// The longest name of a function, and of a version or alias.
const NAME_LIMIT: usize = 64;
const QUALIFIER_LIMIT: usize = 128;
/// The variable that names the functions.
const VARIABLE: &str = "MUSTER_TOOL_FUNCTIONS";

/// A function, with the version or alias behind a colon if it has one. It is a function of the deployment's own account and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub(super) function: String,
    pub(super) qualifier: Option<String>,
}

impl Name {
    /// From `name`, `name:qualifier`, or an ARN that begins with `scope`, which is all before the name in an ARN of the deployment's
    /// own account and region: `arn:aws:lambda:eu-west-1:123456789012:function:`.
    ///
    /// # Errors
    /// What is wrong with it, to stand after its field.
    pub fn parse(text: &str, scope: &str) -> Result<Self, String> {
        let name = if text.starts_with("arn:") {
            text.strip_prefix(scope).ok_or("must be a function of this deployment's own account and region")?
        } else {
            text
        };
        let (function, qualifier) = match name.split_once(':') {
            Some((function, qualifier)) => (function, Some(qualifier)),
            None => (name, None),
        };
        let fits = is_word(function, NAME_LIMIT) && qualifier.is_none_or(is_qualifier);
        if !fits {
            return Err(format!(
                "must be the name of a function (1 to {NAME_LIMIT} characters of A-Z, a-z, 0-9, _ and -), with :VERSION or :ALIAS \
                 or not, or its ARN"
            ));
        }
        Ok(Self { function: function.to_owned(), qualifier: qualifier.map(str::to_owned) })
    }

    /// The functions in a list of ARNs with commas between them, as the template's parameter `ToolFunctions` has it.
    ///
    /// # Errors
    /// Which of them is none of this account and region.
    pub fn list(text: &str, scope: &str) -> Result<Vec<Self>, Invalid> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).zip(1..);
        let parsed = entries.map(|(entry, place)| {
            let arn = entry.starts_with("arn:").then(|| Self::parse(entry, scope));
            let name = arn.unwrap_or_else(|| Err("must be an ARN".to_owned()));
            name.map_err(|problem| Invalid { name: VARIABLE, problem: format!("number {place} {problem}") })
        });
        parsed.collect()
    }
}

fn is_word(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_qualifier(text: &str) -> bool {
    text == "$LATEST" || is_word(text, QUALIFIER_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "arn:aws:lambda:eu-west-1:123456789012:function:";

    fn name(function: &str, qualifier: Option<&str>) -> Name {
        Name { function: function.to_owned(), qualifier: qualifier.map(str::to_owned) }
    }

    #[test]
    fn a_function_is_named_alone_with_a_version_or_by_arn() {
        for (text, expected) in [
            ("send-mail", name("send-mail", None)),
            ("send_mail:7", name("send_mail", Some("7"))),
            ("send:$LATEST", name("send", Some("$LATEST"))),
            ("arn:aws:lambda:eu-west-1:123456789012:function:send", name("send", None)),
            ("arn:aws:lambda:eu-west-1:123456789012:function:send:live", name("send", Some("live"))),
        ] {
            assert_eq!(Name::parse(text, SCOPE), Ok(expected), "{text}");
        }
    }

    #[test]
    fn another_account_or_region_and_what_is_no_name_is_refused() {
        for text in [
            "arn:aws:lambda:eu-west-2:123456789012:function:send",
            "arn:aws:lambda:eu-west-1:210987654321:function:send",
            "arn:aws:sqs:eu-west-1:123456789012:send",
            "123456789012:function:send",
            "send:a:b",
            "send:",
            ":send",
            "",
            "send mail",
            "../send",
            "send:$OTHER",
            "sénd",
            &"x".repeat(65),
        ] {
            assert!(Name::parse(text, SCOPE).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_is_of_arns_and_says_which_one_is_wrong() {
        let both = format!("{SCOPE}a, {SCOPE}b:live,");
        assert_eq!(Name::list(&both, SCOPE).unwrap(), [name("a", None), name("b", Some("live"))]);
        assert_eq!(Name::list("", SCOPE).unwrap(), []);
        for bad in ["a", "arn:aws:lambda:eu-west-2:1:function:a", &format!("{SCOPE}*")] {
            let error = Name::list(&format!("{SCOPE}a,{bad}"), SCOPE).unwrap_err().to_string();
            assert!(error.starts_with("MUSTER_TOOL_FUNCTIONS: number 2 "), "{error}");
        }
    }
}
