//! Memory of a batch: who may start, grow, must go; prefixes that texts share.

use bitnet_engine::{Engine, Session};

use super::{Batch, BatchError, text::Text};

/// Positions by which a session's memory grows: `KeysValues::POSITIONS` of the kernels.
const BLOCK: usize = 32;

/// Tokens that a text may write before it needs more room than it starts with.
const HEADROOM: usize = 64;

/// A shared prefix shorter than this is not worth its administration.
const SHORTEST_PREFIX: usize = 8;

/// So many tokens of a kept text may be lost to another that goes on from its prefix, rather than copying that.
const LOST: usize = 32;

/// Most texts that are kept.
const MOST_KEPT: usize = 256;

/// What was read and is kept until its room is needed.
pub(super) struct Kept {
    /// What the session holds.
    tokens: Vec<u32>,
    session: Session,
    used: u64,
}

/// Where a text's prefix is found.
#[derive(Clone, Copy)]
enum Prefix {
    Kept(usize),
    Running(usize),
}

/// Most tokens of a text within the limit.
pub(super) fn context(engine: &Engine, kv_bytes: usize) -> Result<usize, BatchError> {
    let positions = engine.shape().max_position_embeddings;
    let tokens = BLOCK.min(positions);
    let needed = engine.cache_bytes(tokens);
    if kv_bytes < needed {
        return Err(BatchError::NoRoom {
            kv_bytes,
            tokens,
            needed,
        });
    }
    Ok(positions.min(kv_bytes / needed * BLOCK))
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Batch {
    /// Bytes of texts that run.
    pub(super) fn bytes_running(&self) -> usize {
        let sessions = self.running.iter().filter_map(|text| text.session.as_ref());
        let read: usize = sessions.map(|session| self.bytes(session.capacity())).sum();
        let drafts = self.running.iter().filter_map(|text| text.draft.as_ref());
        let drafts: usize = drafts
            .map(|session| self.draft_bytes(session.capacity()))
            .sum();
        read + drafts
    }

    fn draft_bytes(&self, tokens: usize) -> usize {
        let draft = self.draft.as_ref();
        draft.map_or(0, |draft| draft.cache_bytes(tokens))
    }

    /// Bytes of texts that are kept.
    pub(super) fn bytes_kept(&self) -> usize {
        let capacity = |kept: &Kept| self.bytes(kept.session.capacity());
        self.kept.iter().map(capacity).sum()
    }

    fn bytes(&self, tokens: usize) -> usize {
        self.engine.cache_bytes(tokens)
    }

    /// Drops what was used least recently until `bytes` more fit. If that cannot be, nothing is dropped.
    fn free(&mut self, bytes: usize) -> bool {
        let limit = self.options.kv_bytes;
        if self.bytes_running() + bytes > limit {
            return false;
        }
        while self.kv_bytes_used() + bytes > limit {
            let oldest = self
                .kept
                .iter()
                .enumerate()
                .min_by_key(|(_, kept)| kept.used);
            let Some((oldest, _)) = oldest else {
                return false;
            };
            self.kept.swap_remove(oldest);
        }
        true
    }

    /// Gives a text that runs room for `tokens`, and some more if that costs nobody anything.
    pub(super) fn grow(&mut self, index: usize, tokens: usize) -> bool {
        let text = &self.running[index];
        let has = text.session.as_ref().map_or(0, Session::capacity);
        if tokens <= has {
            return true;
        }
        let most = self
            .context
            .min(text.tokens.len() + text.left())
            .max(tokens);
        let (held, needed) = (self.bytes(has), self.bytes(tokens) - self.bytes(has));
        // By a quarter at least, so that moving what is there costs little in the long run.
        let generous = (has + has / 4).next_multiple_of(BLOCK).clamp(tokens, most);
        let wanted = self.bytes(generous) - held;
        let fits = self.kv_bytes_used() + wanted <= self.options.kv_bytes;
        let can = fits || self.free(needed) || self.drop_drafts() && self.free(needed);
        if !can {
            return false;
        }
        let session = self.running[index].session.as_mut();
        let capacity = if fits { generous } else { tokens };
        session.is_some_and(|session| session.reserve(capacity).is_ok())
    }

    /// Gives the draft of a text that runs room for `tokens`, if there is some that nobody uses.
    pub(super) fn grow_draft(&mut self, index: usize, tokens: usize) -> bool {
        let Some(draft) = &self.draft else {
            return false;
        };
        let positions = draft.shape().max_position_embeddings;
        let session = self.running[index].draft.as_ref();
        let has = session.map_or(0, Session::capacity);
        if tokens <= has {
            return true;
        }
        // By a quarter at least, as in `grow`.
        let capacity = (has + has / 4).next_multiple_of(BLOCK).max(tokens);
        let capacity = capacity.min(positions);
        let more = self.draft_bytes(capacity) - self.draft_bytes(has);
        if tokens > positions || self.kv_bytes_used() + more > self.options.kv_bytes {
            return false;
        }
        let text = &mut self.running[index];
        match &mut text.draft {
            Some(session) => session.reserve(capacity).is_ok(),
            None => {
                text.draft = draft.session(capacity).ok();
                text.draft.is_some()
            }
        }
    }

    /// Gives up what the draft model has read. Returns whether that was anything.
    fn drop_drafts(&mut self) -> bool {
        let drafts = self.running.iter_mut().map(|text| text.draft.take());
        drafts.filter(Option::is_some).count() > 0
    }

    /// Puts the youngest text that runs back to the queue.
    pub(super) fn preempt(&mut self) {
        let Some(mut text) = self.running.pop() else {
            return;
        };
        text.read_before = text.read_before.max(text.read());
        (text.session, text.draft) = (None, None);
        self.counters.preempted += 1;
        let at = self.queue.partition_point(|other| other.id < text.id);
        self.queue.insert(at, text);
    }

    /// Starts the first text of the queue, with the longest prefix that is there already. Returns whether it could.
    pub(super) fn start(&mut self) -> bool {
        let Some(text) = self.queue.front() else {
            return false;
        };
        if self.running.len() >= self.options.max_texts {
            return false;
        }
        let found = self.prefix(text);
        if self.comes_soon(text, found.map_or(0, |(_, len)| len)) {
            return false;
        }
        let tokens = text.tokens.len();
        let capacity = self
            .context
            .min(tokens + text.left().min(HEADROOM))
            .max(tokens);
        // The others may need another block each before long.
        let margin = self.running.len() * self.bytes(BLOCK);
        let needed = self.bytes(capacity);
        let session = match found {
            Some((Prefix::Kept(index), len)) => self.take_kept(index, len, capacity, margin),
            Some((Prefix::Running(index), len)) if self.free(needed + margin) => {
                let session = self.running[index].session.as_ref();
                session.and_then(|session| session.copy(len, capacity).ok())
            }
            _ if self.free(needed + margin) => self.engine.session(capacity).ok(),
            _ => None,
        };
        let Some(session) = session else {
            return false;
        };
        let Some(mut text) = self.queue.pop_front() else {
            return false;
        };
        // What was read before a text was put back counts once.
        if text.read_before == 0 {
            text.usage.cached = session.len();
            self.counters.cached_tokens += session.len() as u64;
        }
        text.session = Some(session);
        self.running.push(text);
        true
    }

    /// The longest prefix of a text that is there, if it is worth taking.
    fn prefix(&self, text: &Text) -> Option<(Prefix, usize)> {
        if text.wants_prompt_logprobs() {
            return None;
        }
        // Not all of it, or there would be no logits.
        let most = text.tokens.len() - 1;
        let kept = self.kept.iter().enumerate();
        let kept = kept.map(|(index, kept)| (Prefix::Kept(index), &kept.tokens[..]));
        let running = self.running.iter().enumerate();
        let running = running.map(|(index, other)| {
            let read = &other.tokens[..other.read()];
            (Prefix::Running(index), read)
        });
        let lengths = running
            .chain(kept)
            .map(|(from, tokens)| (from, shared(tokens, &text.tokens).min(most)));
        lengths
            .max_by_key(|(_, len)| *len)
            .filter(|(_, len)| *len >= SHORTEST_PREFIX)
    }

    /// Whether a prompt that is being read will give the text a longer prefix than it has now.
    fn comes_soon(&self, text: &Text, has: usize) -> bool {
        !text.wants_prompt_logprobs()
            && self.running.iter().any(|other| {
                let len = shared(&other.tokens, &text.tokens).min(text.tokens.len() - 1);
                other.unread() > 1 && other.read() < len && len >= has + SHORTEST_PREFIX
            })
    }

    /// A session with a kept text's prefix.
    fn take_kept(
        &mut self,
        index: usize,
        len: usize,
        capacity: usize,
        margin: usize,
    ) -> Option<Session> {
        let (held, lost) = {
            let session = &self.kept[index].session;
            (self.bytes(session.capacity()), session.len() - len)
        };
        let needed = self.bytes(capacity) + margin;
        self.clock += 1;
        self.kept[index].used = self.clock;
        let beside = self.bytes_running() + held + needed <= self.options.kv_bytes;
        if lost > LOST && beside {
            // It is used most recently, so it stays.
            let used = self.kept[index].used;
            self.free(needed);
            let kept = self.kept.iter().find(|kept| kept.used == used)?;
            return kept.session.copy(len, capacity).ok();
        }
        if self.bytes_running() + needed > self.options.kv_bytes {
            return None;
        }
        let mut session = self.kept.swap_remove(index).session;
        session.truncate(len);
        session.shrink();
        // Its own bytes are no longer counted: all that it will have must fit.
        self.free(needed);
        session.reserve(capacity).ok()?;
        Some(session)
    }

    /// Keeps what a text has read for later ones.
    pub(super) fn keep(&mut self, tokens: Vec<u32>, mut session: Session) {
        if session.len() < SHORTEST_PREFIX {
            return;
        }
        session.shrink();
        let mut tokens = tokens;
        tokens.truncate(session.len());
        self.clock += 1;
        let used = self.clock;
        // What it goes on from is in it, and perhaps it is in another.
        self.kept.retain(|kept| !tokens.starts_with(&kept.tokens));
        let mut others = self.kept.iter_mut();
        if let Some(other) = others.find(|kept| kept.tokens.starts_with(&tokens)) {
            other.used = used;
            return;
        }
        if self.kept.len() >= MOST_KEPT {
            let oldest = self
                .kept
                .iter()
                .enumerate()
                .min_by_key(|(_, kept)| kept.used);
            if let Some((oldest, _)) = oldest {
                self.kept.swap_remove(oldest);
            }
        }
        self.kept.push(Kept {
            tokens,
            session,
            used,
        });
    }
}
