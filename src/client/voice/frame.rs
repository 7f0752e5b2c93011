//! What a datagram's data holds, for Convergia's own clients (docs/voice.md): a head of eight bytes, and one Opus packet.

/// Bytes of the head: the packet's length as `u16`, the sequence as `u16`, the timestamp as `u32`; all little-endian.
pub const HEAD: usize = 8;

/// One Opus packet on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Counts the packets of a speaker, round and round.
    pub sequence: u16,
    /// When it sounds: samples at 48 kHz from any beginning, round and round.
    pub timestamp: u32,
    /// The packet.
    pub opus: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a datagram's data; what is behind the packet does not matter. None: it is of another kind.
    pub fn parse(data: &'a [u8]) -> Option<Frame<'a>> {
        let (length, rest) = data.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let opus = rest.get(..u16::from_le_bytes(*length).into())?;
        let (sequence, timestamp) = (u16::from_le_bytes(*sequence), u32::from_le_bytes(*timestamp));
        super::toc::samples(opus).map(|_| Frame { sequence, timestamp, opus })
    }

    /// The datagram's data, without padding. None: the packet is longer than a `u16` counts.
    pub fn to_bytes(self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.opus.len()).ok()?;
        let mut data = Vec::with_capacity(HEAD + self.opus.len());
        data.extend_from_slice(&length.to_le_bytes());
        data.extend_from_slice(&self.sequence.to_le_bytes());
        data.extend_from_slice(&self.timestamp.to_le_bytes());
        data.extend_from_slice(self.opus);
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let frame = Frame { sequence: 0x1234, timestamp: 0x89ab_cdef, opus: &[0xf8, 1, 2] };
        let mut data = frame.to_bytes().unwrap();
        assert_eq!(data, [3, 0, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 0xf8, 1, 2]);
        assert_eq!(Frame::parse(&data), Some(frame));
        data.resize(480, 0);
        assert_eq!(Frame::parse(&data), Some(frame));
        assert_eq!(Frame { opus: &[0; 1 << 16], ..frame }.to_bytes(), None);
    }

    #[test]
    fn other_data_is_not_read() {
        let good = Frame { sequence: 1, timestamp: 2, opus: &[0xf8, 1, 2] }.to_bytes().unwrap();
        for length in 0..good.len() {
            assert_eq!(Frame::parse(&good[..length]), None, "{length}");
        }
        // Nothing in it; silence of another client; no Opus.
        for none in [[0; 480], [0xff; 480], {
            let mut data = [0; 480];
            data[0] = 1;
            data[8] = 3;
            data
        }] {
            assert_eq!(Frame::parse(&none), None);
        }
    }
}
