//! Escapes and line ends in a long buffer, many bytes at a time. Random bytes have something to escape every 85 bytes: a call for each
//! costs more than looking at the bytes. What decides here is that the processor seldom guesses a branch wrong.

/// Bytes of one mask.
const WIDE: usize = 64;
/// Bytes that are looked at before what was found in them is handled.
const PART: usize = 2048;
/// Most runs are shorter: copying as many bytes whatever the length, and cutting them, is less than a call.
const BLOCK: usize = 128;
/// What [`append`] may need behind what it appends.
pub const SPARE: usize = BLOCK;

/// Where in a part of a buffer the marks are.
struct Places {
    at: [u16; PART],
    count: usize,
}

/// Appends `bytes` up to each `~`, and each LF and CR if `ENDS`, from `from` on. There `found` says from where on bytes are appended, and
/// from where on the next mark may be; None: it ends there, and the place is the Err. Ok: the last that `found` said of the next.
#[inline(always)]
fn each<const ENDS: bool>(
    out: &mut Vec<u8>,
    bytes: &[u8],
    from: usize,
    mut found: impl FnMut(&mut Vec<u8>, usize) -> Option<(usize, usize)>,
) -> Result<usize, usize> {
    out.reserve(bytes.len() + SPARE);
    let mut places = Places { at: [0; PART], count: 0 };
    let (mut base, mut start, mut next) = (0, 0, from);
    for part in bytes.chunks(PART) {
        places.find::<ENDS>(part);
        for place in &places.at[..places.count] {
            let at = base + usize::from(*place);
            if at < next {
                continue;
            }
            append(out, &bytes[start..], at - start);
            match found(out, at) {
                Some(on) => (start, next) = on,
                None => return Err(at),
            }
        }
        base += part.len();
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
    Ok(next)
}

/// Appends `bytes` with `~`, LF and CR escaped.
pub fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    // Random bytes have 3 of 256 escaped: the buffer is not grown step by step.
    out.reserve(bytes.len() + bytes.len() / 64 + SPARE);
    let _ = each::<true>(out, bytes, 0, |out, at| {
        out.push(b'~');
        Some((at, at + 1))
    });
}

/// Appends what escaped bytes mean.
pub fn unescape(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = each::<false>(out, bytes, 0, |_, at| Some((at + 1, at + 2)));
}

/// Appends what escaped bytes mean, up to the first LF or CR that is not escaped: Err says where. `literal`: the first byte belongs to an
/// escape. Ok says whether the byte behind the last does.
pub fn decode(out: &mut Vec<u8>, bytes: &[u8], literal: bool) -> Result<bool, usize> {
    if bytes.is_empty() {
        return Ok(literal);
    }
    let next = each::<true>(out, bytes, usize::from(literal), |_, at| match bytes.get(at) {
        Some(b'~') => Some((at + 1, at + 2)),
        _ => None,
    })?;
    Ok(next > bytes.len())
}

impl Places {
    /// Finds them in at most [`PART`] bytes.
    fn find<const ENDS: bool>(&mut self, part: &[u8]) {
        let (chunks, rest) = part.as_chunks::<WIDE>();
        let (mut count, mut base) = (0, 0);
        for chunk in chunks {
            let mut mask = mask_of::<ENDS>(chunk);
            // Two are seldom too few; so many are looked for without asking whether there are any.
            for _ in 0..2 {
                self.at[count % PART] = base + mask.trailing_zeros() as u16;
                count += usize::from(mask != 0);
                mask &= mask.wrapping_sub(1);
            }
            while mask != 0 {
                self.at[count % PART] = base + mask.trailing_zeros() as u16;
                count += 1;
                mask &= mask - 1;
            }
            base += WIDE as u16;
        }
        for byte in rest {
            self.at[count % PART] = base;
            count += usize::from(is::<ENDS>(*byte));
            base += 1;
        }
        self.count = count;
    }
}

#[inline(always)]
fn is<const ENDS: bool>(byte: u8) -> bool {
    byte == b'~' || (ENDS && (byte == b'\n' || byte == b'\r'))
}

/// A bit for each byte. In two steps, each of which the compiler makes vector code of.
#[inline(always)]
fn mask_of<const ENDS: bool>(chunk: &[u8; WIDE]) -> u64 {
    let mut flags = [0u8; WIDE];
    for (flag, byte) in flags.iter_mut().zip(chunk) {
        *flag = if is::<ENDS>(*byte) { 0x80 } else { 0 };
    }
    let (words, _) = flags.as_chunks::<8>();
    let mut mask = 0;
    for (n, word) in words.iter().enumerate() {
        // The top bits of eight bytes, gathered in the top byte.
        mask |= (u64::from_le_bytes(*word).wrapping_mul(0x0002_0408_1020_4081) >> 56) << (8 * n);
    }
    mask
}

/// Appends the first `length` bytes of `from`.
#[inline(always)]
fn append(out: &mut Vec<u8>, from: &[u8], length: usize) {
    match from.first_chunk::<BLOCK>() {
        Some(block) if length <= BLOCK => {
            let end = out.len() + length;
            out.extend_from_slice(block);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&from[..length]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a few kinds, with as many marks among them as `often` says, of 256.
    fn some(length: usize, often: u64, state: &mut u64) -> Vec<u8> {
        let byte = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let n = *state >> 33;
            if n % 256 < often {
                b"~\n\r"[(n >> 8) as usize % 3]
            } else {
                (n >> 8) as u8
            }
        };
        std::iter::repeat_with(byte).take(length).collect()
    }

    #[test]
    fn escaping_and_its_inverses_are_those_of_single_bytes() {
        let mut state = 3;
        for length in (0..200).chain([2_047, 2_048, 2_049, 5_000]) {
            for often in [0, 10, 128, 256] {
                let bytes = some(length, often, &mut state);
                let mut wanted = b"x".to_vec();
                for byte in &bytes {
                    if is::<true>(*byte) {
                        wanted.push(b'~');
                    }
                    wanted.push(*byte);
                }
                let mut escaped = b"x".to_vec();
                escape(&mut escaped, &bytes);
                assert_eq!(escaped, wanted, "{length} {often}");
                let mut back = Vec::new();
                unescape(&mut back, &escaped[1..]);
                assert_eq!(back, bytes);
                let mut meant = Vec::new();
                unescape(&mut meant, &bytes);
                let mut given = bytes.iter();
                let mut by_the_book = Vec::new();
                while let Some(byte) = given.next() {
                    match byte {
                        b'~' => by_the_book.extend(given.next()),
                        _ => by_the_book.push(*byte),
                    }
                }
                assert_eq!(meant, by_the_book, "{length} {often}");
                let mut decoded = Vec::new();
                assert_eq!(decode(&mut decoded, &escaped[1..], false), Ok(false));
                assert_eq!(decoded, bytes);
                escaped.extend_from_slice(b"\n~\n");
                assert_eq!(decode(&mut Vec::new(), &escaped[1..], false), Err(escaped.len() - 4));
            }
        }
    }
}
