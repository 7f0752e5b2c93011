//! Redirect: what a client sees while it is moved to another server, and what is left of 50 clients' talk when their server is shut down.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::crowd;
use crate::crowd::Counts;
use crate::crowd::Crowd;
use crate::crowd::Happened;
use crate::crowd::Plan;
use crate::measure::Spread;
use crate::support::Cluster;
use crate::table::goal;
use crate::table::Table;
use crate::Options;
use crate::Result;

/// Messages a second to the client that is moved.
const RATE: u32 = 1000;
/// Between two changes: servers find each other, and the usual gap is seen.
const SETTLE: Duration = Duration::from_millis(400);
/// The crowd of the planned shutdown, and messages a second of each.
const CROWD: usize = 50;
const CROWD_RATE: u32 = 20;
/// Management balances 5 s after a server has come, so the crowd comes later.
const BALANCED: Duration = Duration::from_secs(6);

/// What the project's brief says of others in the same scenario: name, lost, reordered, disconnects, silence.
const OTHERS: [(&str, &str, &str, &str, &str); 4] = [
    ("NATS, lame duck", "11", "?", "50", "?"),
    ("NATS, SIGTERM", "180", "?", "?", "?"),
    ("InspIRCd", "870", "?", "?", "1 s"),
    ("ejabberd cluster", "21", "28", "?", "?"),
];

/// Prints two tables.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nRedirect: the bare relay has none.");
        return Ok(());
    }
    pauses(options)?;
    shutdown(options)
}

fn pauses(options: &Options) -> Result<()> {
    let moves = if options.quick { 10 } else { 100 };
    let mut cluster = Cluster::of(&["a", "b", "s"]);
    let mut clients = crowd::sign_on(&cluster, &["sender"], "s")?;
    clients.extend(crowd::sign_on(&cluster, &["receiver"], "a")?);
    let plans = [
        Plan { user: "sender".to_owned(), sends: Some(("receiver".to_owned(), RATE)) },
        Plan { user: "receiver".to_owned(), sends: None },
    ];
    thread::sleep(SETTLE);
    let crowd = Crowd::start(clients.into_iter().zip(plans).collect());
    thread::sleep(2 * SETTLE);
    let (mut at, mut windows) = ("a".to_owned(), Vec::new());
    while windows.len() < moves {
        let begin = Instant::now();
        // A planned shutdown is what moves clients.
        cluster.term(&at);
        let (user, to) = crowd.moved()?;
        thread::sleep(SETTLE);
        if user == "receiver" {
            windows.push((begin, Instant::now()));
        }
        let left = std::mem::replace(&mut at, to);
        cluster.start(&left);
        cluster.wait_up(&["a", "b", "s"]);
        thread::sleep(SETTLE);
    }
    let seen = crowd.end()?;
    let counts = crowd::count(&seen);
    let receiver = seen.iter().find(|seen| seen.user == "receiver").ok_or("no receiver")?;
    let usual = receiver.usual_gap();
    let mut gaps: Vec<f64> = windows
        .iter()
        .map(|(from, to)| receiver.longest_gap(*from, *to).saturating_sub(usual).as_secs_f64() * 1e3)
        .collect();
    gaps.sort_by(f64::total_cmp);
    let share = |share: f64| gaps.get(((gaps.len() as f64 * share).ceil() as usize).max(1) - 1).copied().unwrap_or(0.0);
    let title = format!("Redirect: a client that receives {RATE} messages/s is moved {moves} times");
    let mut table = Table::new(title, &["", "ms", "goal"]);
    table.row([
        "usual time between two messages".to_owned(),
        format!("{:.1}", usual.as_secs_f64() * 1e3),
        "".to_owned(),
    ]);
    table.row([
        "longest in a move, above it: median".to_owned(),
        format!("{:.1}", share(0.5)),
        goal(share(0.5), 20.0, " ms"),
    ]);
    table.row(["p99".to_owned(), format!("{:.1}", share(0.99)), goal(share(0.99), 100.0, " ms")]);
    table.row(["max".to_owned(), format!("{:.1}", share(1.0)), String::new()]);
    table.print();
    let mut table = Table::new("  of the messages meanwhile", &HEADING);
    table.row(row("Convergia", &counts, None));
    table.print();
    tell(&seen);
    Ok(())
}

const HEADING: [&str; 9] =
    ["", "sent", "lost", "doubled", "reordered", "refused with a FAIL", "disconnects", "moves", "longest silence, ms"];

fn row(name: &str, counts: &Counts, silence: Option<Spread>) -> [String; 9] {
    let Counts { sent, lost, refused, doubled, reordered, disconnects, moves } = *counts;
    let silence = silence.map(|silence| silence.show(0)).unwrap_or_default();
    let [sent, lost, doubled, reordered, refused, disconnects, moves] =
        [sent, lost, doubled, reordered, refused, disconnects, moves].map(|number| number.to_string());
    [name.to_owned(), sent, lost, doubled, reordered, refused, disconnects, moves, silence]
}

fn shutdown(options: &Options) -> Result<()> {
    let rounds = if options.quick { 1 } else { 5 };
    let mut sum = Counts::default();
    let (mut silences, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut cluster = Cluster::of(&["a", "b", "c"]);
        thread::sleep(BALANCED);
        let users: Vec<String> = (0..CROWD).map(|number| format!("user{number}")).collect();
        let clients = crowd::sign_on(&cluster, &users.iter().map(String::as_str).collect::<Vec<_>>(), "a")?;
        let next = |number: usize| users[(number + 1) % CROWD].clone();
        let plan =
            |(number, user): (usize, &String)| Plan { user: user.clone(), sends: Some((next(number), CROWD_RATE)) };
        let plans: Vec<Plan> = users.iter().enumerate().map(plan).collect();
        let crowd = Crowd::start(clients.into_iter().zip(plans).collect());
        thread::sleep(Duration::from_secs(2));
        let begin = Instant::now();
        cluster.term("a");
        stops.push(begin.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_secs(2));
        let end = Instant::now();
        let seen = crowd.end()?;
        let longest = seen.iter().map(|one| one.longest_gap(begin, end)).max().unwrap_or_default();
        silences.push(longest.as_secs_f64() * 1e3);
        let counts = crowd::count(&seen);
        tell(&seen);
        sum.sent += counts.sent;
        sum.lost += counts.lost;
        sum.refused += counts.refused;
        sum.doubled += counts.doubled;
        sum.reordered += counts.reordered;
        sum.disconnects += counts.disconnects;
        sum.moves += counts.moves;
    }
    let title = format!(
        "Planned shutdown: {CROWD} clients with {CROWD_RATE} messages/s each, their server gets SIGTERM; {rounds} rounds together"
    );
    let mut table = Table::new(title, &HEADING);
    table.row(row("Convergia", &sum, Some(Spread::of(silences))));
    for (name, lost, reordered, disconnects, silence) in OTHERS {
        let cells = [&format!("{name} *"), "", lost, "?", reordered, "", disconnects, "", silence];
        table.row(cells.map(str::to_owned));
    }
    table.print();
    println!("  * one round, as the project's brief gives it; not measured here");
    println!("  The longest silence is any client's longest time without a message; 50 ms is the usual one.");
    println!("  The server ended after {} ms.", Spread::of(stops).show(0));
    Ok(())
}

/// What must not be: a connection that broke.
fn tell(seen: &[crowd::Seen]) {
    for one in seen {
        for (_, happened) in &one.happened {
            if let Happened::Broke(why) = happened {
                println!("  {}: {why}", one.user);
            }
        }
    }
}
