//! Relay: CPU per delivered message and messages per second, next to the bare relay, in turns.

use std::time::Duration;

use crate::measure::Spread;
use crate::pairs::Pairs;
use crate::pairs::Round;
use crate::pattern::Shape;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

/// Prints a table for each size and kind of record.
pub fn run(options: &Options) -> Result<()> {
    let config = tls::client()?;
    let (mut bare, mut subject) = (Pairs::bare(&config)?, Pairs::subject(&config, options)?);
    for body in [64, 1024] {
        for packed in [true, false] {
            compare(options, &mut bare, &mut subject, Shape { body, packed, answered: false })?;
        }
    }
    bare.stop()?;
    subject.stop()
}

fn compare(options: &Options, bare: &mut Pairs, subject: &mut Pairs, shape: Shape) -> Result<()> {
    let (rounds, time) = if options.quick { (3, 400) } else { (9, 1000) };
    let time = Duration::from_millis(time);
    let with_answers = Shape { answered: true, ..shape };
    // Not counted: caches, allocators and socket buffers find their size.
    for pairs in [&mut *bare, &mut *subject] {
        pairs.load.flood(with_answers, time / 4)?;
    }
    let (mut reference, mut unanswered, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        reference.push(bare.round(|load| load.flood(shape, time))?);
        unanswered.push(subject.round(|load| load.flood(shape, time))?);
        if subject.answers() {
            answered.push(subject.round(|load| load.flood(with_answers, time))?);
        }
    }
    let records = if shape.packed { "many messages per TLS record" } else { "one message per TLS record" };
    let title = format!("Relay: 8 pairs, {} B, {records}, {rounds} rounds (min median max)", shape.body);
    let heading = ["", "server CPU per message, µs", "1000 messages/s", "CPU over bare", "goal", "refused"];
    let mut table = Table::new(title, &heading);
    table.row(row("bare rustls relay", &reference, None));
    table.row(row(&format!("{}, unanswered", options.subject()), &unanswered, Some((&reference, 2.0))));
    if !answered.is_empty() {
        table.row(row(&format!("{}, answered", options.subject()), &answered, Some((&reference, 4.0))));
    }
    table.print();
    Ok(())
}

fn row(name: &str, rounds: &[Round], reference: Option<(&[Round], f64)>) -> [String; 6] {
    let cpu = Spread::of(rounds.iter().map(|round| round.micros));
    let rate = Spread::of(rounds.iter().map(|round| round.rate / 1000.0));
    let refused: u64 = rounds.iter().map(|round| round.outcome.refused).sum();
    let (ratio, verdict) = match reference {
        None => Default::default(),
        Some((reference, at_most)) => {
            let pairs = rounds.iter().zip(reference);
            let ratio = Spread::of(pairs.map(|(round, bare)| round.micros / bare.micros));
            (ratio.show(2), goal(ratio.median, at_most, ""))
        }
    };
    [name.to_owned(), cpu.show(3), rate.show(0), ratio, verdict, refused.to_string()]
}
