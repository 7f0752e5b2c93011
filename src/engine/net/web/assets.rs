//! The files of the web port: known when the server starts, kept in memory, found by their exact path.

use std::borrow::Cow;
use std::io::Write;

use flate2::write::GzEncoder;
use flate2::Compression;

use crate::wire::hex;

/// Smaller files are not worth to be packed.
const PACK: usize = 256;
/// Bytes of a file's hash that its ETag shows.
const TAG: usize = 16;

/// A file as the executable has it: the path that a browser asks for, its content type, its bytes.
pub type File = (&'static str, &'static str, &'static [u8]);

/// The files of the web port.
#[derive(Debug)]
pub struct Assets {
    files: Vec<Asset>,
}

/// One file, in the forms that it is sent in.
#[derive(Debug)]
pub struct Asset {
    path: &'static str,
    /// Its content type.
    pub kind: &'static str,
    /// As it is.
    pub plain: Form,
    /// The same, packed; None where that makes it no smaller.
    pub gzip: Option<Form>,
}

/// The bytes of a file, and the strong ETag that names just these.
#[derive(Debug)]
pub struct Form {
    /// The bytes.
    pub bytes: Cow<'static, [u8]>,
    /// With its quotes.
    pub tag: String,
}

impl Assets {
    /// Packs and names `files`. Of two with the same path the first counts.
    pub fn new(files: &[File]) -> Assets {
        let files = files.iter().map(|(path, kind, bytes)| Asset {
            path,
            kind,
            plain: Form::new(Cow::Borrowed(*bytes), ""),
            gzip: packed(bytes, kind).map(|packed| Form::new(Cow::Owned(packed), "-gzip")),
        });
        Assets { files: files.collect() }
    }

    /// The place of the file that is asked for as `path`. Nothing is decoded or joined: what is not in the table is not there.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.files.iter().position(|file| file.path == path)
    }

    /// The file at a place that `find` gave.
    pub fn at(&self, place: usize) -> Option<&Asset> {
        self.files.get(place)
    }
}

impl Form {
    fn new(bytes: Cow<'static, [u8]>, suffix: &str) -> Form {
        let hash = blake3::hash(&bytes);
        let tag = format!("\"{}{suffix}\"", hex::encode(&hash.as_bytes()[..TAG]));
        Form { bytes, tag }
    }
}

fn packed(bytes: &[u8], kind: &str) -> Option<Vec<u8>> {
    let is_text = kind.starts_with("text/") || ["javascript", "json", "svg"].iter().any(|word| kind.contains(word));
    if !is_text || bytes.len() < PACK {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().filter(|packed| packed.len() < bytes.len())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn text_is_packed_and_each_form_has_its_own_tag() {
        let long: &'static [u8] = "a line of a page\n".repeat(100).leak().as_bytes();
        let assets =
            Assets::new(&[("/", "text/html", long), ("/a.png", "image/png", long), ("/b", "text/css", b"b{}")]);
        let page = assets.at(assets.find("/").unwrap()).unwrap();
        let gzip = page.gzip.as_ref().unwrap();
        let mut back = Vec::new();
        GzDecoder::new(&gzip.bytes[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, long);
        assert_ne!(gzip.tag, page.plain.tag);
        assert!(page.plain.tag.starts_with('"') && page.plain.tag.ends_with('"') && page.plain.tag.len() == 34);
        for path in ["/a.png", "/b"] {
            assert!(assets.at(assets.find(path).unwrap()).unwrap().gzip.is_none(), "{path}");
        }
        for path in ["", "//", "/a", "/a.png/", "/../b", "/%62", "a.png", "/A.PNG"] {
            assert_eq!(assets.find(path), None, "{path}");
        }
    }
}
