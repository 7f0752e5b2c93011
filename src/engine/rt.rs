//! The runtime: the one file that names async-std.

pub use async_std::channel;
pub use async_std::future::timeout;
pub use async_std::io::Read as AsyncRead;
pub use async_std::io::ReadExt;
pub use async_std::io::Write as AsyncWrite;
pub use async_std::io::WriteExt;
pub use async_std::net::TcpListener;
pub use async_std::net::TcpStream;
pub use async_std::os::unix::net::UnixListener;
pub use async_std::os::unix::net::UnixStream;
pub use async_std::stream::StreamExt;
pub use async_std::task::block_on;
pub use async_std::task::sleep;
pub use async_std::task::spawn;
pub use async_std::task::JoinHandle;

/// How many threads run tasks. To be called before anything is spawned, while the process has one thread. One thread is
/// the default: relaying is a fraction of a microsecond a message, and a wake-up across threads costs ten times that.
pub fn set_threads(threads: usize) {
    std::env::set_var("ASYNC_STD_THREAD_COUNT", threads.to_string());
    // DNS look-ups and the like; the pool never shrinks by itself.
    if std::env::var_os("BLOCKING_MAX_THREADS").is_none() {
        std::env::set_var("BLOCKING_MAX_THREADS", "8");
    }
}
