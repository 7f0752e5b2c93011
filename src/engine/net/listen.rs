//! Listeners: from a TCP connection to an open link.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;

use super::io::spawn;
use super::io::Listener;
use super::io::Socket;
use super::io::Task;
use super::kv;
use super::link::LinkTask;
use super::web;
use super::web::Assets;
use super::Handle;
use crate::config::PortKey;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::Fingerprint;
use crate::engine::ctx::LinkId;
use crate::engine::rt;
use crate::engine::tls::Identity;

/// Connections that the kernel holds until they are accepted: a reconnect storm shall find room.
const BACKLOG: i32 = 4_096;
/// Connections accepted before others get their turn.
const AT_ONCE: usize = 64;

/// Ends a listener when it is dropped: the port is closed soon after.
pub struct Listening(Arc<AtomicBool>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Listens on `address` for links of the kind `port`, with TLS; `identity` is what `tls` shows. Returns the address in use, and what to hold on to.
///
/// # Errors
/// When the address cannot be bound; in words, with the key to change.
pub fn listen<R: Role>(
    handle: &Handle<R>,
    port: PortKey,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    identity: &Arc<Identity>,
) -> Result<(SocketAddr, Listening), String> {
    listen_on(handle, port, address, tls, identity, None)
}

/// The same; `assets`: what browsers get there.
pub fn listen_on<R: Role>(
    handle: &Handle<R>,
    port: PortKey,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    identity: &Arc<Identity>,
    assets: Option<Arc<Assets>>,
) -> Result<(SocketAddr, Listening), String> {
    let acceptor = TlsAcceptor::from(tls);
    listen_how(handle, port, address, How::Tls { acceptor, identity: Arc::clone(identity), assets })
}

/// What is done with a connection.
pub enum How {
    /// TLS first.
    Tls {
        acceptor: TlsAcceptor,
        identity: Arc<Identity>,
        /// Of the web port.
        assets: Option<Arc<Assets>>,
    },
    /// One request of KV, in the clear.
    Kv,
}

/// Listens in any of these ways.
pub fn listen_how<R: Role>(
    handle: &Handle<R>,
    port: PortKey,
    address: SocketAddr,
    how: How,
) -> Result<(SocketAddr, Listening), String> {
    let fail = |error: io::Error| format!("cannot listen on {address} ({error}); listen.{} moves it", port.name());
    let socket = std::net::TcpListener::bind(address).map_err(fail)?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| fail(error.into()))?;
    let bound = socket.local_addr().map_err(fail)?;
    let listener = Listener::new(socket).map_err(fail)?;
    let source = listener.source();
    let ended = Arc::new(AtomicBool::new(false));
    let task = ListenTask { handle: handle.clone(), port, listener, how, ended: Arc::clone(&ended) };
    spawn(Box::new(task), Some(&source));
    Ok((bound, Listening(ended)))
}

struct ListenTask<R: Role> {
    handle: Handle<R>,
    port: PortKey,
    listener: Listener,
    how: How,
    ended: Arc<AtomicBool>,
}

impl<R: Role> ListenTask<R> {
    fn take(&self, stream: TcpStream) {
        let (remote, local) = (stream.peer_addr().ok().map(|address| address.ip()), stream.local_addr().ok());
        let (Some(remote), Ok(socket)) = (remote, Socket::new(stream)) else { return };
        let Some(link) = self.handle.enter(|host, now| host.accepted(now, self.port, Some(remote), local)) else {
            return;
        };
        let (acceptor, identity) = match &self.how {
            How::Kv => return kv::take(&self.handle, link, socket),
            How::Tls { acceptor, identity, assets: Some(assets) } => {
                return web::take(&self.handle, link, socket, remote, acceptor, identity, assets);
            }
            How::Tls { acceptor, identity, assets: None } => (acceptor.clone(), Arc::clone(identity)),
        };
        let source = socket.source();
        let stage = Stage::Silent(Some((socket, acceptor)));
        let handle = self.handle.clone();
        spawn(Box::new(AcceptTask { handle, link, stage, identity, shown: Fingerprint::default() }), Some(&source));
    }
}

