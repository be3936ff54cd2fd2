//! Server-sent events, as far as MCP needs them: the data of each. Knows no message.

/// What has come of a stream of events, and has not been given on.
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: Vec<u8>,
    /// How many of the bytes are known to have no line end.
    looked_at: usize,
    data: Option<String>,
}

impl Events {
    /// Takes what came, and gives the data of every event that it ends.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(piece);
        let mut ended = Vec::new();
        let mut begins = 0;
        while let Some(end) = self.line_end() {
            let line = self.bytes.get(begins..end).unwrap_or_default();
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            begins = end.saturating_add(1);
            ended.extend(self.line(&line));
        }
        self.bytes.drain(..begins);
        self.looked_at = self.bytes.len();
        ended
    }

    fn line_end(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.looked_at..).unwrap_or_default();
        let end = self.looked_at.saturating_add(rest.iter().position(|byte| *byte == b'\n')?);
        self.looked_at = end.saturating_add(1);
        Some(end)
    }

    /// The data of the event, if this line ends one. What is no data (names, ids, comments) is passed over.
    fn line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return self.data.take();
        }
        if let Some(more) = line.strip_prefix("data:") {
            let more = more.strip_prefix(' ').unwrap_or(more);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(more);
                }
                none => *none = Some(more.to_owned()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_event_is_its_data_lines_and_ends_with_an_empty_line() {
        let mut events = Events::default();
        let text = ": hello\r\n\r\nid: 1\nevent: message\ndata: {\"a\":\ndata:1}\n\ndata\n\ndata: late";
        assert_eq!(events.push(text.as_bytes()), ["{\"a\":\n1}"]);
        assert_eq!(events.push(b"r\r\n\r\n"), ["later"]);
        assert_eq!(events.push(b"\n\n"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn how_it_is_cut_into_pieces_makes_no_difference(text in "(data: ?[a-z]{0,3}\r?\n|: c\n|\r?\n){0,12}", size in 1_usize..9) {
            let whole = Events::default().push(text.as_bytes());
            let mut events = Events::default();
            let parts: Vec<String> = text.as_bytes().chunks(size).flat_map(|piece| events.push(piece)).collect();
            prop_assert_eq!(parts, whole);
        }
    }
}
