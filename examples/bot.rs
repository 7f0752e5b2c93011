//! A bot in thirty lines: it answers every message with its length. Talk to it from another terminal.
//!
//! ```text
//! CONVERGIA_PASSWORD=… cargo run --example bot -- convergia://127.0.0.1:64474#FINGERPRINT bot
//! ```

use convergia::client::Address;
use convergia::client::Client;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::engine::rt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(user)) = (args.next(), args.next()) else {
        return Err("usage: bot ADDRESS NAME, with the password in CONVERGIA_PASSWORD".into());
    };
    let address: Address = address.parse()?;
    let secret = Secret::Password(std::env::var("CONVERGIA_PASSWORD")?.into());
    rt::set_up();
    rt::block_on(async {
        let client = Client::sign_on(Options::new(address, user, secret)).await?;
        println!("ready");
        while let Some(event) = client.next().await {
            match event {
                Event::Message { sender, body, .. } => {
                    let answer = format!("{} characters", String::from_utf8_lossy(&body).chars().count());
                    if let Err(fail) = client.send(&sender, answer.as_bytes()).await {
                        println!("to {sender}: {fail}");
                    }
                }
                Event::Failed(fail) => return Err(fail.into()),
                other => println!("{other:?}"),
            }
        }
        Ok(())
    })
}
