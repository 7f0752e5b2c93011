//! The TCP port of KV: a connection brings one request, in the clear, and gets one answer. To the host it is a link like any other: what
//! comes is turned into one packet, `1 VOICECONTROL bytes`, and its answer back into bytes.
//!
//! DATA of the packet is the request, exactly as long as its type needs. DATA of the answer is the answer; a FAIL becomes an error's number.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::ready;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use super::io::spawn;
use super::io::Socket;
use super::link::LinkTask;
use super::listen::listen_how;
use super::listen::How;
use super::listen::Listening;
use super::Handle;
use crate::config::PortKey;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::rt;
use crate::engine::rt::AsyncRead;
use crate::engine::rt::AsyncWrite;
use crate::voice::control::Answer;
use crate::voice::control::Error;
use crate::voice::control::Request;
use crate::wire::raw;
use crate::wire::Framer;
use crate::wire::Packet;
use crate::wire::Reply;

/// The packet's command.
const COMMAND: &[u8] = b"VOICECONTROL";
/// The packet's ID; there is one on a link.
const ID: &[u8] = b"1";
/// A request must be there so soon.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any request has.
const REQUEST: usize = 128;
/// What the host may say, before it is taken for a fault.
const ANSWER: usize = 4 << 20;
/// After the answer so much is thrown away, for so long, so that bytes nobody needed do not reset the connection over it.
const EXCESS: usize = 4 << 10;
const LINGER: Duration = Duration::from_secs(1);

/// Listens on `address` for KV clients. Returns the address in use, and what to hold on to.
///
/// # Errors
/// When the address cannot be bound; in words, with the key to change.
pub fn listen_kv<R: Role>(handle: &Handle<R>, address: SocketAddr) -> Result<(SocketAddr, Listening), String> {
    listen_how(handle, PortKey::VoiceControl, address, How::Kv)
}

/// Takes over a connection that the host has accepted as `link`.
pub(super) fn take<R: Role>(handle: &Handle<R>, link: LinkId, socket: Socket) {
    let source = socket.source();
    if handle.enter(|host, now| host.open(now, link, |_| {})) {
        spawn(Box::new(LinkTask::new(handle.clone(), link, Kv::new(socket))), Some(&source));
    } else {
        handle.enter(|host, now| host.gone(now, link, Chunk::default(), "not wanted any more"));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request is not whole.
    Asking,
    /// The host has it, or will.
    Asked,
    /// The answer is being written.
    Answering,
    /// It is written.
    Answered,
    /// Nothing more is written, and so many bytes were thrown away.
    Shut(usize),
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection as a stream of packets: what a link's task reads and writes.
struct Kv<S> {
    stream: S,
    stage: Stage,
    /// Of the stages that end by themselves.
    timer: Option<Timer>,
    /// The request as far as it came; then what the host did not take of the packet.
    came: Vec<u8>,
    /// What the host has said, as far as it is no whole packet.
    said: Vec<u8>,
    framer: Framer,
    /// The answer, and how much of it is written.
    answer: Vec<u8>,
    sent: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kv<S> {
    fn new(stream: S) -> Kv<S> {
        Kv {
            stream,
            stage: Stage::Asking,
            timer: Some(Box::pin(rt::sleep(PATIENCE))),
            came: Vec::new(),
            said: Vec::new(),
            framer: Framer::default(),
            answer: Vec::new(),
            sent: 0,
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }

    fn say(&mut self, answer: Vec<u8>) {
        (self.stage, self.answer, self.sent) = (Stage::Answering, answer, 0);
        (self.timer, self.came, self.said) = (None, Vec::new(), Vec::new());
    }

    fn refuse(&mut self, error: Error) {
        self.say(Answer::Failed(error).encode());
    }

    /// Reads on until the request is whole, or never will be. Ready: the stage has changed. What `buffer` holds afterwards is nothing.
    fn ask(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<()>> {
        loop {
            match Pin::new(&mut self.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => {
                    self.refuse(Error::TooFew);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(n)) => {
                    let some = buffer.get(..n.min(REQUEST - self.came.len())).unwrap_or_default();
                    self.came.extend_from_slice(some);
                    if n == buffer.len() {
                        // What was read ahead behind it would be kept as long as the connection.
                        let _ = Pin::new(&mut self.stream).poll_read(cx, buffer);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.is_late(cx) => {
                    self.refuse(Error::TooFew);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return Poll::Pending,
            }
            match Request::decode(&self.came) {
                Ok(None) => {}
                Ok(Some((_, length))) => {
                    let mut packet = [ID, b" ", COMMAND, b" "].concat();
                    raw::escape_into(&mut packet, self.came.get(..length).unwrap_or_default());
                    packet.push(b'\n');
                    (self.stage, self.came, self.timer) = (Stage::Asked, packet, None);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    self.refuse(error);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Writes what there is of the answer. Ready(Ok): all of it.
    fn push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.answer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        (self.stage, self.answer, self.sent) = (Stage::Answered, Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Looks for the answer among the packets of the host.
    fn look(&mut self) {
        let (mut start, mut found) = (0, None);
        while let Some(line) = self.framer.next(&self.said, &mut start) {
            let Ok(packet) = Packet::parse(line) else { continue };
            let answers = packet.id == ID && packet.command == COMMAND;
            // ERROR: the host did not understand the packet, or ends the link.
            if !answers && packet.command != b"ERROR" {
                continue;
            }
            found = Some(match Reply::parse(packet.data) {
                Ok(Reply::Ok(data)) if answers && !data.is_empty() => data.unescape().into_owned(),
                Ok(Reply::Fail(code, _)) => Answer::Failed(Error::of_code(code)).encode(),
                Ok(Reply::Ok(_)) | Err(_) => Answer::Failed(Error::Server).encode(),
            });
            break;
        }
        self.said.drain(..start);
        match found {
            Some(answer) => self.say(answer),
            None if self.said.len() > ANSWER => self.refuse(Error::Server),
            None => {}
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Kv<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.stage == Stage::Asking {
            ready!(this.ask(cx, buffer))?;
        }
        if this.stage == Stage::Answering {
            ready!(this.push(cx))?;
        }
        if this.stage != Stage::Asked {
            return Poll::Ready(Ok(0));
        }
        // What follows the request is nothing to anybody, and its end is not the end of the link: the answer is still to come.
        if this.came.is_empty() {
            return Poll::Pending;
        }
        let length = this.came.len().min(buffer.len());
        buffer[..length].copy_from_slice(&this.came[..length]);
        this.came.drain(..length);
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Kv<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, packets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.stage == Stage::Asked {
            this.said.extend_from_slice(packets);
            this.look();
        }
        Poll::Ready(Ok(packets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stage == Stage::Answering {
            ready!(this.push(cx))?;
            // The reader is to learn that this was all.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.stage, Stage::Asking | Stage::Asked) {
            this.refuse(Error::Server);
        }
        if this.stage == Stage::Answering {
            ready!(this.push(cx))?;
        }
        if this.stage == Stage::Answered {
            ready!(Pin::new(&mut this.stream).poll_close(cx))?;
            this.stage = Stage::Shut(0);
            this.timer = Some(Box::pin(rt::sleep(LINGER)));
        }
        let mut rest = [0; EXCESS];
        loop {
            let Stage::Shut(thrown) = &mut this.stage else { return Poll::Ready(Ok(())) };
            match Pin::new(&mut this.stream).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(n)) if n > 0 && *thrown < EXCESS => *thrown += n,
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending if this.is_late(cx) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests;
