//! How much is under way at once: so many requests, and so many bytes of them. Whoever waits gets its turn in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::engine::rt::channel;

/// A window. Clones share it.
#[derive(Clone)]
pub struct Window {
    state: Arc<Mutex<State>>,
    most: usize,
}

struct State {
    requests: usize,
    bytes: usize,
    waiting: VecDeque<(usize, channel::Sender<()>)>,
}

/// A place in the window, until it is dropped.
pub struct Permit {
    window: Window,
    bytes: usize,
}

impl Window {
    /// A window of so many requests and bytes.
    pub fn new(requests: usize, bytes: usize) -> Window {
        let state = State { requests, bytes, waiting: VecDeque::new() };
        Window { state: Arc::new(Mutex::new(state)), most: bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request of so many bytes, if there is one now and nobody waits. More than the whole window counts as the window.
    pub fn try_enter(&self, bytes: usize) -> Option<Permit> {
        let bytes = bytes.min(self.most);
        let mut state = self.lock();
        if !state.waiting.is_empty() || !state.take(bytes) {
            return None;
        }
        drop(state);
        Some(Permit { window: self.clone(), bytes })
    }

    /// The same, waiting for it. Who waits here must hold no other permit: two that wait for each other would wait for ever.
    pub async fn enter(&self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.most);
        let turn = {
            let mut state = self.lock();
            if state.waiting.is_empty() && state.take(bytes) {
                return Permit { window: self.clone(), bytes };
            }
            let (send, turn) = channel::bounded(1);
            state.waiting.push_back((bytes, send));
            Turn { window: self, bytes, turn }
        };
        // The sender is dropped only with the word in it.
        let _ = turn.turn.recv().await;
        Permit { window: self.clone(), bytes }
    }
}

/// Waits for its turn. Dropped with the turn in it, it gives it back.
struct Turn<'a> {
    window: &'a Window,
    bytes: usize,
    turn: channel::Receiver<()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turn.close();
        if self.turn.try_recv().is_ok() {
            self.window.lock().give(self.bytes);
        }
    }
}

impl State {
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.requests > 0 && self.bytes >= bytes;
        if fits {
            self.requests -= 1;
            self.bytes -= bytes;
        }
        fits
    }

    fn give(&mut self, bytes: usize) {
        self.requests += 1;
        self.bytes += bytes;
        while let Some(&(next, _)) = self.waiting.front() {
            if !self.take(next) {
                return;
            }
            let told = self.waiting.pop_front().is_some_and(|(_, turn)| turn.try_send(()).is_ok());
            if !told {
                // It does not wait any more.
                self.requests += 1;
                self.bytes += next;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.window.lock().give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::rt;

    #[test]
    fn it_is_bounded_and_in_order() {
        let window = Window::new(3, 100);
        let one = window.try_enter(60).unwrap();
        assert!(window.try_enter(60).is_none());
        let two = window.try_enter(40).unwrap();
        assert!(window.try_enter(1).is_none());
        rt::block_on(async {
            let (first, second) = (window.clone(), window.clone());
            let large = rt::spawn(async move { first.enter(500).await });
            while window.lock().waiting.is_empty() {
                rt::sleep(Duration::from_millis(1)).await;
            }
            drop(two);
            assert!(window.try_enter(1).is_none(), "somebody waits");
            let small = rt::spawn(async move { second.enter(1).await });
            drop(one);
            drop(large.await);
            drop(small.await);
        });
        let all: Vec<Permit> = (0..3).filter_map(|_| window.try_enter(30)).collect();
        assert_eq!((all.len(), window.try_enter(1).is_none()), (3, true));
    }

    #[test]
    fn who_stops_waiting_takes_nothing() {
        let window = Window::new(1, 10);
        let held = window.try_enter(1).unwrap();
        let waited = rt::block_on(rt::timeout(Duration::from_millis(1), window.enter(1)));
        assert!(waited.is_err());
        drop(held);
        assert!(window.try_enter(10).is_some());
    }
}
