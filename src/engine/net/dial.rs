//! The TLS handshake of a connection that this side opened.

use crate::wire::hex;
use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use super::io::spawn;
use super::io::Socket;
use super::io::Task;
use super::link::LinkTask;
use super::Handle;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::ctx::Verify;
use crate::engine::rt;
use crate::engine::tls;

struct DialTask<R: Role> {
    handle: Handle<R>,
    link: LinkId,
    address: String,
    verify: Verify,
    shake: futures_rustls::Connect<Socket>,
}

/// Begins the handshake on a connected socket; the host is told how it went.
///
/// # Errors
/// When it cannot even begin; in words. The host is not told then.
pub fn shake<R: Role>(
    handle: &Handle<R>,
    link: LinkId,
    address: &str,
    verify: Verify,
    socket: rt::TcpStream,
) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{address}: {error}");
    let name = tls::server_name(address)?;
    let socket = Socket::new(TcpStream::try_from(socket).map_err(fail)?).map_err(fail)?;
    let source = socket.source();
    let connector = if verify == Verify::PublicCa { &handle.shared.public } else { &handle.shared.any };
    let shake = connector.connect(name, socket);
    let task = DialTask { handle: handle.clone(), link, address: address.to_owned(), verify, shake };
    spawn(Box::new(task), Some(&source));
    Ok(())
}

impl<R: Role> DialTask<R> {
    fn gone(&self, why: &str) -> Poll<Option<Box<dyn Task>>> {
        let (link, why) = (self.link, format!("{}: {why}", self.address));
        self.handle.enter(|host, now| host.gone(now, link, Chunk::default(), &why));
        Poll::Ready(None)
    }
}

impl<R: Role> Task for DialTask<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        let link = self.link;
        let aborted = self.handle.enter(|host, _| {
            host.set_waker(link, cx.waker());
            host.is_aborted(link)
        });
        if aborted {
            return self.gone("given up");
        }
        let stream = match Pin::new(&mut self.shake).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return self.gone(&error.to_string()),
            Poll::Ready(Ok(stream)) => stream,
        };
        let (socket, session) = stream.get_ref();
        let (remote, local) = (socket.stream().peer_addr().ok().map(|a| a.ip()), socket.stream().local_addr().ok());
        let Some(print) = session.peer_certificates().and_then(|all| all.first()).map(|first| tls::fingerprint(first))
        else {
            return self.gone("it showed no certificate");
        };
        if let Verify::Pinned(pin) = self.verify {
            if pin != print {
                let pin = hex::encode(&pin);
                return self.gone(&format!(
                    "its certificate does not have the fingerprint {pin}: not the server that was meant"
                ));
            }
        }
        let wanted = self.handle.enter(|host, now| {
            host.open(now, link, |info| (info.remote, info.local, info.fingerprint) = (remote, local, Some(print)))
        });
        match wanted {
            true => Poll::Ready(Some(Box::new(LinkTask::new(self.handle.clone(), link, stream)))),
            false => self.gone("not wanted any more"),
        }
    }
}
