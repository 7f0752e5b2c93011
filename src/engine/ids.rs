//! The IDs that one side of a link counts up.

/// The IDs of the packets that one side of a link begins: 1, 2, …, the accepter's with `-` before. Kept as text too, and
/// counted up in place: every message has one.
#[derive(Debug)]
pub(super) struct Ids {
    number: u64,
    /// Perhaps `-`, the digits, a space.
    text: [u8; Ids::ROOM],
    length: usize,
    first_digit: usize,
}

impl Ids {
    /// More than the longest text: copying all of it, and then taking the rest off, is sooner done than copying some.
    pub(super) const ROOM: usize = 24;

    pub(super) fn new(opener: bool) -> Ids {
        let mut text = [b' '; Ids::ROOM];
        let first_digit = usize::from(!opener);
        text[0] = b'-';
        text[first_digit] = b'0';
        Ids { number: 0, text, length: first_digit + 2, first_digit }
    }

    /// Goes on to the next ID.
    #[inline]
    pub(super) fn step(&mut self) {
        self.number = self.number.wrapping_add(1);
        let last = self.length - 2;
        if self.text[last] < b'9' {
            self.text[last] += 1;
        } else {
            self.carry(last);
        }
    }

    fn carry(&mut self, last: usize) {
        for at in (self.first_digit..=last).rev() {
            if self.text[at] < b'9' {
                self.text[at] += 1;
                return;
            }
            self.text[at] = b'0';
        }
        // 9…9 has become 0…0: one digit more. A link does not live to see the array's end.
        if self.length < Ids::ROOM {
            self.text[self.first_digit] = b'1';
            self.text[last + 1] = b'0';
            self.length += 1;
        }
    }

    /// Appends `ID SP`.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.length;
        out.extend_from_slice(&self.text);
        out.truncate(end);
    }

    /// The ID without its sign.
    pub(super) fn number(&self) -> u64 {
        self.number
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
            for n in 1..=12_345u64 {
                ids.step();
                let sign = if opener { "" } else { "-" };
                let mut text = Vec::new();
                ids.put(&mut text);
                assert_eq!(text, format!("{sign}{n} ").as_bytes());
                assert_eq!(ids.number(), n);
            }
        }
    }
}
