//! What users change. The changes of one user at one main server are committed in the order in which they came, though the blocks that
//! they bring may be stored in any order: all that are ready at the front go into one store job, each in a savepoint of its own.

use std::collections::HashMap;
use std::collections::VecDeque;

use rusqlite::Connection;

use super::accounts;
use super::errands;
use super::names;
use super::put;
use super::users;
use super::users::At;
use super::DataManagement;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::storage::copies;
use crate::storage::mail::Sent;
use crate::storage::Caller;
use crate::storage::Placed;
use crate::storage::Posted;
use crate::wire::Blob;
use crate::wire::Code;
use crate::wire::Fail;

/// Changes of one user in one store job.
const AT_ONCE: usize = 256;

/// What a change needs before it can be committed.
#[derive(Default)]
pub struct Inputs {
    /// The block that it brought.
    pub placed: Option<Placed>,
    /// Local users that it names, by their folded names.
    pub names: HashMap<String, Caller>,
}

/// What a change did.
#[derive(Default)]
pub struct Done {
    /// The answer.
    pub answer: Vec<u8>,
    /// Who is told of what.
    pub posted: Vec<Posted>,
    /// A message that was sent.
    pub sent: Option<Sent>,
    /// A realm that has to be told something.
    pub errand: Option<String>,
    /// A workspace that fewer people may take part in now.
    pub fewer: Option<String>,
}

/// A change on the database.
pub type Work = Box<dyn FnOnce(&Connection, &Caller, &Inputs, u64) -> Result<Done, Fail> + Send>;
/// Whether it would be refused as things stand.
pub type Check = Box<dyn FnOnce(&Connection, &Caller) -> Result<(), Fail> + Send>;

/// A change as it was asked for.
pub struct Wanted {
    /// Its bytes; None: it has none.
    pub bytes: Option<Blob>,
    /// The local users that it names.
    pub names: Vec<String>,
    /// Asked before its bytes are stored.
    pub check: Option<Check>,
    /// The change.
    pub work: Work,
}

struct Change {
    id: u64,
    later: Later,
    bytes: Option<Blob>,
    work: Work,
    /// None: what it needs is not there yet.
    inputs: Option<Result<Inputs, Fail>>,
}

/// The changes of one user; what the main server may have under way bounds them.
#[derive(Default)]
pub struct Queue {
    waiting: VecDeque<Change>,
    busy: bool,
    next: u64,
}

impl Queue {
    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.busy
    }
}

/// Puts a change into the user's queue, and gets what it needs.
pub fn change(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    at: At,
    later: Later,
    wanted: Wanted,
) -> Result<(), Fail> {
    let user = dm.users.get_mut(at).ok_or_else(unknown)?;
    let queue = &mut user.changes;
    // Behind others of the same user, things may stand differently when its turn comes.
    let alone = queue.waiting.is_empty() && !queue.busy;
    queue.next += 1;
    let id = queue.next;
    let Wanted { bytes, names, check, work } = wanted;
    let bytes = bytes.filter(|bytes| !bytes.is_empty());
    queue.waiting.push_back(Change { id, later, bytes: bytes.clone(), work, inputs: None });
    let caller = user.caller.clone();
    match (check, &bytes) {
        (Some(check), Some(_)) if alone => ctx.query(
            move |db| check(db, &caller),
            move |dm, ctx, checked| match checked {
                Ok(()) => prepare(dm, ctx, at, id, names, bytes),
                Err(fail) => ready(dm, ctx, at, id, Err(fail)),
            },
        ),
        _ => prepare(dm, ctx, at, id, names, bytes),
    }
    Ok(())
}

/// FAIL SIGNIN, for a number that there is not.
pub fn unknown() -> Fail {
    Fail::new(Code::SignIn, "data management does not know this user; sign on again")
}

fn prepare(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    at: At,
    id: u64,
    names: Vec<String>,
    bytes: Option<Blob>,
) {
    if !names.is_empty() {
        return names::find(dm, ctx, names, move |dm, ctx, found| match found {
            Ok(names) => store(dm, ctx, at, id, Inputs { placed: None, names }, bytes),
            Err(fail) => ready(dm, ctx, at, id, Err(fail)),
        });
    }
    store(dm, ctx, at, id, Inputs::default(), bytes);
}

fn store(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    at: At,
    id: u64,
    mut inputs: Inputs,
    bytes: Option<Blob>,
) {
    let Some(bytes) = bytes else { return ready(dm, ctx, at, id, Ok(inputs)) };
    put::put(dm, ctx, bytes, move |dm, ctx, placed| match placed {
        Ok(placed) => {
            inputs.placed = Some(placed);
            ready(dm, ctx, at, id, Ok(inputs));
        }
        Err(fail) => ready(dm, ctx, at, id, Err(fail)),
    });
}

