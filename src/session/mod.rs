//! Floor 3: the commands of a signed-on user that data management answers (contract 6: storage, offline messages, workspaces, metadata),
//! as one list. A role that clients sign on to passes them on, whatever they are; data management has their handlers.

use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Role;
use crate::wire::Fail;
use crate::wire::Raw;

/// A command, and its DATA in the words of docs/protocol.md.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The word on the wire.
    pub name: &'static str,
    /// Its DATA; empty: none.
    pub args: &'static str,
    /// Behind how many fields the last one stands, where that may be a block.
    pub blob: Option<usize>,
}

const fn spec(name: &'static str, args: &'static str) -> Spec {
    Spec { name, args, blob: None }
}

const fn with_blob(name: &'static str, args: &'static str, fields: usize) -> Spec {
    Spec { name, args, blob: Some(fields) }
}

/// How many there are.
pub const COUNT: usize = 30;

/// Every command that data management answers.
pub const SPECS: [Spec; COUNT] = [
    spec("CREATEFOLDER", "path"),
    spec("DELETEFOLDER", "path"),
    spec("CREATEFILE", "path"),
    spec("DELETEFILE", "path"),
    with_blob("WRITEFILE", "path LF offset LF bytes", 2),
    spec("READFILE", "path LF offset LF length"),
    spec("MOVE", "path LF new path"),
    spec("REPLACE", "path LF new path"),
    spec("TRUNCATEFILE", "path LF size"),
    spec("LISTFOLDER", "path"),
    spec("GETINFO", "path"),
    spec("SETPERMISSIONS", "path LF subject|rights"),
    spec("INITOFFLINEMESSAGE", "recipient LF recipient…"),
    with_blob("APPENDOFFLINEMESSAGE", "message-id LF bytes", 1),
    spec("SENDOFFLINEMESSAGE", "message-id"),
    spec("LISTOFFLINEMESSAGES", ""),
    spec("READOFFLINEMESSAGE", "message-id LF offset LF length"),
    spec("DELETEOFFLINEMESSAGE", "message-id"),
    spec("CREATEWORKSPACE", "workspace LF participant…"),
    with_blob("POSTCHANGE", "workspace LF bytes", 1),
    spec("READCHANGES", "workspace LF after-seq LF count"),
    spec("ACKCHANGES", "workspace LF seq"),
    spec("SETPARTICIPANTS", "workspace LF participant…"),
    spec("LISTPARTICIPANTS", "workspace"),
    spec("LISTWORKSPACES", ""),
    spec("LEAVEWORKSPACE", "workspace"),
    spec("DELETEWORKSPACE", "workspace"),
    spec("SETMETADATA", "key LF value"),
    spec("GETMETADATA", "user LF key"),
    spec("LISTMETADATA", "user"),
];

/// A role that clients sign on to.
pub trait Passes: Role {
    /// The gate of these commands.
    ///
    /// # Errors
    /// SIGNIN.
    fn signed_on(&self, ctx: &Ctx<Self>, link: LinkId) -> Result<(), Fail>;

    /// Passes the request on to data management.
    ///
    /// # Errors
    /// UNAVAILABLE when there is no link to it.
    fn pass_on(&mut self, ctx: &mut Ctx<Self>, request: &Request<'_>) -> Result<Answer, Fail>;
}

/// The rows of these commands for a role's table.
pub const fn rows<R: Passes>(ports: &'static [PortKey]) -> [Command<R>; COUNT] {
    let first = Command { name: "", ports, args: "", gate: R::signed_on, run: R::pass_on };
    let mut rows = [first; COUNT];
    let mut n = 0;
    while n < COUNT {
        rows[n].name = SPECS[n].name;
        rows[n].args = SPECS[n].args;
        n += 1;
    }
    rows
}

/// See `Role::blob_behind`.
pub fn blob_behind(command: &[u8]) -> Option<usize> {
    SPECS.iter().find(|spec| spec.name.as_bytes() == command).and_then(|spec| spec.blob)
}

/// The bytes that a request asks for beside those that it brings: the length in READFILE and READOFFLINEMESSAGE, a page in what lists.
pub fn asks_for(command: &[u8], data: Raw<'_>) -> u64 {
    match command {
        b"READFILE" | b"READOFFLINEMESSAGE" => {
            let length = data.take::<3>().and_then(|[_, _, length]| length.number());
            length.unwrap_or(0).min(1 << 20)
        }
        b"READCHANGES" | b"LISTFOLDER" | b"LISTOFFLINEMESSAGES" => 1 << 20,
        _ => 0,
    }
}
