//! A captcha: a few characters that a person reads at once and an OCR program does not.
//!
//! The glyphs are our own, as thick strokes. What keeps an OCR program out is not noise, which a filter takes away: light and
//! dark change places along a curve through all the characters, so that none of them is in one piece or in one shade.

use std::f32::consts::PI;

use rand::Rng;
use rand::RngExt;
use subtle::ConstantTimeEq;

use crate::wire::Fail;

/// Pixels.
const WIDTH: usize = 260;
/// Pixels.
const HEIGHT: usize = 80;

/// What the answers are made of. Of every group that people take for one another, also with a curve through it (0 O D Q,
/// 1 I L J, 2 Z 7, 5 S, 6 G, 8 B, U V W Y, E F, P R, H N), one at most is here.
pub const ALPHABET: &str = "ACEKMNPTX3479";

/// A picture and what is written in it.
pub struct Captcha {
    /// 5 or 6 characters of [`ALPHABET`].
    pub answer: String,
    /// The picture: PNG, 8-bit gray, under 6 KiB.
    pub png: Vec<u8>,
}

/// Draws a new captcha; a millisecond or two of work. FAIL INTERNAL when there is no picture to be had.
pub fn draw<R: Rng>(rng: &mut R) -> Result<Captcha, Fail> {
    let letters = ALPHABET.as_bytes();
    let count = rng.random_range(5..=6);
    let mut answer = String::with_capacity(count);
    while answer.len() < count {
        let letter = char::from(letters[rng.random_range(0..letters.len())]);
        if !answer.ends_with(letter) {
            answer.push(letter);
        }
    }
    let png = encode(&paint(&answer, rng)).map_err(Fail::internal)?;
    Ok(Captcha { answer, png })
}

/// Writes the answer into the file that the environment variable `CONVERGIA_TEST_CAPTCHA` names, for the browser test that started this
/// process. Only in the build with the feature `test-hooks`.
#[cfg(feature = "test-hooks")]
pub fn tell_the_test(captcha: &Captcha) {
    if let Some(path) = std::env::var_os("CONVERGIA_TEST_CAPTCHA") {
        if let Err(error) = std::fs::write(&path, &captcha.answer) {
            log::error!("{}: {error}", path.display());
        }
    }
}

/// Whether `typed` is the answer, without regard to case and blanks. Takes the same time wherever they differ.
pub fn matches(answer: &str, typed: &str) -> bool {
    let plain = |text: &str| -> Vec<u8> {
        text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_uppercase).collect::<String>().into_bytes()
    };
    let answer = plain(answer);
    !answer.is_empty() && bool::from(answer.ct_eq(&plain(typed)))
}

/// A point: in a glyph's box, which is 1 by 1 with y downwards, or in the picture, in pixels.
type Point = (f32, f32);

/// A part of a glyph.
enum Stroke {
    /// From point to point.
    Line(&'static [Point]),
    /// Middle, half axes, and the angles from and to in degrees, clockwise from the right.
    Arc(Point, Point, f32, f32),
}

/// The strokes of a character.
fn glyph(letter: char) -> &'static [Stroke] {
    use Stroke::Arc;
    use Stroke::Line;
    match letter {
        'A' => &[Line(&[(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)]), Line(&[(0.2, 0.66), (0.8, 0.66)])],
        'C' => &[Arc((0.56, 0.5), (0.56, 0.5), 48.0, 312.0)],
        'E' => &[Line(&[(0.95, 0.0), (0.05, 0.0), (0.05, 1.0), (0.95, 1.0)]), Line(&[(0.05, 0.5), (0.8, 0.5)])],
        'K' => &[Line(&[(0.0, 0.0), (0.0, 1.0)]), Line(&[(0.95, 0.0), (0.0, 0.6)]), Line(&[(0.3, 0.41), (1.0, 1.0)])],
        'M' => &[Line(&[(0.0, 1.0), (0.04, 0.0), (0.5, 0.65), (0.96, 0.0), (1.0, 1.0)])],
        'N' => &[Line(&[(0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])],
        'P' => &[
            Line(&[(0.05, 1.0), (0.05, 0.0), (0.55, 0.0)]),
            Arc((0.55, 0.29), (0.43, 0.29), -90.0, 90.0),
            Line(&[(0.55, 0.58), (0.05, 0.58)]),
        ],
        'T' => &[Line(&[(0.0, 0.0), (1.0, 0.0)]), Line(&[(0.5, 0.0), (0.5, 1.0)])],
        'X' => &[Line(&[(0.0, 0.0), (1.0, 1.0)]), Line(&[(1.0, 0.0), (0.0, 1.0)])],
        '3' => &[
            Arc((0.45, 0.25), (0.45, 0.25), -155.0, 90.0),
            Line(&[(0.45, 0.5), (0.25, 0.5)]),
            Arc((0.45, 0.75), (0.5, 0.25), -90.0, 155.0),
        ],
        '4' => &[Line(&[(0.75, 1.0), (0.75, 0.0), (0.0, 0.68), (1.05, 0.68)])],
        '7' => &[Line(&[(0.0, 0.0), (1.0, 0.0), (0.35, 1.0)])],
        '9' => &[Arc((0.5, 0.31), (0.47, 0.31), 0.0, 360.0), Arc((0.0, 0.31), (0.97, 0.72), 0.0, 72.0)],
        _ => &[],
    }
}

/// The stroke as points close enough to each other to be bent.
fn flatten(stroke: &Stroke) -> Vec<Point> {
    match *stroke {
        Stroke::Line(points) => {
            let mut fine = Vec::new();
            for pair in points.windows(2) {
                let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
                fine.extend((0..6).map(|i| i as f32 / 6.0).map(|t| (ax + (bx - ax) * t, ay + (by - ay) * t)));
            }
            fine.extend(points.last());
            fine
        }
        Stroke::Arc((x, y), (rx, ry), from, to) => (0..=20)
            .map(|i| (from + (to - from) * i as f32 / 20.0).to_radians())
            .map(|angle| (x + rx * angle.cos(), y + ry * angle.sin()))
            .collect(),
    }
}

/// How far each pixel is from the nearest of some strokes.
struct Field(Vec<f32>);

impl Field {
    fn new() -> Field {
        Field(vec![f32::MAX; WIDTH * HEIGHT])
    }

