//! A picture as text, for a terminal: two pixels to a character, one above the other.

use std::io::Cursor;

/// Pictures of more pixels are not read.
const MOST_PIXELS: u64 = 4_000_000;

/// The PNG as lines of half blocks (`▀ ▄ █` and space), at most `columns` wide and never enlarged, each line ending in LF.
/// With `colour`, in 24-bit grays, as ANSI escapes; without, what is dark is drawn and what is light is left blank. None if it
/// is no PNG that can be read, or has more than 4 million pixels, or `columns` is 0.
pub fn half_blocks(png: &[u8], columns: usize, colour: bool) -> Option<String> {
    let picture = Gray::read(png)?.shrink(columns)?;
    Some(if colour { picture.coloured() } else { picture.plain() })
}

/// A gray picture with at least one pixel.
struct Gray {
    width: usize,
    pixels: Vec<u8>,
}

impl Gray {
    /// On white, where the PNG is transparent.
    fn read(png: &[u8]) -> Option<Gray> {
        let mut decoder = png::Decoder::new(Cursor::new(png));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().ok()?;
        let (width, height) = (reader.info().width, reader.info().height);
        let count = u64::from(width) * u64::from(height);
        if count == 0 || count > MOST_PIXELS {
            return None;
        }
        let mut bytes = vec![0; reader.output_buffer_size()?];
        let frame = reader.next_frame(&mut bytes).ok()?;
        let bytes = bytes.get(..frame.buffer_size())?;
        let pixels: Vec<u8> = match frame.color_type {
            png::ColorType::Grayscale => bytes.to_vec(),
            png::ColorType::GrayscaleAlpha => {
                bytes.as_chunks().0.iter().map(|[shade, alpha]| on_white(*shade, *alpha)).collect()
            }
            png::ColorType::Rgb => bytes.as_chunks().0.iter().map(|[r, g, b]| gray(*r, *g, *b)).collect(),
            png::ColorType::Rgba => {
                bytes.as_chunks().0.iter().map(|[r, g, b, a]| on_white(gray(*r, *g, *b), *a)).collect()
            }
            png::ColorType::Indexed => return None,
        };
        // A frame of an animation may be smaller than the whole.
        let width = usize::try_from(frame.width).ok()?;
        (width > 0 && !pixels.is_empty() && pixels.len().is_multiple_of(width)).then_some(Gray { width, pixels })
    }

    /// At most `columns` wide; each pixel is the mean of those it stands for.
    fn shrink(self, columns: usize) -> Option<Gray> {
        let width = self.width.min(columns);
        if width == 0 {
            return None;
        }
        let rows = self.pixels.len() / self.width;
        let height = (rows * width / self.width).max(1);
        let mut pixels = Vec::with_capacity(width * height);
        for row in 0..height {
            let lines = row * rows / height..(row + 1) * rows / height;
            for column in 0..width {
                let part = column * self.width / width..(column + 1) * self.width / width;
                let count = (part.len() * lines.len()).max(1);
                let sum: usize = lines
                    .clone()
                    .flat_map(|line| &self.pixels[line * self.width..][part.clone()])
                    .map(|p| usize::from(*p))
                    .sum();
                pixels.push(u8::try_from(sum / count).unwrap_or(u8::MAX));
            }
        }
        Some(Gray { width, pixels })
    }

    /// Each pair of rows, the lower one none at the end of an odd number of rows.
    fn pairs(&self) -> impl Iterator<Item = impl Iterator<Item = (u8, Option<u8>)> + '_> + '_ {
        self.pixels.chunks(self.width * 2).map(|pair| {
            let (upper, lower) = pair.split_at(self.width);
            upper.iter().enumerate().map(|(column, shade)| (*shade, lower.get(column).copied()))
        })
    }

    fn plain(&self) -> String {
        let limit = self.limit();
        let mut text = String::new();
        for pair in self.pairs() {
            text.extend(pair.map(|(upper, lower)| match (upper < limit, lower.is_some_and(|shade| shade < limit)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            }));
            text.push('\n');
        }
        text
    }

