//! An OCR program, with the tricks a lazy attacker would try first, reads fewer than 2 of 100 captchas.

use std::fs::File;
use std::io::BufWriter;
use std::io::Cursor;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use convergia::accounts::captcha;
use convergia::accounts::captcha::Captcha;
use rand::rngs::StdRng;
use rand::SeedableRng;

const SEED: u64 = 20;
const COUNT: usize = 100;
/// What tesseract takes a picture for: one line, one word, one line without its own analysis.
const MODES: [&str; 3] = ["7", "8", "13"];
/// How many processes at a time, and how many captchas each is given: tesseract takes longer to start than to read one.
const PROCESSES: usize = 2;
const BATCH: usize = 25;

/// A gray picture.
#[derive(Clone)]
struct Gray {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Gray {
    fn read(png: &[u8]) -> Gray {
        let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        Gray { width: info.width as usize, height: info.height as usize, pixels }
    }

    fn write(&self, path: &Path) {
        let file = BufWriter::new(File::create(path).unwrap());
        let mut encoder = png::Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(&self.pixels).unwrap();
    }

    /// The pixels within `reach` of one, as far as there are any.
    fn around(&self, x: usize, y: usize, reach: usize) -> Vec<u8> {
        let columns = x.saturating_sub(reach)..(x + reach + 1).min(self.width);
        let rows = y.saturating_sub(reach)..(y + reach + 1).min(self.height);
        rows.flat_map(|row| &self.pixels[row * self.width..][columns.clone()]).copied().collect()
    }

    fn each(&self, shade: impl Fn(usize, usize) -> u8) -> Gray {
        let pixels = (0..self.pixels.len()).map(|i| shade(i % self.width, i / self.width)).collect();
        Gray { pixels, ..*self }
    }

    /// Black and white, divided halfway between the mean of the darker and the mean of the lighter pixels.
    fn threshold(&self) -> Gray {
        let mut limit = 128;
        for _ in 0..10 {
            let mean = |dark: bool| {
                let side = self.pixels.iter().filter(|shade| (**shade < limit) == dark);
                side.clone().map(|shade| u64::from(*shade)).sum::<u64>() / (side.count() as u64).max(1)
            };
            limit = u8::try_from((mean(true) + mean(false)) / 2).unwrap();
        }
        self.each(|x, y| if self.pixels[y * self.width + x] < limit { 0 } else { 255 })
    }

    fn median(&self, reach: usize) -> Gray {
        self.each(|x, y| {
            let mut around = self.around(x, y, reach);
            let middle = around.len() / 2;
            *around.select_nth_unstable(middle).1
        })
    }

    fn blur(&self, reach: usize) -> Gray {
        self.each(|x, y| {
            let around = self.around(x, y, reach);
            (around.iter().map(|shade| usize::from(*shade)).sum::<usize>() / around.len()) as u8
        })
    }

    /// Dark where the shade changes.
    fn edges(&self) -> Gray {
        self.each(|x, y| {
            let around = self.around(x, y, 1);
            255 - (around.iter().max().unwrap() - around.iter().min().unwrap())
        })
    }

    /// From black and white: turns over one end of each column, the one that leaves the column lightest. This undoes a
    /// picture whose lower half is a negative.
    fn turned_back(&self) -> Gray {
        let is_dark = |x: usize, y: usize| self.pixels[y * self.width + x] < 128;
        let lighter_below = self.pixels[(self.height - 1) * self.width..].iter().filter(|shade| **shade >= 128).count();
        let turn_below = lighter_below * 2 < self.width;
        let splits: Vec<usize> = (0..self.width)
            .map(|x| {
                let light =
                    |split: &usize| (0..self.height).filter(|y| is_dark(x, *y) == ((y >= split) == turn_below)).count();
                (0..=self.height).max_by_key(light).unwrap()
            })
            .collect();
        self.each(|x, y| if is_dark(x, y) == ((y >= splits[x]) == turn_below) { 255 } else { 0 })
    }

