//! Ogg Opus (RFC 7845): packets out of a file, and into one. Blocking.

use std::io;
use std::io::Read;
use std::io::Write;

use ogg::reading::BasePacketReader;
use ogg::reading::PageParser;
use ogg::Packet;
use ogg::PacketWriteEndInfo;
use ogg::PacketWriter;

use super::toc;
use super::toc::RATE;

/// What a decoder drops at the beginning, in samples: how far the usual encoder looks ahead, so that a recording is as long as what
/// was said.
pub const PRE_SKIP: u16 = 312;
/// A page of a file has so many samples: what was heard a second ago is in it.
pub const PAGE: u64 = RATE as u64;
/// The beginning of a page.
const CAPTURE: &[u8] = b"OggS";

/// The packets of the first Opus stream of a file; those of others that follow it come behind.
pub struct Reader<R: Read> {
    from: R,
    pages: BasePacketReader,
    /// The stream that is read.
    serial: Option<u32>,
    /// The packet that follows is its OpusTags.
    tags: bool,
    channels: u8,
}

/// A packet out of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Opus.
    pub opus: Vec<u8>,
    /// How long it sounds, at 48 kHz.
    pub samples: u32,
}

fn bad(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

impl<R: Read> Reader<R> {
    /// Reads up to the first Opus stream.
    ///
    /// # Errors
    /// It cannot be read, or is no Ogg Opus; in words.
    pub fn new(from: R) -> io::Result<Reader<R>> {
        let mut reader = Reader { from, pages: BasePacketReader::new(), serial: None, tags: false, channels: 0 };
        while reader.serial.is_none() {
            let packet = reader.packet()?.ok_or_else(|| bad("there is no Opus in it"))?;
            reader.begins(&packet)?;
        }
        Ok(reader)
    }

    /// Channels of the stream: 1 or 2.
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// The next packet of sound; None: the end.
    ///
    /// # Errors
    /// As `new`; also for what cannot be told how long it sounds.
    pub fn read(&mut self) -> io::Result<Option<Heard>> {
        loop {
            let Some(packet) = self.packet()? else { return Ok(None) };
            if self.begins(&packet)? || self.serial != Some(packet.stream_serial()) {
                continue;
            }
            if std::mem::take(&mut self.tags) {
                if packet.data.starts_with(b"OpusTags") {
                    continue;
                }
                return Err(bad("its second packet is not OpusTags"));
            }
            if packet.data.is_empty() {
                continue;
            }
            let samples = toc::samples(&packet.data).ok_or_else(|| bad("a packet in it is no Opus"))?;
            return Ok(Some(Heard { opus: packet.data, samples }));
        }
    }

    /// Whether this is the head of an Opus stream, which is read from here on.
    fn begins(&mut self, packet: &Packet) -> io::Result<bool> {
        if !packet.first_in_stream() || !packet.data.starts_with(b"OpusHead") {
            return Ok(false);
        }
        let [version, channels, .., family] = packet.data.get(8..19).unwrap_or_default() else {
            return Err(bad("its OpusHead is cut off"));
        };
        if version >> 4 != 0 || *family != 0 || !(1..=2).contains(channels) {
            return Err(bad("it has more than two channels, or is of a later version of Ogg Opus"));
        }
        (self.serial, self.tags, self.channels) = (Some(packet.stream_serial()), true, *channels);
        Ok(true)
    }

    fn packet(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.pages.read_packet() {
                return Ok(Some(packet));
            }
            if !self.page()? {
                return Ok(None);
            }
        }
    }

    /// Reads a page; false: there is none any more.
    fn page(&mut self) -> io::Result<bool> {
        let mut head = [0; 27];
        let (first, rest) = head.split_at_mut(1);
        if self.from.read(first)? == 0 {
            return Ok(false);
        }
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => bad("it is cut off"),
            _ => error,
        };
        self.from.read_exact(rest).map_err(cut)?;
        if !head.starts_with(CAPTURE) {
            return Err(bad("it is no Ogg file, or damaged"));
        }
        let damaged = |error: ogg::OggReadError| bad(format!("it is damaged: {error}"));
        let (mut parser, segments) = PageParser::new(head).map_err(damaged)?;
        let mut lacing = vec![0; segments];
        self.from.read_exact(&mut lacing).map_err(cut)?;
        let mut body = vec![0; parser.parse_segments(lacing)];
        self.from.read_exact(&mut body).map_err(cut)?;
        self.pages.push_page(parser.parse_packet_data(body).map_err(damaged)?).map_err(damaged)?;
        Ok(true)
    }
}

