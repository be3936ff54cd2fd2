//! How long a tool's answer may be.

use super::ANSWER_LIMIT_BYTES;

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
