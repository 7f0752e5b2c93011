//! `convergia chat`: a conversation at a terminal, or in a script. The terminal has a thread of its own, as reading a line
//! blocks; nothing else does.

mod editor;
mod history;
mod input;
mod near;
mod screen;

use std::io::BufRead;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use argh::FromArgs;

use super::courier::Courier;
use super::courier::Way;
use super::map_view::ServerMap;
use super::outcome::Stop;
use super::session;
use super::session::Session;
use super::session::Stay;
use super::session::Target;
use super::text;
use crate::client::Event;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::name;
use crate::wire::Fail;
use input::Line;
use near::Near;
use screen::Note;
use screen::Screen;

/// Talk to people who are signed on.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "chat",
    example = "{command_name} bob",
    example = "echo 'bob: the build is done' | {command_name}",
    example = "{command_name} --lan bob",
    note = "/help in the conversation tells what can be typed. When standard input is no terminal, each line is `NAME: text` \
            (with NAME given: text for NAME, or `@OTHER text`), and what comes is printed as `NAME: text`.\n--lan announces your name to everybody \
            on the local network, so that others find you; messages to people there whose keys your server vouches for go directly, also \
            without a server. Your other devices do not see those."
)]
pub struct Chat {
    /// to whom lines go that name nobody else
    #[argh(positional)]
    name: Option<String>,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// let yourself be found on the local network, and talk directly to people there
    #[argh(switch)]
    lan: bool,
    /// what happens as JSON, an event a line
    #[argh(switch)]
    json: bool,
}

/// Messages on their way at once.
const WINDOW: usize = 128;
/// Notes that may wait for the terminal.
const SCREENFUL: usize = 1_000;
/// How often a terminal that stands still is looked at.
const STANDSTILL: Duration = Duration::from_millis(50);
/// How long a message may go unanswered before the screen says that it waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Offline messages that are told of so soon after one another are told together.
const GATHER: Duration = Duration::from_millis(200);
/// How long the end of a conversation waits for answers.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What the conversation's loop hears.
pub enum Input {
    /// A line was typed.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the end of standard input.
    End,
    /// The client has given up.
    Failed(Fail),
}

/// What the terminal's thread shares with the conversation.
#[derive(Default)]
pub struct Shared {
    /// To whom lines go that name nobody.
    pub to: Option<String>,
    /// For completion, and to tell a name from a word.
    pub map: ServerMap,
}

/// `Shared`, for several threads.
pub type SharedState = Arc<Mutex<Shared>>;

/// Locks it; what it holds is whole at any time.
pub fn lock(shared: &SharedState) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chat {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let to = self.name.as_deref().map(session::recipient).transpose()?;
        let target = Target { server: self.server, user: self.user, password_file: self.password_file };
        let at_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let interactive = at_terminal && !self.json && !text::dumb();
        rt::block_on(async {
            let stay = if self.lan { Stay::Near } else { Stay::Long };
            let session = Arc::new(session::sign_on(&target, stay).await?);
            let shared = SharedState::default();
            lock(&shared).to = to;
            let (send, inputs) = channel::bounded(16);
            let (screen, keyboard) = match interactive {
                true => {
                    let (screen, keyboard) = editor::start(Arc::clone(&shared), send.clone())?;
                    (screen, Some(keyboard))
                }
                false => (if self.json { Screen::Json } else { Screen::Plain }, None),
            };
            let near = if self.lan { Near::start(&session, &screen).await } else { None };
            let lan = near.as_ref().map(|near| Arc::clone(&near.lan));
            let courier = Courier::new(&session.client, &session.address, lan);
            let talk = Talk { session, shared, screen, interactive, courier, near, failed: Arc::default() };
            talk.greet().await;
            rt::spawn(talk.clone().listen(send.clone()));
            match &keyboard {
                Some(keyboard) => keyboard.next(),
                None => read_plainly(send),
            }
            let done = talk.speak(&inputs, keyboard.as_ref()).await;
            if let Some(keyboard) = keyboard {
                keyboard.end();
            }
            if let Some(near) = &talk.near {
                near.lan.leave();
            }
            if talk.session.client.is_on() {
                talk.session.client.sign_off().await;
            }
            done
        })
    }
}

/// Reads standard input on a thread of its own.
fn read_plainly(inputs: channel::Sender<Input>) {
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if rt::block_on(inputs.send(Input::Line(line))).is_err() {
                return;
            }
        }
        let _ = rt::block_on(inputs.send(Input::End));
    });
}

