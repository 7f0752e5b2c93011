//! What is kept for people: offline messages, and workspaces.

use convergia::engine::Ctx;
use convergia::engine::LinkId;
use convergia::wire::Code;
use convergia::wire::Fail;

use super::fail;
use super::number;
use super::rest;
use super::text;
use super::word;
use super::Message;
use super::Node;
use super::Reply;
use super::Role1;
use super::Space;
use super::State;

impl State {
    pub(super) fn waiting<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a Message> {
        self.mail.iter().filter(move |message| message.sent.is_some() && message.to.iter().any(|to| to == user))
    }

    pub(super) fn mail(&mut self, user: &str, command: &str, fields: &[Vec<u8>]) -> Reply {
        if command == "LISTOFFLINEMESSAGES" {
            let line = |m: &Message| format!("{}|{}|{}|{}", m.id, m.sender, m.body.len(), m.sent.unwrap());
            return text(self.waiting(user).map(line).collect::<Vec<_>>().join("\n"));
        }
        if command == "INITOFFLINEMESSAGE" {
            let to: Vec<String> = fields.iter().map(|field| word(field)).collect();
            if to.iter().any(|to| to == "nobody") {
                return fail(Code::NotFound);
            }
            let id = format!("{:032x}", 0xabc0_0000_u64 + self.mail.len() as u64 * 0x111_1111);
            let id: String = id.chars().rev().collect();
            self.mail.push(Message { id: id.clone(), sender: user.to_owned(), to, body: Vec::new(), sent: None });
            return text(id);
        }
        let id = word(&fields[0]);
        let (clock, quota) = (self.clock, self.quota);
        let Some(at) = self.mail.iter().position(|message| message.id == id) else { return fail(Code::NotFound) };
        let message = &mut self.mail[at];
        match command {
            "APPENDOFFLINEMESSAGE" if message.sender == user && message.sent.is_none() => {
                message.body.extend(rest(fields, 1));
                if quota.is_some_and(|quota| message.body.len() as u64 > quota) {
                    return fail(Code::Quota);
                }
                text(message.body.len().to_string())
            }
            "SENDOFFLINEMESSAGE" if message.sender == user && message.sent.is_none() => {
                message.sent = Some(1_700_000_000_000 + clock);
                text("")
            }
            "READOFFLINEMESSAGE" if message.to.iter().any(|to| to == user) => {
                let (at, length) = (number(fields.get(1))? as usize, number(fields.get(2))? as usize);
                let end = message.body.len().min(at + length);
                message.body.get(at..end).map(<[u8]>::to_vec).ok_or_else(|| Fail::bad_args("behind the end"))
            }
            "DELETEOFFLINEMESSAGE" => {
                message.to.retain(|to| to != user);
                text("")
            }
            _ => fail(Code::Denied),
        }
    }

    pub(super) fn tell_mail(&mut self, ctx: &mut Ctx<Role1>, on: &[(LinkId, String)], id: &str) {
        let message = self.mail.iter().find(|message| message.id == id).unwrap();
        let (size, sent) = (message.body.len().to_string(), message.sent.unwrap().to_string());
        let fields = [id.as_bytes(), message.sender.as_bytes(), size.as_bytes(), sent.as_bytes()];
        for (link, _) in on.iter().filter(|(_, user)| message.to.contains(user)) {
            let _ = ctx.push(*link, "OFFLINEMESSAGEAVAILABLE", &fields);
        }
    }

    pub(super) fn tell_change(&mut self, ctx: &mut Ctx<Role1>, on: &[(LinkId, String)], name: &str) {
        let space = &self.spaces[name];
        let (seq, (author, body)) = (space.changes.len().to_string(), space.changes.last().unwrap());
        let fields = [name.as_bytes(), seq.as_bytes(), author.as_bytes(), body];
        for (link, _) in on.iter().filter(|(_, user)| space.participants.contains(user)) {
            let _ = ctx.push(*link, "WORKSPACECHANGED", &fields);
        }
    }

    pub(super) fn space(&mut self, user: &str, command: &str, fields: &[Vec<u8>]) -> Reply {
        if command == "LISTWORKSPACES" {
            let mine = self.spaces.iter().filter(|(_, space)| space.participants.iter().any(|other| other == user));
            let line = |(name, space): (&String, &Space)| {
                let acknowledged = space.acknowledged.get(user).copied().unwrap_or(0);
                format!("{name}|{}|{}|{acknowledged}|{}", space.creator, space.changes.len(), space.participants.len())
            };
            return text(mine.map(line).collect::<Vec<_>>().join("\n"));
        }
        let name = word(&fields[0]);
        let others = || fields[1..].iter().map(|field| word(field)).filter(|other| other != user);
        if command == "CREATEWORKSPACE" {
            if self.spaces.contains_key(&name) {
                return fail(Code::Exists);
            }
            let participants = std::iter::once(user.to_owned()).chain(others()).collect();
            self.spaces.insert(name.clone(), Space { creator: user.to_owned(), participants, ..Space::default() });
            self.nodes
                .insert(format!("/workspaces/{name}"), Node { bytes: None, modified: self.clock, permissions: None });
            return text("");
        }
        let Some(space) = self.spaces.get_mut(&name) else { return fail(Code::NotFound) };
        if !space.participants.iter().any(|other| other == user) {
            return fail(Code::Denied);
        }
        match command {
            "POSTCHANGE" => {
                space.changes.push((user.to_owned(), rest(fields, 1)));
                return text(space.changes.len().to_string());
            }
            "READCHANGES" => {
                let (after, count) = (number(fields.get(1))?, number(fields.get(2))?);
                let changes = space.changes.iter().enumerate().skip(after as usize).take(count as usize);
                let change = |(n, (author, body)): (usize, &(String, Vec<u8>))| {
                    let mut out = format!("{}|{author}|{}|{}\n", n + 1, 1_700_000_000_000u64, body.len()).into_bytes();
                    out.extend_from_slice(body);
                    out
                };
                return Ok(changes.map(change).collect::<Vec<_>>().join(&b'\n'));
            }
            "LISTPARTICIPANTS" => return text(space.participants.join("\n")),
            "ACKCHANGES" => drop(space.acknowledged.insert(user.to_owned(), number(fields.get(1))?)),
            "SETPARTICIPANTS" => {
                space.participants = std::iter::once(space.creator.clone()).chain(others()).collect();
            }
            "LEAVEWORKSPACE" => space.participants.retain(|other| other != user),
            _ if space.creator != user => return fail(Code::Denied),
            _ => drop(self.spaces.remove(&name)),
        }
        text("")
    }
}
