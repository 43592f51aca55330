//! The words of the language.
//!
//! Adjectives start with a consonant, so that "a" is always right; names have one form of pronoun each.

/// Someone in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: &'static str,
    /// "she" or "he".
    pub(super) pronoun: &'static str,
}

/// Somewhere a thing can be found or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The preposition for being there.
    pub(super) at: &'static str,
    pub(super) noun: &'static str,
}

/// Something that can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) adjective: &'static str,
    pub(super) noun: &'static str,
}

const fn she(name: &'static str) -> Person {
    Person {
        name,
        pronoun: "she",
    }
}

const fn he(name: &'static str) -> Person {
    Person {
        name,
        pronoun: "he",
    }
}

const fn place(at: &'static str, noun: &'static str) -> Place {
    Place { at, noun }
}

pub(super) const PEOPLE: [Person; 24] = [
    she("Anna"),
    she("Clara"),
    she("Ella"),
    she("Ida"),
    she("Jane"),
    she("Lily"),
    she("Mia"),
    she("Nora"),
    she("Rosa"),
    she("Ruth"),
    she("Vera"),
    she("Zoe"),
    he("Ben"),
    he("Dan"),
    he("Erik"),
    he("Finn"),
    he("Hugo"),
    he("Jack"),
    he("Leo"),
    he("Max"),
    he("Otto"),
    he("Paul"),
    he("Sam"),
    he("Tom"),
];

pub(super) const ADJECTIVES: [&str; 12] = [
    "red", "blue", "green", "yellow", "white", "black", "brown", "golden", "silver", "tiny",
    "shiny", "round",
];

pub(super) const NOUNS: [&str; 16] = [
    "key", "ball", "book", "cup", "hat", "kite", "lamp", "map", "ring", "shell", "stone", "drum",
    "flute", "coin", "bell", "box",
];

pub(super) const PLACES: [Place; 12] = [
    place("in", "garden"),
    place("in", "kitchen"),
    place("in", "barn"),
    place("in", "forest"),
    place("by", "river"),
    place("by", "lake"),
    place("by", "well"),
    place("at", "market"),
    place("at", "school"),
    place("under", "bridge"),
    place("on", "hill"),
    place("on", "beach"),
];

/// How a story begins.
pub(super) const TIMES: [&str; 8] = [
    "One day",
    "One morning",
    "One evening",
    "Early one day",
    "After lunch",
    "On Sunday",
    "Last summer",
    "In winter",
];

/// How a later sentence may begin.
pub(super) const LEADS: [&str; 4] = ["Then", "Later", "Soon", "The next day"];

pub(super) const GIVING: [&str; 3] = ["gave", "handed", "passed"];
pub(super) const LOSING: [&str; 2] = ["lost", "dropped"];
pub(super) const HIDING: [&str; 2] = ["hid", "left"];
pub(super) const WALKING: [&str; 3] = ["went", "walked", "ran"];

/// What people do when they get something, and when they have lost it.
pub(super) const JOY: [&str; 4] = ["smiled", "laughed", "was happy", "sang a song"];
pub(super) const GRIEF: [&str; 4] = ["cried", "was sad", "looked for it all day", "went home"];
