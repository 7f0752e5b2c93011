//! The task of one link: socket and TLS on one side, the host on the other.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use super::io::Task;
use super::Handle;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::host::Next;
use crate::engine::rt::AsyncRead;
use crate::engine::rt::AsyncWrite;

/// How much is read at most before the host and other tasks get their turn.
const SCRATCH: usize = 64 << 10;
/// How much of a blob is escaped at a time: with that, a part fills records of TLS and is one system call.
const PART: usize = 62 << 10;
/// How much is thrown away at most while waiting for the peer to read our last words and close.
const LINGER: usize = 8 << 20;

thread_local! {
    /// Links are read into this, one after another: an idle link owns no read buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

enum Stage {
    Running,
    /// All is written; the stream is being shut down.
    Shutting,
    /// Shut down; what still comes is thrown away, so that the kernel sends no reset over our last words.
    Lingering(usize),
}

/// See the module.
pub struct LinkTask<R: Role, S> {
    handle: Handle<R>,
    link: LinkId,
    stream: S,
    stage: Stage,
    /// What is being written; empty when nothing is.
    chunk: Chunk,
    /// Of a chunk with a blob: the part that is being written, escaped, and where in the blob the next one begins.
    part: Vec<u8>,
    next: Option<usize>,
    /// How much of the part, or else of the chunk, is written.
    written: usize,
    read: bool,
    ended: bool,
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin> LinkTask<R, S> {
    /// A task for a link that was opened in the host.
    pub fn new(handle: Handle<R>, link: LinkId, stream: S) -> LinkTask<R, S> {
        LinkTask {
            handle,
            link,
            stream,
            stage: Stage::Running,
            chunk: Chunk::default(),
            part: Vec::new(),
            next: None,
            written: 0,
            read: true,
            ended: false,
        }
    }

    fn gone(&mut self, why: &str) -> Poll<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let link = self.link;
        self.handle.enter(|host, now| host.gone(now, link, chunk, why));
        Poll::Ready(())
    }

    /// Reads what there is, at most a buffer full, and brings it to the host. Ok(true): there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut got = 0;
            let mut result = Ok(true);
            while self.read && !self.ended && got < buffer.len() {
                match Pin::new(&mut self.stream).poll_read(cx, &mut buffer[got..]) {
                    Poll::Ready(Ok(0)) => self.ended = true,
                    Poll::Ready(Ok(n)) => got += n,
                    Poll::Ready(Err(error)) => {
                        result = Err(error);
                        break;
                    }
                    Poll::Pending => {
                        result = Ok(false);
                        break;
                    }
                }
            }
            let (link, ended, idle) = (self.link, self.ended, self.chunk.is_empty());
            let next = self.handle.enter(|host, now| {
                if got > 0 {
                    host.received(now, link, &buffer[..got], true);
                }
                if ended {
                    host.hang_up(now, link);
                }
                if idle {
                    return host.exchange(now, link, None, Some(cx.waker()));
                }
                if host.is_aborted(link) {
                    return Next::Finish;
                }
                host.resume(link);
                Next::Idle { read: !host.is_blocked(link) }
            });
            self.apply(next);
            result.map(|more| more && got == buffer.len())
        })
    }

    fn apply(&mut self, next: Next) {
        match next {
            Next::Write(chunk) => {
                (self.chunk, self.written) = (chunk, 0);
                if self.chunk.blob.is_some() {
                    self.next = self.chunk.write_some(&mut self.part, 0, PART);
                }
            }
            Next::Idle { read } => self.read = read,
            Next::Finish => self.stage = Stage::Shutting,
        }
    }

    /// Writes and flushes the chunk; then asks for the next. Ready: all is written.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.chunk.is_empty() && matches!(self.stage, Stage::Running) {
            loop {
                let bytes = if self.chunk.blob.is_some() { &self.part } else { &self.chunk.bytes };
                if self.written < bytes.len() {
                    match Pin::new(&mut self.stream).poll_write(cx, &bytes[self.written..]) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        Poll::Ready(Ok(n)) => self.written += n,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                    continue;
                }
                let Some(at) = self.next else { break };
                self.part.clear();
                (self.next, self.written) = (self.chunk.write_some(&mut self.part, at, PART), 0);
            }
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            // A link at rest holds no buffer.
            self.part = Vec::new();
            let (link, done) = (self.link, std::mem::take(&mut self.chunk));
            let next = self.handle.enter(|host, now| host.exchange(now, link, Some(done), Some(cx.waker())));
            self.apply(next);
        }
        Poll::Ready(Ok(()))
    }

    /// Shuts the stream down and waits for the peer to close, within bounds; the host aborts when it takes too long.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Shutting = self.stage {
            match Pin::new(&mut self.stream).poll_close(cx) {
                Poll::Ready(Ok(())) => self.stage = Stage::Lingering(0),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Stage::Lingering(thrown) = &mut self.stage else { return Poll::Pending };
        if self.ended {
            return Poll::Ready(());
        }
        BUFFER.with_borrow_mut(|buffer| loop {
            match Pin::new(&mut self.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(n)) if n > 0 && *thrown < LINGER => *thrown += n,
                Poll::Pending => return Poll::Pending,
                // An end in order, with or without TLS's own word for it. A peer that had not read everything resets the connection.
                Poll::Ready(result) => {
                    let in_order = match result {
                        Ok(n) => n == 0,
                        Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
                    };
                    if in_order {
                        self.handle.enter(|host, _| host.all_read(self.link));
                    }
                    return Poll::Ready(());
                }
            }
        })
    }
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin> Future for LinkTask<R, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.run(cx)
    }
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin> LinkTask<R, S> {
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let this = self;
        loop {
            if !matches!(this.stage, Stage::Running) {
                let (link, handle) = (this.link, &this.handle);
                let aborted = handle.enter(|host, _| {
                    host.set_waker(link, cx.waker());
                    host.is_aborted(link)
                });
                if aborted || this.finish(cx).is_ready() {
                    return this.gone("closed");
                }
                return Poll::Pending;
            }
            let could_read = this.read;
            let more = match this.read(cx) {
                Ok(more) => more,
                Err(error) => return this.gone(&error.to_string()),
            };
            match this.write(cx) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                // What the peer sent before it went is still read.
                Poll::Ready(Err(_)) if more => {}
                Poll::Ready(Err(error)) => return this.gone(&error.to_string()),
            }
            if !matches!(this.stage, Stage::Running) {
                continue;
            }
            if more {
                // Others first: a fast sender must not keep the thread to itself.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if this.read && !could_read {
                continue;
            }
            return Poll::Pending;
        }
    }
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin + Send> Task for LinkTask<R, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        self.run(cx).map(|()| None)
    }
}

#[cfg(test)]
mod tests;
