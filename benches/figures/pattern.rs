//! What the load sends: packets of one length whose body carries a sequence number and a time, and their check.

use convergia::wire::packet::put_packet;
use convergia::wire::Packet;
use convergia::wire::Reply;

use crate::Result;

/// The most plain text in one TLS record, in bytes.
const RECORD: usize = 16 * 1024;
/// Digits of a number in a body; 6 bits each.
const DIGITS: usize = 8;
/// Digits of a packet ID.
const ID_DIGITS: usize = 8;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Lines as long as the packets of Convergia, passed on as they are: the bare relay.
    Bare,
    /// SENDMESSAGE and RECEIVEMESSAGE.
    Convergia,
}

/// How a load is shaped.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Length of a body, in bytes.
    pub body: usize,
    /// As many packets in a TLS record as fit, or one.
    pub packed: bool,
    /// Packets have an ID, and the server answers each.
    pub answered: bool,
}

impl Shape {
    /// How many messages of a pair may be under way. Far less than what a server queues for a slow reader.
    pub fn window(&self) -> u64 {
        (512 * 1024 / self.body as u64).min(2000)
    }
}

/// A record's worth of packets of one sender, where only the numbers change.
pub struct Pattern {
    shape: Shape,
    bytes: Vec<u8>,
    /// Length of one packet.
    length: usize,
    /// Where a packet's body begins.
    body_at: usize,
}

impl Pattern {
    /// For messages to `recipient`.
    pub fn new(wire: Wire, shape: Shape, recipient: &str) -> Pattern {
        let body = vec![b'x'; shape.body];
        let id = if shape.answered { [b'0'; ID_DIGITS].to_vec() } else { b"0".to_vec() };
        let mut one = Vec::new();
        put_packet(&mut one, &id, b"SENDMESSAGE", &[recipient.as_bytes(), &body]);
        if wire == Wire::Bare {
            // The very same load, but for the line end within: the bare relay knows no escapes.
            for byte in one.iter_mut().rev().skip(1).filter(|byte| **byte == b'\n') {
                *byte = b' ';
            }
        }
        let (length, body_at) = (one.len(), one.len() - 1 - shape.body);
        let most = (shape.window() as usize).min(RECORD / length).max(1);
        Pattern { shape, bytes: one.repeat(most), length, body_at }
    }

    /// How many packets are handed over at once.
    pub fn batch(&self) -> u64 {
        (self.bytes.len() / self.length) as u64
    }

    /// The next packets, numbered from `first`, sent at `now` (ns); one, or as many as [`Pattern::batch`] says.
    pub fn packets(&mut self, wire: Wire, first: u64, count: u64, now: u64) -> impl Iterator<Item = &[u8]> {
        let end = (count as usize * self.length).min(self.bytes.len());
        for (packet, number) in self.bytes[..end].chunks_exact_mut(self.length).zip(first..) {
            if wire == Wire::Convergia && self.shape.answered {
                put_id(&mut packet[..ID_DIGITS], number);
            }
            let body = &mut packet[self.body_at..];
            put_number(&mut body[..DIGITS], number);
            put_number(&mut body[DIGITS..2 * DIGITS], now);
        }
        let piece = if self.shape.packed { end } else { self.length };
        self.bytes[..end].chunks(piece.max(1))
    }
}

fn put_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number & 63) as u8;
        number >>= 6;
    }
}

fn get_number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number << 6 | u64::from(digit.wrapping_sub(b'0') & 63))
}

fn put_id(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// What came from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message: its number, and when it was sent (ns).
    Message(u64, u64),
    /// A message was accepted: its number.
    Accepted(u64),
    /// A message was refused.
    Refused,
    /// The server wants to know whether we live: the ID.
    Ping(&'a [u8]),
    /// Not ours to count.
    Other,
}

/// Reads a line that the server sent. Fails on what no server may send here.
pub fn incoming<'a>(wire: Wire, shape: &Shape, line: &'a [u8]) -> Result<Incoming<'a>> {
    if wire == Wire::Bare {
        let body = line.len().checked_sub(shape.body).ok_or("a line came that is too short")?;
        return message(shape, &line[body..]);
    }
    let packet = Packet::parse(line).map_err(|_| "the server sent a line that is no packet")?;
    match packet.command {
        b"RECEIVEMESSAGE" => {
            let [_, _, body] = packet.data.take::<3>()?;
            message(shape, body.0)
        }
        b"SENDMESSAGE" => match Reply::parse(packet.data) {
            Ok(Reply::Ok(_)) => {
                let id = std::str::from_utf8(packet.id)?;
                Ok(Incoming::Accepted(u64::from_str_radix(id, 16)?))
            }
            _ => Ok(Incoming::Refused),
        },
        b"PING" if packet.data.is_empty() => Ok(Incoming::Ping(packet.id)),
        b"ERROR" | b"DISCONNECTED" => Err(format!("the server closes: {}", String::from_utf8_lossy(line)).into()),
        _ => Ok(Incoming::Other),
    }
}

fn message<'a>(shape: &Shape, body: &[u8]) -> Result<Incoming<'a>> {
    if body.len() != shape.body {
        return Err(format!("a body of {} bytes came, {} were sent", body.len(), shape.body).into());
    }
    Ok(Incoming::Message(get_number(&body[..DIGITS]), get_number(&body[DIGITS..2 * DIGITS])))
}
