//! Frames of a web socket (RFC 6455) ⇄ packets; pure. tungstenite reads and writes the headers of frames. Its own buffers put whole messages
//! together before anybody sees them; here the bytes go on as they come, so that a half packet is counted, and bounded, where those of
//! all links are: in the host. A link at rest holds no buffer.

use std::io::Cursor;

use memchr::memchr3_iter;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::frame::coding::Control;
use tungstenite::protocol::frame::coding::Data;
use tungstenite::protocol::frame::coding::OpCode;
use tungstenite::protocol::frame::FrameHeader;

/// The longest header of a frame.
const HEAD: usize = 14;
/// The longest payload of a control frame.
const CONTROL: u64 = 125;

/// Why nothing more is taken from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// It sent a Close, with this code if with any.
    Closed(Option<u16>),
    /// It broke the rules.
    Broken(CloseCode, &'static str),
}

/// From frames to packets: payloads, unmasked, each message ended by an LF.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What has come of a header.
    head: [u8; HEAD],
    had: usize,
    /// Of the frame that is being read: what is to come, how it is masked, whether its message ends with it.
    left: u64,
    mask: [u8; 4],
    last: bool,
    control: Option<Control>,
    /// A frame is being read, though perhaps all of it has come.
    within: bool,
    /// A message was begun, and its last frame has not come.
    begun: bool,
    /// What came of the message ends with a `~` that makes the next byte literal.
    escape: bool,
    /// The payload of a control frame, as far as it has come.
    payload: Vec<u8>,
    /// What the peer's last Ping is to be answered with.
    pong: Option<Vec<u8>>,
    over: Option<Over>,
}

impl Decoder {
    /// Why nothing more is taken, once that is so.
    pub fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// The answer to a Ping that came, once. Of several that were not answered yet, the last counts.
    pub fn pong(&mut self) -> Option<Vec<u8>> {
        self.pong.take()
    }

    /// Reads what the stream gave as `buffer[from..]`, and leaves packets in the same buffer from its beginning; returns how many bytes. `from` is
    /// 1 or more: an LF may have to stand before the first byte that came is read.
    pub fn decode(&mut self, buffer: &mut [u8], from: usize) -> usize {
        let (mut read, mut written) = (from, 0);
        while self.over.is_none() {
            if !self.within {
                match self.header(&buffer[read..]) {
                    Some(used) => read += used,
                    None => break,
                }
                continue;
            }
            let have = buffer.len() - read;
            let step = usize::try_from(self.left).map_or(have, |left| left.min(have));
            if step == 0 && self.left > 0 {
                break;
            }
            self.left -= step as u64;
            if self.control.is_some() {
                let at = self.payload.len();
                self.payload.extend_from_slice(&buffer[read..read + step]);
                unmask(&mut self.payload[at..], &mut self.mask);
            } else {
                buffer.copy_within(read..read + step, written);
                let piece = &mut buffer[written..written + step];
                unmask(piece, &mut self.mask);
                self.escape = ends_in_escape(piece, self.escape);
                written += step;
            }
            read += step;
            if self.left == 0 {
                self.within = false;
                if self.ends_packet() {
                    buffer[written] = b'\n';
                    written += 1;
                }
            }
        }
        written
    }

