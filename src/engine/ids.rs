//! What stands before the body of every message: the ID that one side of a link counts up, and words that many packets share.

/// The IDs of the packets that one side of a link begins: 1, 2, …, the accepter's with `-` before. Kept as text, and
/// counted up in place: every message has one.
#[derive(Debug)]
pub(super) struct Ids {
    number: u64,
    opener: bool,
    /// From 1000 on: the sign and all but the last three digits.
    front: [u8; Ids::FRONT],
    front_length: usize,
    /// The last three digits and a space, the first digit in the lowest byte. One word, as a processor that has just written one byte of
    /// many waits before it can read them together.
    back: u32,
}

impl Ids {
    /// More than the longest front: copying all of it, and then taking the rest off, is sooner done than copying some.
    const FRONT: usize = 24;
    /// The longest text, and what is copied too much.
    pub(super) const ROOM: usize = Ids::FRONT + 4;
    /// One more in the last digit of `back`.
    const ONE: u32 = 1 << 16;

    pub(super) fn new(opener: bool) -> Ids {
        Ids { number: 0, opener, front: [0; Ids::FRONT], front_length: 0, back: u32::from_le_bytes(*b"000 ") }
    }

    /// Goes on to the next ID.
    #[inline]
    pub(super) fn step(&mut self) {
        self.number = self.number.wrapping_add(1);
        if self.back & 0xFF_0000 < Ids::ONE * u32::from(b'9') {
            self.back += Ids::ONE;
        } else {
            self.carry();
        }
    }

    #[cold]
    fn carry(&mut self) {
        if self.back & 0xFF00 < u32::from(b'9') << 8 {
            // 9 to 0, and one more ten.
            self.back = (self.back + (1 << 8)) - 9 * Ids::ONE;
            return;
        }
        let (front, back) = (self.number / 1_000, self.number % 1_000);
        let digit = |n: u64| b'0' + (n % 10) as u8;
        self.back = u32::from_le_bytes([digit(back / 100), digit(back / 10), digit(back), b' ']);
        if back == 0 {
            let mut text = Vec::with_capacity(Ids::FRONT);
            if !self.opener {
                text.push(b'-');
            }
            put_number(&mut text, front);
            self.front_length = text.len();
            text.resize(Ids::FRONT, 0);
            self.front = text.try_into().unwrap_or_default();
        }
    }

    /// Appends `ID SP`.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if self.number < 1_000 {
            return self.put_short(out);
        }
        let end = out.len() + self.front_length;
        out.extend_from_slice(&self.front);
        out.truncate(end);
        out.extend_from_slice(&self.back.to_le_bytes());
    }

    #[cold]
    fn put_short(&self, out: &mut Vec<u8>) {
        if !self.opener {
            out.push(b'-');
        }
        put_number(out, self.number);
        out.push(b' ');
    }

    /// The ID without its sign.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// Words that stand at the start of many packets, escaped.
#[derive(Debug)]
pub struct Words {
    /// At least `AT_ONCE` bytes, of which the last may mean nothing.
    bytes: Vec<u8>,
    length: usize,
}

impl Words {
    /// As many bytes are copied in one go, whether or not there are fewer.
    const AT_ONCE: usize = 64;

    /// Makes them of `bytes`.
    pub fn new(mut bytes: Vec<u8>) -> Words {
        let length = bytes.len();
        bytes.resize(length.max(Words::AT_ONCE), 0);
        Words { bytes, length }
    }

    /// Shortens them to `length` bytes, and appends what `put` does.
    pub fn renew(&mut self, length: usize, put: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.truncate(length);
        put(&mut self.bytes);
        self.length = self.bytes.len();
        self.bytes.resize(self.length.max(Words::AT_ONCE), 0);
    }

    /// Appends them to `out`.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self.bytes.first_chunk::<{ Words::AT_ONCE }>() {
            Some(all) if self.length <= Words::AT_ONCE => {
                let end = out.len() + self.length;
                out.extend_from_slice(all);
                out.truncate(end);
            }
            _ => out.extend_from_slice(self.bytes.get(..self.length).unwrap_or_default()),
        }
    }

    /// How much room `put` needs.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.bytes.len()
    }
}

/// Appends a decimal number.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up() {
        for opener in [true, false] {
            let mut ids = Ids::new(opener);
            for n in 1..=1_002_345u64 {
                ids.step();
                let sign = if opener { "" } else { "-" };
                let mut text = Vec::new();
                ids.put(&mut text);
                assert_eq!(text, format!("{sign}{n} ").as_bytes());
                assert_eq!(ids.number(), n);
            }
        }
    }

    #[test]
    fn words_of_any_length_are_put_whole() {
        for length in [0, 1, 63, 64, 65, 200] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut words = Words::new(bytes.clone());
            let mut out = b"before".to_vec();
            words.put(&mut out);
            assert_eq!(out, [&b"before"[..], &bytes].concat());
            for more in [0, 10, 100] {
                words.renew(length / 2, |out| out.resize(length / 2 + more, b'x'));
                let mut out = Vec::new();
                words.put(&mut out);
                assert_eq!(out, [&bytes[..length / 2], &vec![b'x'; more]].concat());
            }
        }
    }
}
