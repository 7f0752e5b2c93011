//! I/O threads: each owns an epoll instance, the tasks of some links, and their sockets.
//!
//! A task owns one socket at most and is polled when the kernel says that the socket has become readable or writable, or
//! when its waker was called. The sockets are registered once, edge-triggered, and remember whether there may be
//! more to read: a message at rest costs one wait, one read, and one write. (The runtime's own reactor arms each
//! socket anew for every read and wakes through a second thread: at 2,000 messages a second that was measured to cost twice the CPU.)

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::event::eventfd;
use rustix::event::EventfdFlags;
use rustix::event::Timespec;

use crate::engine::rt::AsyncRead;
use crate::engine::rt::AsyncWrite;

/// Events taken from the kernel at once.
const EVENTS: usize = 512;
/// How much is read from a socket at once: four full records.
const AHEAD: usize = 66 << 10;
/// Buffers for that, which a thread keeps.
const SPARES: usize = 8;
/// The epoll datum of the eventfd.
const WAKE: u64 = u64::MAX;

/// What an I/O thread runs. Ready(Some(next)): `next` takes over the place and the socket.
pub trait Task: Send {
    /// See `Future::poll`.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>>;
}

thread_local! {
    /// The number of this I/O thread, from 1; 0 on every other thread.
    static HERE: Cell<usize> = const { Cell::new(0) };
    /// Tasks of this thread that were woken on it.
    static LOCAL: RefCell<VecDeque<u64>> = const { RefCell::new(VecDeque::new()) };
    /// Buffers of this thread for reading, all of the same size.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

static THREADS: AtomicUsize = AtomicUsize::new(1);

/// How many I/O threads there will be; to be called before the first link.
pub fn set_threads(threads: usize) {
    THREADS.store(threads.max(1), Ordering::Relaxed);
}

/// Runs `task`, which owns `socket` if there is one, on one of the threads.
pub fn spawn(task: Box<dyn Task>, socket: Option<&Source>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    match pool() {
        Ok(pool) => {
            let at = NEXT.fetch_add(1, Ordering::Relaxed) % pool.len().max(1);
            if let Some(remote) = pool.get(at) {
                remote.send(|inbox| inbox.spawn.push((task, socket.cloned())));
            }
        }
        Err(error) => log::error!("no I/O threads: {error}"),
    }
}

/// Starts the threads, if they do not run yet.
///
/// # Errors
/// When threads or epoll instances cannot be had.
pub fn start() -> Result<(), String> {
    pool().as_ref().map(|_| ()).map_err(Clone::clone)
}

fn pool() -> &'static Result<Vec<Arc<Remote>>, String> {
    static POOL: OnceLock<Result<Vec<Arc<Remote>>, String>> = OnceLock::new();
    POOL.get_or_init(|| {
        let start = |n| Thread::start(n + 1).map_err(|error| format!("cannot start an I/O thread: {error}"));
        (0..THREADS.load(Ordering::Relaxed)).map(start).collect()
    })
}

/// What other threads see of an I/O thread.
struct Remote {
    number: usize,
    inbox: Mutex<Inbox>,
    /// Set while the thread waits in the kernel: only then is the eventfd written.
    sleeping: AtomicBool,
    wake: OwnedFd,
}

#[derive(Default)]
struct Inbox {
    woken: Vec<u64>,
    spawn: Vec<(Box<dyn Task>, Option<Source>)>,
}

