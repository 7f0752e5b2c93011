//! Listeners: from a TCP connection to an open link.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;

use super::link::LinkTask;
use super::Handle;
use crate::config::PortKey;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::rt;

/// Connections that the kernel holds until they are accepted: a reconnect storm shall find room.
const BACKLOG: i32 = 4_096;

/// Listens on `address` for links of the kind `port`, with TLS. Returns the address in use and the task to own.
///
/// # Errors
/// When the address cannot be bound; in words, with the key to change.
pub fn listen<R: Role>(
    handle: &Handle<R>,
    port: PortKey,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
) -> Result<(SocketAddr, rt::JoinHandle<()>), String> {
    let fail = |error: io::Error| format!("cannot listen on {address} ({error}); listen.{} moves it", port.name());
    let socket = std::net::TcpListener::bind(address).map_err(fail)?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| fail(error.into()))?;
    let bound = socket.local_addr().map_err(fail)?;
    let listener = rt::TcpListener::from(socket);
    let acceptor = TlsAcceptor::from(tls);
    let handle = handle.clone();
    let task = rt::spawn(async move {
        loop {
            let (socket, remote) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(port, &error).await;
                    continue;
                }
            };
            let local = socket.local_addr().ok();
            let link = handle.enter(|host, now| host.accepted(now, port, Some(remote.ip()), local));
            if let Some(link) = link {
                rt::spawn(accept(handle.clone(), link, socket, acceptor.clone()));
            }
        }
    });
    Ok((bound, task))
}

/// Out of file descriptors, most likely: accepting at once again would spin.
async fn pause(port: PortKey, error: &io::Error) {
    log::warn!("{}: cannot accept a connection: {error}", port.name());
    rt::sleep(Duration::from_millis(100)).await;
}

async fn accept<R: Role>(handle: Handle<R>, link: LinkId, socket: rt::TcpStream, acceptor: TlsAcceptor) {
    let _ = socket.set_nodelay(true);
    let shake = async {
        // No TLS state before the first byte: connections that say nothing cost next to nothing.
        socket.peek(&mut [0]).await?;
        acceptor.accept(socket).await
    };
    let made = unless_aborted(&handle, link, shake).await;
    match made {
        Some(Ok(stream)) => {
            if handle.enter(|host, now| host.open(now, link, |_| {})) {
                rt::spawn(LinkTask::new(handle, link, stream));
            } else {
                handle.enter(|host, now| host.gone(now, link, Vec::new(), "not wanted any more"));
            }
        }
        Some(Err(error)) => handle.enter(|host, now| host.gone(now, link, Vec::new(), &error.to_string())),
        None => handle.enter(|host, now| host.gone(now, link, Vec::new(), "dropped")),
    }
}

/// Runs the handshake until it is done or the host drops the link.
async fn unless_aborted<R: Role, T>(handle: &Handle<R>, link: LinkId, shake: impl Future<Output = T>) -> Option<T> {
    let mut shake = pin!(shake);
    std::future::poll_fn(|cx| {
        let aborted = handle.enter(|host, _| {
            host.set_waker(link, cx.waker());
            host.is_aborted(link)
        });
        if aborted {
            return Poll::Ready(None);
        }
        shake.as_mut().poll(cx).map(Some)
    })
    .await
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
                    pause(PortKey::Admin, &error).await;
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