/// A file that is written.
pub struct Writer<W: Write> {
    to: PacketWriter<'static, W>,
    serial: u32,
    page: u64,
    /// The last packet: only the next one, or the end, tells how its page ends.
    last: Option<Vec<u8>>,
    /// Samples behind the last packet, and behind the last page.
    position: u64,
    paged: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a stream of one or two channels, with a serial number that should be random. A page is written when it has `page`
    /// samples, and is at once in `to`.
    ///
    /// # Errors
    /// Writing fails.
    pub fn new(to: W, serial: u32, channels: u8, page: u64) -> io::Result<Writer<W>> {
        let mut to = PacketWriter::new(to);
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&RATE.to_le_bytes());
        // No gain, and the channels of family 0.
        head.extend_from_slice(&[0, 0, 0]);
        to.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        let vendor = concat!("convergia ", env!("CARGO_PKG_VERSION")).as_bytes();
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        to.write_packet(tags, serial, PacketWriteEndInfo::EndPage, 0)?;
        to.inner_mut().flush()?;
        Ok(Writer { to, serial, page, last: None, position: 0, paged: 0 })
    }

    /// Samples that were written.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes a packet. One that is no Opus is left out.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write(&mut self, opus: &[u8]) -> io::Result<()> {
        let Some(samples) = toc::samples(opus) else { return Ok(()) };
        self.flush_last(false)?;
        self.last = Some(opus.to_vec());
        self.position = self.position.saturating_add(samples.into());
        Ok(())
    }

    fn flush_last(&mut self, end: bool) -> io::Result<()> {
        let Some(packet) = self.last.take() else { return Ok(()) };
        let full = self.position.saturating_sub(self.paged) >= self.page;
        let how = match (end, full) {
            (true, _) => PacketWriteEndInfo::EndStream,
            (false, true) => PacketWriteEndInfo::EndPage,
            (false, false) => PacketWriteEndInfo::NormalPacket,
        };
        self.to.write_packet(packet, self.serial, how, self.position)?;
        if end || full {
            self.paged = self.position;
            self.to.inner_mut().flush()?;
        }
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// Writing fails.
    pub fn end(mut self) -> io::Result<W> {
        self.flush_last(true)?;
        Ok(self.to.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(bytes: &[u8]) -> io::Result<Vec<Heard>> {
        let mut reader = Reader::new(bytes)?;
        let mut all = Vec::new();
        while let Some(heard) = reader.read()? {
            all.push(heard);
        }
        Ok(all)
    }

    fn file(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 7, 1, PAGE).unwrap();
        packets.iter().for_each(|packet| writer.write(packet).unwrap());
        writer.end().unwrap()
    }

    fn packets(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| [&[0xf8, n as u8][..], &vec![n as u8; n * 7 % 700]].concat()).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        for count in [0, 1, 2, 50, 51, 1_000] {
            let bytes = file(&packets(count));
            let heard = read_all(&bytes).unwrap();
            assert!(heard.iter().all(|heard| heard.samples == 960));
            assert_eq!(heard.into_iter().map(|heard| heard.opus).collect::<Vec<_>>(), packets(count));
        }
    }

    #[test]
    fn positions_and_ends_are_told() {
        let bytes = file(&packets(120));
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let mut ends = Vec::new();
        while let Some(packet) = reader.packet().unwrap() {
            if packet.last_in_page() {
                ends.push((packet.absgp_page(), packet.last_in_stream()));
            }
        }
        // The tags; a second each; the rest.
        assert_eq!(ends, [(0, false), (48_000, false), (96_000, false), (115_200, true)]);
        assert_eq!(reader.channels(), 1);
    }

    #[test]
    fn a_second_stream_follows() {
        let both = [file(&packets(3)), {
            let mut writer = Writer::new(Vec::new(), 8, 2, 0).unwrap();
            writer.write(&[0xfc, 9]).unwrap();
            writer.end().unwrap()
        }]
        .concat();
        let heard = read_all(&both).unwrap();
        assert_eq!((heard.len(), &heard[3].opus), (4, &vec![0xfc, 9]));
    }

    #[test]
    fn what_is_no_opus_is_told() {
        let good = file(&packets(20));
        for (bytes, words) in [
            (&b""[..], "no Opus"),
            (b"RIFF\0\0\0\0WAVEfmt and so on and on and on", "no Ogg"),
            (&good[..good.len() - 1], "cut off"),
            (&good[..10], "cut off"),
        ] {
            assert!(read_all(bytes).unwrap_err().to_string().contains(words), "{words}");
        }
        let mut vorbis = PacketWriter::new(Vec::new());
        vorbis.write_packet(&b"\x01vorbis"[..], 1, PacketWriteEndInfo::EndStream, 0).unwrap();
        assert!(read_all(&vorbis.into_inner()).unwrap_err().to_string().contains("no Opus"));
        let mut many = PacketWriter::new(Vec::new());
        let head = b"OpusHead\x01\x06\0\0\0\0\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        many.write_packet(&head[..], 1, PacketWriteEndInfo::EndStream, 0).unwrap();
        assert!(read_all(&many.into_inner()).unwrap_err().to_string().contains("channels"));
    }

    proptest! {
        /// Pages with good sums and anything in them: an error in words or packets, and no panic.
        #[test]
        fn nothing_panics(pages in proptest::collection::vec((0u8..8, 0u32..3, proptest::collection::vec(any::<u8>(), 0..8)), 0..8)) {
            let mut bytes = Vec::new();
            for (flags, serial, lacing) in pages {
                let mut page = [&b"OggS\0"[..], &[flags], &[0; 8], &serial.to_le_bytes(), &[0; 8], &[lacing.len() as u8], &lacing].concat();
                let body: usize = lacing.iter().map(|n| usize::from(*n)).sum();
                page.extend(b"OpusHead\x01\x01\0\0\0\0\0\0\0\0\0".iter().cycle().take(body));
                let sum = sum(&page);
                page[22..26].copy_from_slice(&sum.to_le_bytes());
                bytes.extend(page);
            }
            let _ = read_all(&bytes);
        }
    }

    /// The sum of a page: CRC-32 with the polynomial 0x04c11db7, from 0, nothing reflected.
    fn sum(page: &[u8]) -> u32 {
        page.iter().fold(0, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 })
        })
    }
}
