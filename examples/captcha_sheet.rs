//! Draws 20 captchas on one sheet, to see whether a person reads them: `cargo run --example captcha_sheet -- sheet.png [seed]`.
//! Prints the answers, a line of the sheet per line.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::io::Cursor;

use convergia::accounts::captcha;
use rand::rngs::StdRng;
use rand::SeedableRng;

const COLUMNS: usize = 4;
const ROWS: usize = 5;
/// White between the captchas, in pixels.
const GAP: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: captcha_sheet FILE.png [SEED]")?;
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let mut rng = StdRng::seed_from_u64(seed);

    let mut sheet = Vec::new();
    let mut width = 0;
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let captcha = captcha::draw(&mut rng)?;
            let mut reader = png::Decoder::new(Cursor::new(&captcha.png)).read_info()?;
            let mut pixels = vec![0; reader.output_buffer_size().ok_or("too large")?];
            let info = reader.next_frame(&mut pixels)?;
            let (wide, high) = (info.width as usize, info.height as usize);
            if sheet.is_empty() {
                width = GAP + COLUMNS * (wide + GAP);
                sheet = vec![255; width * (GAP + ROWS * (high + GAP))];
            }
            let corner = (GAP + row * (high + GAP)) * width + GAP + column * (wide + GAP);
            for (line, pixels) in pixels.chunks_exact(wide).enumerate() {
                let start = corner + line * width;
                sheet[start..start + wide].copy_from_slice(pixels);
            }
            print!("{:8}", captcha.answer);
        }
        println!();
    }

    let height = sheet.len() / width;
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width.try_into()?, height.try_into()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.write_header()?.write_image_data(&sheet)?;
    Ok(())
}