/// The conversation.
#[derive(Clone)]
struct Talk {
    session: Arc<Session>,
    shared: SharedState,
    screen: Screen,
    interactive: bool,
    courier: Courier,
    /// The local network, where the user is to be found there.
    near: Option<Near>,
    /// Whether a message was refused, for the exit status of a script; which and why was told at once.
    failed: Arc<AtomicBool>,
}

impl Talk {
    async fn greet(&self) {
        if !self.interactive {
            return;
        }
        if self.session.server.is_empty() {
            let words =
                "Not signed on so far: only people on the local network are reached. /help tells what can be typed.";
            return self.screen.show(Note::Info(words.to_owned()));
        }
        let at = self.session.address.at(self.session.address.port);
        self.screen.show(Note::Info(format!(
            "Signed on as {} at {at}. /help tells what can be typed; Ctrl-D leaves.",
            self.session.user
        )));
        match self.session.client.server_map().await {
            Ok(lines) => {
                lock(&self.shared).map = ServerMap::new(&lines);
                self.who();
            }
            Err(fail) => self.screen.show(Note::Warning(format!("no map: {}", super::outcome::words(&fail)))),
        }
    }

    /// Shows what comes, until the client gives up.
    async fn listen(self, inputs: channel::Sender<Input>) {
        // Not signed on yet: people on the local network may be there.
        let mut lost = self.session.server.is_empty();
        if !lost {
            self.screen.show(Note::SignedOn { server: self.session.server.clone(), again: false });
        }
        let mut mail = Vec::new();
        loop {
            // At the sign-on there may be many: they are told in one line.
            let event = match mail.is_empty() {
                true => self.session.client.next().await,
                false => match rt::timeout(GATHER, self.session.client.next()).await {
                    Ok(event) if mail.len() < SCREENFUL => event,
                    other => {
                        self.screen.show(Note::Mail(std::mem::take(&mut mail)));
                        match other {
                            Ok(event) => event,
                            Err(_) => continue,
                        }
                    }
                },
            };
            let Some(event) = event else { return };
            match event {
                Event::OfflineMessage { id, sender, size, sent_at } => mail.push((id, sender, size, sent_at)),
                Event::WorkspaceChange { workspace, seq, author, body } => {
                    self.screen.show(Note::Change { workspace, seq, author, body });
                }
                Event::Message { sender, sent_at, body } => {
                    self.screen.show(Note::Message { sender, sent_at, body, way: Way::Server });
                }
                Event::Map(lines) => {
                    let changed = lock(&self.shared).map.apply(&lines);
                    self.screen.show(Note::Map(changed));
                }
                Event::Notice { sent_at, text } => self.screen.show(Note::Notice { sent_at, text }),
                Event::Disconnected(reason) => self.screen.show(Note::Disconnected(reason)),
                Event::Lost(why, wait) => {
                    self.screen.show(Note::Lost { why, wait, again: std::mem::replace(&mut lost, true) })
                }
                Event::SignedOn(server) => {
                    self.screen.show(Note::SignedOn { server, again: std::mem::take(&mut lost) })
                }
                Event::Moved(server) => self.screen.show(Note::Moved(server)),
                // A conversation joins no channel.
                Event::Voice(_) => {}
                Event::Failed(fail) => {
                    self.screen.show(Note::Failed(fail.clone()));
                    let _ = inputs.send(Input::Failed(fail)).await;
                    return;
                }
            }
            // A terminal that stands still (Ctrl-S) stops the reading here, and in the end the sender.
            while self.screen.waiting() > SCREENFUL {
                rt::sleep(STANDSTILL).await;
            }
        }
    }

