//! `convergia map`: the network as a tree.

use std::io::IsTerminal;
use std::path::PathBuf;

use argh::FromArgs;

use super::map_view::ServerMap;
use super::outcome;
use super::outcome::Stop;
use super::session;
use super::session::Session;
use super::session::Stay;
use super::session::Target;
use super::text;
use super::text::Paint;
use crate::client::Event;
use crate::engine::rt;

/// Show the network: servers, and who is signed on where.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "map",
    example = "{command_name} --watch",
    example = "{command_name} --dot | dot -Tsvg > map.svg"
)]
pub struct Map {
    /// stay, and show what changes; Ctrl-C ends it
    #[argh(switch)]
    watch: bool,
    /// for Graphviz
    #[argh(switch)]
    dot: bool,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output, a line a server or user
    #[argh(switch)]
    json: bool,
}

impl Map {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        if self.json && self.dot {
            return Err(Stop::Usage("--json or --dot, not both".to_owned()));
        }
        let target =
            Target { server: self.server.clone(), user: self.user.clone(), password_file: self.password_file.clone() };
        rt::block_on(async {
            let session = session::sign_on(&target, if self.watch { Stay::Long } else { Stay::Short }).await?;
            let cannot = |fail| Stop::refused("cannot get the map", &fail, "Try again later.");
            let map = ServerMap::new(&session.client.server_map().await.map_err(cannot)?);
            self.show(&map);
            if self.watch {
                self.watch(&session, map).await?;
            }
            session.client.sign_off().await;
            Ok(())
        })
    }

    fn show(&self, map: &ServerMap) {
        if self.json {
            map.nodes().for_each(|node| outcome::line(node.json()));
            return;
        }
        let drawn = if self.dot { map.dot() } else { map.tree(Paint(text::colour())) };
        let clear = match self.watch && std::io::stdout().is_terminal() && !text::dumb() {
            true => "\x1b[H\x1b[2J",
            false => "",
        };
        outcome::line(format_args!("{clear}{}", drawn.trim_end_matches('\n')));
    }

    async fn watch(&self, session: &Session, mut map: ServerMap) -> Result<(), Stop> {
        while let Some(event) = session.client.next().await {
            match event {
                Event::Map(lines) => {
                    let changed = map.apply(&lines);
                    match self.json {
                        true => changed.iter().for_each(|node| outcome::line(node.json())),
                        false if changed.is_empty() => {}
                        false => self.show(&map),
                    }
                }
                Event::Lost(why, _) => eprintln!("convergia: the connection is lost: {}", text::clean(&why)),
                Event::Failed(fail) => {
                    return Err(Stop::refused("the connection is lost", &fail, ""));
                }
                Event::SignedOn(_)
                | Event::Moved(_)
                | Event::Message { .. }
                | Event::OfflineMessage { .. }
                | Event::WorkspaceChange { .. }
                | Event::Notice { .. }
                | Event::Voice(_)
                | Event::Disconnected(_) => {}
            }
        }
        Ok(())
    }
}
