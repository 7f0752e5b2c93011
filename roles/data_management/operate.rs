//! DO (64481): a command of a signed-on user. Each is taken apart here, and is a change (`changes`) or a read (`reads`).

use rand::Rng;

use super::changes;
use super::changes::Check;
use super::changes::Done;
use super::changes::Inputs;
use super::changes::Wanted;
use super::elsewhere;
use super::elsewhere::Aim;
use super::main_server;
use super::reads;
use super::users::At;
use super::DataManagement;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::Request;
use crate::session;
use crate::storage::args;
use crate::storage::args::SubjectName;
use crate::storage::files;
use crate::storage::mail;
use crate::storage::metadata;
use crate::storage::rights::Subject;
use crate::storage::tree;
use crate::storage::workspaces;
use crate::storage::Caller;
use crate::storage::Placed;
use crate::storage::Posted;
use crate::storage::FOREIGN;
use crate::storage::MAX_BLOCK;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;
use rusqlite::Connection;

/// What every request weighs beside its bytes.
pub const OVERHEAD: u64 = 4 << 10;

pub const DO: Command<DataManagement> = Command {
    name: "DO",
    ports: &[PortKey::MainDatamanagement],
    args: "number LF command LF data",
    gate: main_server,
    run: operate,
};

/// A command that is being answered.
pub struct Ask<'a> {
    pub at: At,
    pub later: Later,
    /// Its DATA; the last field is in `blob`, if there is one.
    pub data: Raw<'a>,
    pub blob: Option<Body<'a>>,
}

impl<'a> Ask<'a> {
    /// The bytes of a block, not longer than one; `last` is the last field.
    fn bytes(&mut self, last: Raw<'a>) -> Result<Blob, Fail> {
        let bytes = self.blob.take().unwrap_or(Body::Raw(last)).into_blob();
        match bytes.len() as u64 <= MAX_BLOCK {
            true => Ok(bytes),
            false => Err(Fail::bad_args("at most 1 MiB at once")),
        }
    }
}