impl Remote {
    fn send(&self, put: impl FnOnce(&mut Inbox)) {
        put(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // The counter cannot overflow in a lifetime; the thread does not read it, as the edge is enough.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    fn take(&self) -> Inbox {
        std::mem::take(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.woken.is_empty() && inbox.spawn.is_empty()
    }
}

struct TaskWaker {
    key: u64,
    queued: AtomicBool,
    remote: Arc<Remote>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if HERE.get() == self.remote.number {
            LOCAL.with_borrow_mut(|local| local.push_back(self.key));
        } else {
            self.remote.send(|inbox| inbox.woken.push(self.key));
        }
    }
}

struct Slot {
    generation: u32,
    run: Option<Running>,
}

struct Running {
    task: Box<dyn Task>,
    source: Option<Source>,
    woken: Arc<TaskWaker>,
    waker: Waker,
}

struct Thread {
    epoll: OwnedFd,
    remote: Arc<Remote>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Thread {
    fn start(number: usize) -> io::Result<Arc<Remote>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        let (inbox, sleeping) = (Mutex::new(Inbox::default()), AtomicBool::new(false));
        let remote = Arc::new(Remote { number, inbox, sleeping, wake });
        let mut thread = Thread { epoll, remote: Arc::clone(&remote), slots: Vec::new(), free: Vec::new() };
        std::thread::Builder::new().name(format!("io-{number}")).spawn(move || {
            HERE.set(number);
            thread.run();
        })?;
        Ok(remote)
    }

    fn run(&mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        loop {
            // Only those that are queued now: those that wake themselves take turns with the sockets.
            for _ in 0..LOCAL.with_borrow(VecDeque::len) {
                if let Some(key) = LOCAL.with_borrow_mut(VecDeque::pop_front) {
                    self.poll(key);
                }
            }
            let inbox = self.remote.take();
            for (task, source) in inbox.spawn {
                self.add(task, source);
            }
            for key in inbox.woken {
                self.poll(key);
            }
            let mut wait = None;
            if LOCAL.with_borrow(|local| !local.is_empty()) {
                wait = Some(Timespec::default());
            } else {
                self.remote.sleeping.store(true, Ordering::SeqCst);
                if !self.remote.is_empty() {
                    self.remote.sleeping.store(false, Ordering::SeqCst);
                    wait = Some(Timespec::default());
                }
            }
            events.clear();
            // Interrupted: there are no events, and everything is looked at again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), wait.as_ref());
            self.remote.sleeping.store(false, Ordering::SeqCst);
            for event in &events {
                let key = event.data.u64();
                if key != WAKE {
                    self.ready(key, event.flags);
                }
            }
        }
    }

    fn running(&mut self, key: u64) -> Option<&mut Running> {
        let slot = self.slots.get_mut((key & 0xFFFF_FFFF) as usize)?;
        if u64::from(slot.generation) != key >> 32 {
            return None;
        }
        slot.run.as_mut()
    }

    fn add(&mut self, task: Box<dyn Task>, source: Option<Source>) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, run: None });
            (self.slots.len() - 1) as u32
        });
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let key = u64::from(index) | u64::from(slot.generation) << 32;
        let woken = Arc::new(TaskWaker { key, queued: AtomicBool::new(false), remote: Arc::clone(&self.remote) });
        let waker = Waker::from(Arc::clone(&woken));
        if let Some(source) = &source {
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            if let Err(error) = epoll::add(&self.epoll, source.fd(), EventData::new_u64(key), flags) {
                // Polled all the same: its first read will say that the socket is of no use.
                log::error!("epoll: {error}");
                source.flags().set(EventFlags::IN | EventFlags::HUP);
            }
        }
        slot.run = Some(Running { task, source, woken, waker });
        self.poll(key);
    }

    fn ready(&mut self, key: u64, flags: EventFlags) {
        let Some(running) = self.running(key) else { return };
        if let Some(source) = &running.source {
            source.flags().set(flags);
        }
        self.poll(key);
    }

    fn poll(&mut self, key: u64) {
        loop {
            let Some(running) = self.running(key) else { return };
            running.woken.queued.store(false, Ordering::Release);
            match running.task.poll(&mut Context::from_waker(&running.waker)) {
                Poll::Pending => return,
                Poll::Ready(Some(next)) => running.task = next,
                Poll::Ready(None) => break,
            }
        }
        let index = (key & 0xFFFF_FFFF) as u32;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.run = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
        }
    }
}

/// What the kernel said of a socket, and was not yet seen to be over. Only its own thread touches it.
#[derive(Debug, Default)]
pub struct Flags {
    readable: AtomicBool,
    writable: AtomicBool,
    /// The peer has shut down: a short read does not mean that there is nothing more to learn.
    hung_up: AtomicBool,
}

