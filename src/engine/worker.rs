//! Threads for what would stall the I/O threads: long computations, and SQLite.

use std::thread;

use rusqlite::Connection;

use super::ctx::Job;
use super::ctx::JobResult;
use super::ctx::Lane;
use super::rt::channel;
use crate::wire::Fail;

/// How many store jobs share one commit at most.
const GROUP: usize = 1_024;

/// The threads of one role.
pub struct Workers {
    heavy: channel::Sender<Job>,
    store: Option<channel::Sender<Job>>,
    query: Option<channel::Sender<Job>>,
}

impl Workers {
    /// Starts `heavy` threads for computations and, with a database, one writer and one reader. `finished` is called on these
    /// threads. They end when the `Workers` are dropped and their queues are empty.
    pub fn start(
        name: &str,
        heavy: usize,
        database: Option<(Connection, Connection)>,
        finished: impl Fn(Vec<(u64, JobResult)>) + Send + Sync + Clone + 'static,
    ) -> std::io::Result<Workers> {
        let (send, jobs) = channel::unbounded::<Job>();
        for n in 0..heavy.max(1) {
            let (jobs, finished) = (jobs.clone(), finished.clone());
            spawn(format!("{name}-work-{n}"), move || {
                while let Ok(job) = jobs.recv_blocking() {
                    finished(vec![(job.token, (job.work)(None))]);
                }
            })?;
        }
        let mut workers = Workers { heavy: send, store: None, query: None };
        if let Some((writer, reader)) = database {
            let (send, jobs) = channel::unbounded::<Job>();
            let done = finished.clone();
            spawn(format!("{name}-store"), move || {
                while let Ok(first) = jobs.recv_blocking() {
                    let mut group = vec![first];
                    while group.len() < GROUP {
                        let Ok(next) = jobs.try_recv() else { break };
                        group.push(next);
                    }
                    done(commit(&writer, group));
                }
            })?;
            workers.store = Some(send);
            let (send, jobs) = channel::unbounded::<Job>();
            spawn(format!("{name}-query"), move || {
                while let Ok(job) = jobs.recv_blocking() {
                    finished(vec![(job.token, look(&reader, job.work))]);
                }
            })?;
            workers.query = Some(send);
        }
        Ok(workers)
    }

    /// Queues a job; the role's `Ctx` bounds how many there are.
    pub fn run(&self, job: Job) {
        let lane = match job.lane {
            Lane::Heavy => Some(&self.heavy),
            Lane::Store => self.store.as_ref(),
            Lane::Query => self.query.as_ref(),
        };
        if lane.is_none_or(|lane| lane.try_send(job).is_err()) {
            log::error!("a job was dropped: this role has no worker for it");
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name).spawn(run).map(|_| ())
}

/// Runs the jobs in one transaction, each in a savepoint of its own, and commits. When the commit fails, every job that
/// was going to say OK says INTERNAL.
pub fn commit(connection: &Connection, group: Vec<Job>) -> Vec<(u64, JobResult)> {
    let mut done = Vec::with_capacity(group.len());
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    for job in group {
        let result = match &begun {
            Ok(()) => in_savepoint(connection, job.work),
            Err(error) => Err(Fail::internal(error)),
        };
        done.push((job.token, result));
    }
    if begun.is_ok() {
        if let Err(error) = connection.execute_batch("COMMIT") {
            let _ = connection.execute_batch("ROLLBACK");
            let fail = Fail::internal(format!("commit: {error}"));
            for (_, result) in &mut done {
                if result.is_ok() {
                    *result = Err(fail.clone());
                }
            }
        }
    }
    done
}

/// Runs a query: all that it reads is as of one moment, however many statements it has.
fn look(connection: &Connection, work: super::ctx::Work) -> JobResult {
    let _moment = connection.unchecked_transaction().map_err(Fail::internal)?;
    work(Some(connection))
}

fn in_savepoint(connection: &Connection, work: super::ctx::Work) -> JobResult {
    connection.execute_batch("SAVEPOINT job").map_err(Fail::internal)?;
    let result = work(Some(connection));
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    connection.execute_batch(end).map_err(Fail::internal)?;
    result
}