    /// Adds a line through the points; distances are right up to `reach` pixels from it.
    fn stroke(&mut self, points: &[Point], reach: f32) {
        for pair in points.windows(2) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            let (dx, dy) = (bx - ax, by - ay);
            let length = (dx * dx + dy * dy).max(1e-6);
            // Casts of floats to unsigned saturate, so what lies outside the picture is cut off here.
            let columns = (ax.min(bx) - reach) as usize..((ax.max(bx) + reach).ceil() as usize).min(WIDTH);
            let rows = (ay.min(by) - reach) as usize..((ay.max(by) + reach).ceil() as usize).min(HEIGHT);
            for row in rows {
                for column in columns.clone() {
                    let (x, y) = (column as f32 + 0.5 - ax, row as f32 + 0.5 - ay);
                    let t = ((x * dx + y * dy) / length).clamp(0.0, 1.0);
                    let (x, y) = (x - dx * t, y - dy * t);
                    let nearest = &mut self.0[row * WIDTH + column];
                    *nearest = nearest.min((x * x + y * y).sqrt());
                }
            }
        }
    }

    /// Sets what is within `radius` to 1, and its rim to less.
    fn fill(&self, picture: &mut [f32], radius: f32) {
        for (pixel, distance) in picture.iter_mut().zip(&self.0) {
            *pixel = pixel.max((radius + 0.5 - distance).clamp(0.0, 1.0));
        }
    }
}

/// A smooth wave over the picture.
struct Wave {
    x: f32,
    y: f32,
    phase: f32,
}

impl Wave {
    /// With a length between `from` and `to` pixels.
    fn new<R: Rng>(rng: &mut R, from: f32, to: f32) -> Wave {
        let length = rng.random_range(from..to);
        let angle = rng.random_range(0.0..2.0 * PI);
        let turns = 2.0 * PI / length;
        Wave { x: turns * angle.cos(), y: turns * angle.sin(), phase: rng.random_range(0.0..2.0 * PI) }
    }

    /// -1 to 1.
    fn at(&self, x: f32, y: f32) -> f32 {
        (self.x * x + self.y * y + self.phase).sin()
    }
}

/// The picture in shades, 0 to 255, row by row.
fn paint<R: Rng>(answer: &str, rng: &mut R) -> Vec<f32> {
    let mut ink = vec![0.0; WIDTH * HEIGHT];
    let radius = rng.random_range(3.5..4.0);
    write(answer, rng, radius).fill(&mut ink, radius);

    // Light and dark change places along a curve and within a thread, both from end to end. The eye does not mind;
    // whatever looks for dark on light, or for separate shapes, finds each character in pieces that belong to its neighbours.
    let side = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let edge = curve(rng, 3.0 * side);
    let mut thread = Field::new();
    thread.stroke(&curve(rng, -9.0 * side), 3.0);
    let mut threads = vec![0.0; WIDTH * HEIGHT];
    thread.fill(&mut threads, 0.9);

    let light = Wave::new(rng, 90.0, 160.0);
    let dark = Wave::new(rng, 60.0, 120.0);
    let mut picture = Vec::with_capacity(WIDTH * HEIGHT);
    for (i, (ink, thread)) in ink.into_iter().zip(threads).enumerate() {
        let (x, y) = ((i % WIDTH) as f32, (i / WIDTH) as f32);
        let below = ((y - edge[i % WIDTH].1) * side + 0.5).clamp(0.0, 1.0);
        let darkness = exchange(exchange(ink, thread), below);
        let (light, dark) = (228.0 + 24.0 * light.at(x, y), 48.0 + 32.0 * dark.at(x, y));
        picture.push(light + (dark - light) * darkness);
    }
    picture
}

