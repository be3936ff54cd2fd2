//! What a model is given of a tool's answer: text, within a limit, and of headers the content type alone.

use http::header;

use crate::{net::Answer, secret::Redaction, tool::answer::within_limit};

/// The answer of a call that succeeded.
pub(super) fn content(secrets: &Redaction, answer: Answer) -> String {
    match (body(secrets, &answer), answer.cut) {
        (text, _) if text.is_empty() => format!("HTTP {}, without content", answer.status.as_u16()),
        (text, cut) => within_limit(text, cut),
    }
}

/// The answer of a call that failed: its status, and what it says.
pub(super) fn failed_content(secrets: &Redaction, answer: Answer) -> String {
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        return format!("HTTP {status}: a redirect, which was not followed");
    }
    within_limit(format!("HTTP {status}\n{}", body(secrets, &answer)), answer.cut)
}

fn body(secrets: &Redaction, answer: &Answer) -> String {
    let media = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media: String = secrets.clean(media.as_bytes(), false).chars().take(100).collect();
    text(secrets, answer, &media.to_ascii_lowercase()).unwrap_or_else(|| {
        let more = if answer.cut { "more than " } else { "" };
        let media = if media.is_empty() { "of unknown type" } else { &media };
        format!("[Binary content, {media}, {more}{} bytes]", answer.body.len())
    })
}

/// The body as text, if it is text. What is labelled as text and has bytes of another encoding is read as far as it can be.
fn text(secrets: &Redaction, answer: &Answer, media: &str) -> Option<String> {
    let coded = answer.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    let pictures = ["image/", "audio/", "video/", "font/"].iter().any(|kind| media.starts_with(kind));
    if coded || answer.body.contains(&0) || (pictures && !media.starts_with("image/svg")) {
        return None;
    }
    let whole = answer.body.utf8_chunks().all(|chunk| chunk.invalid().is_empty());
    let only_its_end = answer.cut && std::str::from_utf8(&answer.body).is_err_and(|error| error.error_len().is_none());
    let labelled = media.starts_with("text/") || media.contains("json") || media.contains("xml");
    (whole || only_its_end || labelled).then(|| secrets.clean(&answer.body, answer.cut))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::*;
    use crate::tool::{ANSWER_LIMIT_BYTES, answer::CUT};

    fn content(answer: Answer) -> String {
        super::content(&Redaction::default(), answer)
    }

    fn failed_content(answer: Answer) -> String {
        super::failed_content(&Redaction::default(), answer)
    }

    fn answer(status: u16, headers: &[(HeaderName, &'static str)], body: &[u8]) -> Answer {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_vec(), cut: false }
    }

    #[test]
    fn text_is_given_and_binary_content_is_named() {
        let typed = |media: &'static str, body: &[u8]| content(answer(200, &[(header::CONTENT_TYPE, media)], body));
        assert_eq!(typed("application/json", b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(typed("application/octet-stream", b"words"), "words");
        assert_eq!(typed("text/html; charset=latin1", b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(typed("image/png", b"words"), "[Binary content, image/png, 5 bytes]");
        assert_eq!(typed("application/pdf", b"\xff\x00"), "[Binary content, application/pdf, 2 bytes]");
        assert_eq!(content(answer(200, &[], b"\xff")), "[Binary content, of unknown type, 1 bytes]");
        assert_eq!(content(answer(204, &[], b"")), "HTTP 204, without content");
        let zipped = answer(200, &[(header::CONTENT_ENCODING, "gzip")], b"words");
        assert_eq!(content(zipped), "[Binary content, of unknown type, 5 bytes]");
    }

    #[test]
    fn what_is_too_long_is_cut_between_two_characters() {
        let mut long = answer(200, &[], "é".repeat(ANSWER_LIMIT_BYTES / 2).as_bytes());
        assert_eq!(content(answer(200, &[], &long.body)).len(), ANSWER_LIMIT_BYTES);
        long.body.insert(0, b'a');
        long.body.pop();
        long.cut = true;
        let text = content(long);
        assert!(text.len() <= ANSWER_LIMIT_BYTES && text.ends_with(CUT) && text.starts_with("aé"));
        let failed = failed_content(answer(500, &[], &vec![b'x'; ANSWER_LIMIT_BYTES]));
        assert!(failed.len() == ANSWER_LIMIT_BYTES && failed.starts_with("HTTP 500\nxxx") && failed.ends_with(CUT));
    }

    #[test]
    fn no_header_reaches_the_model() {
        let answer = answer(302, &[(header::LOCATION, "https://inside.test/"), (header::SERVER, "x")], b"moved");
        assert_eq!(failed_content(answer), "HTTP 302: a redirect, which was not followed");
    }
}
