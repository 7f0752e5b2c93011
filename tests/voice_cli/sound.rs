//! Opus files as the usual tools make and read them.

use std::fs;
use std::path::Path;
use std::process::Command;

use convergia::client::voice::ogg::Reader;

/// Runs a tool; `what` says where it comes from.
#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (Debian: opus-tools)"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an Opus file of tones, one a channel, that change every half second.
pub fn make(path: &Path, channels: u16, milliseconds: u32, tone: f64, options: &[&str]) {
    let samples = milliseconds * 48;
    let mut data = Vec::new();
    for n in 0..samples {
        for channel in 0..channels {
            let step = 1.0 + f64::from(n / 24_000) / 4.0 + f64::from(channel);
            let wave = (f64::from(n) / 48_000.0 * tone * step * std::f64::consts::TAU).sin();
            data.extend_from_slice(&((wave * 12_000.0) as i16).to_le_bytes());
        }
    }
    let size = data.len() as u32;
    let mut wav =
        [&b"RIFF"[..], &(size + 36).to_le_bytes(), b"WAVEfmt ", &16u32.to_le_bytes(), &1u16.to_le_bytes()].concat();
    wav.extend_from_slice(&channels.to_le_bytes());
    wav.extend_from_slice(&48_000u32.to_le_bytes());
    wav.extend_from_slice(&(96_000 * u32::from(channels)).to_le_bytes());
    wav.extend_from_slice(&(2 * channels).to_le_bytes());
    wav.extend_from_slice(&[16, 0]);
    wav.extend_from_slice(&[b"data", &size.to_le_bytes()[..], &data].concat());
    let source = path.with_extension("wav");
    fs::write(&source, wav).expect("a file");
    run(Command::new("opusenc").arg("--quiet").args(options).arg(&source).arg(path));
}

/// The packets of an Opus file.
pub fn packets(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(fs::File::open(path).expect("a file")).expect("Ogg Opus");
    std::iter::from_fn(|| reader.read().expect("Ogg Opus")).map(|heard| heard.opus).collect()
}

/// What the usual decoder makes of an Opus file.
pub fn decode(path: &Path) -> Vec<i16> {
    let out = path.with_extension("decoded.wav");
    run(Command::new("opusdec").args(["--quiet", "--no-dither", "--rate", "48000"]).arg(path).arg(&out));
    let bytes = fs::read(out).expect("what was decoded");
    let at = bytes.windows(4).position(|four| four == b"data").expect("a WAV file") + 8;
    bytes[at..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect()
}

/// Whether the recording is what was played: the same packets, and the same sound.
#[track_caller]
pub fn compare(played: &Path, recorded: &Path) {
    let (was, is) = (packets(played), packets(recorded));
    assert_eq!(was.len(), is.len(), "packets");
    assert!(was == is, "other packets");
    let (was, is) = (decode(played), decode(recorded));
    assert!(was.iter().any(|sample| sample.abs() > 6_000), "there is no tone in it");
    // Where a file ends within its last packet, only the file tells.
    assert!(is.len() >= was.len() && is.len() - was.len() < 2 * 5_760, "{} and {} samples", was.len(), is.len());
    assert!(is.starts_with(&was), "other sound");
}
