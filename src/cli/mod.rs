//! stub until merged
pub mod picture;
#[derive(argh::FromArgs)]
/// stub
#[argh(subcommand)]
pub enum Command {
    Stub(Stub),
}
#[derive(argh::FromArgs)]
/// stub
#[argh(subcommand, name = "stub")]
pub struct Stub {}
pub fn run(_: Command) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
