//! A main server of the network that lies, floods, or says nothing (issue 3, "Bad input"), on a virtual clock: it is refused, the log
//! has its name, and others notice nothing.

mod clients;
mod control;
mod fuzz;
mod lies;
mod management;
// Not all of it is used here.
#[allow(dead_code)]
#[path = "../sim/network.rs"]
mod network;
mod relay;
mod server;
mod stage;
