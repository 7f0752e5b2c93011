//! The IDs that one side of a link counts up.

/// The IDs of the packets that one side of a link begins: 1, 2, …, the accepter's with `-` before. Kept as text too, and
/// counted up in place: every message has one.
#[derive(Debug)]
pub(super) struct Ids {
    number: u64,
    /// Perhaps `-`, the digits, a space; at the end of the array.
    text: [u8; 22],
    first_digit: usize,
    opener: bool,
}

impl Ids {
    const LAST_DIGIT: usize = 20;

    pub(super) fn new(opener: bool) -> Ids {
        let mut text = [b' '; 22];
        text[Ids::LAST_DIGIT] = b'0';
        Ids { number: 0, text, first_digit: Ids::LAST_DIGIT, opener }
    }

    /// Goes on to the next ID.
    pub(super) fn step(&mut self) {
        self.number = self.number.wrapping_add(1);
        let mut at = Ids::LAST_DIGIT;
        while at > 0 {
            if at < self.first_digit {
                self.first_digit = at;
                self.text[at] = b'1';
                break;
            }
            if self.text[at] != b'9' {
                self.text[at] += 1;
                break;
            }
            self.text[at] = b'0';
            at -= 1;
        }
        if !self.opener {
            self.text[self.first_digit - 1] = b'-';
        }
    }

    /// `ID SP`
    pub(super) fn text(&self) -> &[u8] {
        &self.text[self.first_digit - usize::from(!self.opener)..]
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
            for n in 1..=1_234u64 {
                ids.step();
                let sign = if opener { "" } else { "-" };
                assert_eq!(ids.text(), format!("{sign}{n} ").as_bytes());
                assert_eq!(ids.number(), n);
            }
        }
    }
}
