//! Where bytes of a kind are in a long buffer, 64 at a time: a bit for each byte. Random bytes have something to escape every 85
//! bytes, where a call for each costs more than looking at the bytes.

/// Bytes of one mask.
const WIDE: usize = 64;
/// What [`append`] may need behind what it appends.
pub const SPARE: usize = WIDE;
/// Masks that are made at a time: the processor makes them side by side, and then goes through their bits.
const AT_ONCE: usize = 32;

/// Calls `found` with the place of each byte that `is` says so, in order. `found` says from where on the next may be; a place at the
/// end of `bytes` or behind it ends the search. Answers from where on nothing was looked at: at most one behind the end, when the last
/// call said so.
#[inline(always)]
pub fn each(bytes: &[u8], from: usize, is: impl Fn(u8) -> bool, mut found: impl FnMut(usize) -> usize) -> usize {
    let mut next = from;
    let (wide, rest) = bytes.get(from..).unwrap_or_default().as_chunks::<WIDE>();
    let mut at = from;
    let mut masks = [0; AT_ONCE];
    for group in wide.chunks(AT_ONCE) {
        for (mask, chunk) in masks.iter_mut().zip(group) {
            *mask = mask_of(chunk, &is);
        }
        for mask in &masks[..group.len()] {
            let mut mask = *mask;
            while mask != 0 {
                let place = at + mask.trailing_zeros() as usize;
                mask &= mask - 1;
                if place >= next {
                    next = found(place);
                    if next >= bytes.len() {
                        return next;
                    }
                }
            }
            at += WIDE;
        }
    }
    for (n, byte) in rest.iter().enumerate() {
        if is(*byte) && at + n >= next {
            next = found(at + n);
        }
    }
    next.max(bytes.len())
}

/// A bit for each byte. In two steps, each of which the compiler makes vector code of.
#[inline(always)]
fn mask_of(chunk: &[u8; WIDE], is: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0u8; WIDE];
    for (flag, byte) in flags.iter_mut().zip(chunk) {
        *flag = if is(*byte) { 0x80 } else { 0 };
    }
    let (words, _) = flags.as_chunks::<8>();
    let mut mask = 0;
    for (n, word) in words.iter().enumerate() {
        // The top bits of eight bytes, gathered in the top byte.
        mask |= (u64::from_le_bytes(*word).wrapping_mul(0x0002_0408_1020_4081) >> 56) << (8 * n);
    }
    mask
}

/// Appends the first `length` bytes of `from`: mostly a few, so that copying a whole block and cutting it is less than a call.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, from: &[u8], length: usize) {
    match from.first_chunk::<WIDE>() {
        Some(block) if length <= WIDE => {
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

    #[test]
    fn every_place_is_found_in_order_from_anywhere() {
        let mut state = 3u64;
        for length in (0..300).chain([4_000, 5_000]) {
            let mut bytes = vec![0u8; length];
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (state >> 60) as u8;
            }
            for from in [0, 1, 63, 64, 65, length].into_iter().filter(|from| *from <= length) {
                for step in [1, 2, 70] {
                    let (mut wanted, mut next) = (Vec::new(), from);
                    while let Some(at) = bytes.get(next..).and_then(|rest| rest.iter().position(|byte| *byte < 2)) {
                        wanted.push(next + at);
                        next += at + step;
                    }
                    let mut got = Vec::new();
                    let end = each(
                        &bytes,
                        from,
                        |byte| byte < 2,
                        |at| {
                            got.push(at);
                            at + step
                        },
                    );
                    assert_eq!((got, end), (wanted, next.max(length)), "{length} {from} {step}");
                }
            }
        }
    }

    #[test]
    fn as_many_bytes_as_asked_are_appended() {
        let bytes: Vec<u8> = (0..200).collect();
        for length in 0..=200 {
            let mut out = b"x".to_vec();
            append(&mut out, &bytes, length);
            assert_eq!(out[1..], bytes[..length]);
        }
    }
}
