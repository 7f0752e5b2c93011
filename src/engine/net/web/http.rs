//! The task of one HTTP connection: requests and responses, one after another, until it closes or becomes a web socket.

use std::io;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::task::Context;
use std::task::Poll;

use super::assets::Assets;
use super::request::respond;
use super::request::Response;
use super::request::Then;
use super::request::Way;
use super::socket::WebSocket;
use crate::engine::chunk::Chunk;
use crate::engine::clock;
use crate::engine::command::Role;
use crate::engine::ctx::Fingerprint;
use crate::engine::ctx::LinkId;
use crate::engine::limits;
use crate::engine::net::io::Task;
use crate::engine::net::link::LinkTask;
use crate::engine::net::Handle;
use crate::engine::rt::AsyncRead;
use crate::engine::rt::AsyncWrite;

/// How much is read at a time; on the stack.
const STEP: usize = 2 << 10;
/// What is thrown away at most, so that the last response is not lost with it.
const LINGER: usize = 256 << 10;

/// See the module. In the host it is a link that is not open yet.
pub struct HttpTask<R: Role, S> {
    handle: Handle<R>,
    link: LinkId,
    /// None only while it is handed over.
    stream: Option<S>,
    assets: Arc<Assets>,
    way: Way,
    fingerprint: Option<Fingerprint>,
    /// What came of requests that are not answered yet; without memory while there is nothing.
    head: Vec<u8>,
    /// Bytes of it in which no request ends.
    searched: usize,
    stage: Stage,
    served: u32,
}

enum Stage {
    Reading,
    /// A response, and how far it is written.
    Writing(Response, usize),
    /// The last response is written; so many bytes were thrown away.
    Lingering(usize),
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin + Send + 'static> HttpTask<R, S> {
    /// A task for a link that was accepted; `fingerprint`: of the certificate that the peer was shown.
    pub fn new(
        handle: Handle<R>,
        link: LinkId,
        stream: S,
        assets: Arc<Assets>,
        way: Way,
        fingerprint: Option<Fingerprint>,
    ) -> HttpTask<R, S> {
        let task = HttpTask {
            handle,
            link,
            stream: Some(stream),
            assets,
            way,
            fingerprint,
            head: Vec::new(),
            searched: 0,
            stage: Stage::Reading,
            served: 0,
        };
        task.extend(limits::HTTP_HEAD_TIME);
        task
    }

    fn extend(&self, time: u64) {
        self.handle.enter(|host, now| host.extend(now, self.link, time));
    }

    /// Reads until a request is there as a whole.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Response>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(ErrorKind::NotConnected.into())) };
        loop {
            // A head may come byte by byte, and is not parsed each time.
            let behind = self.searched.saturating_sub(3);
            self.searched = self.head.len();
            if ends(&self.head[behind..]) || self.head.len() >= limits::HTTP_HEAD {
                if let Some((used, response)) = respond(&self.head, &self.assets, self.way, clock::now()) {
                    self.head.drain(..used);
                    self.searched = 0;
                    if self.head.is_empty() {
                        self.head = Vec::new();
                    }
                    return Poll::Ready(Ok(response));
                }
            }
            let mut buffer = [0; STEP];
            // Where the head is as long as it may be, `respond` has said something.
            let room = STEP.min(limits::HTTP_HEAD.saturating_sub(self.head.len()).max(1));
            let new = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer[..room]))?;
            if new == 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            if self.head.is_empty() && self.served > 0 {
                let link = self.link;
                self.handle.enter(|host, now| host.extend(now, link, limits::HTTP_HEAD_TIME));
            }
            self.head.extend_from_slice(&buffer[..new]);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Then>> {
        let (Some(stream), Stage::Writing(response, written)) = (&mut self.stream, &mut self.stage) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let mut stream = Pin::new(stream);
        let file = response.file.and_then(|(place, packed)| {
            let file = self.assets.at(place)?;
            Some(if packed { file.gzip.as_ref()? } else { &file.plain })
        });
        let body = file.map_or(&[][..], |form| &form.bytes);
        let head = &response.head;
        while *written < head.len() + body.len() {
            let rest = match head.get(*written..).filter(|rest| !rest.is_empty()) {
                Some(rest) => rest,
                None => &body[*written - head.len()..],
            };
            match ready!(stream.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => *written += n,
            }
        }
        ready!(stream.as_mut().poll_flush(cx))?;
        Poll::Ready(Ok(response.then))
    }

    /// Shuts the stream down, and waits within bounds until the peer has closed.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Some(stream), Stage::Lingering(thrown)) = (&mut self.stream, &mut self.stage) else {
            return Poll::Ready(Ok(()));
        };
        let mut stream = Pin::new(stream);
        ready!(stream.as_mut().poll_close(cx))?;
        let mut buffer = [0; STEP];
        while *thrown < LINGER {
            match ready!(stream.as_mut().poll_read(cx, &mut buffer))? {
                0 => break,
                n => *thrown += n,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Box<dyn Task>>>> {
        loop {
            match self.stage {
                Stage::Reading => {
                    let response = ready!(self.read(cx))?;
                    self.extend(limits::HTTP_ANSWER);
                    self.stage = Stage::Writing(response, 0);
                }
                Stage::Writing(..) => {
                    let then = ready!(self.write(cx))?;
                    self.served += 1;
                    match then {
                        Then::Next if self.served < limits::HTTP_REQUESTS => {
                            self.extend(if self.head.is_empty() { limits::HTTP_IDLE } else { limits::HTTP_HEAD_TIME });
                            self.stage = Stage::Reading;
                        }
                        Then::Next | Then::Close => {
                            self.extend(limits::CLOSING);
                            self.stage = Stage::Lingering(0);
                        }
                        Then::Frames => return Poll::Ready(Ok(self.open())),
                    }
                }
                Stage::Lingering(_) => {
                    ready!(self.linger(cx))?;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// The connection is a web socket from here on, and a link like any other. None: it is not wanted any more.
    fn open(&mut self) -> Option<Box<dyn Task>> {
        let stream = WebSocket::new(self.stream.take()?, std::mem::take(&mut self.head));
        let (link, print) = (self.link, self.fingerprint);
        let wanted = self.handle.enter(|host, now| host.open(now, link, |info| info.fingerprint = print));
        wanted.then(|| Box::new(LinkTask::new(self.handle.clone(), link, stream)) as Box<dyn Task>)
    }
}

/// Whether an empty line is in `bytes`.
fn ends(bytes: &[u8]) -> bool {
    [&b"\n\r\n"[..], b"\n\n"].iter().any(|end| memchr::memmem::find(bytes, end).is_some())
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task for HttpTask<R, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        let link = self.link;
        let aborted = self.handle.enter(|host, _| {
            host.set_waker(link, cx.waker());
            host.is_aborted(link)
        });
        let step = if aborted { Poll::Ready(Ok(None)) } else { self.step(cx) };
        match ready!(step) {
            Ok(Some(next)) => Poll::Ready(Some(next)),
            result => {
                let why = result.err().map_or_else(|| "closed".to_owned(), |error| error.to_string());
                self.handle.enter(|host, now| host.gone(now, link, Chunk::default(), &why));
                Poll::Ready(None)
            }
        }
    }
}