impl Flags {
    fn set(&self, flags: EventFlags) {
        let over = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(over) {
            self.hung_up.store(true, Ordering::Relaxed);
        }
        if flags.intersects(over | EventFlags::IN) {
            self.readable.store(true, Ordering::Relaxed);
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.writable.store(true, Ordering::Relaxed);
        }
    }
}

/// What is registered: a connection or a listener.
#[derive(Clone)]
pub enum Source {
    /// A connection.
    Stream(Arc<(TcpStream, Flags)>),
    /// A listener.
    Listener(Arc<(TcpListener, Flags)>),
}

impl Source {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Source::Stream(stream) => stream.0.as_fd(),
            Source::Listener(listener) => listener.0.as_fd(),
        }
    }

    fn flags(&self) -> &Flags {
        match self {
            Source::Stream(stream) => &stream.1,
            Source::Listener(listener) => &listener.1,
        }
    }
}

/// A connection on an I/O thread. TLS asks for 4 KiB at a time; so what the kernel has is read at once, and given out in pieces.
pub struct Socket {
    shared: Arc<(TcpStream, Flags)>,
    /// What was read and not given out: from one place to another. Without memory, when that is nothing.
    ahead: Vec<u8>,
    left: Range<usize>,
}

impl Socket {
    /// Takes a connection over; `source` of it goes to `spawn`.
    pub fn new(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Socket { shared: Arc::new((stream, Flags::default())), ahead: Vec::new(), left: 0..0 })
    }

    /// For `spawn`.
    pub fn source(&self) -> Source {
        Source::Stream(Arc::clone(&self.shared))
    }

    /// The connection itself, for its addresses.
    pub fn stream(&self) -> &TcpStream {
        &self.shared.0
    }

    /// Whether there may be something to read; without asking the kernel.
    pub fn is_readable(&self) -> bool {
        !self.left.is_empty() || self.shared.1.readable.load(Ordering::Relaxed)
    }

    fn write_with(&self, write: impl Fn(&TcpStream) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        let (stream, flags) = &*self.shared;
        while flags.writable.load(Ordering::Relaxed) {
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    flags.writable.store(false, Ordering::Relaxed)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
        Poll::Pending
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.left.is_empty() {
            if buffer.len() >= AHEAD {
                return this.read(buffer);
            }
            let mut ahead = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; AHEAD]);
            match this.read(&mut ahead) {
                Poll::Ready(Ok(n)) if n > 0 => (this.ahead, this.left) = (ahead, 0..n),
                other => {
                    give_back(ahead);
                    return other;
                }
            }
        }
        let length = buffer.len().min(this.left.len());
        let from = this.left.start;
        buffer[..length].copy_from_slice(&this.ahead[from..from + length]);
        this.left.start += length;
        if this.left.is_empty() {
            give_back(std::mem::take(&mut this.ahead));
        }
        Poll::Ready(Ok(length))
    }
}

/// Keeps a buffer for the next that reads on this thread.
fn give_back(ahead: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARES {
            spare.push(ahead);
        }
    });
}

impl Socket {
    /// Reads what the kernel has.
    fn read(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let (stream, flags) = &*self.shared;
        let mut stream = stream;
        while flags.readable.load(Ordering::Relaxed) {
            match stream.read(buffer) {
                Ok(n) => {
                    // Less than asked for: that was all, and the next byte will be an edge.
                    if n < buffer.len() && !flags.hung_up.load(Ordering::Relaxed) {
                        flags.readable.store(false, Ordering::Relaxed);
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    flags.readable.store(false, Ordering::Relaxed)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(|mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|mut stream| stream.write_vectored(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.0.shutdown(std::net::Shutdown::Write))
    }
}

/// A listener on an I/O thread.
pub struct Listener(Arc<(TcpListener, Flags)>);

impl Listener {
    /// Takes a listener over; `source` of it goes to `spawn`.
    pub fn new(listener: TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener(Arc::new((listener, Flags::default()))))
    }

    /// For `spawn`.
    pub fn source(&self) -> Source {
        Source::Listener(Arc::clone(&self.0))
    }

    /// The next connection, if there is one.
    pub fn accept(&self) -> io::Result<Option<TcpStream>> {
        match self.0 .0.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
