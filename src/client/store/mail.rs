//! Offline messages: they wait in the storage until their recipients have deleted them.

use std::collections::VecDeque;

use super::Again;
use super::Store;
use super::Trouble;
use super::Waiting;
use super::Watch;
use super::PIECE;
use crate::wire::Code;
use crate::wire::Fail;

/// A message that is being written.
pub struct Letter<'a> {
    store: &'a Store,
    id: String,
    size: u64,
}

impl Store {
    /// INITOFFLINEMESSAGE.
    ///
    /// # Errors
    /// NOTFOUND (there is no such user), UNAVAILABLE (one of another realm, and none is reached from there), LIMIT (too many).
    pub async fn letter(&self, recipients: &[String]) -> Result<Letter<'_>, Fail> {
        let fields: Vec<&[u8]> = recipients.iter().map(String::as_bytes).collect();
        // One that was begun and not sent goes by itself.
        let id = self.ask_text(Again::Same, "INITOFFLINEMESSAGE", &fields).await?;
        Ok(Letter { store: self, id, size: 0 })
    }

    /// LISTOFFLINEMESSAGES.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn messages(&self) -> Result<Vec<Waiting>, Fail> {
        self.ask_text(Again::Same, "LISTOFFLINEMESSAGES", &[]).await?.lines().map(str::parse).collect()
    }

    /// READOFFLINEMESSAGE of at most `READ` bytes.
    ///
    /// # Errors
    /// NOTFOUND, BADARGS (`offset` is behind the end).
    pub async fn read_message(&self, id: &str, offset: u64, length: usize) -> Result<Vec<u8>, Fail> {
        let (offset, words) = (offset.to_string(), length.to_string());
        let fields = [id.as_bytes(), offset.as_bytes(), words.as_bytes()];
        self.ask_told(Again::Same, "READOFFLINEMESSAGE", &fields, length).await.0
    }

    /// DELETEOFFLINEMESSAGE.
    ///
    /// # Errors
    /// NOTFOUND.
    pub async fn delete_message(&self, id: &str) -> Result<(), Fail> {
        self.ask(Again::NotFound, "DELETEOFFLINEMESSAGE", &[id.as_bytes()]).await.map(drop)
    }
}

impl Letter<'_> {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// APPENDOFFLINEMESSAGE until `next` gives nothing more, with as much under way as the window gives. Nothing is asked
    /// twice: after an error the letter is of no use, and goes by itself.
    ///
    /// # Errors
    /// QUOTA and those of every request; those of `next`.
    pub async fn append(
        &mut self,
        next: &mut (dyn FnMut(&mut Vec<u8>) -> std::io::Result<()> + Send),
        watch: &dyn Watch,
    ) -> Result<(), Trouble> {
        let mut under_way = VecDeque::new();
        let (mut sent, mut ended) = (self.size, false);
        let mut buffer = Vec::with_capacity(PIECE);
        loop {
            while !ended {
                let permit = match self.store.window.try_enter(PIECE) {
                    Some(permit) => permit,
                    None if under_way.is_empty() => self.store.enter(PIECE).await,
                    None => break,
                };
                buffer.clear();
                next(&mut buffer)?;
                if buffer.is_empty() {
                    ended = true;
                    break;
                }
                sent += buffer.len() as u64;
                let reply = self.store.post("APPENDOFFLINEMESSAGE", &[self.id.as_bytes(), &buffer]);
                under_way.push_back((sent, buffer.len() as u64, reply, permit));
            }
            let Some((size, length, reply, _permit)) = under_way.pop_front() else { return Ok(()) };
            let answer = reply.answer().await?;
            if answer != size.to_string().as_bytes() {
                let fail = Fail::new(Code::Internal, "the server counts other bytes than were sent");
                return Err(fail.into());
            }
            self.size = size;
            watch.moved(length);
        }
    }

    /// SENDOFFLINEMESSAGE. Ok: it will be there whatever single server dies.
    ///
    /// # Errors
    /// Those of every request. UNAVAILABLE: it may be sent or not. NOTFOUND: another realm has no such user; the other recipients get it.
    pub async fn send(self) -> Result<(), Fail> {
        self.store.ask(Again::Never, "SENDOFFLINEMESSAGE", &[self.id.as_bytes()]).await.map(drop)
    }
}