    /// Takes bytes of a header; how many. None: there is no more of it, or it is against the rules.
    fn header(&mut self, bytes: &[u8]) -> Option<usize> {
        let had = self.had;
        let more = bytes.len().min(HEAD - had);
        self.head[had..had + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.head[..had + more]);
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                self.had += more;
                return None;
            }
            Err(_) => return self.broken("a frame of an unknown kind"),
        };
        let used = usize::try_from(cursor.position()).unwrap_or(HEAD).saturating_sub(had);
        self.had = 0;
        let Some(mask) = header.mask else { return self.broken("a frame that is not masked") };
        if header.rsv1 || header.rsv2 || header.rsv3 || length > i64::MAX as u64 {
            return self.broken("a frame with reserved bits");
        }
        let control = match header.opcode {
            OpCode::Control(_) if !header.is_final || length > CONTROL => {
                return self.broken("a control frame that is cut or too long");
            }
            OpCode::Control(control) => Some(control),
            OpCode::Data(kind) if (kind == Data::Continue) != self.begun => {
                return self.broken("a message within another, or one without a beginning");
            }
            OpCode::Data(_) => {
                self.begun = !header.is_final;
                None
            }
        };
        (self.left, self.mask, self.last, self.control, self.within) = (length, mask, header.is_final, control, true);
        Some(used)
    }

    fn broken(&mut self, why: &'static str) -> Option<usize> {
        self.over = Some(Over::Broken(CloseCode::Protocol, why));
        None
    }

    /// A frame has come as a whole. Whether a packet ends here.
    fn ends_packet(&mut self) -> bool {
        let payload = std::mem::take(&mut self.payload);
        match self.control.take() {
            None if !self.last => return false,
            None if self.escape => {
                // An LF here would be part of the packet, and the next frame too.
                self.over = Some(Over::Broken(CloseCode::Invalid, "a message that ends in the middle of an escape"));
                return false;
            }
            None => return true,
            Some(Control::Ping) => self.pong = Some(payload),
            Some(Control::Close) => {
                let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                self.over = Some(match payload.len() {
                    1 => Over::Broken(CloseCode::Protocol, "a Close with half a code"),
                    _ => Over::Closed(code.filter(|code| CloseCode::from(*code).is_allowed())),
                });
            }
            Some(_) => {}
        }
        false
    }
}

/// Whether a `~` that makes the next byte literal ends `bytes`; `before`: whether one stood in front of them.
fn ends_in_escape(bytes: &[u8], before: bool) -> bool {
    let tildes = bytes.iter().rev().take_while(|byte| **byte == b'~').count();
    (tildes % 2 == 1) != (before && tildes == bytes.len())
}

/// Takes the mask off `bytes`, and turns it to where the next bytes begin.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = [a, b, c, d, a, b, c, d];
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ u64::from_ne_bytes(wide)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len() % 4);
}

/// From packets to frames: one binary message for each packet, without its EOL.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Bytes that a header has announced and that are not written yet.
    left: usize,
    /// A message was begun whose packet's end was not known.
    cut: bool,
    /// What was written of it ends with a `~` that makes the next byte literal.
    escape: bool,
}

impl Encoder {
    /// Whether another frame may stand here.
    pub fn is_between(&self) -> bool {
        self.left == 0
    }

    /// Puts frames of `packets` into `frames`, as long as these are shorter than `full`; returns how many bytes are done with, at least one. What is
    /// left is to come again, at the beginning of the next call. A packet whose end is not in `packets` becomes a message of several frames.
    pub fn encode(&mut self, packets: &[u8], frames: &mut Vec<u8>, full: usize) -> usize {
        let mut at = 0;
        while at < packets.len() && (frames.len() < full || at == 0) {
            let rest = &packets[at..];
            if self.left > 0 {
                let step = self.left.min(rest.len()).min(full.saturating_sub(frames.len()).max(1));
                frames.extend_from_slice(&rest[..step]);
                self.left -= step;
                at += step;
                continue;
            }
            let end = self.end(rest);
            if end == Some(0) && !self.cut {
                // The EOL of the packet before.
                at += 1;
                continue;
            }
            let kind = if self.cut { Data::Continue } else { Data::Binary };
            self.left = end.unwrap_or(rest.len());
            self.cut = end.is_none();
            put_header(OpCode::Data(kind), end.is_some(), self.left, frames);
            at += usize::from(end == Some(0));
        }
        at
    }

    /// Where the first EOL is that no `~` makes literal.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        // Where the byte is that is literal, whatever it is.
        let mut literal = self.escape.then_some(0);
        for at in memchr3_iter(b'~', b'\n', b'\r', bytes) {
            if literal == Some(at) {
                continue;
            }
            match bytes.get(at) {
                Some(b'~') => literal = Some(at + 1),
                _ => {
                    self.escape = false;
                    return Some(at);
                }
            }
        }
        self.escape = literal == Some(bytes.len());
        None
    }
}

fn put_header(opcode: OpCode, is_final: bool, length: usize, frames: &mut Vec<u8>) {
    let header = FrameHeader { is_final, opcode, ..FrameHeader::default() };
    // Writing into memory does not fail.
    let _ = header.format(length as u64, frames);
}

/// Puts a control frame; of a longer payload its first 125 bytes.
pub fn put_control(kind: Control, payload: &[u8], frames: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(CONTROL as usize)];
    put_header(OpCode::Control(kind), true, payload.len(), frames);
    frames.extend_from_slice(payload);
}

#[cfg(test)]
mod tests;
