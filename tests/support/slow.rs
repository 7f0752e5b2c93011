//! A slow line: passes connections on, and every byte late. For what depends on how long packets take, where the kernel has no
//! way to delay them.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

#[derive(Default)]
struct State {
    /// Each way; milliseconds.
    delay: AtomicU64,
    bytes: AtomicU64,
}

/// Passes what comes to one address on to another, both ways.
pub struct SlowLine {
    state: Arc<State>,
}

impl SlowLine {
    /// Listens on the port, on all addresses, where the calling thread is, and connects to `to` from there. Without a delay at
    /// first. It ends with the test's process.
    pub fn new(port: u16, to: String) -> SlowLine {
        let listener = TcpListener::bind(("0.0.0.0", port)).expect("a free port");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                // Nobody there: the connection is closed.
                if let Ok(there) = TcpStream::connect(&*to) {
                    pass(&here, &there, &shared);
                    pass(&there, &here, &shared);
                }
            }
        });
        SlowLine { state }
    }

    /// How late bytes come from now on, each way.
    pub fn delay(&self, millis: u64) {
        self.state.delay.store(millis, Ordering::Relaxed);
    }

    /// Bytes that came, both ways.
    pub fn bytes(&self) -> u64 {
        self.state.bytes.load(Ordering::Relaxed)
    }
}

/// One way. One thread reads and says when each piece is due, another waits for that.
fn pass(from: &TcpStream, to: &TcpStream, state: &Arc<State>) {
    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    to.set_nodelay(true).expect("a socket");
    let state = Arc::clone(state);
    let (pieces, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    // Nothing is ever sent on it: waiting for it is waiting for the time.
    let (never, timer) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            state.bytes.fetch_add(count as u64, Ordering::Relaxed);
            let delay = Duration::from_millis(state.delay.load(Ordering::Relaxed));
            if pieces.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        let _never = never;
        for (when, piece) in due {
            let _ = timer.recv_timeout(when.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
