//! `convergia admin user …`: one account.

use std::path::PathBuf;

use argh::FromArgs;

use super::Operator;
use crate::cli::outcome::Stop;
use crate::cli::password;
use crate::cli::session;

/// Change one account.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "user",
    example = "{command_name} add alice",
    example = "{command_name} disable bob",
    example = "{command_name} operator alice",
    note = "A new password comes from a prompt, --password-file, or CONVERGIA_PASSWORD."
)]
pub struct User {
    #[argh(subcommand)]
    change: Change,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Change {
    Add(Add),
    Disable(Disable),
    Enable(Enable),
    Delete(Delete),
    Passwd(Passwd),
    Operator(Appoint),
}

/// Make an account, without a captcha.
#[derive(FromArgs)]
#[argh(subcommand, name = "add", example = "{command_name} alice --password-file secret")]
struct Add {
    /// its name
    #[argh(positional)]
    name: String,
    /// a file with its password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Sign the user off, and let it not sign on any more.
#[derive(FromArgs)]
#[argh(subcommand, name = "disable", example = "{command_name} bob")]
struct Disable {
    /// whose account
    #[argh(positional)]
    name: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Let the user sign on again.
#[derive(FromArgs)]
#[argh(subcommand, name = "enable", example = "{command_name} bob")]
struct Enable {
    /// whose account
    #[argh(positional)]
    name: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Delete the account with all that belongs to it. There is no way back.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete", example = "{command_name} bob")]
struct Delete {
    /// whose account
    #[argh(positional)]
    name: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Give the account another password; where it is signed on, it has to sign on anew next time.
#[derive(FromArgs)]
#[argh(subcommand, name = "passwd", example = "{command_name} bob")]
struct Passwd {
    /// whose account
    #[argh(positional)]
    name: String,
    /// a file with the new password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Make the user an operator, who may do from anywhere what the web page offers to operators; or take that back.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "operator",
    example = "{command_name} alice",
    example = "{command_name} alice --off",
    note = "Whoever knows the password of an operator's account can sign in as anybody: give it a long one."
)]
struct Appoint {
    /// whose account
    #[argh(positional)]
    name: String,
    /// an operator no more; it counts at once
    #[argh(switch)]
    off: bool,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

impl User {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: impl Fn(Option<PathBuf>, bool) -> Operator) -> Result<(), Stop> {
        match self.change {
            Change::Add(Add { name, password_file, data_dir, json }) => {
                let operator = operator(data_dir, json);
                let secret = new_password(&operator, &name, password_file).await?;
                operator.change("USERADD", &name, &[secret.as_bytes()], "is registered").await
            }
            Change::Disable(Disable { name, data_dir, json }) => {
                operator(data_dir, json).change("USERSTATE", &name, &[b"disabled"], "is disabled").await
            }
            Change::Enable(Enable { name, data_dir, json }) => {
                operator(data_dir, json).change("USERSTATE", &name, &[b"active"], "may sign on").await
            }
            Change::Delete(Delete { name, data_dir, json }) => {
                operator(data_dir, json).change("USERDELETE", &name, &[], "is deleted").await
            }
            Change::Passwd(Passwd { name, password_file, data_dir, json }) => {
                let operator = operator(data_dir, json);
                let secret = new_password(&operator, &name, password_file).await?;
                operator.change("USERPASSWD", &name, &[secret.as_bytes()], "has a new password").await
            }
            Change::Operator(Appoint { name, off, data_dir, json }) => {
                let (is, done): (&[u8], _) = if off { (b"no", "is no operator") } else { (b"yes", "is an operator") };
                operator(data_dir, json).change("USEROPERATOR", &name, &[is], done).await
            }
        }
    }
}

/// Asked for only when the name can be one and the server is there.
async fn new_password(
    operator: &Operator,
    name: &str,
    file: Option<PathBuf>,
) -> Result<zeroize::Zeroizing<String>, Stop> {
    let name = session::user_name(name)?;
    drop(operator.connect().await?);
    password::read(file.as_deref(), &format!("A new password for {name}: "), true)
}
