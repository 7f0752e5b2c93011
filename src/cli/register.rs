//! `convergia register`: a new account, with the captcha shown in the terminal.

use std::fs;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;
use zeroize::Zeroizing;

use super::outcome;
use super::outcome::Stop;
use super::password;
use super::picture;
use super::places;
use super::program;
use super::session;
use super::session::Stay;
use super::state::State;
use super::text;
use crate::client;
use crate::client::Address;
use crate::engine::files;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

/// Make an account, and sign on.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "register",
    example = "{command_name} alice",
    example = "{command_name} alice --invite ABCD-EFGH-JKMN-PQRS",
    note = "The password comes from a prompt, --password-file, or CONVERGIA_PASSWORD."
)]
pub struct Register {
    /// the name that others will write to
    #[argh(positional)]
    name: String,
    /// the code that the operator gave you
    #[argh(option, arg_name = "CODE")]
    invite: Option<String>,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Pictures that are offered.
const TRIES: u32 = 3;

impl Register {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let user = session::user_name(&self.name)?;
        let address = session::address(self.server.as_deref(), &State::load()?)?;
        let password = password::read(self.password_file.as_deref(), &format!("A password for {user}: "), true)?;
        rt::block_on(self.register(&address, &user, &password))?;
        let session = rt::block_on(session::with_password(&address, &user, password, Stay::Once)).map_err(|stop| {
            Stop::Refused(format!("the account {user} was made.\n{}\nNext: {} login {user}", stop.words(), program()))
        })?;
        session::remember(&session, self.server.is_some());
        rt::block_on(session.client.sign_off());
        match self.json {
            true => outcome::line(json!({ "ok": true, "user": user, "server": address.to_string() })),
            false => outcome::line(format_args!("{user} is registered and signed on. Next: {} chat", program())),
        }
        Ok(())
    }

    async fn register(&self, address: &Address, user: &str, password: &Zeroizing<String>) -> Result<(), Stop> {
        let cannot = |fail: &Fail| {
            let next = match fail.code {
                Code::Exists => format!("Choose another name; or, if it is yours: convergia login {user}"),
                Code::Wrong if self.invite.is_some() => "Ask the operator for a new invite.".to_owned(),
                Code::Wrong => format!("This server asks for an invite: convergia register {user} --invite CODE"),
                Code::Expired => "A picture is good for a minute. Try again.".to_owned(),
                _ => session::next(fail, address, user),
            };
            Stop::refused(&format!("cannot register {user}"), fail, &next)
        };
        for tries_left in (0..TRIES).rev() {
            let registration =
                client::register(address, user, password.as_bytes()).await.map_err(|fail| cannot(&fail))?;
            if registration.png.is_empty() {
                let text = self.invite.as_deref().unwrap_or_default();
                return registration.confirm(text).await.map_err(|fail| cannot(&fail));
            }
            if let (Some(_), true) = (&self.invite, tries_left + 1 == TRIES) {
                eprintln!("This server asks for no invite, but for the text of a picture.");
            }
            let answer = solve(&registration.png)?;
            match registration.confirm(&answer).await {
                Ok(()) => return Ok(()),
                Err(fail) if tries_left > 0 && matches!(fail.code, Code::Wrong | Code::Expired) => {
                    eprintln!("{}", outcome::words(&fail));
                    eprintln!("Here is another one.");
                }
                Err(fail) if fail.code == Code::Wrong => {
                    return Err(Stop::refused(&format!("cannot register {user}"), &fail, "Try again."));
                }
                Err(fail) => return Err(cannot(&fail)),
            }
        }
        Err(Stop::Refused(format!("cannot register {user}")))
    }
}

/// Shows the picture on standard error, and asks what it says.
fn solve(png: &[u8]) -> Result<String, Stop> {
    let colour = text::colour() && std::io::stderr().is_terminal();
    let shown = match std::io::stderr().is_terminal() {
        true => picture::half_blocks(png, text::columns(), colour),
        false => None,
    };
    if let Some(shown) = &shown {
        eprintln!("{}", shown.trim_end_matches('\n'));
    }
    let file = places::beside_state("captcha.png");
    let saved =
        file.as_deref().and_then(|file| save(file, png).map_err(|error| eprintln!("{}: {error}", file.display())).ok());
    match (&file, saved, &shown) {
        (Some(file), Some(()), _) => eprintln!("The picture is also in {}", file.display()),
        (_, _, None) => return Err(Stop::Refused("the picture can be neither shown nor saved".to_owned())),
        _ => {}
    }
    eprint!("Which characters does it show? ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if let Some(file) = &file {
        let _ = fs::remove_file(file);
    }
    match read {
        Ok(0) | Err(_) => Err(Stop::Refused("no answer to the picture was typed".to_owned())),
        Ok(_) => Ok(answer.trim().to_owned()),
    }
}

fn save(file: &Path, png: &[u8]) -> std::io::Result<()> {
    files::create_folder(places::parent(file))?;
    files::replace(file, png, 0o600)
}
