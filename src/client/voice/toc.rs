//! How long an Opus packet sounds, by its first byte or two (RFC 6716, 3).

/// Samples a second, by which Opus counts whatever the signal is.
pub const RATE: u32 = 48_000;
/// The longest packet, in samples: 120 ms.
const LONGEST: u32 = RATE / 1_000 * 120;

/// Samples of one frame of a packet whose first byte is `toc`.
pub fn frame(toc: u8) -> u32 {
    let ms = RATE / 1_000;
    let config = toc >> 3;
    match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => match config & 3 {
            0 => 10 * ms,
            1 => 20 * ms,
            2 => 40 * ms,
            _ => 60 * ms,
        },
        // Both: 10, 20 ms.
        12..=15 => (10 * ms) << (config & 1),
        // CELT: 2.5, 5, 10, 20 ms.
        _ => (5 * ms / 2) << (config & 3),
    }
}

/// Samples of a packet, at 48 kHz. None: it is no Opus packet.
pub fn samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    let samples = frame(toc) * frames;
    (frames > 0 && samples <= LONGEST).then_some(samples)
}

/// Whether a packet is of two channels.
pub fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 4 != 0)
}

/// A packet without sound, which asks a decoder to bridge a gap: as many frames of the kind of `toc` as fit into `gap` samples and into
/// one packet. With it, how many samples that are; None: `gap` is shorter than a frame. A decoder repairs best what is of the
/// kind of the packet before it (RFC 7845, 4.1).
pub fn bridge(toc: u8, gap: u64) -> Option<([u8; 2], u32)> {
    let frame = frame(toc);
    let frames = (gap.min(LONGEST.into()) / u64::from(frame)) as u8;
    // Code 3: so many frames of the same length, which is 0.
    (frames > 0).then(|| ([toc | 3, frames], frame * u32::from(frames)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        // Configurations of RFC 6716, table 2, in tenths of milliseconds.
        let tenths = [
            [100, 200, 400, 600],
            [100, 200, 400, 600],
            [100, 200, 400, 600],
            [100, 200, 100, 200],
            [25, 50, 100, 200],
            [25, 50, 100, 200],
            [25, 50, 100, 200],
            [25, 50, 100, 200],
        ];
        for (config, tenths) in tenths.iter().flatten().enumerate() {
            let toc = (config as u8) << 3;
            let one = tenths * 48 / 10;
            assert_eq!(samples(&[toc]), Some(one), "{config}");
            assert_eq!(samples(&[toc | 4 | 1, 9]), Some(2 * one), "{config}");
            assert_eq!(samples(&[toc | 2]), Some(2 * one), "{config}");
            let most = 5_760 / one;
            assert_eq!(samples(&[toc | 3, 0xc0 | most as u8]), Some(most * one), "{config}");
            assert_eq!(samples(&[toc | 3, most as u8 + 1]), None, "{config}");
        }
        for none in [&[][..], &[3], &[3, 0], &[0xff, 0xc0]] {
            assert_eq!(samples(none), None, "{none:?}");
        }
        assert!(is_stereo(&[0xfc]) && !is_stereo(&[0xf8]) && !is_stereo(&[]));
    }

    #[test]
    fn bridges_are_as_long_as_the_gap() {
        for toc in (0..=255u8).map(|n| n & !3) {
            for gap in [0, 119, 120, 960, 961, 2_880, 5_760, 100_000, u64::MAX] {
                match bridge(toc, gap) {
                    Some((packet, long)) => {
                        assert_eq!(samples(&packet), Some(long));
                        assert!(u64::from(long) <= gap && gap.min(5_760) - u64::from(long) < frame(toc).into());
                    }
                    None => assert!(gap < frame(toc).into()),
                }
            }
        }
    }
}
