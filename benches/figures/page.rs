//! The page of a realm: its first load in a browser, beside files as many and as large from nginx, in turns.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::files::others;
use crate::measure::Spread;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::table::goal;
use crate::table::Table;
use crate::Options;
use crate::Result;

/// Transferred, KiB; interactive, milliseconds.
const GOALS: (f64, f64) = (300.0, 1_000.0);

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser-tools/bin/python");
    let python = if own.exists() { own } else { PathBuf::from("python3") };
    let has_tools = Command::new(&python).args(["-c", "import playwright"]).stderr(Stdio::null()).status();
    if let Some(missing) = others::missing(&["nginx", "chromium"]) {
        println!("\nPage: not measured, as there is no {missing}");
        return Ok(());
    }
    if !has_tools.is_ok_and(|status| status.success()) {
        println!("\nPage: not measured, as there is no Playwright; .ci/run installs it");
        return Ok(());
    }
    let chromium = others::find("chromium").ok_or("no chromium")?;
    let scratch = Scratch::new("page")?;
    let server = Convergia::start(&scratch)?;
    let nginx = others::nginx(&scratch.path().join("nginx"), "1")?;
    let rounds = if options.quick { 3 } else { 15 };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/figures/page.py")).arg(chromium);
    command.arg(rounds.to_string()).arg(scratch.path().join("nginx/files"));
    command.arg(format!("https://{}/", server.web)).arg(format!("https://localhost:{}/index.html", nginx.port));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the browser did not load the pages".into());
    }
    let loads: Vec<serde_json::Value> =
        String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let title = format!("Page: first load over HTTPS in headless Chromium, {rounds} rounds (min median max)");
    let heading = ["", "files", "transferred, KiB", "goal", "load event, ms", "interactive, ms", "goal"];
    let mut table = Table::new(title, &heading);
    for (name, label) in [("nginx", "static files of nginx"), ("convergia", "Convergia")] {
        let of = |field: &'static str| {
            loads.iter().filter(move |load| load["name"] == name).filter_map(move |load| load[field].as_f64())
        };
        let spread = |field, unit: f64| Spread::of(of(field).map(move |value| value / unit));
        let (count, bytes, interactive) = (spread("count", 1.0), spread("bytes", 1024.0), spread("interactive", 1.0));
        let goals = match name {
            "convergia" => [goal(bytes.median, GOALS.0, " KiB"), goal(interactive.median, GOALS.1, " ms")],
            _ => Default::default(),
        };
        let [of_bytes, of_time] = goals;
        let loaded = spread("loaded", 1.0);
        table.row([
            label.to_owned(),
            format!("{:.0}", count.median),
            bytes.show(1),
            of_bytes,
            loaded.show(0),
            interactive.show(0),
            of_time,
        ]);
    }
    table.print();
    server.stop()
}
