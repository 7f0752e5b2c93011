//! TLS over a non-blocking socket, either end.

use std::io;
use std::io::BufRead;
use std::io::ErrorKind;
use std::io::Read;
use std::net::TcpStream;

use rustls::Connection;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The socket is empty.
    Nothing,
    /// Something came; there may be more.
    Some,
    /// The other side is gone.
    Closed,
}

/// A socket and its TLS state.
pub struct Channel {
    /// Non-blocking.
    pub socket: TcpStream,
    /// Without limits on its buffers: whoever uses it bounds what is put in.
    pub tls: Connection,
}

impl Channel {
    /// Takes over a socket.
    pub fn new(socket: TcpStream, mut tls: Connection) -> io::Result<Channel> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        tls.set_buffer_limit(None);
        Ok(Channel { socket, tls })
    }

    /// Reads from the socket once, decrypts, and hands every piece of plain text to `sink`.
    ///
    /// `scratch` is read into first because rustls by itself asks the kernel for 4 KiB at a time.
    pub fn receive(&mut self, scratch: &mut [u8], mut sink: impl FnMut(&[u8])) -> io::Result<Received> {
        let count = match self.socket.read(scratch) {
            Ok(0) => return Ok(Received::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Received::Some),
            Err(error) => return Err(error),
        };
        let mut rest = &scratch[..count];
        while !rest.is_empty() {
            if self.tls.read_tls(&mut rest)? == 0 {
                return Ok(Received::Closed);
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let mut plain = state.plaintext_bytes_to_read();
            let mut reader = self.tls.reader();
            while plain > 0 {
                let piece = reader.fill_buf()?;
                let length = piece.len();
                sink(piece);
                reader.consume(length);
                plain = plain.saturating_sub(length);
            }
        }
        Ok(Received::Some)
    }

    /// Writes what is encrypted, in as few system calls as the socket takes. True: nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
