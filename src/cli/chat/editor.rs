//! The line editor at a terminal: its thread, completion, and printing above the prompt.
//!
//! A line that was typed is wiped when it is accepted, and comes back above the prompt with its time and its mark. That the
//! wiping hits nothing else, what others say must not be printed between the key and the wiping: the `Gate` is shut by
//! the Enter key, and opened when the next prompt stands.

use std::borrow::Cow;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use rustyline::completion::Completer;
use rustyline::completion::Pair;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::Cmd;
use rustyline::CompletionType;
use rustyline::ConditionalEventHandler;
use rustyline::Config;
use rustyline::Context;
use rustyline::Editor;
use rustyline::Event;
use rustyline::EventContext;
use rustyline::EventHandler;
use rustyline::ExternalPrinter;
use rustyline::GraphemeClusterMode;
use rustyline::Helper;
use rustyline::KeyCode;
use rustyline::KeyEvent;
use rustyline::Modifiers;
use rustyline::RepeatCount;

use super::history;
use super::history::History;
use super::input;
use super::lock;
use super::screen::Screen;
use super::Input;
use super::SharedState;
use crate::cli::outcome::Stop;
use crate::cli::text;
use crate::cli::text::Clock;
use crate::cli::text::Paint;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::name;

type LineEditor = Editor<Helpers, MemHistory>;

/// Shut between an accepted line and the next prompt.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
    /// Whether the next sign of a prompt opens it.
    armed: AtomicBool,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = shut;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(shut, |shut| *shut));
    }
}

/// The threads of the terminal, from the conversation's side.
pub struct Keyboard {
    go: mpsc::Sender<()>,
    editing: thread::JoinHandle<()>,
    printing: thread::JoinHandle<()>,
    /// To the printing thread: an empty text ends it.
    finish: channel::Sender<String>,
}

impl Keyboard {
    /// Lets the next line be typed.
    pub fn next(&self) {
        let _ = self.go.send(());
    }

    /// Ends the editor; what was to be printed is.
    pub fn end(self) {
        drop(self.go);
        let _ = self.editing.join();
        let _ = self.finish.try_send(String::new());
        let _ = self.printing.join();
    }
}

/// Starts the editor. It waits for `Keyboard::next` before every line.
///
/// # Errors
/// When the terminal cannot be used.
pub fn start(shared: SharedState, inputs: channel::Sender<Input>) -> Result<(Screen, Keyboard), Stop> {
    let cannot = |error: ReadlineError| Stop::Refused(format!("the terminal cannot be used: {error}"));
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .history_ignore_space(true)
        .max_history_size(history::KEPT)
        .map_err(cannot)?
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = LineEditor::with_history(config, history).map_err(cannot)?;
    let gate = Arc::new(Gate::default());
    editor.set_helper(Some(Helpers { shared: Arc::clone(&shared), gate: Arc::clone(&gate) }));
    for key in [KeyEvent(KeyCode::Enter, Modifiers::NONE), KeyEvent::ctrl('j'), KeyEvent::ctrl('m')] {
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(OnEnter(Arc::clone(&gate)))));
    }
    let mut printer = editor.create_external_printer().map_err(cannot)?;
    let (lines, to_print) = channel::unbounded::<String>();
    let before = Arc::clone(&gate);
    let printing = thread::spawn(move || {
        while let Ok(text) = rt::block_on(to_print.recv()) {
            if text.is_empty() {
                return;
            }
            before.wait();
            if printer.print(text.clone()).is_err() {
                print_raw(&text);
            }
        }
    });
    let (go, turns) = mpsc::channel();
    let editing = thread::spawn(move || edit(editor, &shared, &gate, &turns, &inputs));
    let screen = Screen::Terminal { lines: lines.clone(), paint: Paint(text::colour()), clock: Clock::local() };
    Ok((screen, Keyboard { go, editing, printing, finish: lines }))
}

fn print_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn edit(
    mut editor: LineEditor,
    shared: &SharedState,
    gate: &Gate,
    turns: &mpsc::Receiver<()>,
    inputs: &channel::Sender<Input>,
) {
    let (file, lines) = History::open();
    for line in lines {
        let _ = editor.add_history_entry(line);
    }
    while turns.recv().is_ok() {
        let prompt = prompt(lock(shared).to.as_deref());
        gate.armed.store(true, Ordering::SeqCst);
        let input = match editor.readline(&prompt) {
            Ok(line) => {
                let is_command = line.trim_start().starts_with('/') && !line.trim_start().starts_with("//");
                if !is_command {
                    wipe(&mut editor, &prompt.0, &line);
                }
                if !line.trim().is_empty() && matches!(editor.add_history_entry(line.as_str()), Ok(true)) {
                    file.add(&line);
                }
                Input::Line(line)
            }
            Err(ReadlineError::Interrupted) => Input::Interrupt,
            Err(_) => Input::End,
        };
        if rt::block_on(inputs.send(input)).is_err() {
            break;
        }
    }
    drop(editor);
    gate.set(false);
}

/// The prompt, plain and styled.
fn prompt(to: Option<&str>) -> (String, String) {
    let to = to.map(text::clean).unwrap_or_default();
    let plain = format!("{to}> ");
    let styled = format!("{}> ", Paint(text::colour()).name(&to));
    (plain.clone(), if to.is_empty() { plain } else { styled })
}

