//! How long a tool's answer may be, and what the status of one that is no success means.

use http::StatusCode;

use super::{ANSWER_LIMIT_BYTES, Outcome};

/// The note that stands where an answer was cut.
pub(super) const CUT: &str = "\n[The rest was cut off: the answer is too long.]";

/// The text, cut between two characters when it is too long, or was `cut` already.
pub(crate) fn within_limit(mut text: String, cut: bool) -> String {
    if cut || text.len() > ANSWER_LIMIT_BYTES {
        text.truncate(text.floor_char_boundary(ANSWER_LIMIT_BYTES - CUT.len()));
        text.push_str(CUT);
    }
    text
}

/// The outcome of a call that was answered with this status, which is no success.
pub(super) fn refused(status: StatusCode, content: String) -> Outcome {
    if of_gateway(status) {
        Outcome::Gateway { content }
    } else {
        Outcome::Answered { content, failed: true, passing: passes(status) }
    }
}

/// Whether the same call may succeed later.
pub(super) fn passes(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// Whether gateways and balancers say this of a server that they have passed the request on to, or may have. Above 504 are those of
/// Cloudflare.
fn of_gateway(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 502..=504 | 520..=527)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_may_have_said_is_no_answer_of_the_tool() {
        for code in 300..600 {
            let outcome = refused(StatusCode::from_u16(code).unwrap(), String::new());
            let gateway = [408, 502, 503, 504].contains(&code) || (520..528).contains(&code);
            let passing = code >= 500 || [425, 429].contains(&code);
            let answered = Outcome::Answered { content: String::new(), failed: true, passing };
            assert_eq!(outcome, if gateway { Outcome::Gateway { content: String::new() } } else { answered }, "{code}");
        }
    }
}
