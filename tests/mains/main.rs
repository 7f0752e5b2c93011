//! Management of many main servers (contract 5, 7, 8), with fake ones on a virtual clock.

mod chaos;
mod choice;
mod data;
mod fake;
mod map;
mod network;
mod restart;
mod table;
mod voice;
mod voice_ended;
mod voice_here;
mod voice_kv;
mod voice_trust;
mod voice_workspace;