impl<R: Role> Task for ListenTask<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        if self.ended.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok(Some(stream)) => self.take(stream),
                Ok(None) => return Poll::Pending,
                Err(error) => {
                    // Out of file descriptors, most likely: accepting at once again would spin.
                    log::warn!("{}: cannot accept a connection: {error}", self.port.name());
                    let waker = cx.waker().clone();
                    rt::spawn(async move {
                        rt::sleep(Duration::from_millis(100)).await;
                        waker.wake();
                    });
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

enum Stage {
    /// No TLS state before the first byte: connections that say nothing cost next to nothing.
    Silent(Option<(Socket, TlsAcceptor)>),
    Shaking(Box<futures_rustls::Accept<Socket>>),
}

/// The TLS handshake of an accepted connection.
struct AcceptTask<R: Role> {
    handle: Handle<R>,
    link: LinkId,
    stage: Stage,
    identity: Arc<Identity>,
    /// Of the certificate when the handshake began.
    shown: Fingerprint,
}

impl<R: Role> Task for AcceptTask<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        let link = self.link;
        let aborted = self.handle.enter(|host, _| {
            host.set_waker(link, cx.waker());
            host.is_aborted(link)
        });
        if aborted {
            return self.gone("dropped");
        }
        if let Stage::Silent(waiting) = &mut self.stage {
            match waiting.take() {
                Some((socket, acceptor)) if socket.is_readable() => {
                    self.shown = self.identity.fingerprint();
                    self.stage = Stage::Shaking(Box::new(acceptor.accept(socket)));
                }
                other => {
                    *waiting = other;
                    return Poll::Pending;
                }
            }
        }
        let Stage::Shaking(shake) = &mut self.stage else { return Poll::Pending };
        match Pin::new(shake.as_mut()).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => self.gone(&error.to_string()),
            Poll::Ready(Ok(stream)) => {
                // None when it was replaced meanwhile: then which one the peer saw is not known.
                let print = Some(self.shown).filter(|shown| *shown == self.identity.fingerprint());
                match self.handle.enter(|host, now| host.open(now, link, |info| info.fingerprint = print)) {
                    true => Poll::Ready(Some(Box::new(LinkTask::new(self.handle.clone(), link, stream)))),
                    false => self.gone("not wanted any more"),
                }
            }
        }
    }
}

impl<R: Role> AcceptTask<R> {
    fn gone(&self, why: &str) -> Poll<Option<Box<dyn Task>>> {
        let link = self.link;
        self.handle.enter(|host, now| host.gone(now, link, Chunk::default(), why));
        Poll::Ready(None)
    }
}

/// Listens on a Unix socket at `path` for the operator, who is told by the file's rights.
///
/// # Errors
/// When it cannot be bound; in words.
pub fn listen_admin<R: Role>(handle: &Handle<R>, path: &Path) -> Result<rt::JoinHandle<()>, String> {
    let fail = |error: io::Error| format!("{}: {error}", path.display());
    // A socket left by a process that died; a living one holds the lock on the data folder.
    let _ = std::fs::remove_file(path);
    let socket = std::os::unix::net::UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    let listener = rt::UnixListener::from(socket);
    let handle = handle.clone();
    Ok(rt::spawn(async move {
        loop {
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    log::warn!("cannot accept the operator's connection: {error}");
                    rt::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let link = handle.enter(|host, now| {
                let link = host.accepted(now, PortKey::Admin, None, None)?;
                host.open(now, link, |_| {}).then_some(link)
            });
            if let Some(link) = link {
                rt::spawn(LinkTask::new(handle.clone(), link, socket));
            }
        }
    }))
}
