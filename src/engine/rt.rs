//! The runtime: the one file that names async-std.

pub use async_std::channel;
pub use async_std::future::timeout;
pub use async_std::io::Read as AsyncRead;
pub use async_std::io::ReadExt;
pub use async_std::io::Write as AsyncWrite;
pub use async_std::io::WriteExt;
pub use async_std::net::TcpListener;
pub use async_std::net::TcpStream;
pub use async_std::net::UdpSocket;
pub use async_std::os::unix::net::UnixListener;
pub use async_std::os::unix::net::UnixStream;
pub use async_std::stream::StreamExt;
pub use async_std::task::block_on;
pub use async_std::task::sleep;
pub use async_std::task::spawn;
pub use async_std::task::spawn_blocking;
pub use async_std::task::JoinHandle;

/// To be called before anything is spawned, while the process has one thread. Links live on I/O threads of their own
/// (`net::io`): one thread of the runtime is enough for timers, dialling, and the operator's socket.
pub fn set_up() {
    for (key, threads) in [("ASYNC_STD_THREAD_COUNT", "1"), ("BLOCKING_MAX_THREADS", "8")] {
        if std::env::var_os(key).is_none() {
            std::env::set_var(key, threads);
        }
    }
}
