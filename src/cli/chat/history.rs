//! The lines typed in earlier conversations. They are private: the file is for its owner alone.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::cli::places;
use crate::engine::files;

/// Lines that are kept.
pub const KEPT: usize = 1_000;

/// The file, or nothing where there is no place for it.
pub struct History {
    file: Option<PathBuf>,
}

impl History {
    /// The user's history, and its lines, oldest first.
    pub fn open() -> (History, Vec<String>) {
        History::open_at(places::beside_state("history"))
    }

    fn open_at(file: Option<PathBuf>) -> (History, Vec<String>) {
        let text = file.as_deref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        let lines: Vec<String> =
            all.iter().skip(all.len().saturating_sub(KEPT)).map(|line| (*line).to_owned()).collect();
        if let Some(file) = file.as_deref().filter(|_| all.len() > 2 * KEPT) {
            let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
            let _ = files::replace(file, text.as_bytes(), 0o600);
        }
        (History { file }, lines)
    }

    /// Adds a line. A history that cannot be written is no reason to disturb a conversation.
    pub fn add(&self, line: &str) {
        let Some(file) = &self.file else { return };
        if line.contains(['\n', '\r'])
            || files::create_folder(places::parent(file)).is_err()
            || files::create_private(file).is_err()
        {
            return;
        }
        if let Ok(mut file) = fs::OpenOptions::new().append(true).open(file) {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_private_comes_back_and_stays_short() {
        let folder = std::env::temp_dir().join(format!("convergia-history-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let file = folder.join("history");
        let (history, lines) = History::open_at(Some(file.clone()));
        assert!(lines.is_empty());
        for n in 0..2 * KEPT + 1 {
            history.add(&n.to_string());
        }
        history.add("two\nlines");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (_, lines) = History::open_at(Some(file.clone()));
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (KEPT, "2000"));
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), KEPT);
        fs::remove_dir_all(&folder).unwrap();
    }
}