    /// Enlarged and blurred, so that the edges are smooth.
    fn upscale(&self, times: usize) -> Gray {
        let (width, height) = (self.width * times, self.height * times);
        let pixels = (0..width * height)
            .map(|i| self.pixels[i / width / times * self.width + i % width / times])
            .collect::<Vec<_>>();
        Gray { width, height, pixels }.blur(times / 2)
    }
}

/// What an attacker does to the picture first.
type Filter = (&'static str, fn(&Gray) -> Gray);

const FILTERS: [Filter; 4] = [
    ("as it is", Gray::clone),
    ("median, 3x upscale, blur, threshold", |gray| gray.median(1).upscale(3).threshold()),
    ("edges", |gray| gray.edges().threshold()),
    ("turned back, median", |gray| gray.threshold().turned_back().median(2)),
];

/// How many of the pictures tesseract reads; `list` is a file with their paths.
fn read(list: &Path, answers: &[Captcha], mode: &str) -> usize {
    let letters = format!("tessedit_char_whitelist={}", captcha::ALPHABET);
    let output = Command::new("tesseract")
        .env("OMP_THREAD_LIMIT", "1")
        .arg(list)
        .args(["stdout", "-l", "eng", "--psm", mode, "-c", &letters])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Tesseract leaves out pages now and then, so an answer counts wherever it stands: six characters are not there by chance.
    let lines: Vec<&str> = text.split(['\n', '\x0c']).collect();
    answers.iter().filter(|captcha| lines.iter().any(|line| captcha::matches(&captcha.answer, line))).count()
}

/// A directory for the pictures, taken away at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tesseract_reads_fewer_than_2_of_100() {
    let found = Command::new("tesseract").arg("--version").output().is_ok_and(|output| output.status.success());
    let missing =
        "this test needs tesseract: apt-get install tesseract-ocr (Debian, Ubuntu), or brew install tesseract";
    assert!(found || std::env::var_os("CI").is_none(), "{missing}");
    if !found {
        eprintln!("not run: {missing}");
        return;
    }

    println!("seed {SEED}");
    let mut rng = StdRng::seed_from_u64(SEED);
    let captchas: Vec<Captcha> = (0..COUNT).map(|_| captcha::draw(&mut rng).unwrap()).collect();
    let scratch = Scratch(std::env::temp_dir().join(format!("convergia-captcha-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0).unwrap();

    let mut jobs = Vec::new();
    for (number, (_, filter)) in FILTERS.iter().enumerate() {
        for (batch, captchas) in captchas.chunks(BATCH).enumerate() {
            let mut paths = String::new();
            for (i, captcha) in captchas.iter().enumerate() {
                let path = scratch.0.join(format!("{number}-{batch}-{i}.png"));
                filter(&Gray::read(&captcha.png)).write(&path);
                paths.push_str(&format!("{}\n", path.display()));
            }
            let list = scratch.0.join(format!("{number}-{batch}.txt"));
            std::fs::write(&list, paths).unwrap();
            for mode in 0..MODES.len() {
                jobs.push((number, mode, list.clone(), captchas));
            }
        }
    }

    let next = AtomicUsize::new(0);
    let counts = [const { [const { AtomicUsize::new(0) }; MODES.len()] }; FILTERS.len()];
    thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                while let Some((filter, mode, list, captchas)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    counts[*filter][*mode].fetch_add(read(list, captchas, MODES[*mode]), Ordering::Relaxed);
                }
            });
        }
    });

    let mut broken = false;
    for ((name, _), counts) in FILTERS.iter().zip(&counts) {
        for (mode, count) in MODES.iter().zip(counts) {
            let count = count.load(Ordering::Relaxed);
            println!("{name}, mode {mode}: {count} of {COUNT} read");
            broken |= count >= 2;
        }
    }
    assert!(!broken, "tesseract reads the captchas");
}
