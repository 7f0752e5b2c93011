//! Sign-on: the CPU that both servers spend on it together.

use std::sync::Arc;

use argon2::Argon2;
use rustls::ClientConfig;

use crate::account::login;
use crate::account::register;
use crate::account::sign_on;
use crate::account::Proof;
use crate::measure::own_thread;
use crate::measure::Cpu;
use crate::measure::Spread;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

const USER: &str = "signer";
/// Signs on with the password: each time makes a token, and of those an account keeps only the newest.
const TYPIST: &str = "typist";
const PASSWORD: &str = "a long enough password";

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nSign-on: the bare relay has none.");
        return Ok(());
    }
    let config = tls::client()?;
    let scratch = Scratch::new("signon")?;
    let server = Convergia::start(&scratch)?;
    register(&config, &server.ports, USER, PASSWORD)?;
    register(&config, &server.ports, TYPIST, PASSWORD)?;
    let (_, token) = login(&config, &server.ports, USER, Proof::Password(PASSWORD))?;
    // Not counted: the first ones.
    batch(&config, &server, USER, Proof::Token(&token), 20)?;
    let (count, few) = if options.quick { (20, 5) } else { (100, 10) };
    let mut with_token = Vec::new();
    let mut with_password = Vec::new();
    let mut argon2 = Vec::new();
    for _ in 0..5 {
        with_token.push(batch(&config, &server, USER, Proof::Token(&token), count)?);
        with_password.push(batch(&config, &server, TYPIST, Proof::Password(PASSWORD), few)?);
        argon2.push(hash(few)?);
    }
    let title = format!("Sign-on: server CPU each, both servers together, 5 x {count} with a token (min median max)");
    let mut table = Table::new(title, &["", "ms", "goal"]);
    let token = Spread::of(with_token);
    table.row(["with a token".to_owned(), token.show(3), goal(token.median, 1.0, " ms")]);
    let rest = with_password.iter().zip(&argon2).map(|(all, hash)| all - hash);
    let rest = Spread::of(rest.collect::<Vec<_>>());
    table.row(["with a password".to_owned(), Spread::of(with_password).show(3), String::new()]);
    table.row(["  Argon2 alone, in this process".to_owned(), Spread::of(argon2).show(3), String::new()]);
    table.row(["  difference of the two".to_owned(), rest.show(3), String::new()]);
    table.print();
    server.stop()
}

/// Signs on and off `count` times: CPU of the server each time, in ms.
fn batch(config: &Arc<ClientConfig>, server: &Convergia, user: &str, proof: Proof<'_>, count: u32) -> Result<f64> {
    let before = Cpu::of(server.pid())?;
    for _ in 0..count {
        sign_on(config, &server.ports, user, proof)?.ask("SIGNOFF", &[])?;
    }
    let used = Cpu::of(server.pid())?.since(&before);
    Ok(used.as_secs_f64() * 1e3 / f64::from(count))
}

/// CPU of one Argon2id with the parameters that accounts use (the crate's: 19 MiB, 2 passes), in ms.
fn hash(count: u32) -> Result<f64> {
    let (argon2, mut out) = (Argon2::default(), [0; 32]);
    let before = own_thread()?;
    for _ in 0..count {
        argon2.hash_password_into(PASSWORD.as_bytes(), b"sixteen byte salt", &mut out).map_err(|e| e.to_string())?;
    }
    Ok((own_thread()? - before).as_secs_f64() * 1e3 / f64::from(count))
}
