//! The terminal client: one file a subcommand (contract 12), on the client library.

mod admin;
mod chat;
mod courier;
mod discover;
mod get;
mod kept;
mod key;
mod lan;
mod login;
mod ls;
mod mail;
mod map;
mod map_view;
mod metadata;
mod mkdir;
mod mv;
mod open;
mod outcome;
mod password;
pub mod picture;
mod places;
mod progress;
mod put;
mod realms;
mod register;
mod remote;
mod rm;
mod send;
mod session;
mod share;
mod state;
mod text;
mod voice;
mod work;
mod workspace;

use std::process::ExitCode;

use argh::FromArgs;

use crate::engine::rt;
use outcome::Stop;

/// What a person or a script can ask for.
#[derive(FromArgs)]
#[argh(subcommand)]
pub enum Command {
    /// Make an account.
    Register(register::Register),
    /// Sign on once, and remember it.
    Login(login::Login),
    /// Send a message.
    Send(send::Send),
    /// Talk.
    Chat(chat::Chat),
    /// Show the network.
    Map(map::Map),
    /// List the realms.
    Realms(realms::Realms),
    /// List what is stored.
    Ls(ls::Ls),
    /// Copy files into the storage.
    Put(put::Put),
    /// Copy files out of it.
    Get(get::Get),
    /// Remove what is stored.
    Rm(rm::Rm),
    /// Make folders in the storage.
    Mkdir(mkdir::Mkdir),
    /// Move or rename what is stored.
    Mv(mv::Mv),
    /// Say who may do what with it.
    Share(share::Share),
    /// Messages to people who are not there.
    Mail(mail::Mail),
    /// What a team works on together.
    Workspace(workspace::Workspace),
    /// Talk in voice channels.
    Voice(voice::Voice),
    /// Short values under keys.
    Metadata(metadata::Metadata),
    /// Show who is on the local network.
    Discover(discover::Discover),
    /// Write to somebody whom a link names.
    Open(open::Open),
    /// Run the server of this machine.
    Admin(admin::Admin),
    /// Show this server's public key.
    Key(key::Key),
}

/// Runs it. The exit status: 0 done, 1 refused (standard error says why, and what to do next), 2 wrong usage.
pub fn run(command: Command) -> ExitCode {
    if let Ok(filters) = std::env::var("RUST_LOG") {
        env_logger::Builder::new().parse_filters(&filters).init();
    }
    rt::set_up();
    let result = match command {
        Command::Register(register) => register.run(),
        Command::Login(login) => login.run(),
        Command::Send(send) => send.run(),
        Command::Chat(chat) => chat.run(),
        Command::Map(map) => map.run(),
        Command::Realms(realms) => realms.run(),
        Command::Ls(ls) => ls.run(),
        Command::Put(put) => put.run(),
        Command::Get(get) => get.run(),
        Command::Rm(rm) => rm.run(),
        Command::Mkdir(mkdir) => mkdir.run(),
        Command::Mv(mv) => mv.run(),
        Command::Share(share) => share.run(),
        Command::Mail(mail) => mail.run(),
        Command::Workspace(workspace) => workspace.run(),
        Command::Voice(voice) => voice.run(),
        Command::Metadata(metadata) => metadata.run(),
        Command::Discover(discover) => discover.run(),
        Command::Open(open) => open.run(),
        Command::Admin(admin) => admin.run(),
        Command::Key(key) => key.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Refused(words)) => {
            eprintln!("convergia: {words}");
            ExitCode::from(1)
        }
        Err(Stop::Told) => ExitCode::from(1),
        Err(Stop::Usage(words)) => {
            eprintln!("convergia: {words}");
            ExitCode::from(2)
        }
    }
}

/// How this program was started, for the commands that it proposes.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "convergia".to_owned())
}
