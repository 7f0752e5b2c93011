//! Escaped bytes: DATA as it stands on the wire.

use std::borrow::Cow;

use memchr::memchr;
use memchr::memchr3;

use super::fail::Fail;
use super::marks;

/// What separates two fields on the wire: an escaped LF.
pub const SEPARATOR: &[u8] = b"~\n";

/// From this length on it is worth knowing how much room a field takes, and to look at many bytes at once.
const LONG: usize = 4 << 10;

/// DATA, or a field of it, still escaped. Can be passed on as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a [u8]);

impl<'a> Raw<'a> {
    /// No bytes at all.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The first field, and the rest behind its LF; None when there is no LF.
    pub fn split_field(self) -> (Raw<'a>, Option<Raw<'a>>) {
        let mut at = 0;
        while let Some(found) = memchr(b'~', &self.0[at..]) {
            let tilde = at + found;
            match self.0.get(tilde + 1) {
                Some(b'\n') => return (Raw(&self.0[..tilde]), Some(Raw(&self.0[tilde + 2..]))),
                Some(_) => at = tilde + 2,
                None => break,
            }
        }
        (self, None)
    }

    /// All fields. Empty DATA has none.
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: if self.is_empty() { None } else { Some(self) } }
    }

    /// Exactly `N` fields; the last takes the rest, LFs included. FAIL BADARGS if there are fewer.
    pub fn take<const N: usize>(self) -> Result<[Raw<'a>; N], Fail> {
        let mut out = [Raw(b""); N];
        let mut rest = Some(self);
        for (n, slot) in out.iter_mut().enumerate() {
            let now = rest.ok_or_else(|| Fail::bad_args(format!("{N} fields are needed")))?;
            if n + 1 == N {
                *slot = now;
            } else {
                let (field, next) = now.split_field();
                (*slot, rest) = (field, next);
            }
        }
        Ok(out)
    }

    /// The bytes meant; borrowed when nothing was escaped.
    pub fn unescape(self) -> Cow<'a, [u8]> {
        match memchr(b'~', self.0) {
            None => Cow::Borrowed(self.0),
            Some(_) => {
                let mut out = Vec::with_capacity(self.0.len());
                self.unescape_into(&mut out);
                Cow::Owned(out)
            }
        }
    }

    /// How many bytes are meant.
    pub fn unescaped_len(self) -> usize {
        let (mut length, mut rest) = (self.0.len(), self.0);
        while let Some(at) = memchr(b'~', rest) {
            length -= 1;
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        length
    }

    /// Appends the bytes meant to `out`.
    pub fn unescape_into(self, out: &mut Vec<u8>) {
        if self.0.len() > LONG {
            return marks::unescape(out, self.0);
        }
        let mut rest = self.0;
        while let Some(at) = memchr(b'~', rest) {
            out.extend_from_slice(&rest[..at]);
            match rest.get(at + 1) {
                Some(&byte) => out.push(byte),
                None => return,
            }
            rest = &rest[at + 2..];
        }
        out.extend_from_slice(rest);
    }

    /// The text meant. FAIL BADARGS when it is not UTF-8.
    pub fn text(self) -> Result<Cow<'a, str>, Fail> {
        match self.unescape() {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| ()),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| ()),
        }
        .map_err(|()| Fail::bad_args("not UTF-8"))
    }

    /// The decimal number meant: digits only, no sign. FAIL BADARGS for all else, too large included.
    pub fn number(self) -> Result<u64, Fail> {
        // Any 19 digits fit.
        if (1..=19).contains(&self.0.len()) && self.0.iter().all(u8::is_ascii_digit) {
            return Ok(self.0.iter().fold(0, |number, digit| number * 10 + u64::from(*digit - b'0')));
        }
        let digits = self.unescape();
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(&digits).ok().filter(|_| plain);
        text.and_then(|t| t.parse().ok()).ok_or_else(|| Fail::bad_args("not a number"))
    }
}

/// The fields of DATA, one by one.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: Option<Raw<'a>>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let (field, rest) = self.rest?.split_field();
        self.rest = rest;
        Some(field)
    }
}

/// Whether two short texts are the same. For what is compared with every message: a call costs more than the comparison.
#[inline(always)]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        // Two pieces of one size, which may overlap.
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        17..=32 => a.first_chunk::<16>() == b.first_chunk() && a.last_chunk::<16>() == b.last_chunk(),
        _ => a == b,
    }
}

/// Appends `bytes` with `~`, LF and CR escaped.
pub fn escape_into(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() > LONG {
        return marks::escape(out, bytes);
    }
    let mut rest = bytes;
    while let Some(at) = memchr3(b'~', b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'~');
        out.push(rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_escapes() {
        let raw = Raw(b"bob~\na~~b~\n~c");
        let fields: Vec<_> = raw.fields().map(|f| f.unescape().into_owned()).collect();
        assert_eq!(fields, [b"bob".to_vec(), b"a~b".to_vec(), b"c".to_vec()]);
        let [to, body] = raw.take::<2>().unwrap();
        assert_eq!((to.0, body.0), (&b"bob"[..], &b"a~~b~\n~c"[..]));
        assert!(raw.take::<4>().is_err());
        assert_eq!(Raw(b"").fields().count(), 0);
    }

    #[test]
    fn bytes_meant_are_counted() {
        for data in [&b""[..], b"plain", b"a~~b", b"~\n", b"~~~~", b"a~", b"~~~", b"x~\ry~\n"] {
            assert_eq!(Raw(data).unescaped_len(), Raw(data).unescape().len(), "{}", data.escape_ascii());
        }
    }

    #[test]
    fn texts_of_any_length_are_compared_whole() {
        for length in 0..80 {
            let text: Vec<u8> = (0..length).collect();
            assert!(same(&text, &text.clone()));
            assert!(!same(&text, &[&text[..], b"x"].concat()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!same(&text, &other), "{length} {at}");
            }
        }
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(Raw(b"0042").number(), Ok(42));
        assert_eq!(Raw(b"9999999999999999999").number(), Ok(9_999_999_999_999_999_999));
        assert_eq!(Raw(b"18446744073709551615").number(), Ok(u64::MAX));
        assert_eq!(Raw(b"~4~2").number(), Ok(42));
        for bad in [&b""[..], b"-1", b"+1", b" 1", b"1e3", b"18446744073709551616"] {
            assert!(Raw(bad).number().is_err(), "{bad:?}");
        }
    }
}