pub type Run = fn(&mut DataManagement, &mut Ctx<DataManagement>, Ask<'_>) -> Result<(), Fail>;

/// Every command of `session::SPECS`.
const TABLE: &[(&str, Run)] = &[
    ("CREATEFOLDER", |dm, ctx, ask| on_path(dm, ctx, ask, tree::create_folder)),
    ("DELETEFOLDER", |dm, ctx, ask| on_path(dm, ctx, ask, tree::delete_folder)),
    ("CREATEFILE", |dm, ctx, ask| on_path(dm, ctx, ask, tree::create_file)),
    ("DELETEFILE", |dm, ctx, ask| on_path(dm, ctx, ask, tree::delete_file)),
    ("WRITEFILE", write),
    ("READFILE", reads::file),
    ("MOVE", |dm, ctx, ask| on_paths(dm, ctx, ask, tree::move_entry)),
    ("REPLACE", |dm, ctx, ask| on_paths(dm, ctx, ask, tree::replace)),
    ("TRUNCATEFILE", truncate),
    ("LISTFOLDER", reads::folder),
    ("GETINFO", reads::info),
    ("SETPERMISSIONS", set_permissions),
    ("INITOFFLINEMESSAGE", init),
    ("APPENDOFFLINEMESSAGE", append),
    ("SENDOFFLINEMESSAGE", send),
    ("LISTOFFLINEMESSAGES", reads::messages),
    ("READOFFLINEMESSAGE", reads::message),
    ("DELETEOFFLINEMESSAGE", delete_message),
    ("CREATEWORKSPACE", create_workspace),
    ("POSTCHANGE", post),
    ("READCHANGES", reads::changes),
    ("ACKCHANGES", ack),
    ("SETPARTICIPANTS", set_participants),
    ("LISTPARTICIPANTS", reads::participants),
    ("LISTWORKSPACES", reads::workspaces),
    ("LEAVEWORKSPACE", leave),
    ("DELETEWORKSPACE", delete_workspace),
    ("SETMETADATA", set_metadata),
    ("GETMETADATA", reads::metadata),
    ("LISTMETADATA", reads::keys),
];

fn operate(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [number, command, data] = request.data().take()?;
    let at = (request.link, number.number()?);
    if dm.users.get(at).is_none() {
        return Err(changes::unknown());
    }
    let run = handler(command.0).ok_or_else(|| Fail::new(Code::BadCommand, "no such command here"))?;
    let mut later = request.later();
    let blob = request.blob().cloned().map(Body::Blob);
    let aim = elsewhere::aim(dm, command.0, data);
    // What is asked in another realm is answered over such a link as this one: it must be read on, and has a bound of its own.
    if !matches!(aim, Ok(Some(Aim::There(_)))) {
        let brings = data.0.len() + blob.as_ref().map_or(0, Body::size);
        ctx.weigh(&mut later, OVERHEAD + brings as u64 + session::asks_for(command.0, data));
    }
    let ask = Ask { at, later, data, blob };
    begin(ctx, ask, |ctx, ask| match aim? {
        None => run(dm, ctx, ask),
        Some(Aim::Here(data)) => run(dm, ctx, Ask { data: Raw(&data), ..ask }),
        Some(Aim::There(there)) => elsewhere::pass_on(dm, ctx, ask, there),
    });
    Ok(Answer::Later)
}

/// Runs a command. A refusal counts as put off, like all that it does: it goes the same way.
pub fn begin(
    ctx: &mut Ctx<DataManagement>,
    ask: Ask<'_>,
    run: impl FnOnce(&mut Ctx<DataManagement>, Ask<'_>) -> Result<(), Fail>,
) {
    let later = ask.later.clone();
    if let Err(fail) = run(ctx, ask) {
        ctx.after(0, move |_, ctx| ctx.answer(&later, Err(fail)));
    }
}

/// What runs a command of `session::SPECS`.
pub fn handler(command: &[u8]) -> Option<Run> {
    TABLE.iter().find(|(name, _)| name.as_bytes() == command).map(|(_, run)| *run)
}

/// A change without bytes.
pub fn change(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    ask: Ask<'_>,
    names: Vec<String>,
    work: impl FnOnce(&Connection, &Caller, &Inputs, u64) -> Result<Done, Fail> + Send + 'static,
) -> Result<(), Fail> {
    let wanted = Wanted { bytes: None, names, check: None, work: Box::new(work) };
    changes::change(dm, ctx, ask.at, ask.later, wanted)
}

fn change_with(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    ask: (At, Later),
    bytes: Blob,
    check: Check,
    work: impl FnOnce(&Connection, &Caller, Option<&Placed>, u64) -> Result<Done, Fail> + Send + 'static,
) -> Result<(), Fail> {
    let work = Box::new(move |db: &Connection, caller: &Caller, inputs: &Inputs, now| {
        work(db, caller, inputs.placed.as_ref(), now)
    });
    let wanted = Wanted { bytes: Some(bytes), names: Vec::new(), check: Some(check), work };
    changes::change(dm, ctx, ask.0, ask.1, wanted)
}

fn posted(posted: Vec<Posted>) -> Done {
    Done { posted, ..Done::default() }
}

fn fewer(workspace: String) -> Done {
    Done { fewer: Some(workspace), ..Done::default() }
}

fn answer(text: String) -> Done {
    Done { answer: text.into_bytes(), ..Done::default() }
}

type OnPath = fn(&Connection, &Caller, &args::Path, u64) -> Result<Vec<Posted>, Fail>;

fn on_path(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>, work: OnPath) -> Result<(), Fail> {
    let path = args::path(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, now| work(db, caller, &path, now).map(posted))
}

fn write(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, mut ask: Ask<'_>) -> Result<(), Fail> {
    let (path, offset, data) = args::write(ask.data)?;
    let bytes = ask.bytes(data)?;
    let (wanted, length) = (path.clone(), bytes.len() as u64);
    let check =
        Box::new(move |db: &Connection, caller: &Caller| files::check_write(db, caller, &wanted, offset, length));
    change_with(dm, ctx, (ask.at, ask.later), bytes, check, move |db, caller, placed, now| {
        files::write(db, caller, &path, offset, placed, now).map(posted)
    })
}

type OnPaths = fn(&Connection, &Caller, &args::Path, &args::Path, u64) -> Result<Vec<Posted>, Fail>;

fn on_paths(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>, work: OnPaths) -> Result<(), Fail> {
    let (from, to) = args::paths(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, now| work(db, caller, &from, &to, now).map(posted))
}

fn truncate(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (path, size) = args::truncate(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, now| {
        files::truncate(db, caller, &path, size, now).map(posted)
    })
}

/// The local users among the subjects.
fn local(subjects: &[SubjectName]) -> Vec<String> {
    let local = subjects.iter().filter_map(|subject| match subject {
        SubjectName::User(user) => Some(user.clone()),
        SubjectName::Remote(_) | SubjectName::Everybody => None,
    });
    local.collect()
}

fn named(inputs: &Inputs, user: &str) -> Result<Caller, Fail> {
    let found = inputs.names.get(name::fold(user).as_ref()).cloned();
    found.ok_or_else(|| Fail::new(Code::NotFound, format!("there is no user {user}")))
}

/// Local users only, as long as there are no realms.
fn callers(inputs: &Inputs, subjects: &[SubjectName]) -> Result<Vec<Caller>, Fail> {
    subjects.iter().map(|subject| one_of_here(inputs, subject)).collect()
}

fn one_of_here(inputs: &Inputs, subject: &SubjectName) -> Result<Caller, Fail> {
    match subject {
        SubjectName::User(user) => named(inputs, user),
        SubjectName::Remote(_) | SubjectName::Everybody => {
            Err(Fail::new(Code::Refused, "users of other realms do not take part in workspaces"))
        }
    }
}

fn set_permissions(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (path, list) = args::permissions(ask.data)?;
    let list: Vec<(SubjectName, args::Rights)> =
        list.into_iter().map(|(subject, rights)| (elsewhere::at_home(dm, subject), rights)).collect();
    let subjects: Vec<SubjectName> = list.iter().map(|(subject, _)| subject.clone()).collect();
    change(dm, ctx, ask, local(&subjects), move |db, caller, inputs, now| {
        let subject = |(subject, rights): &(SubjectName, args::Rights)| {
            let subject = match subject {
                SubjectName::User(user) => Subject::Account(named(inputs, user)?),
                SubjectName::Remote(user) => Subject::Remote(user.clone()),
                SubjectName::Everybody => Subject::Everybody,
            };
            Ok((subject, *rights))
        };
        let list: Vec<(Subject, args::Rights)> = list.iter().map(subject).collect::<Result<_, Fail>>()?;
        tree::set_permissions(db, caller, &path, &list, now).map(|()| Done::default())
    })
}

fn init(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let recipients: Vec<SubjectName> =
        args::recipients(ask.data)?.into_iter().map(|recipient| elsewhere::at_home(dm, recipient)).collect();
    if recipients.iter().any(|recipient| matches!(recipient, SubjectName::Remote(_))) {
        elsewhere::gateway(dm, ask.at)?;
    }
    let mut id = [0; 16];
    ctx.rng().fill_bytes(&mut id);
    change(dm, ctx, ask, local(&recipients), move |db, caller, inputs, now| {
        let recipient = |recipient: &SubjectName| match recipient {
            SubjectName::Remote(name) => Ok(Caller { account: FOREIGN, name: name.clone() }),
            SubjectName::User(_) | SubjectName::Everybody => one_of_here(inputs, recipient),
        };
        let all = recipients.iter().map(recipient).collect::<Result<Vec<_>, Fail>>()?;
        mail::init(db, caller, &id, &all, now)?;
        Ok(answer(hex::encode(&id)))
    })
}

fn append(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, mut ask: Ask<'_>) -> Result<(), Fail> {
    let (id, data) = args::append(ask.data)?;
    let bytes = ask.bytes(data)?;
    let length = bytes.len() as u64;
    let check = Box::new(move |db: &Connection, caller: &Caller| mail::check_append(db, caller, &id, length));
    change_with(dm, ctx, (ask.at, ask.later), bytes, check, move |db, caller, placed, now| {
        mail::append(db, caller, &id, placed, now).map(|size| answer(size.to_string()))
    })
}

fn send(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let id = args::message(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, now| {
        Ok(Done { sent: Some(mail::send(db, caller, &id, now)?), ..Done::default() })
    })
}

fn delete_message(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let id = args::message(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, _| mail::delete(db, caller, &id).map(|()| Done::default()))
}

fn create_workspace(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (workspace, people) = args::participants(ask.data)?;
    change(dm, ctx, ask, local(&people), move |db, caller, inputs, now| {
        workspaces::create(db, caller, &workspace, &callers(inputs, &people)?, now).map(|()| Done::default())
    })
}

fn set_participants(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (workspace, people) = args::participants(ask.data)?;
    change(dm, ctx, ask, local(&people), move |db, caller, inputs, now| {
        workspaces::set_participants(db, caller, &workspace, &callers(inputs, &people)?, now)?;
        Ok(fewer(workspace))
    })
}

fn post(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, mut ask: Ask<'_>) -> Result<(), Fail> {
    let (workspace, data) = args::post(ask.data)?;
    let body = ask.bytes(data)?;
    let done =
        |posted: Posted| Done { answer: posted.seq.to_string().into_bytes(), posted: vec![posted], ..Done::default() };
    if body.len() <= workspaces::MAX_INLINE {
        return change(dm, ctx, ask, Vec::new(), move |db, caller, _, now| {
            workspaces::post(db, caller, &workspace, workspaces::Body::Here(&body), now).map(done)
        });
    }
    let (wanted, length) = (workspace.clone(), body.len() as u64);
    let check = Box::new(move |db: &Connection, caller: &Caller| workspaces::check_post(db, caller, &wanted, length));
    change_with(dm, ctx, (ask.at, ask.later), body, check, move |db, caller, placed, now| {
        let placed = placed.ok_or_else(|| Fail::internal("a change without its block"))?;
        workspaces::post(db, caller, &workspace, workspaces::Body::Block(placed), now).map(done)
    })
}

fn ack(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (workspace, seq) = args::ack(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, _| {
        workspaces::ack(db, caller, &workspace, seq).map(|()| Done::default())
    })
}

fn leave(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let workspace = args::workspace(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, _| {
        workspaces::leave(db, caller, &workspace)?;
        Ok(fewer(workspace))
    })
}

fn delete_workspace(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let workspace = args::workspace(ask.data)?;
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, _| {
        workspaces::delete(db, caller, &workspace)?;
        Ok(fewer(workspace))
    })
}

fn set_metadata(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (key, value) = args::set_metadata(ask.data)?;
    let value = value.unescape().into_owned();
    change(dm, ctx, ask, Vec::new(), move |db, caller, _, _| {
        metadata::set(db, caller, &key, &value).map(|()| Done::default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_handler() {
        let here: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        let told: Vec<&str> = session::SPECS.iter().map(|spec| spec.name).collect();
        assert_eq!(here, told);
    }
}
