//! What may be in a file, and whether that is in it. Pure.

use ring::digest;

use super::{FILE_LIMIT_BYTES, File, NAME_LIMIT};
use crate::error::Problem;

/// The media types that a file may have, besides every `text/…`: images that models can see, and texts.
pub const MEDIA_TYPES: [&str; 8] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/json",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
];

/// What is wrong with a file's name and media type.
pub(super) fn named(name: &str, media_type: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let length = name.chars().count();
    if !(1..=NAME_LIMIT).contains(&length) || name.chars().any(char::is_control) {
        let message = format!("must be 1 to {NAME_LIMIT} characters, no control characters among them");
        problems.push(Problem { field: "name".to_owned(), message });
    }
    if !known(media_type) {
        let message =
            format!("must be text/… or one of {}, in lower case and without parameters", MEDIA_TYPES.join(", "));
        problems.push(Problem { field: "media_type".to_owned(), message });
    }
    problems
}

/// Whether files may have that media type.
pub(super) fn known(media_type: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".+-_".contains(&byte);
    let text =
        media_type.strip_prefix("text/").is_some_and(|kind| (1..=60).contains(&kind.len()) && kind.bytes().all(plain));
    text || MEDIA_TYPES.contains(&media_type)
}

/// Whether models see the file, instead of reading it.
pub(super) fn is_image(media_type: &str) -> bool {
    media_type.starts_with("image/")
}

/// Whether these bytes are what a file of that media type holds; what is wrong otherwise.
pub(super) fn check(media_type: &str, bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() || bytes.len() > FILE_LIMIT_BYTES {
        return Err(format!("must have 1 to {FILE_LIMIT_BYTES} bytes, not {}", bytes.len()));
    }
    let fits = match media_type {
        "image/png" => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg" => bytes.starts_with(b"\xff\xd8\xff"),
        "image/gif" => bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
        "image/webp" => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        _ => std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')),
    };
    if fits {
        return Ok(());
    }
    Err(if is_image(media_type) {
        format!("is no {media_type}: its first bytes are others")
    } else {
        "must be text in UTF-8".to_owned()
    })
}

/// Whether these bytes are those that the file was announced with.
pub(super) fn announced(file: &File, bytes: &[u8]) -> Result<(), String> {
    if u64::try_from(bytes.len()) != Ok(file.bytes) {
        return Err(format!("the file was announced with {} bytes, and {} came", file.bytes, bytes.len()));
    }
    check(&file.media_type, bytes).map_err(|problem| format!("the file {problem}"))
}

/// In lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_be_what_the_media_type_says() {
        let webp = b"RIFF\0\0\0\0WEBPVP8 ".as_slice();
        let good = [
            ("image/png", b"\x89PNG\r\n\x1a\n...".as_slice()),
            ("image/jpeg", b"\xff\xd8\xff\xe0"),
            ("image/gif", b"GIF89a"),
            ("image/webp", webp),
            ("text/markdown", "# Grüße".as_bytes()),
            ("application/json", b"{}"),
        ];
        for (media_type, bytes) in good {
            assert_eq!(check(media_type, bytes), Ok(()), "{media_type}");
            for (other, _) in good.into_iter().filter(|(other, _)| *other != media_type && is_image(other)) {
                assert!(check(other, bytes).is_err(), "{media_type} as {other}");
            }
        }
        for (media_type, bytes) in [("text/plain", b"\xff\xfe".as_slice()), ("text/csv", b"a\0b"), ("text/plain", b"")]
        {
            assert!(check(media_type, bytes).is_err(), "{media_type} {bytes:?}");
        }
        assert!(check("text/plain", &vec![b'a'; FILE_LIMIT_BYTES + 1]).is_err());
    }

    #[test]
    fn names_and_media_types_are_plain() {
        for media_type in MEDIA_TYPES.into_iter().chain(["text/plain", "text/vnd.in3d.3dml", "text/x-rust"]) {
            assert_eq!(named("a", media_type), Vec::new(), "{media_type}");
        }
        for bad in
            ["", "text/", "text/plain; charset=utf-8", "TEXT/plain", "image/svg+xml", "application/pdf", "text/a b"]
        {
            assert_eq!(named("a", bad).first().map(|problem| problem.field.as_str()), Some("media_type"), "{bad}");
        }
        for bad in ["", "a\nb", "\u{0}", &"x".repeat(NAME_LIMIT + 1)] {
            assert_eq!(named(bad, "text/plain").first().map(|problem| problem.field.as_str()), Some("name"), "{bad}");
        }
    }
}
