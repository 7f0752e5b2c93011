//! Federation: what a message to a user of another realm costs both realms together, next to one to a user of the same realm, in turns.

use std::time::Duration;

use crate::measure::Spread;
use crate::pairs::Pairs;
use crate::pairs::Round;
use crate::pattern::Shape;
use crate::table::goal;
use crate::table::Table;
use crate::Options;
use crate::Result;

/// Times the CPU of a message within a realm.
const GOAL: f64 = 2.5;

/// Prints a table for each size and kind of record, with and without answers.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nFederation: the bare relay has none.");
        return Ok(());
    }
    let (mut one, mut two) = (Pairs::realms(1)?, Pairs::realms(2)?);
    for body in [64, 1024] {
        for packed in [true, false] {
            for answered in [false, true] {
                compare(options, &mut one, &mut two, Shape { body, packed, answered })?;
            }
        }
    }
    one.stop()?;
    two.stop()
}

fn compare(options: &Options, one: &mut Pairs, two: &mut Pairs, shape: Shape) -> Result<()> {
    let (rounds, time) = if options.quick { (3, 400) } else { (9, 1000) };
    let time = Duration::from_millis(time);
    // Not counted: caches, allocators and socket buffers find their size.
    for pairs in [&mut *one, &mut *two] {
        pairs.load.flood(shape, time / 4)?;
    }
    let (mut within, mut between) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        within.push(one.round(|load| load.flood(shape, time))?);
        between.push(two.round(|load| load.flood(shape, time))?);
    }
    let records = if shape.packed { "many messages per TLS record" } else { "one message per TLS record" };
    let answers = if shape.answered { "answered" } else { "unanswered" };
    let title =
        format!("Federation: 8 pairs, {} B, {records}, {answers}, {rounds} rounds (min median max)", shape.body);
    let heading = ["", "CPU per message, µs", "1000 messages/s", "CPU over one realm", "goal", "refused"];
    let mut table = Table::new(title, &heading);
    table.row(row("within one realm", &within, None));
    table.row(row("to another realm, both together", &between, Some(&within)));
    table.print();
    Ok(())
}

fn row(name: &str, rounds: &[Round], within: Option<&[Round]>) -> [String; 6] {
    let cpu = Spread::of(rounds.iter().map(|round| round.micros));
    let rate = Spread::of(rounds.iter().map(|round| round.rate / 1000.0));
    let refused: u64 = rounds.iter().map(|round| round.outcome.refused).sum();
    let (ratio, verdict) = match within {
        None => Default::default(),
        Some(within) => {
            let ratio = Spread::of(rounds.iter().zip(within).map(|(round, one)| round.micros / one.micros));
            (ratio.show(2), goal(ratio.median, GOAL, ""))
        }
    };
    [name.to_owned(), cpu.show(3), rate.show(0), ratio, verdict, refused.to_string()]
}
