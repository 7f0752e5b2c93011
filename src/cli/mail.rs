//! `convergia mail`: messages that wait for people who are not signed on.

use std::fs::File;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::session;
use super::text;
use super::text::Clock;
use super::work;
use super::work::placed;
use super::work::Place;
use super::work::Work;
use crate::client::store::Store;
use crate::client::store::Trouble;
use crate::client::store::Waiting;
use crate::client::store::Whole;
use crate::client::store::PIECE;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

/// Messages to people who are not there: they wait until they are read and removed.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "mail",
    example = "{command_name} send bob carol --subject 'The plan' --file plan.pdf",
    example = "{command_name} send chat.example:63745::dave --file plan.pdf\n  a user of another realm",
    example = "echo hello | {command_name} send bob",
    example = "{command_name} ls",
    example = "{command_name} read 3fa2"
)]
pub struct Mail {
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
    #[argh(subcommand)]
    task: Task,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Task {
    Send(Send),
    List(List),
    Read(ReadOne),
    Remove(Remove),
}

placed! {
    /// Send a message to one or more users; its text is standard input, or a file.
    #[argh(subcommand, name = "send", example = "{command_name} bob carol --subject 'The plan' --file plan.pdf")]
    struct Send {
        /// to whom
        #[argh(positional)]
        recipient: Vec<String>,
        /// what it is about
        #[argh(option, arg_name = "TEXT")]
        subject: Option<String>,
        /// what is sent; - is standard input (default: that)
        #[argh(option, short = 'f', arg_name = "FILE")]
        file: Option<PathBuf>,
    }
}

placed! {
    /// List the messages that wait for you.
    #[argh(subcommand, name = "ls")]
    struct List {}
}

placed! {
    /// Print a message. On a terminal what could command it is shown as an escape; elsewhere the bytes come as they were sent.
    #[argh(subcommand, name = "read", example = "{command_name} 3fa2 > letter")]
    struct ReadOne {
        /// the message, or the beginning of its id
        #[argh(positional)]
        id: String,
    }
}

placed! {
    /// Remove messages.
    #[argh(subcommand, name = "rm")]
    struct Remove {
        /// which, or the beginning of the id
        #[argh(positional)]
        id: Vec<String>,
    }
}

/// A message with a subject begins with it, and an empty line.
const SUBJECT: &str = "Subject: ";
/// How much is read of a message for its subject.
const HEAD: usize = 256;
/// The digits of an id that are shown.
const SHORT: usize = 8;

/// The subject, and where the text begins.
fn subject(bytes: &[u8]) -> Option<(String, usize)> {
    let line = bytes.strip_prefix(SUBJECT.as_bytes())?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    let gap = usize::from(line.get(end + 1) == Some(&b'\n'));
    Some((String::from_utf8_lossy(line.get(..end)?).into_owned(), SUBJECT.len() + end + 1 + gap))
}

impl Mail {
    fn place(&self) -> Place {
        Place {
            server: self.server.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            json: self.json,
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        match &self.task {
            Task::Send(send) if send.recipient.is_empty() => {
                return Err(Stop::Usage("to whom? convergia mail send NAME…".to_owned()))
            }
            Task::Remove(remove) if remove.id.is_empty() => {
                return Err(Stop::Usage("which? convergia mail rm ID…".to_owned()))
            }
            _ => {}
        }
        // What cannot be read is known before signing on.
        let input = match &self.task {
            Task::Send(send) => Some(send.open()?),
            _ => None,
        };
        rt::block_on(async {
            let place = match &self.task {
                Task::Send(send) => send.place(),
                Task::List(list) => list.place(),
                Task::Read(read) => read.place(),
                Task::Remove(remove) => remove.place(),
            };
            let work = Work::begin(place.or(&self.place()), None).await?;
            let done = match (&self.task, input) {
                (Task::Send(send), Some(input)) => send.run(&work, input).await,
                (Task::Read(read), _) => read.run(&work).await,
                (Task::Remove(remove), _) => remove.run(&work).await,
                (Task::List(_) | Task::Send(_), _) => list(&work).await,
            };
            work.progress.clear();
            let ended = work.end().await;
            done.and(ended)
        })
    }
}

/// What a message is made of.
type Input = (Box<dyn Read + std::marker::Send>, Option<u64>);

impl Send {
    fn open(&self) -> Result<Input, Stop> {
        match self.file.as_deref().filter(|path| path.as_os_str() != "-") {
            None => {
                if std::io::stdin().is_terminal() {
                    eprintln!("Type the message; Ctrl-D on a line of its own sends it.");
                }
                Ok((Box::new(std::io::stdin()), None))
            }
            Some(path) => {
                let file = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
                let (size, file) = file.map_err(|error| Stop::Refused(format!("{}: {error}", path.display())))?;
                Ok((Box::new(file), Some(size)))
            }
        }
    }