/// `a`, or its opposite as far as `b`; both 0 to 1.
fn exchange(a: f32, b: f32) -> f32 {
    a + b - 2.0 * a * b
}

/// Where the strokes of the answer are, which are `radius` thick on either side.
fn write<R: Rng>(answer: &str, rng: &mut R, radius: f32) -> Field {
    let warps = [Wave::new(rng, 60.0, 90.0), Wave::new(rng, 60.0, 90.0)];
    let share = |letter| match letter {
        'M' => 1.3,
        'X' | 'K' | 'N' | 'A' => 1.1,
        _ => 1.0,
    };
    let step = (WIDTH as f32 - 12.0) / answer.chars().map(share).sum::<f32>();
    let mut left = 6.0;
    let swing = rng.random_range(0.0..2.0 * PI);
    let mut strokes = Field::new();
    for (i, letter) in answer.chars().enumerate() {
        let i = i as f32;
        let room = step * share(letter);
        let (middle, level) = (left + room / 2.0, HEIGHT as f32 / 2.0 + 5.0 * (swing + i * 1.9).sin());
        left += room;
        let (sin, cos) = rng.random_range(-0.13..0.13_f32).sin_cos();
        let shear = rng.random_range(-0.1..0.1);
        // A stroke reaches past the box, so the characters touch.
        let (width, height) = (room - 2.0 * radius, rng.random_range(42.0..50.0));
        let width = width.min(34.0) * rng.random_range(0.85..0.98);
        for stroke in glyph(letter) {
            let place = |(x, y): Point| {
                let (x, y) = ((x - 0.5) * width, (y - 0.5) * height);
                let x = x - shear * y;
                let (x, y) = (middle + x * cos - y * sin, level + x * sin + y * cos);
                (x + 2.0 * warps[0].at(x, y), y + 2.0 * warps[1].at(x, y))
            };
            strokes.stroke(&flatten(stroke).into_iter().map(place).collect::<Vec<_>>(), radius + 1.0);
        }
    }
    strokes
}

/// A wave from the left to the right of the picture, a point per pixel, `lower` than its middle.
fn curve<R: Rng>(rng: &mut R, lower: f32) -> Vec<Point> {
    let middle = HEIGHT as f32 / 2.0 + lower + rng.random_range(-4.0..4.0);
    let rise = rng.random_range(7.0..13.0);
    let wave = Wave { x: 2.0 * PI / rng.random_range(90.0..160.0), y: 0.0, phase: rng.random_range(0.0..2.0 * PI) };
    (0..WIDTH).map(|x| x as f32).map(|x| (x, middle + rise * wave.at(x, 0.0))).collect()
}

fn encode(picture: &[f32]) -> Result<Vec<u8>, png::EncodingError> {
    // Steps of 8 are hardly seen, and the file is a third of the size.
    let bytes: Vec<u8> = picture.iter().map(|shade| (*shade as u8) & !7).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(&bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::rngs::StdRng;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_picture_is_a_small_gray_png() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..50 {
            let captcha = draw(&mut rng).unwrap();
            assert!(captcha.png.len() < 6 * 1024, "{} bytes", captcha.png.len());
            let mut reader = png::Decoder::new(std::io::Cursor::new(&captcha.png)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width as usize, info.height as usize), (WIDTH, HEIGHT));
            assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Eight));
            let dark = pixels.iter().filter(|shade| **shade < 110).count() * 100 / pixels.len();
            assert!((20..80).contains(&dark), "{dark} % dark");
        }
    }

    #[test]
    fn answers_vary_and_keep_to_the_alphabet() {
        let mut rng = StdRng::seed_from_u64(2);
        let answers: Vec<String> = (0..200).map(|_| draw(&mut rng).unwrap().answer).collect();
        assert_eq!(answers.iter().collect::<HashSet<_>>().len(), 200);
        assert!(answers.iter().all(|answer| (5..=6).contains(&answer.len())));
        let used: HashSet<char> = answers.iter().flat_map(|answer| answer.chars()).collect();
        assert_eq!(used, ALPHABET.chars().collect());
    }

    #[test]
    fn every_character_has_strokes_within_its_box() {
        for letter in ALPHABET.chars() {
            let points: Vec<Point> = glyph(letter).iter().flat_map(flatten).collect();
            assert!(points.len() > 4, "{letter}");
            assert!(points.iter().all(|(x, y)| (-0.15..=1.15).contains(x) && (-0.05..=1.05).contains(y)), "{letter}");
        }
    }

    #[test]
    fn case_and_blanks_do_not_matter() {
        assert!(matches("ACEK3", "ACEK3"));
        assert!(matches("ACEK3", " ac ek3\t\n"));
        for wrong in ["ACEK4", "ACEK", "ACEK33", "", " ", "ACEK3\0", "ÄCEK3"] {
            assert!(!matches("ACEK3", wrong), "{wrong:?}");
        }
        assert!(!matches("", ""));
    }
}
