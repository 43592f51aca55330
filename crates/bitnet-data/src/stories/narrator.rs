//! How a story is worded: names or pronouns, "the red key" or "it", "by the river" or "there".
//!
//! A short form is used only where a reader can resolve it by one rule each:
//!
//! - "he" and "she" are the person of that pronoun named last, and only if the sentence before mentioned them;
//! - "it" is the thing mentioned last;
//! - "there" is the place mentioned last.

use super::words::{LEADS, Person, Place, Thing};
use crate::rng::Rng;

/// The text so far, and what its short forms refer to.
#[derive(Default)]
pub(super) struct Narrator {
    pub(super) text: String,
    named: Vec<Person>,
    /// Who the sentence before mentioned, and who this one has mentioned so far.
    before: Vec<Person>,
    now: Vec<Person>,
    thing: Option<Thing>,
    place: Option<Place>,
}

impl Narrator {
    /// A person by name.
    pub(super) fn name(&mut self, person: Person) -> &'static str {
        self.named.push(person);
        self.now.push(person);
        person.name
    }

    /// A person as the subject: by name, or every other time by pronoun where that is clear.
    pub(super) fn subject(&mut self, rng: &mut Rng, person: Person) -> &'static str {
        let last = self
            .named
            .iter()
            .rev()
            .find(|named| named.pronoun == person.pronoun);
        if last == Some(&person) && self.before.contains(&person) && rng.one_in(2) {
            self.now.push(person);
            return person.pronoun;
        }
        self.name(person)
    }

    /// A thing that is new to the story.
    pub(super) fn new_thing(&mut self, thing: Thing) -> String {
        self.thing = Some(thing);
        format!("a {} {}", thing.adjective, thing.noun)
    }

    /// A thing by its full description.
    pub(super) fn full_thing(&mut self, thing: Thing) -> String {
        self.thing = Some(thing);
        format!("the {} {}", thing.adjective, thing.noun)
    }

    /// A known thing, as "it" most of the time where that is clear.
    pub(super) fn thing(&mut self, rng: &mut Rng, thing: Thing) -> String {
        if self.thing == Some(thing) && !rng.one_in(3) {
            return "it".to_owned();
        }
        self.full_thing(thing)
    }

    /// Being at a place, as "there" every other time where that is clear.
    pub(super) fn at(&mut self, rng: &mut Rng, place: Place) -> String {
        if self.place == Some(place) && rng.one_in(2) {
            return "there".to_owned();
        }
        self.full_place(place)
    }

    /// Being at a place, by name.
    pub(super) fn full_place(&mut self, place: Place) -> String {
        self.place = Some(place);
        format!("{} the {}", place.at, place.noun)
    }

    /// Going to a place.
    pub(super) fn to(&mut self, place: Place) -> String {
        self.place = Some(place);
        format!("to the {}", place.noun)
    }

    /// Adds a sentence that tells what happened next, one time in three with a word that says so.
    pub(super) fn then(&mut self, rng: &mut Rng, sentence: &str) {
        match rng.one_in(3) {
            true => self.say(&format!("{} {sentence}", rng.pick(&LEADS))),
            false => self.say(sentence),
        }
    }

    /// Adds a sentence; its first letter becomes a capital and a full stop is set.
    pub(super) fn say(&mut self, sentence: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(&capitalised(sentence));
        self.text.push('.');
        self.before = std::mem::take(&mut self.now);
    }
}

/// The same words with a capital first letter.
pub(super) fn capitalised(words: &str) -> String {
    let mut chars = words.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(chars)
        .collect()
}
