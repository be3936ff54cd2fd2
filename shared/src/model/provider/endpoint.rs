//! Where each vendor's API is: its own address, or the operator's base URL with or without version and trailing slash.

use reqwest::Url;

use crate::model::settings::Vendor;

/// The region when none is configured.
const DEFAULT_AWS_REGION: &str = "us-east-1";

/// The address below which the vendor's paths are, ending with `/`; `None` when the operator's base URL is not an http(s) URL.
pub(crate) fn endpoint(vendor: Vendor, base_url: Option<&str>, aws_region: Option<&str>) -> Option<String> {
    match base_url {
        Some(text) => joined(vendor, text),
        None => Some(match vendor {
            Vendor::OpenAi => "https://api.openai.com/v1/".to_owned(),
            Vendor::Anthropic => "https://api.anthropic.com/v1/".to_owned(),
            Vendor::Gemini => "https://generativelanguage.googleapis.com/v1beta/".to_owned(),
            Vendor::Mistral => "https://api.mistral.ai/v1/".to_owned(),
            Vendor::OpenRouter => "https://openrouter.ai/api/v1/".to_owned(),
            Vendor::Ollama | Vendor::Demo => "http://127.0.0.1:11434/".to_owned(),
            Vendor::Bedrock => {
                format!("https://bedrock-runtime.{}.amazonaws.com/", aws_region.unwrap_or(DEFAULT_AWS_REGION))
            }
        }),
    }
}

fn joined(vendor: Vendor, text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let mut segments: Vec<String> =
        url.path().split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    match version(vendor) {
        Some(version) if !segments.iter().any(|segment| is_version(segment)) => segments.push(version.to_owned()),
        Some(_) => {}
        // Their paths carry the version or need none: a pasted `/v1` or `/api` is dropped.
        None => segments.retain(|segment| !is_version(segment) && segment != "api"),
    }
    let path: String = segments.iter().map(|segment| format!("{segment}/")).collect();
    url.set_path(&path);
    url.set_fragment(None);
    if !is_chat_completions(vendor) {
        // Only there is a query put behind the path (`?api-version=…`).
        url.set_query(None);
    }
    Some(url.into())
}

/// The first segment of the vendor's paths.
const fn version(vendor: Vendor) -> Option<&'static str> {
    match vendor {
        Vendor::OpenAi | Vendor::Anthropic | Vendor::Mistral | Vendor::OpenRouter => Some("v1"),
        Vendor::Gemini => Some("v1beta"),
        Vendor::Bedrock | Vendor::Ollama | Vendor::Demo => None,
    }
}

/// Whether it speaks OpenAI's chat completions format.
pub(super) const fn is_chat_completions(vendor: Vendor) -> bool {
    match vendor {
        Vendor::OpenAi | Vendor::Mistral | Vendor::OpenRouter => true,
        Vendor::Anthropic | Vendor::Gemini | Vendor::Bedrock | Vendor::Ollama | Vendor::Demo => false,
    }
}

/// Whether a path segment is a version, as in `v1`, `v4`, `v1beta`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_version_and_a_slash_or_not() {
        for text in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Mistral, Vendor::OpenRouter] {
                assert_eq!(joined(vendor, text).as_deref(), Some("http://h:1/v1/"), "{vendor:?} {text}");
            }
            assert_eq!(joined(Vendor::Ollama, text).as_deref(), Some("http://h:1/"), "{text}");
            assert_eq!(joined(Vendor::Bedrock, text).as_deref(), Some("http://h:1/"), "{text}");
        }
        assert_eq!(joined(Vendor::Gemini, "http://h").as_deref(), Some("http://h/v1beta/"));
        assert_eq!(joined(Vendor::Ollama, "http://h/api").as_deref(), Some("http://h/"));
    }

    #[test]
    fn a_gateways_own_path_is_kept() {
        let joined = |text| joined(Vendor::OpenAi, text).unwrap();
        assert_eq!(joined("https://h/openai"), "https://h/openai/v1/");
        assert_eq!(joined("https://h/v1beta/openai/"), "https://h/v1beta/openai/");
        assert_eq!(joined("https://h/api/paas/v4"), "https://h/api/paas/v4/");
        assert_eq!(joined("https://h/v1?api-version=2"), "https://h/v1/?api-version=2");
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for text in ["", "localhost", "ftp://h/", "file:///etc/passwd", "http://"] {
            assert_eq!(joined(Vendor::OpenAi, text), None, "{text}");
        }
    }
}