    async fn run(&self, work: &Work, (mut input, size): Input) -> Result<(), Stop> {
        let recipients = self.recipient.iter().map(|to| session::recipient(to)).collect::<Result<Vec<_>, _>>()?;
        let mut head = match &self.subject {
            Some(subject) => format!("{SUBJECT}{}\n\n", subject.replace(|c: char| c.is_control(), " ")).into_bytes(),
            None => Vec::new(),
        };
        if let Some(size) = size {
            work.progress.expect(size + head.len() as u64);
            work.progress.complete();
        }
        let mut next = |buffer: &mut Vec<u8>| {
            buffer.append(&mut head);
            let room = PIECE.saturating_sub(buffer.len());
            input.by_ref().take(u64::try_from(room).unwrap_or(0)).read_to_end(buffer).map(drop)
        };
        let what = format!("not sent to {}", self.recipient.join(", "));
        let stop = |trouble| match trouble {
            Trouble::Remote(fail) => cannot_send(&what, &fail),
            Trouble::Local(error) => Stop::Refused(format!("{what}: {error}")),
            Trouble::Changed => Stop::Refused(format!("{what}: it was changed while it was read")),
        };
        let mut letter = work.store.letter(&recipients).await.map_err(|fail| stop(fail.into()))?;
        letter.append(&mut next, work.progress.as_ref()).await.map_err(stop)?;
        let id = letter.id().to_owned();
        letter.send().await.map_err(|fail| stop(fail.into()))?;
        work.json(|| json!({ "id": id, "ok": true, "recipients": recipients }));
        Ok(())
    }
}

fn cannot_send(what: &str, fail: &Fail) -> Stop {
    match fail.code {
        Code::NotFound => Stop::refused(what, fail, "`convergia map` shows who there is."),
        _ => work::refused(what, fail),
    }
}

async fn waiting(work: &Work) -> Result<Vec<Waiting>, Stop> {
    work.store.messages().await.map_err(|fail| work::refused("the messages", &fail))
}

async fn list(work: &Work) -> Result<(), Stop> {
    let messages = waiting(work).await?;
    // All at once, within the store's window.
    let heads = messages.iter().map(|message| {
        let (store, id, length): (Store, _, _) =
            (work.store.clone(), message.id.clone(), message.size.min(HEAD as u64));
        let length = usize::try_from(length).unwrap_or(HEAD);
        rt::spawn(async move {
            match length {
                0 => None,
                _ => store.read_message(&id, 0, length).await.ok().and_then(|head| subject(&head)),
            }
        })
    });
    let heads: Vec<_> = heads.collect();
    let clock = if work.json { Clock::default() } else { Clock::local() };
    for (message, head) in messages.iter().zip(heads) {
        let subject = head.await.map(|(subject, _)| subject);
        let Waiting { id, sender, size, sent_at } = message;
        if work.json {
            outcome::line(json!({ "id": id, "sender": sender, "size": size, "sent_at": sent_at, "subject": subject }));
            continue;
        }
        let there = in_its_realm(id);
        let short = text::clean(there.get(..SHORT).unwrap_or(there));
        let (size, date, sender) = (text::size(*size), clock.date(*sent_at), text::clean(sender));
        let subject = subject.map(|subject| text::clean(&subject)).unwrap_or_default();
        outcome::line(format!("{short}  {date}  {size:>8}  {sender}  {subject}").trim_end());
    }
    Ok(())
}

/// What a message in another realm, `realm::id`, is called there: the part that tells it from others.
fn in_its_realm(id: &str) -> &str {
    id.rsplit_once("::").map_or(id, |(_, id)| id)
}

/// The one message that is meant.
fn one<'a>(messages: &'a [Waiting], given: &str) -> Result<&'a Waiting, Stop> {
    let is_meant = |id: &str| id.starts_with(given) || in_its_realm(id).starts_with(given);
    let mut fits = messages.iter().filter(|message| !given.is_empty() && is_meant(&message.id));
    match (fits.next(), fits.next()) {
        (Some(message), None) => Ok(message),
        (Some(_), Some(_)) => {
            Err(Stop::Refused(format!("{}: several messages begin so; write more of it", text::clean(given))))
        }
        (None, _) => Err(Stop::Refused(format!(
            "{}: there is no such message\n`convergia mail ls` shows which wait.",
            text::clean(given)
        ))),
    }
}