    /// Does what is typed, until the end.
    async fn speak(&self, inputs: &channel::Receiver<Input>, keyboard: Option<&editor::Keyboard>) -> Result<(), Stop> {
        let (permit, permits) = channel::bounded::<()>(WINDOW);
        let mut over = None;
        while let Ok(input) = inputs.recv().await {
            match input {
                Input::Line(_) if over.is_some() => break,
                Input::Line(line) => {
                    if !self.take(&line, &permit, &permits).await {
                        break;
                    }
                }
                Input::Interrupt if over.is_some() => break,
                Input::Interrupt => self.screen.show(Note::Info("Ctrl-D or /quit leaves.".to_owned())),
                Input::End => break,
                Input::Failed(fail) => {
                    over = Some(Stop::refused("the session is over", &fail, "Sign on anew: convergia login"));
                    if keyboard.is_none() {
                        break;
                    }
                    // The terminal is the editor's until the line is ended.
                    self.screen.show(Note::Info("Press Enter to leave.".to_owned()));
                    continue;
                }
            }
            if let Some(keyboard) = keyboard {
                keyboard.next();
            }
        }
        // Every message under way holds a permit: when all of them are to be had, all is answered.
        let answered = async {
            for _ in 0..WINDOW {
                if permit.send(()).await.is_err() {
                    break;
                }
            }
        };
        if over.is_none() {
            let _ = rt::timeout(LAST_ANSWERS, answered).await;
        }
        match over {
            Some(over) => Err(over),
            None if self.failed.load(Ordering::SeqCst) && !self.interactive => {
                Err(Stop::Refused("not all was sent".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// False: leave.
    async fn take(&self, line: &str, permit: &channel::Sender<()>, permits: &channel::Receiver<()>) -> bool {
        let parsed = {
            let shared = lock(&self.shared);
            let known = |user: &str| self.interactive && shared.map.has_user(user);
            input::parse(line, shared.to.as_deref(), known)
        };
        match parsed {
            Line::Nothing => {}
            Line::Quit => return false,
            Line::Help => self.screen.show(Note::Block(input::HELP.to_owned())),
            Line::Wrong(words) => self.screen.show(Note::Warning(words)),
            Line::To(to) => match to.as_deref().map(session::recipient).transpose() {
                Ok(to) => lock(&self.shared).to = to,
                Err(stop) => self.screen.show(Note::Warning(stop.words().to_owned())),
            },
            Line::Lan => match &self.near {
                Some(near) => near.show(&self.screen),
                None => self.screen.show(Note::Info("Not on the local network: `convergia chat --lan` is.".to_owned())),
            },
            Line::Who => self.ask_map(Talk::who).await,
            Line::Map => self.ask_map(Talk::tree).await,
            Line::Status(status) => {
                let (reply, screen) =
                    (self.session.client.post("SETSTATUS", &[status.as_bytes()]), self.screen.clone());
                rt::spawn(async move {
                    match reply.answer().await {
                        Ok(_) if status.is_empty() => screen.show(Note::Info("Your status is cleared.".to_owned())),
                        Ok(_) => screen.show(Note::Info(format!("Your status: {status}"))),
                        Err(fail) => screen.show(Note::Warning(super::outcome::words(&fail))),
                    }
                });
            }
            Line::Message { to, body } => match session::recipient(&to) {
                Ok(to) => {
                    // Bounds what a script may have under way.
                    let _ = permit.send(()).await;
                    self.send(to, body, permits.clone()).await;
                }
                Err(stop) => self.screen.show(Note::Warning(stop.words().to_owned())),
            },
        }
        true
    }

    async fn send(&self, to: String, body: String, permits: channel::Receiver<()>) {
        let posted = self.courier.post(&to, body.as_bytes()).await;
        let talk = self.clone();
        rt::spawn(async move {
            let way = posted.way();
            let mut answer = Box::pin(posted.answer());
            let result = match rt::timeout(PATIENCE, &mut answer).await {
                Ok(result) => result,
                Err(_) => {
                    talk.screen.show(Note::Waiting { to: &to, body: &body });
                    answer.await
                }
            };
            if result.is_err() {
                talk.failed.store(true, Ordering::SeqCst);
            }
            talk.screen.show(Note::Sent { to: &to, body: &body, way, result: &result });
            let _ = permits.recv().await;
        });
    }

    /// At a terminal the map is kept up to date; a script that asks for it gets it fresh.
    async fn ask_map(&self, show: fn(&Talk)) {
        if self.interactive {
            return show(self);
        }
        match self.session.client.server_map().await {
            Ok(lines) => {
                lock(&self.shared).map = ServerMap::new(&lines);
                show(self);
            }
            Err(fail) => self.screen.show(Note::Warning(super::outcome::words(&fail))),
        }
    }

    fn who(&self) {
        let me = name::fold(&self.session.user).into_owned();
        let users = {
            let shared = lock(&self.shared);
            let others = shared.map.users().into_iter().filter(|user| user.is_online() && name::fold(&user.name) != me);
            others.cloned().collect::<Vec<_>>()
        };
        self.screen.show(Note::Who(users));
    }

    fn tree(&self) {
        let map = lock(&self.shared).map.clone();
        self.screen.show(Note::Tree(&map));
    }
}
