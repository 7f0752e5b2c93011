//! Hops: what a message costs all main servers together when it passes from one to the next, next to a single server, in turns.

use std::time::Duration;

use crate::measure::Spread;
use crate::pairs::Pairs;
use crate::pairs::Round;
use crate::pattern::Shape;
use crate::support::sites;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

/// Names of the main servers, and the goal: times the CPU of a single server.
const ROWS: [(&[&str], f64); 2] = [(&["a", "b"], 2.2), (&["a", "b", "c", "d"], 4.5)];

/// Prints a table for each size and kind of record, with and without answers.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nHops: the bare relay has none.");
        return Ok(());
    }
    let mut single = Pairs::subject(&tls::client()?, options)?;
    let mut meshes = Vec::new();
    for (mains, at_most) in ROWS {
        if mains.len() > 2 && !sites::available() {
            println!("hops: without network namespaces every server reaches every other, so there is one hop only");
            continue;
        }
        meshes.push((Pairs::mesh(mains)?, mains.len() - 1, at_most));
    }
    for body in [64, 1024] {
        for packed in [true, false] {
            for answered in [false, true] {
                compare(options, &mut single, &mut meshes, Shape { body, packed, answered })?;
            }
        }
    }
    meshes.into_iter().try_for_each(|(pairs, ..)| pairs.stop())?;
    single.stop()
}

fn compare(options: &Options, single: &mut Pairs, meshes: &mut [(Pairs, usize, f64)], shape: Shape) -> Result<()> {
    let (rounds, time) = if options.quick { (3, 400) } else { (9, 1000) };
    let time = Duration::from_millis(time);
    // Not counted: caches, allocators and socket buffers find their size.
    single.load.flood(shape, time / 4)?;
    for (mesh, ..) in meshes.iter_mut() {
        mesh.load.flood(shape, time / 4)?;
    }
    let mut reference = Vec::new();
    let mut measured: Vec<Vec<Round>> = meshes.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        reference.push(single.round(|load| load.flood(shape, time))?);
        for ((mesh, ..), rounds) in meshes.iter_mut().zip(&mut measured) {
            rounds.push(mesh.round(|load| load.flood(shape, time))?);
        }
    }
    let records = if shape.packed { "many messages per TLS record" } else { "one message per TLS record" };
    let answers = if shape.answered { "answered" } else { "unanswered" };
    let title = format!("Hops: 8 pairs, {} B, {records}, {answers}, {rounds} rounds (min median max)", shape.body);
    let heading =
        ["", "CPU of all per message, µs", "of each, medians", "1000 messages/s", "over single", "goal", "refused"];
    let mut table = Table::new(title, &heading);
    table.row(row("a single server", &reference, None));
    for ((_, hops, at_most), rounds) in meshes.iter().zip(&measured) {
        let name = if *hops == 1 { "one hop".to_owned() } else { format!("{hops} hops") };
        table.row(row(&name, rounds, Some((&reference, *at_most))));
    }
    table.print();
    Ok(())
}

fn row(name: &str, rounds: &[Round], reference: Option<(&[Round], f64)>) -> [String; 7] {
    let cpu = Spread::of(rounds.iter().map(|round| round.micros));
    let rate = Spread::of(rounds.iter().map(|round| round.rate / 1000.0));
    let refused: u64 = rounds.iter().map(|round| round.outcome.refused).sum();
    let servers = rounds.first().map_or(0, |round| round.each.len());
    let of = |n: usize| Spread::of(rounds.iter().filter_map(|round| round.each.get(n).copied())).median;
    let each: Vec<String> = (0..servers).map(|n| format!("{:.3}", of(n))).collect();
    let (ratio, verdict) = match reference {
        None => Default::default(),
        Some((reference, at_most)) => {
            let pairs = rounds.iter().zip(reference);
            let ratio = Spread::of(pairs.map(|(round, single)| round.micros / single.micros));
            (ratio.show(2), goal(ratio.median, at_most, ""))
        }
    };
    [name.to_owned(), cpu.show(3), each.join(" "), rate.show(0), ratio, verdict, refused.to_string()]
}