impl ReadOne {
    async fn run(&self, work: &Work) -> Result<(), Stop> {
        let messages = waiting(work).await?;
        let message = one(&messages, &self.id)?;
        let whole = Whole::Message(&message.id);
        let mut out = std::io::stdout();
        let terminal = out.is_terminal();
        let mut line = Vec::new();
        let mut body = Vec::new();
        let mut take = |bytes: &[u8]| {
            if work.json {
                body.extend_from_slice(bytes);
                return Ok(());
            }
            if !terminal {
                return out.write_all(bytes);
            }
            // Whole lines, so that no character is cut.
            line.extend_from_slice(bytes);
            let end = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines: Vec<u8> = line.drain(..end).collect();
            show(&mut out, &lines)
        };
        let read = work.store.read_whole(whole, (0, message.size), &mut take).await;
        match read {
            Ok(()) => {}
            Err(Trouble::Remote(fail)) => return Err(work::refused("the message", &fail)),
            // Nobody reads it any more.
            Err(Trouble::Local(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(Trouble::Local(error)) => return Err(Stop::Refused(error.to_string())),
            Err(Trouble::Changed) => return Err(Stop::Refused("the message is shorter than was told".to_owned())),
        }
        if work.json {
            let (subject, at) = subject(&body).map_or((None, 0), |(subject, at)| (Some(subject), at));
            let Waiting { id, sender, size, sent_at } = message;
            let fields = json!({ "id": id, "sender": sender, "size": size, "sent_at": sent_at, "subject": subject });
            outcome::line(outcome::with_body(fields, body.get(at..).unwrap_or_default()));
            return Ok(());
        }
        if !line.is_empty() {
            line.push(b'\n');
        }
        show(&mut out, &line).and_then(|()| out.flush()).map_err(|error| Stop::Refused(error.to_string()))
    }
}

/// Lines of a message at a terminal.
fn show(out: &mut impl Write, lines: &[u8]) -> std::io::Result<()> {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        writeln!(out, "{}", text::clean_body(line, ""))?;
    }
    Ok(())
}

impl Remove {
    async fn run(&self, work: &Work) -> Result<(), Stop> {
        let messages = waiting(work).await?;
        let chosen = self.id.iter().map(|id| one(&messages, id)).collect::<Result<Vec<_>, _>>()?;
        for message in chosen {
            match work.store.delete_message(&message.id).await {
                Ok(()) => work.json(|| json!({ "id": message.id, "ok": true })),
                Err(fail) => work.failed(&message.id, &Trouble::Remote(fail)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        assert_eq!(subject(b"Subject: A b\n\ntext"), Some(("A b".to_owned(), 14)));
        assert_eq!(subject(b"Subject: x\ntext"), Some(("x".to_owned(), 11)));
        for none in [&b""[..], b"Subject: cut", b"hello\nSubject: x\n"] {
            assert_eq!(subject(none), None);
        }
    }

    #[test]
    fn a_message_is_known_by_its_beginning() {
        let waiting = |id: &str| Waiting { id: id.to_owned(), sender: "bob".to_owned(), size: 0, sent_at: 0 };
        let messages = ["ab1", "ab2", "c", "h:1::d4"].map(waiting);
        assert_eq!(one(&messages, "c").unwrap().id, "c");
        assert_eq!(one(&messages, "ab2").unwrap().id, "ab2");
        for of_realm in ["d", "h:1::d"] {
            assert_eq!(one(&messages, of_realm).unwrap().id, "h:1::d4");
        }
        for bad in ["ab", "e", ""] {
            assert!(one(&messages, bad).is_err(), "{bad}");
        }
    }
}
