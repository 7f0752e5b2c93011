//! Finds packets in a growing buffer.

use memchr::memchr3;

/// Finds line ends in a buffer that grows by reads of any size. EOL is LF, CR or CRLF, also mixed: a CRLF reads as a
/// packet and an empty line, and empty lines are skipped, so a CRLF cut in two by a read needs no memory.
///
/// It remembers how far it has looked, so that a long packet that arrives in many pieces is scanned once.
#[derive(Debug, Default)]
pub struct Framer {
    /// Bytes of the current packet that hold no EOL; never ends behind a lone `~`.
    scanned: usize,
}

impl Framer {
    /// The next packet in `buffer[*start..]`, without its EOL; `*start` moves behind it.
    /// None: more bytes are needed. Keep `buffer[*start..]` and call again with it, longer.
    pub fn next<'a>(&mut self, buffer: &'a [u8], start: &mut usize) -> Option<&'a [u8]> {
        self.next_behind(buffer, start, 0).map(|(line, _)| line)
    }

    /// The same when nothing of the packet was looked at before: `known` bytes of it are known to hold no EOL and to end outside
    /// of an escape. Tells too where the packet's first `~` behind those is, if it was seen.
    #[inline]
    pub(super) fn next_behind<'a>(
        &mut self,
        buffer: &'a [u8],
        start: &mut usize,
        known: usize,
    ) -> Option<(&'a [u8], Option<usize>)> {
        let mut at = start.saturating_add(self.scanned.max(known)).min(buffer.len());
        let (mut escape, mut whole) = (None, self.scanned == 0);
        loop {
            let Some(found) = memchr3(b'~', b'\n', b'\r', &buffer[at..]) else {
                self.scanned = buffer.len() - *start;
                return None;
            };
            let end = at + found;
            if buffer[end] == b'~' {
                if end + 1 == buffer.len() {
                    self.scanned = end - *start;
                    return None;
                }
                escape = escape.or(Some(end - *start));
                at = end + 2;
                continue;
            }
            let line = &buffer[*start..end];
            *start = end + 1;
            self.scanned = 0;
            if !line.is_empty() {
                return Some((line, escape.filter(|_| whole)));
            }
            at = *start;
            whole = true;
        }
    }

    /// Whether nothing of the next packet was looked at yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.scanned == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(buffer: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let (mut framer, mut start, mut lines) = (Framer::default(), 0, Vec::new());
        while let Some(line) = framer.next(buffer, &mut start) {
            lines.push(line.to_vec());
        }
        (lines, start)
    }

    #[test]
    fn three_newline_forms_and_empty_lines() {
        let (lines, start) = all(b"a\nb\rc\r\n\n\r\nd");
        assert_eq!(lines, [b"a", b"b", b"c"]);
        assert_eq!(start, 10);
    }

    #[test]
    fn an_escaped_newline_does_not_end_a_packet() {
        let (lines, _) = all(b"a~\nb~~\nc~");
        assert_eq!(lines, [b"a~\nb~~".to_vec()]);
    }
}