fn ready(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, at: At, id: u64, inputs: Result<Inputs, Fail>) {
    let user = dm.users.get_mut(at);
    let change = user.and_then(|user| user.changes.waiting.iter_mut().find(|change| change.id == id));
    match change {
        Some(change) => {
            change.inputs = Some(inputs);
            commit(dm, ctx, at);
        }
        None => give_back(dm, ctx, inputs),
    }
}

fn give_back(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, inputs: Result<Inputs, Fail>) {
    if let Ok(Inputs { placed: Some(placed), .. }) = inputs {
        put::unused(dm, ctx, placed);
    }
}

/// A user is gone, and nobody waits for its changes any more.
pub fn dropped(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, queue: Queue) {
    for change in queue.waiting {
        let fail = Fail::new(Code::Unavailable, "the user is not signed on there any more");
        ctx.answer(&change.later, Err(fail));
        if let Some(inputs) = change.inputs {
            give_back(dm, ctx, inputs);
        }
    }
}

/// Commits what is ready at the front of a user's queue.
fn commit(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, at: At) {
    let Some(user) = dm.users.get_mut(at) else { return };
    let queue = &mut user.changes;
    if queue.busy {
        return;
    }
    let (mut told, mut placed, mut work) = (Vec::new(), Vec::new(), Vec::new());
    while told.len() < AT_ONCE && queue.waiting.front().is_some_and(|change| change.inputs.is_some()) {
        let Some(change) = queue.waiting.pop_front() else { break };
        match change.inputs {
            Some(Ok(inputs)) => {
                told.push((change.later, change.bytes));
                placed.extend(inputs.placed.clone());
                work.push((change.work, inputs));
            }
            Some(Err(fail)) => ctx.answer(&change.later, Err(fail)),
            None => {}
        }
    }
    if work.is_empty() {
        return;
    }
    queue.busy = true;
    let (caller, now) = (user.caller.clone(), ctx.now());
    ctx.store(
        move |db| {
            work.into_iter().map(|(work, inputs)| one(db, &caller, work, inputs, now)).collect::<Result<Vec<_>, _>>()
        },
        move |dm, ctx, done| {
            // Where the commit failed, a block that was put belongs to nothing, and goes when its server comes again.
            placed.iter().for_each(|placed| put::settled(dm, placed));
            let results = match done {
                Ok(results) => results,
                Err(fail) => told.iter().map(|_| Err(fail.clone())).collect(),
            };
            for ((later, bytes), result) in told.into_iter().zip(results) {
                match result {
                    Ok(done) => {
                        tell(dm, ctx, &done.posted, done.sent.as_ref(), bytes.as_ref());
                        match done.sent {
                            // What other realms say of it at once is a part of the answer.
                            Some(sent) if !sent.abroad.is_empty() => errands::sent(dm, ctx, later, sent),
                            _ => ctx.answer(&later, Ok(done.answer)),
                        }
                        if let Some(workspace) = done.fewer {
                            accounts::participants_changed(dm, ctx, &workspace);
                        }
                        if let Some(realm) = done.errand {
                            errands::kick(dm, ctx, &realm);
                        }
                    }
                    Err(fail) => ctx.answer(&later, Err(fail)),
                }
            }
            if let Some(user) = dm.users.get_mut(at) {
                user.changes.busy = false;
                commit(dm, ctx, at);
            }
        },
    );
}

/// One change, which leaves nothing when it fails; its block is garbage then.
fn one(db: &Connection, caller: &Caller, work: Work, inputs: Inputs, now: u64) -> Result<Result<Done, Fail>, Fail> {
    db.execute_batch("SAVEPOINT change").map_err(Fail::internal)?;
    let done = work(db, caller, &inputs, now);
    let end = if done.is_ok() { "RELEASE change" } else { "ROLLBACK TO change; RELEASE change" };
    db.execute_batch(end).map_err(Fail::internal)?;
    if let (Err(_), Some(placed)) = (&done, &inputs.placed) {
        copies::unused(db, placed)?;
    }
    Ok(done)
}

fn tell(
    dm: &DataManagement,
    ctx: &mut Ctx<DataManagement>,
    posted: &[Posted],
    sent: Option<&Sent>,
    bytes: Option<&Blob>,
) {
    for change in posted {
        let seq = change.seq.to_string();
        let body = change.body.as_deref().or(bytes.map(|bytes| &**bytes)).unwrap_or_default();
        let fields = [change.workspace.as_bytes(), seq.as_bytes(), change.author.as_bytes(), body];
        for at in change.tell.iter().flat_map(|account| dm.users.places(*account)) {
            users::tell(ctx, *at, "WORKSPACECHANGED", &fields);
        }
    }
    if let Some(Sent { message, recipients, .. }) = sent {
        for at in recipients.iter().flat_map(|account| dm.users.places(*account)) {
            users::tell_message(ctx, *at, message);
        }
    }
}
