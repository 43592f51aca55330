//! Tokens by their logits, in order as far as needed.

/// Tokens from the likeliest to the least likely, equal ones by id so that a seed gives the same text everywhere. They are
/// put in order as far as somebody asks: a draw rarely goes far into a large vocabulary.
pub(crate) struct Ranked<'a> {
    logits: &'a [f32],
    temperature: f64,
    ids: Vec<u32>,
    /// So many are in order, and likelier than the rest.
    ordered: usize,
}

impl<'a> Ranked<'a> {
    pub(crate) fn new(logits: &'a [f32], temperature: f32) -> Self {
        let ids = 0..logits.len() as u32;
        Ranked {
            logits,
            temperature: f64::from(temperature),
            ids: ids.filter(|id| !logits[*id as usize].is_nan()).collect(),
            ordered: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Keeps the likeliest.
    pub(crate) fn truncate(&mut self, count: usize) {
        if count < self.len() {
            self.order(count);
            self.ids.truncate(count);
            self.ordered = count;
        }
    }

    fn order(&mut self, count: usize) {
        let logit = |id: u32| self.logits[id as usize];
        let by_rank = |a: &u32, b: &u32| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
        let rest = &mut self.ids[self.ordered..];
        let count = count.min(rest.len() + self.ordered) - self.ordered;
        if count < rest.len() {
            rest.select_nth_unstable_by(count, by_rank);
        }
        rest[..count].sort_unstable_by(by_rank);
        self.ordered += count;
    }

    pub(crate) fn likeliest(&mut self) -> Option<(u32, f32)> {
        if self.ids.is_empty() {
            return None;
        }
        self.order_to(0);
        Some((self.ids[0], self.logits[self.ids[0] as usize]))
    }

    fn order_to(&mut self, rank: usize) {
        const AT_FIRST: usize = 64;
        while rank >= self.ordered {
            self.order((4 * self.ordered).max(AT_FIRST));
        }
    }

    /// A token and its weight, relative to the likeliest one's, which is 1.
    pub(crate) fn at(&mut self, rank: usize) -> (u32, f64) {
        self.order_to(rank);
        let id = self.ids[rank];
        (id, self.weight(id))
    }

    fn weight(&self, id: u32) -> f64 {
        let top = self.logits[self.ids[0] as usize];
        (f64::from(self.logits[id as usize] - top) / self.temperature).exp()
    }

    /// The weights of the likeliest.
    pub(crate) fn sum(&mut self, count: usize) -> f64 {
        (0..count).map(|rank| self.at(rank).1).sum()
    }

    /// The weights of all.
    pub(crate) fn total(&self) -> f64 {
        self.ids.iter().map(|id| self.weight(*id)).sum()
    }
}
