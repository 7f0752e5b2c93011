//! A web socket as a stream of packets: what a link's task reads and writes like any other.

use std::cell::RefCell;
use std::io;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::ready;
use std::task::Context;
use std::task::Poll;

use tungstenite::protocol::frame::coding::Control;

use super::frames::put_control;
use super::frames::Decoder;
use super::frames::Encoder;
use super::frames::Over;
use crate::engine::rt::AsyncRead;
use crate::engine::rt::AsyncWrite;

/// The code of the Close that ends a link on the server's side; packets before it say why. No browser sends it by itself, so one that
/// comes back is the answer to ours, and proves that all before it was read.
pub const CLOSED: u16 = 4000;
/// Frames are made in pieces of about this size.
const PIECE: usize = 64 << 10;
/// Reads in which no packet came, before others get their turn.
const AT_ONCE: usize = 32;
/// What is thrown away at most, of a peer that broke the rules, so that it sees why it is closed.
const LINGER: usize = 1 << 20;

thread_local! {
    /// Frames are made in this, for one link after another: a link owns only what its stream did not take.
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module. `S`: TLS, or a plain socket.
pub struct WebSocket<S> {
    stream: S,
    decoder: Decoder,
    encoder: Encoder,
    /// What came behind the request that opened the web socket.
    early: Vec<u8>,
    /// Frames that the stream has not taken, and how many bytes of them it has.
    pending: Vec<u8>,
    sent: usize,
    /// The LF of a packet, which did not fit into the reader's buffer.
    owes_end: bool,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Our Close is written, or will be; the peer has not said that it closes.
    Said,
    /// Nothing more is written, and so many bytes were thrown away.
    Shut(usize),
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Frames begin on `stream`, the first of them with `early`.
    pub fn new(stream: S, early: Vec<u8>) -> WebSocket<S> {
        WebSocket {
            stream,
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            early,
            pending: Vec::new(),
            sent: 0,
            owes_end: false,
            closing: Closing::No,
        }
    }

    /// Reads what the stream has into `buffer` behind its first byte, and makes packets of it at its beginning. Err(None): the stream's end.
    fn take(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Option<io::Error>>> {
        let room = &mut buffer[1..];
        let got = if self.early.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_read(cx, room)) {
                Ok(0) => return Poll::Ready(Err(None)),
                Ok(got) => got,
                Err(error) => return Poll::Ready(Err(Some(error))),
            }
        } else {
            let got = room.len().min(self.early.len());
            room[..got].copy_from_slice(&self.early[..got]);
            self.early.drain(..got);
            if self.early.is_empty() {
                self.early = Vec::new();
            }
            got
        };
        Poll::Ready(Ok(self.decoder.decode(&mut buffer[..=got], 1)))
    }

    /// Answers a Ping as far as the stream takes it. An error is not told: what came before it shall still be read, and the
    /// next write will have it too.
    fn answer_ping(&mut self, cx: &mut Context<'_>) {
        if self.pending.is_empty() && self.encoder.is_between() && self.closing == Closing::No {
            if let Some(payload) = self.decoder.pong() {
                put_control(Control::Pong, &payload, &mut self.pending);
            }
        }
        if !self.pending.is_empty() && self.push(cx).is_ready() {
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }

    /// Writes what is pending. Ready(Ok): all of it.
    fn push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.pending[self.sent..]))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        (self.pending, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// What a reader is told after the last packet.
    fn end(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        if let Some(Over::Broken(_, why)) = self.decoder.over() {
            log::debug!("a web socket is closed: {why}");
        }
        match (self.closing, self.decoder.over()) {
            // It closed by itself, perhaps before it read our last words.
            (Closing::Said, over) if over != Some(&Over::Closed(Some(CLOSED))) => {
                Err(ErrorKind::ConnectionReset.into())
            }
            (Closing::Said, _) => {
                // TLS's own word for the end, if there is room for it.
                let _ = Pin::new(&mut self.stream).poll_close(cx);
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    fn put_close(&mut self) {
        self.closing = Closing::Said;
        // In the middle of a frame nothing can be said.
        if !self.encoder.is_between() {
            return;
        }
        let mut payload = Vec::new();
        match self.decoder.over() {
            None => payload.extend_from_slice(&CLOSED.to_be_bytes()),
            Some(Over::Closed(code)) => payload.extend(code.iter().flat_map(|code| code.to_be_bytes())),
            Some(Over::Broken(code, why)) => {
                payload.extend_from_slice(&u16::from(*code).to_be_bytes());
                payload.extend_from_slice(why.as_bytes());
            }
        }
        put_control(Control::Close, &payload, &mut self.pending);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(first) = buffer.first_mut() else { return Poll::Ready(Ok(0)) };
        if std::mem::take(&mut this.owes_end) {
            *first = b'\n';
            return Poll::Ready(Ok(1));
        }
        for _ in 0..AT_ONCE {
            this.answer_ping(cx);
            if this.decoder.over().is_some() {
                return Poll::Ready(this.end(cx));
            }
            let taken = if buffer.len() > 1 {
                this.take(cx, buffer)
            } else {
                let mut two = [0; 2];
                this.take(cx, &mut two).map_ok(|n| {
                    buffer[..n.min(1)].copy_from_slice(&two[..n.min(1)]);
                    this.owes_end = n > 1;
                    n.min(1)
                })
            };
            match ready!(taken) {
                Ok(0) => {}
                Ok(n) => {
                    this.answer_ping(cx);
                    return Poll::Ready(Ok(n));
                }
                Err(None) => return Poll::Ready(Ok(0)),
                Err(Some(error)) => return Poll::Ready(Err(error)),
            }
        }
        // Frames without a packet, one after another: others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, packets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.push(cx))?;
        if packets.is_empty() {
            return Poll::Ready(Ok(0));
        }
        FRAMES.with_borrow_mut(|frames| {
            frames.clear();
            if this.encoder.is_between() {
                if let Some(payload) = this.decoder.pong() {
                    put_control(Control::Pong, &payload, frames);
                }
            }
            let used = this.encoder.encode(packets, frames, PIECE);
            let mut sent = 0;
            while sent < frames.len() {
                match Pin::new(&mut this.stream).poll_write(cx, &frames[sent..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => sent += n,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        this.pending = frames[sent..].to_vec();
                        break;
                    }
                }
            }
            Poll::Ready(Ok(used))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.push(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Says Close. The stream itself is shut down only when the peer has said that it closes, as RFC 6455 has it; until then its answer can be read.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing == Closing::No {
            this.put_close();
        }
        if this.closing == Closing::Said {
            ready!(this.push(cx))?;
            ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
            if this.decoder.over().is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut this.stream).poll_close(cx))?;
            this.closing = Closing::Shut(0);
        }
        let Closing::Shut(thrown) = &mut this.closing else { return Poll::Ready(Ok(())) };
        if matches!(this.decoder.over(), Some(Over::Broken(..))) {
            // With bytes unread the kernel would reset the connection over what we said.
            let mut rest = [0; 4 << 10];
            while *thrown < LINGER {
                match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut rest)) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => *thrown += n,
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
