//! Latency and CPU at a steady, modest rate, where batching cannot help.

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

/// Messages per second, all pairs together.
const RATE: u32 = 2000;

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    let config = tls::client()?;
    let (mut bare, mut subject) = (Pairs::bare(&config)?, Pairs::subject(&config, options)?);
    let (rounds, time) = if options.quick { (3, 1) } else { (15, 2) };
    let time = Duration::from_secs(time);
    let shape = Shape { body: 64, packed: false, answered: false };
    let with_answers = Shape { answered: true, ..shape };
    for pairs in [&mut bare, &mut subject] {
        pairs.load.pace(with_answers, RATE, time / 4)?;
    }
    let (mut reference, mut unanswered, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        reference.push(bare.round(|load| load.pace(shape, RATE, time))?);
        unanswered.push(subject.round(|load| load.pace(shape, RATE, time))?);
        if subject.answers() {
            answered.push(subject.round(|load| load.pace(with_answers, RATE, time))?);
        }
    }
    let title = format!("Latency: 8 pairs, 64 B, {RATE} messages/s in total, {rounds} rounds (min median max)");
    let heading = ["", "p50, µs", "p99, µs", "p99.9, µs", "server CPU per message, µs", "CPU over bare", "goal"];
    let mut table = Table::new(title, &heading);
    table.row(row("bare rustls relay", &reference, None));
    table.row(row(&format!("{}, unanswered", options.subject()), &unanswered, Some((&reference, Some(1.5)))));
    if !answered.is_empty() {
        table.row(row(&format!("{}, answered", options.subject()), &answered, Some((&reference, None))));
    }
    table.print();
    bare.stop()?;
    subject.stop()
}

fn row(name: &str, rounds: &[Round], reference: Option<(&[Round], Option<f64>)>) -> [String; 7] {
    let share = |share: f64| {
        let each = rounds.iter().map(|round| {
            let mut delays = round.outcome.delays.clone();
            delays.sort_unstable();
            let at = ((delays.len() as f64 * share) as usize).min(delays.len().saturating_sub(1));
            delays.get(at).copied().unwrap_or(0) as f64 / 1000.0
        });
        Spread::of(each).show(0)
    };
    let cpu = Spread::of(rounds.iter().map(|round| round.micros));
    let (ratio, verdict) = match reference {
        None => Default::default(),
        Some((reference, at_most)) => {
            let pairs = rounds.iter().zip(reference);
            let ratio = Spread::of(pairs.map(|(round, bare)| round.micros / bare.micros));
            (ratio.show(2), at_most.map(|most| goal(ratio.median, most, "")).unwrap_or_default())
        }
    };
    [name.to_owned(), share(0.5), share(0.99), share(0.999), cpu.show(1), ratio, verdict]
}
