//! One file of 1 GiB, to and fro.

use std::fs;
use std::process::Command;

use super::others;
use super::Storage;
use super::Took;
use crate::measure::Spread;
use crate::table::Table;
use crate::Options;
use crate::Result;

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    if let Some(missing) = others::missing(&["nginx", "curl"]) {
        println!("\nA large file: left out; not installed: {missing}");
        return Ok(());
    }
    let bytes: usize = if options.quick { 64 << 20 } else { 1 << 30 };
    let storage = Storage::start("files-large")?;
    let folder = storage.scratch.path();
    let original = folder.join("original");
    super::random_file(&original, bytes)?;
    let nginx = others::nginx(&folder.join("nginx"), "1")?;
    let title = format!("A file of {} MiB, TLS 1.3; load {} before", bytes >> 20, super::load());
    let (mut put, mut get) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..super::rounds(options) {
        let (url, back) = (format!("https://localhost:{}/{round}", nginx.port), folder.join(format!("back-{round}")));
        let curl = |arguments: &[&str]| {
            let mut command = Command::new("curl");
            command.args(["-sSf", "--cacert"]).arg(folder.join("nginx/certificate.pem")).args(arguments).arg(&url);
            super::took(&mut command, nginx.pid())
        };
        put[0].push(curl(&["-T", super::text(&original)?])?);
        // The same bytes twice would be stored once: another file each time.
        let remote = format!("file-{round}");
        if round > 0 {
            super::random_file(&original, bytes)?;
        }
        put[1].push(storage.took(&["put", super::text(&original)?, &remote])?);
        get[0].push(curl(&["-o", super::text(&back)?])?);
        fs::remove_file(&back)?;
        get[1].push(storage.took(&["get", &remote, super::text(&back)?])?);
        if fs::read(&original)? != fs::read(&back)? {
            return Err("what came back is not what was put".into());
        }
    }
    let mut table = Table::new(title, &["", "seconds", "over curl", "CPU client + server, s", "over curl", "goal"]);
    for (name, [curl, own]) in [("put", put), ("get", get)] {
        table.row(row(&format!("{name}: curl and nginx"), &curl, None));
        table.row(row(&format!("{name}: Convergia, durable"), &own, Some(&curl)));
    }
    table.print();
    println!("  minimum, median and maximum; the median of the ratios of each turn; load {} behind", super::load());
    storage.server.stop()
}

fn row(name: &str, took: &[Took], over: Option<&[Took]>) -> [String; 6] {
    let cpu = |took: &Took| took.cpu.0 + took.cpu.1;
    let part = |part: fn(&Took) -> f64| Spread::of(took.iter().map(part)).median;
    let ratio = |of: fn(&Took) -> f64| {
        let ratios = over.map(|over| Spread::of(took.iter().zip(over).map(|(own, other)| of(own) / of(other))).median);
        ratios.unwrap_or(f64::NAN)
    };
    let (seconds, busy) = (ratio(|took| took.seconds), ratio(|took| took.cpu.0 + took.cpu.1));
    let show = |ratio: f64| if ratio.is_nan() { String::new() } else { format!("{ratio:.2}") };
    let verdict = match (over, seconds <= 1.0 && busy <= 1.0) {
        (None, _) => String::new(),
        (Some(_), true) => "<= 1 both: met".to_owned(),
        (Some(_), false) => "<= 1 both: MISSED".to_owned(),
    };
    let cpu = Spread::of(took.iter().map(cpu));
    [
        name.to_owned(),
        Spread::of(took.iter().map(|took| took.seconds)).show(2),
        show(seconds),
        format!("{} ({:.2} + {:.2})", cpu.show(2), part(|took| took.cpu.0), part(|took| took.cpu.1)),
        show(busy),
        verdict,
    ]
}
