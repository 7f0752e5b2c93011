//! Where a password comes from: a file, the environment, or a prompt.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::outcome::Stop;

/// The variable that scripts may set.
const VARIABLE: &str = "CONVERGIA_PASSWORD";

/// The password from `file` (without its last newline), else from `CONVERGIA_PASSWORD`, else from the terminal after
/// `prompt`; a new one is asked for twice.
///
/// # Errors
/// When there is none to be had.
pub fn read(file: Option<&Path>, prompt: &str, new: bool) -> Result<Zeroizing<String>, Stop> {
    if let Some(file) = file {
        let words = |error| Stop::Usage(format!("--password-file {}: {error}", file.display()));
        let text = Zeroizing::new(fs::read_to_string(file).map_err(words)?);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        return Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()));
    }
    if let Ok(password) = std::env::var(VARIABLE) {
        return Ok(Zeroizing::new(password));
    }
    let first = ask(prompt)?;
    if first.is_empty() {
        return Err(Stop::Refused("no password was typed".to_owned()));
    }
    if new && *ask("The same again: ")? != *first {
        return Err(Stop::Refused("the two passwords differ; nothing was done".to_owned()));
    }
    Ok(first)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Stop> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| match error.kind() {
        std::io::ErrorKind::Interrupted | std::io::ErrorKind::UnexpectedEof => {
            Stop::Refused("no password was typed".to_owned())
        }
        _ => Stop::Usage(format!(
            "a password is needed, and there is no terminal to ask at ({error}): use --password-file FILE, or set {VARIABLE}"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_one_newline() {
        let path = std::env::temp_dir().join(format!("convergia-password-{}", std::process::id()));
        for (text, password) in [("a b \n", "a b "), ("x\r\n", "x"), ("x\n\n", "x\n"), ("x", "x")] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(Some(&path), "", true).unwrap().as_str(), password);
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(Some(&path), "", false), Err(Stop::Usage(_))));
    }
}
