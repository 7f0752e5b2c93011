//! Whole networks in one thread, on a virtual clock, from a seed: what users rely on, whatever goes wrong in between.
//! A failure prints its seed; `CONVERGIA_SEED=n cargo test --test sim NAME` runs that test with it alone;
//! `CONVERGIA_SEEDS=0..2000` with all of these, and names those that fail.

mod again;
mod kept;
mod lying;
mod many;
mod network;
mod one;
mod operator;
mod order;
mod rogue;
mod storage;
mod upgrade;
mod voice;