/// Takes the typed line off the screen.
fn wipe(editor: &mut LineEditor, prompt: &str, line: &str) {
    let columns = editor.dimensions().map_or(0, |(columns, _)| usize::from(columns));
    if let Some(rows) = rows(prompt, line, columns) {
        print_raw(&format!("\x1b[{rows}A\r\x1b[J"));
    }
}

/// The rows that prompt and line take, as the editor lays them out. None: not known for certain.
fn rows(prompt: &str, line: &str, columns: usize) -> Option<usize> {
    if columns < 8 || line.len() > 8_192 || line.contains(|c: char| c.is_control() && c != '\n') {
        return None;
    }
    let mode = GraphemeClusterMode::from_env();
    let (mut row, mut column) = (0, usize::from(mode.width(prompt)));
    for c in line.chars() {
        if c == '\n' {
            (row, column) = (row + 1, 0);
            continue;
        }
        let width = usize::from(mode.width(c.encode_utf8(&mut [0; 4])));
        column += width;
        if column > columns {
            (row, column) = (row + 1, width);
        }
    }
    if column == columns {
        row += 1;
    }
    Some(row + 1)
}

struct OnEnter(Arc<Gate>);

impl ConditionalEventHandler for OnEnter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        self.0.set(true);
        Some(Cmd::AcceptLine)
    }
}

struct Helpers {
    shared: SharedState,
    gate: Arc<Gate>,
}

impl Helper for Helpers {}
impl Validator for Helpers {}

impl Highlighter for Helpers {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(Paint(true).dim(hint).into_owned())
    }
}

impl Hinter for Helpers {
    type Hint = String;

    /// The editor asks for a hint whenever it draws the line, the first time too: by then the prompt is its own.
    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<String> {
        if self.gate.armed.swap(false, Ordering::SeqCst) {
            self.gate.set(false);
        }
        (line == "/" && pos == 1).then(|| "help".to_owned())
    }
}

impl Completer for Helpers {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let names: Vec<String> = {
            let shared = lock(&self.shared);
            // A name that would have to be shown as another is not offered.
            let names = shared.map.users().into_iter().map(|user| user.name.clone());
            names.filter(|name| text::clean(name) == *name).collect()
        };
        Ok(complete(line.get(..pos).unwrap_or(line), &names))
    }
}

/// Offers at most this many.
const OFFERED: usize = 100;

/// What may stand in place of the end of `typed`, and where that begins.
fn complete(typed: &str, names: &[String]) -> (usize, Vec<Pair>) {
    let start =
        typed.rfind(char::is_whitespace).map_or(0, |at| at + typed[at..].chars().next().map_or(1, char::len_utf8));
    let word = &typed[start..];
    if start == 0 && word.starts_with('/') {
        let commands = input::COMMANDS.iter().filter(|command| command.starts_with(word));
        let pair = |command: &&str| Pair { display: (*command).to_owned(), replacement: format!("{command} ") };
        return (0, commands.map(pair).collect());
    }
    let first = typed[..start].trim().is_empty();
    let after_to = typed[..start].trim() == "/to";
    let (at, begun) = match word.strip_prefix('@') {
        Some(begun) => ("@", begun),
        None => ("", word),
    };
    // In the middle of a text, completion that nobody began would be noise.
    if !first && !after_to && begun.is_empty() {
        return (start, Vec::new());
    }
    let behind = match (first, at) {
        (true, "") => ": ",
        _ => " ",
    };
    let begun = name::fold(begun).into_owned();
    let fitting = names.iter().filter(|name| name::fold(name).starts_with(&begun)).take(OFFERED);
    (start, fitting.map(|name| Pair { display: name.clone(), replacement: format!("{at}{name}{behind}") }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(typed: &str) -> (usize, Vec<String>) {
        let names = ["alice", "Albert", "bob"].map(str::to_owned);
        let (start, pairs) = complete(typed, &names);
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    #[test]
    fn completion() {
        assert_eq!(offered("al"), (0, vec!["alice: ".to_owned(), "Albert: ".to_owned()]));
        assert_eq!(offered("@B"), (0, vec!["@bob ".to_owned()]));
        assert_eq!(offered("/to b"), (4, vec!["bob ".to_owned()]));
        assert_eq!(offered("/to ").1.len(), 3);
        assert_eq!(offered("/s"), (0, vec!["/status ".to_owned()]));
        assert_eq!(offered("ask bo"), (4, vec!["bob ".to_owned()]));
        assert_eq!(offered("ask "), (4, vec![]));
        assert_eq!(offered("名\u{3000}bo"), (6, vec!["bob ".to_owned()]));
    }

    #[test]
    fn rows_of_a_line() {
        assert_eq!(rows("> ", "", 80), Some(1));
        assert_eq!(rows("> ", &"x".repeat(77), 80), Some(1));
        assert_eq!(rows("> ", &"x".repeat(78), 80), Some(2));
        assert_eq!(rows("> ", &"x".repeat(79), 80), Some(2));
        assert_eq!(rows("> ", &"名".repeat(39), 80), Some(2));
        assert_eq!(rows("> ", "a\nb", 80), Some(2));
        assert_eq!(rows("> ", "a\tb", 80), None);
        assert_eq!(rows("> ", "a", 0), None);
    }
}
