//! Voice: what a forwarded packet costs, next to a bare fan-out, in turns; how long it takes, what is lost, and what a member costs in memory.

mod bare;
mod kv;
mod load;

use std::io::BufRead;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rustix::net::sockopt;

use crate::measure::resident;
use crate::measure::Cpu;
use crate::measure::Spread;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::table::goal;
use crate::table::Table;
use crate::Options;
use crate::Result;
use load::Heard;
use load::Load;
use load::Ways;

pub use bare::serve;

/// The hidden arguments that make this executable a bare fan-out.
pub const SERVE_SENDTO: &str = "--serve-sendto";
pub const SERVE_SENDMMSG: &str = "--serve-sendmmsg";

/// Times the CPU of the better bare fan-out: unsigned, signed. Times its median delay. KiB a member.
const GOALS: (f64, f64, f64, f64) = (1.15, 1.25, 1.1, 2.0);
/// Members, how many of them speak, and how often each does in a second.
const SHAPES: [(usize, usize, u32); 3] = [(100, 10, 50), (18, 18, 150), (1_000, 1, 50)];
/// Socket buffers; a burst of a thousand packets shall find room.
const BUFFER: usize = 4 << 20;

/// Gives a socket large buffers, as far as the system allows.
fn widen(socket: &UdpSocket) -> Result<()> {
    for set in [sockopt::set_socket_recv_buffer_size, sockopt::set_socket_send_buffer_size] {
        set(socket, BUFFER)?;
    }
    Ok(())
}

/// A server, and the members of one of its channels.
struct Subject {
    name: &'static str,
    pid: u32,
    load: Load,
    rounds: Vec<Round>,
}

struct Round {
    /// µs of CPU for each packet that was heard.
    micros: f64,
    heard: Heard,
}

impl Subject {
    fn round(&mut self, speakers: usize, rate: u32, time: Duration) -> Result<()> {
        let before = Cpu::of(self.pid)?;
        let heard = self.load.talk(speakers, rate, time)?;
        let used = Cpu::of(self.pid)?.since(&before);
        let micros = used.as_secs_f64() * 1e6 / heard.heard.max(1) as f64;
        self.rounds.push(Round { micros, heard });
        Ok(())
    }
}

/// A bare fan-out as a process; ended when it is dropped.
struct Bare(Child);

impl Bare {
    fn start(argument: &str, members: usize) -> Result<(Bare, Load)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("no pipe")?;
        let bare = Bare(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, line.trim().parse()?));
        let mut load = Load::new()?;
        (1..=members as u64).try_for_each(|uid| load.add(server, uid, Ways::Bare))?;
        Ok((bare, load))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints a table for each shape, and one of memory.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nVoice: has bare programs of its own.");
        return Ok(());
    }
    let scratch = Scratch::new("voice")?;
    let rights = "voice.default_rights=[\"add_channel\",\"add_user\"]";
    let server = Convergia::start_with(&scratch, &["--set", rights])?;
    let before = resident(server.pid())?;
    for shape in SHAPES {
        compare(options, &server, shape)?;
    }
    memory(options, &server, before)?;
    server.stop()
}

fn compare(options: &Options, server: &Convergia, (members, speakers, rate): (usize, usize, u32)) -> Result<()> {
    let (rounds, time) = if options.quick { (3, 500) } else { (9, 2_000) };
    let time = Duration::from_millis(time);
    let (sendto, load) = Bare::start(SERVE_SENDTO, members)?;
    let one = Subject { name: "bare, sendto", pid: sendto.0.id(), load, rounds: Vec::new() };
    let (sendmmsg, load) = Bare::start(SERVE_SENDMMSG, members)?;
    let other = Subject { name: "bare, sendmmsg", pid: sendmmsg.0.id(), load, rounds: Vec::new() };
    let mut subjects = vec![one, other];
    for (name, signed) in [("Convergia, unsigned", false), ("Convergia, signed", true)] {
        let load = kv::channel(server, members, signed)?;
        subjects.push(Subject { name, pid: server.pid(), load, rounds: Vec::new() });
    }
    // Not counted: buffers and caches.
    for subject in &mut subjects {
        subject.round(speakers, rate, time / 4)?;
        subject.rounds.clear();
    }
    for _ in 0..rounds {
        for subject in &mut subjects {
            subject.round(speakers, rate, time)?;
        }
    }
    let title =
        format!("Voice: {speakers} of {members} members speak {rate} times a second, {rounds} rounds (min median max)");
    let heading =
        ["", "CPU per forwarded packet, µs", "CPU over bare", "goal", "p50, µs", "over bare", "p99, µs", "lost"];
    let mut table = Table::new(title, &heading);
    let spread = |subject: &Subject, of: fn(&Round) -> f64| Spread::of(subject.rounds.iter().map(of));
    let cost = |subject: &Subject| spread(subject, |round| round.micros);
    let p50 = |subject: &Subject| spread(subject, |round| round.heard.percentile(0.5));
    let better = if cost(&subjects[0]).median <= cost(&subjects[1]).median { 0 } else { 1 };
    let (bare_cost, bare_p50) = (cost(&subjects[better]).median, p50(&subjects[better]).median);
    for (number, subject) in subjects.iter().enumerate() {
        let lost: u64 = subject.rounds.iter().map(|round| round.heard.due.saturating_sub(round.heard.heard)).sum();
        let due: u64 = subject.rounds.iter().map(|round| round.heard.due).sum();
        let ratio = cost(subject).median / bare_cost;
        let slower = p50(subject).median / bare_p50;
        let (ratio_text, verdict) = match number {
            2 => (format!("{ratio:.2}"), goal(ratio, GOALS.0, "")),
            3 => (format!("{ratio:.2}"), goal(ratio, GOALS.1, "")),
            _ => Default::default(),
        };
        let slower = if number < 2 { String::new() } else { format!("{slower:.2} {}", goal(slower, GOALS.2, "")) };
        table.row([
            subject.name.to_owned(),
            cost(subject).show(2),
            ratio_text,
            verdict,
            p50(subject).show(0),
            slower,
            spread(subject, |round| round.heard.percentile(0.99)).show(0),
            format!("{lost} of {due}"),
        ]);
    }
    table.print();
    Ok(())
}

fn memory(options: &Options, server: &Convergia, before: u64) -> Result<()> {
    let members = if options.quick { 200 } else { 1_000 };
    let mut table =
        Table::new(format!("Voice: memory, {members} members of one channel"), &["", "KiB a member", "goal"]);
    for (name, signed) in [("unsigned", false), ("signed", true)] {
        let before = resident(server.pid())?.max(before);
        let _load = kv::channel(server, members, signed)?;
        let each = resident(server.pid())?.saturating_sub(before) as f64 / 1024.0 / members as f64;
        table.row([name.to_owned(), format!("{each:.2}"), goal(each, GOALS.3, " KiB")]);
    }
    table.print();
    Ok(())
}
