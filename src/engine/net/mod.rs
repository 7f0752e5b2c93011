//! The driver for real use: TLS sockets on async-std, worker threads, the clock of the machine.

mod dial;
pub mod io;
mod kv;
mod link;
mod listen;
mod local;
mod voice;
mod web;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;

use futures_rustls::TlsConnector;
use rusqlite::Connection;

use super::chunk::Chunk;
use super::clock;
use super::command::Role;
use super::ctx::Connect;
use super::ctx::Ctx;
use super::ctx::Target;
use super::host::Effects;
use super::host::Host;
use super::limits;
use super::limits::Limits;
use super::rt;
use super::tls;
use super::worker::Workers;
use crate::config::PortKey;

pub use kv::listen_kv;
pub use listen::listen;
pub use listen::listen_admin;
pub use listen::Listening;
pub use local::LocalPort;
pub use web::listen_web;
pub use web::Assets;
pub use web::File;

/// The roles of one process, by the ports they listen on: how they find each other without a socket.
#[derive(Default)]
pub struct Registry {
    ports: Mutex<HashMap<PortKey, Arc<dyn LocalPort>>>,
}

impl Registry {
    /// Makes `handle` the one that answers on `ports` within this process.
    pub fn add<R: Role>(&self, ports: &[PortKey], handle: &Handle<R>) {
        let mut table = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            table.insert(*port, Arc::new(handle.clone()));
        }
    }

    fn find(&self, port: PortKey) -> Option<Arc<dyn LocalPort>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).get(&port).cloned()
    }
}

struct Shared<R: Role> {
    host: Mutex<Host<R>>,
    workers: OnceLock<Workers>,
    /// To the thread of voice, if the role has channels.
    voice: OnceLock<voice::Orders>,
    registry: Arc<Registry>,
    /// When the timer task will look next, and how to make it look earlier.
    armed: AtomicU64,
    rearm: rt::channel::Sender<()>,
    any: TlsConnector,
    public: TlsConnector,
}

/// A running role. Clones share it.
pub struct Handle<R: Role> {
    shared: Arc<Shared<R>>,
}

impl<R: Role> Clone for Handle<R> {
    fn clone(&self) -> Handle<R> {
        Handle { shared: Arc::clone(&self.shared) }
    }
}

impl<R: Role> Handle<R> {
    /// Puts a role on its feet: worker threads, timers, `Role::start` not yet called.
    ///
    /// # Errors
    /// When threads or TLS cannot be had.
    pub fn new(
        role: R,
        limits: Limits,
        heavy: usize,
        database: Option<(Connection, Connection)>,
        registry: &Arc<Registry>,
    ) -> Result<Handle<R>, String> {
        let mut seed = [0; 32];
        rand::rand_core::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut seed).map_err(|e| e.to_string())?;
        let host = Host::new(role, limits, seed, clock::now());
        let (rearm, wait) = rt::channel::bounded(1);
        io::start()?;
        let (any, public) = (tls::client_any()?, tls::client_public()?);
        let shared = Arc::new(Shared {
            host: Mutex::new(host),
            workers: OnceLock::new(),
            voice: OnceLock::new(),
            registry: Arc::clone(registry),
            armed: AtomicU64::new(0),
            rearm,
            any: TlsConnector::from(any),
            public: TlsConnector::from(public),
        });
        let weak = Arc::downgrade(&shared);
        let workers = Workers::start(R::NAME, heavy, database, move |done| {
            let Some(shared) = weak.upgrade() else { return };
            Handle { shared }.enter(|host, now| {
                for (token, result) in done {
                    host.finished(now, token, result);
                }
            });
        });
        let _ = shared.workers.set(workers.map_err(|error| format!("cannot start threads: {error}"))?);
        let weak = Arc::downgrade(&shared);
        rt::spawn(async move {
            loop {
                let Some(shared) = weak.upgrade() else { return };
                let handle = Handle { shared };
                let deadline = handle.enter_for_timers();
                drop(handle);
                let wait_for = Duration::from_millis(deadline.saturating_sub(clock::now()).clamp(1, limits::TICK));
                if let Ok(Err(_)) = rt::timeout(wait_for, wait.recv()).await {
                    return;
                }
            }
        });
        Ok(Handle { shared })
    }

    fn lock(&self) -> MutexGuard<'_, Host<R>> {
        // A panic in a handler ends the process (see `main`); in tests the state is still the best there is.
        self.shared.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter<T>(&self, run: impl FnOnce(&mut Host<R>, u64) -> T) -> T {
        let now = clock::now();
        let (result, effects) = {
            let mut host = self.lock();
            let result = run(&mut host, now);
            (result, host.effects())
        };
        self.carry_out(effects);
        result
    }

    fn enter_for_timers(&self) -> u64 {
        let now = clock::now();
        let effects = {
            let mut host = self.lock();
            host.timers(now);
            host.effects()
        };
        let deadline = effects.deadline.unwrap_or(u64::MAX);
        self.shared.armed.store(deadline, Ordering::Release);
        self.carry_out(effects);
        deadline
    }

    fn carry_out(&self, effects: Effects) {
        if effects.deadline.is_some_and(|deadline| deadline < self.shared.armed.load(Ordering::Acquire)) {
            let _ = self.shared.rearm.try_send(());
        }
        for waker in effects.wake {
            waker.wake();
        }
        for job in effects.jobs {
            if let Some(workers) = self.shared.workers.get() {
                workers.run(job);
            }
        }
        if let Some(voice) = self.shared.voice.get() {
            voice.send(effects.voice);
        }
        for connect in effects.connects {
            let handle = self.clone();
            rt::spawn(async move { handle.make(connect).await });
        }
    }

    /// Enters the role: start-up, administration, the client library's calls.
    pub fn with<T>(&self, run: impl FnOnce(&mut R, &mut Ctx<R>) -> T) -> T {
        self.enter(|host, now| host.with(now, run))
    }

    /// Replaces the bounds in force.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().set_limits(limits);
    }

    /// Says goodbye to every link and waits until all is written and all jobs are done, or `patience` is over.
    pub async fn stop(&self, patience: Duration) {
        self.enter(|host, now| host.stop(now));
        let until = clock::now().saturating_add(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        while self.lock().busy() != (0, 0) && clock::now() < until {
            rt::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes a link that the role asked for.
    async fn make(self, connect: Connect) {
        let result = match &connect.target {
            Target::Local(port) => local::connect(&self, connect.link, *port),
            Target::Unix(path) => match rt::UnixStream::connect(path).await {
                Ok(socket) if self.enter(|host, now| host.open(now, connect.link, |_| {})) => {
                    rt::spawn(link::LinkTask::new(self.clone(), connect.link, socket));
                    Ok(())
                }
                Ok(_) => Err("not wanted any more".to_owned()),
                Err(error) => Err(format!("{}: {error}", path.display())),
            },
            Target::Net(address, verify) => {
                let limit = Duration::from_millis(limits::HANDSHAKE);
                match rt::timeout(limit, rt::TcpStream::connect(address.as_str())).await {
                    Ok(Ok(socket)) => dial::shake(&self, connect.link, address, *verify, socket),
                    Ok(Err(error)) => Err(format!("{address}: {error}")),
                    Err(_) => Err(format!("{address}: no answer in time")),
                }
            }
        };
        if let Err(why) = result {
            self.enter(|host, now| host.gone(now, connect.link, Chunk::default(), &why));
        }
    }
}
