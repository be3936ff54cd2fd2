//! Many small things in few rows: which go into one row together.

/// How many things a row holds at most.
pub(crate) const MOST: usize = 100;
/// How many bytes of them, but for one thing that is larger: then it is alone.
const MOST_BYTES: usize = 200_000;

/// The things in parts that a row can hold, in their order: the same things, the same parts. Nothing is one empty part.
pub(crate) fn parts<T>(things: Vec<T>, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    let (mut now, mut bytes) = (Vec::new(), 0_usize);
    for thing in things {
        let length = length(&thing);
        if now.len() >= MOST || (!now.is_empty() && bytes.saturating_add(length) > MOST_BYTES) {
            parts.push(std::mem::take(&mut now));
            bytes = 0;
        }
        bytes = bytes.saturating_add(length);
        now.push(thing);
    }
    parts.push(now);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_no_more_than_a_row_can_hold_and_nothing_is_lost() {
        let sizes = |lengths: Vec<usize>| {
            let all = lengths.clone();
            let parts = parts(lengths, |length| *length);
            assert_eq!(parts.concat(), all);
            parts.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(vec![1; 250]), [100, 100, 50]);
        assert_eq!(sizes(vec![150_000, 50_000, 1, 900_000, 1]), [2, 1, 1, 1]);
        assert_eq!(sizes(vec![]), [0]);
    }
}
