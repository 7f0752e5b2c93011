//! The web port: HTTPS and web sockets, from a TCP connection to a link. ARCHITECTURE.md, "The web port", says how.

mod assets;
mod date;
mod frames;
mod http;
mod request;
mod socket;

use std::future::Future;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;

use super::io::spawn;
use super::io::Socket;
use super::io::Task;
use super::listen::listen_on;
use super::listen::Listening;
use super::Handle;
use crate::config::PortKey;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::Fingerprint;
use crate::engine::ctx::LinkId;
use crate::engine::tls::Identity;
use http::HttpTask;
use request::Way;

pub use assets::Assets;
pub use assets::File;

/// The first byte of TLS: a record of a handshake. No request begins with it.
const HANDSHAKE: u8 = 0x16;

/// Listens on `address` for browsers: `assets` over HTTPS, and web sockets at `/socket`, which are links of the kind [`PortKey::Web`]. Plain HTTP is
/// answered from this machine only; others are sent to HTTPS. Returns the address in use, and what to hold on to.
///
/// # Errors
/// When the address cannot be bound; in words, with the key to change.
pub fn listen_web<R: Role>(
    handle: &Handle<R>,
    address: SocketAddr,
    tls: &Arc<ServerConfig>,
    identity: &Arc<Identity>,
    assets: Arc<Assets>,
) -> Result<(SocketAddr, Listening), String> {
    let mut config = ServerConfig::clone(tls);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    listen_on(handle, PortKey::Web, address, Arc::new(config), identity, Some(assets))
}

/// Takes over a connection that the host has accepted as `link`.
pub fn take<R: Role>(
    handle: &Handle<R>,
    link: LinkId,
    socket: Socket,
    remote: IpAddr,
    acceptor: &TlsAcceptor,
    identity: &Arc<Identity>,
    assets: &Arc<Assets>,
) {
    let source = socket.source();
    let task = GreetTask {
        handle: handle.clone(),
        link,
        remote,
        stage: Stage::Silent(Some((socket, acceptor.clone()))),
        identity: Arc::clone(identity),
        assets: Arc::clone(assets),
        shown: Fingerprint::default(),
    };
    spawn(Box::new(task), Some(&source));
}

enum Stage {
    /// Nothing was read, and no TLS state made.
    Silent(Option<(Socket, TlsAcceptor)>),
    Shaking(Box<futures_rustls::Accept<Socket>>),
}

/// Tells TLS from plain HTTP, and does the handshake.
struct GreetTask<R: Role> {
    handle: Handle<R>,
    link: LinkId,
    remote: IpAddr,
    stage: Stage,
    identity: Arc<Identity>,
    assets: Arc<Assets>,
    /// Of the certificate when the handshake began.
    shown: Fingerprint,
}

impl<R: Role> GreetTask<R> {
    /// Looks at the first byte. Ready(Err): there will be none.
    fn greet(&mut self) -> Poll<Result<Option<Box<dyn Task>>, String>> {
        let Stage::Silent(waiting) = &mut self.stage else { return Poll::Ready(Ok(None)) };
        let Some((socket, _)) = waiting.as_ref().filter(|(socket, _)| socket.is_readable()) else {
            return Poll::Pending;
        };
        let mut first = [0];
        match socket.stream().peek(&mut first) {
            Ok(0) => return Poll::Ready(Err("closed".to_owned())),
            Ok(_) => {}
            Err(error) if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::Interrupted].contains(&error.kind()) => {
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(error.to_string())),
        }
        let Some((socket, acceptor)) = waiting.take() else { return Poll::Pending };
        if first == [HANDSHAKE] {
            self.shown = self.identity.fingerprint();
            self.stage = Stage::Shaking(Box::new(acceptor.accept(socket)));
            return Poll::Ready(Ok(None));
        }
        let way = if self.remote.to_canonical().is_loopback() { Way::Plain } else { Way::Astray };
        let (handle, assets) = (self.handle.clone(), Arc::clone(&self.assets));
        Poll::Ready(Ok(Some(Box::new(HttpTask::new(handle, self.link, socket, assets, way, None)))))
    }

    fn gone(&self, why: &str) -> Poll<Option<Box<dyn Task>>> {
        let link = self.link;
        self.handle.enter(|host, now| host.gone(now, link, Chunk::default(), why));
        Poll::Ready(None)
    }
}

impl<R: Role> Task for GreetTask<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        let link = self.link;
        let aborted = self.handle.enter(|host, _| {
            host.set_waker(link, cx.waker());
            host.is_aborted(link)
        });
        if aborted {
            return self.gone("dropped");
        }
        match self.greet() {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(why)) => return self.gone(&why),
            Poll::Ready(Ok(Some(next))) => return Poll::Ready(Some(next)),
            Poll::Ready(Ok(None)) => {}
        }
        let Stage::Shaking(shake) = &mut self.stage else { return Poll::Pending };
        match Pin::new(shake.as_mut()).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => self.gone(&error.to_string()),
            Poll::Ready(Ok(stream)) => {
                // None when it was replaced meanwhile: then which one the peer saw is not known.
                let print = Some(self.shown).filter(|shown| *shown == self.identity.fingerprint());
                let (handle, assets) = (self.handle.clone(), Arc::clone(&self.assets));
                Poll::Ready(Some(Box::new(HttpTask::new(handle, link, stream, assets, Way::Tls, print))))
            }
        }
    }
}

#[cfg(test)]
mod tests;