    fn coloured(&self) -> String {
        let mut text = String::new();
        for pair in self.pairs() {
            // Only changes are written: a gray lasts for several characters more often than not.
            let mut last = None;
            for (upper, lower) in pair {
                if last != Some((upper, lower)) {
                    text.push_str(&format!("\x1b[38;2;{upper};{upper};{upper}"));
                    text.push_str(&lower.map_or("m".to_owned(), |lower| format!(";48;2;{lower};{lower};{lower}m")));
                    last = Some((upper, lower));
                }
                text.push('▀');
            }
            text.push_str("\x1b[0m\n");
        }
        text
    }

    /// What is darker is dark: halfway between the mean of the dark and the mean of the light pixels.
    fn limit(&self) -> u8 {
        let mut limit = 128;
        for _ in 0..8 {
            let mean = |dark: bool| {
                let side = self.pixels.iter().filter(|shade| (**shade < limit) == dark);
                side.clone().map(|shade| u64::from(*shade)).sum::<u64>().checked_div(side.count() as u64)
            };
            let (Some(dark), Some(light)) = (mean(true), mean(false)) else { break };
            limit = u8::try_from((dark + light).div_ceil(2)).unwrap_or(128);
        }
        limit
    }
}

fn gray(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 77 + u32::from(green) * 150 + u32::from(blue) * 29) >> 8) as u8
}

fn on_white(shade: u8, alpha: u8) -> u8 {
    let (shade, alpha) = (u32::from(shade), u32::from(alpha));
    ((shade * alpha + 255 * (255 - alpha)) / 255) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn png(width: u32, height: u32, color: png::ColorType, bytes: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        file
    }

    #[test]
    fn dark_is_drawn() {
        let file = png(4, 3, png::ColorType::Grayscale, &[0, 0, 255, 255, 0, 255, 0, 255, 0, 255, 255, 255]);
        assert_eq!(half_blocks(&file, 80, false).unwrap(), "█▀▄ \n▀   \n");
    }

    #[test]
    fn colours_are_grays_and_end_with_the_line() {
        let file = png(2, 2, png::ColorType::Grayscale, &[0, 0, 255, 255]);
        assert_eq!(half_blocks(&file, 80, true).unwrap(), "\x1b[38;2;0;0;0;48;2;255;255;255m▀▀\x1b[0m\n");
    }

    #[test]
    fn every_kind_of_pixel_is_read() {
        use png::ColorType::*;
        let kinds: [(png::ColorType, &[u8]); 4] = [
            (Grayscale, &[0, 255]),
            (GrayscaleAlpha, &[0, 255, 0, 0]),
            (Rgb, &[0, 0, 0, 255, 255, 255]),
            (Rgba, &[0, 0, 0, 255, 0, 0, 0, 0]),
        ];
        for (kind, bytes) in kinds {
            assert_eq!(half_blocks(&png(2, 1, kind, bytes), 80, false).as_deref(), Some("▀ \n"), "{kind:?}");
        }
    }

    #[test]
    fn lines_are_as_long_as_asked() {
        let file = png(240, 80, png::ColorType::Grayscale, &[255; 240 * 80]);
        for columns in [1, 7, 80, 100, 240, 300] {
            let text = half_blocks(&file, columns, false).unwrap();
            assert!(text.lines().all(|line| line.chars().count() == columns.min(240)), "{columns}");
        }
        assert_eq!(half_blocks(&file, 0, false), None);
    }

    #[test]
    fn the_large_and_the_broken_are_refused() {
        let file = png(2001, 2000, png::ColorType::Grayscale, &[255; 2001 * 2000]);
        assert_eq!(half_blocks(&file, 80, false), None);
        let file = png(240, 80, png::ColorType::Grayscale, &[255; 240 * 80]);
        for end in 0..file.len() / 2 {
            assert_eq!(half_blocks(&file[..end], 80, true), None);
        }
    }

    proptest! {
        #[test]
        fn any_damage_is_survived(at in 8_usize..120, byte: u8, columns in 0_usize..50, colour: bool) {
            let mut file = png(9, 7, png::ColorType::Rgba, &[200; 9 * 7 * 4]);
            let at = at % file.len();
            file[at] = byte;
            half_blocks(&file, columns, colour);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            half_blocks(&bytes, 80, false);
        }
    }
}
