//! What happens in a story, and the question it ends with.
//!
//! The world of a story is three people and one or two things. A thing is held by someone or lies somewhere; each event
//! moves one thing according to where it is, and leaves a deed behind: who did what. The question is about the end of
//! the story, or about a deed that only one person did.

use super::narrator::{Narrator, capitalised};
use super::words::{
    ADJECTIVES, GIVING, GRIEF, HIDING, JOY, LOSING, NOUNS, PEOPLE, PLACES, Person, Place, TIMES,
    Thing, WALKING,
};
use crate::rng::Rng;

/// A finished story.
pub(super) struct Story {
    pub(super) hero: Person,
    /// The sentences before the question.
    body: String,
    /// "Who has the red key?"
    question: String,
    /// "Tom."
    pub(super) answer: String,
    /// Whether the body ends by stating where a thing is, which may give the answer away.
    pub(super) recap: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Whereabouts {
    With(Person),
    /// Where it lies, and who put it there.
    At(Place, Person),
}

/// Who did what, as in "Who `lost the red key`?"
#[derive(PartialEq)]
struct Deed {
    who: Person,
    what: String,
}

struct Plot<'a> {
    rng: &'a mut Rng,
    narrator: Narrator,
    cast: [Person; 3],
    things: Vec<(Thing, Whereabouts)>,
    deeds: Vec<Deed>,
}

impl Story {
    /// Tells a story whose hero is not the hero of the story before.
    pub(super) fn tell(rng: &mut Rng, last_hero: Option<Person>) -> Self {
        let cast = draw_cast(rng, last_hero);
        let mut plot = Plot {
            rng,
            narrator: Narrator::default(),
            cast,
            things: Vec::new(),
            deeds: Vec::new(),
        };
        plot.opening();
        let events = match plot.rng.one_in(3) {
            true => 2 + plot.rng.below(2),
            false => {
                plot.second_thing();
                1 + plot.rng.below(3)
            }
        };
        for _ in 0..events {
            plot.event();
        }
        let recap = plot.rng.one_in(6);
        if recap {
            plot.recap();
        }
        let (question, answer) = plot.question();
        Self {
            hero: cast[0],
            body: plot.narrator.text,
            question,
            answer,
            recap,
        }
    }

    /// Everything up to the question mark.
    pub(super) fn prompt(&self) -> String {
        format!("{} {}", self.body, self.question)
    }

    /// The story with question and answer, on one line.
    pub(super) fn full_text(&self) -> String {
        format!("{} {} {}", self.body, self.question, self.answer)
    }
}

/// Three different people, the first of whom is not `avoid`.
fn draw_cast(rng: &mut Rng, avoid: Option<Person>) -> [Person; 3] {
    loop {
        let cast = [(); 3].map(|()| rng.pick(&PEOPLE));
        if cast[0] != cast[1] && cast[0] != cast[2] && cast[1] != cast[2] && Some(cast[0]) != avoid
        {
            return cast;
        }
    }
}

impl Plot<'_> {
    /// "One morning Mia found a red key by the river."
    fn opening(&mut self) {
        let hero = self.cast[0];
        let thing = self.draw_thing();
        let time = self.rng.pick(&TIMES);
        let place = self.rng.pick(&PLACES);
        let (name, what) = (self.narrator.name(hero), self.narrator.new_thing(thing));
        let at = self.narrator.full_place(place);
        self.narrator
            .say(&format!("{time} {name} found {what} {at}"));
        self.things.push((thing, Whereabouts::With(hero)));
        self.did(hero, "found", thing, "");
    }

    /// "Tom had a blue hat."
    fn second_thing(&mut self) {
        let (owner, thing) = (self.cast[1], self.draw_thing());
        let (name, what) = (self.narrator.name(owner), self.narrator.new_thing(thing));
        self.narrator.say(&format!("{name} had {what}"));
        self.things.push((thing, Whereabouts::With(owner)));
    }

    /// Something happens to one of the things.
    fn event(&mut self) {
        let index = self.rng.below(self.things.len());
        let (thing, whereabouts) = self.things[index];
        self.things[index].1 = match whereabouts {
            Whereabouts::At(place, owner) => self.find(thing, place, owner),
            Whereabouts::With(holder) if self.rng.one_in(2) => self.give(thing, holder),
            Whereabouts::With(holder) => self.put_down(thing, holder),
        };
    }

    /// "Ben found it there." or "Ben went to the river and found it there."
    fn find(&mut self, thing: Thing, place: Place, owner: Person) -> Whereabouts {
        let finder = self.someone_else(owner);
        let who = self.narrator.subject(self.rng, finder);
        let went = self.rng.one_in(3).then(|| self.rng.pick(&WALKING));
        let to = went.map(|went| format!("{went} {} and ", self.narrator.to(place)));
        let what = self.narrator.thing(self.rng, thing);
        let at = match to {
            Some(_) => "there".to_owned(),
            None => self.narrator.at(self.rng, place),
        };
        let to = to.unwrap_or_default();
        self.narrator
            .then(self.rng, &format!("{who} {to}found {what} {at}"));
        self.did(finder, "found", thing, "");
        self.mood(finder, &JOY);
        Whereabouts::With(finder)
    }

    /// "She gave it to Tom."
    fn give(&mut self, thing: Thing, giver: Person) -> Whereabouts {
        let receiver = self.someone_else(giver);
        let verb = self.rng.pick(&GIVING);
        let who = self.narrator.subject(self.rng, giver);
        let what = self.narrator.thing(self.rng, thing);
        let to = format!(" to {}", self.narrator.name(receiver));
        self.narrator
            .then(self.rng, &format!("{who} {verb} {what}{to}"));
        self.did(giver, verb, thing, &to);
        self.mood(receiver, &JOY);
        Whereabouts::With(receiver)
    }

    /// "Tom walked to the market. He lost the red key there." or "Tom hid it under the bridge."
    fn put_down(&mut self, thing: Thing, holder: Person) -> Whereabouts {
        let place = self.rng.pick(&PLACES);
        let on_purpose = self.rng.one_in(2);
        let verb = self.rng.pick(if on_purpose { &HIDING } else { &LOSING });
        if self.rng.one_in(3) {
            let walking = self.rng.pick(&WALKING);
            let (who, to) = (
                self.narrator.subject(self.rng, holder),
                self.narrator.to(place),
            );
            self.narrator
                .then(self.rng, &format!("{who} {walking} {to}"));
        }
        let who = self.narrator.subject(self.rng, holder);
        let what = self.narrator.thing(self.rng, thing);
        let at = self.narrator.at(self.rng, place);
        self.narrator
            .then(self.rng, &format!("{who} {verb} {what} {at}"));
        self.did(holder, verb, thing, "");
        if !on_purpose {
            self.mood(holder, &GRIEF);
        }
        Whereabouts::At(place, holder)
    }

    /// One time in three: "He smiled."
    fn mood(&mut self, person: Person, moods: &[&'static str; 4]) {
        if self.rng.one_in(3) {
            let mood = self.rng.pick(moods);
            let who = self.narrator.subject(self.rng, person);
            self.narrator.say(&format!("{who} {mood}"));
        }
    }

    /// "Now Tom has the red key." or "Now the red key is by the river."
    fn recap(&mut self) {
        let (thing, whereabouts) = self.things[self.rng.below(self.things.len())];
        let what = self.narrator.full_thing(thing);
        let sentence = match whereabouts {
            Whereabouts::With(person) => format!("now {} has {what}", self.narrator.name(person)),
            Whereabouts::At(place, _) => {
                format!("now {what} is {}", self.narrator.full_place(place))
            }
        };
        self.narrator.say(&sentence);
    }

    /// A question with exactly one answer, and the answer.
    ///
    /// Two times in three it is about where a thing is now, else about a deed.
    fn question(&mut self) -> (String, String) {
        let unique = |deed: &&Deed| {
            self.deeds
                .iter()
                .all(|other| other.what != deed.what || other.who == deed.who)
        };
        let deeds: Vec<&Deed> = self.deeds.iter().filter(unique).collect();
        if !deeds.is_empty() && self.rng.one_in(3) {
            let deed = deeds[self.rng.below(deeds.len())];
            return (format!("Who {}?", deed.what), format!("{}.", deed.who.name));
        }
        let (thing, whereabouts) = self.things[self.rng.below(self.things.len())];
        let what = self.narrator.full_thing(thing);
        match whereabouts {
            Whereabouts::With(person) => (format!("Who has {what}?"), format!("{}.", person.name)),
            Whereabouts::At(place, _) => {
                let at = capitalised(&self.narrator.full_place(place));
                (format!("Where is {what}?"), format!("{at}."))
            }
        }
    }

    fn did(&mut self, who: Person, verb: &str, thing: Thing, to: &str) {
        self.deeds.push(Deed {
            who,
            what: format!("{verb} the {} {}{to}", thing.adjective, thing.noun),
        });
    }

    /// A thing that is not in the story yet.
    fn draw_thing(&mut self) -> Thing {
        loop {
            let thing = Thing {
                adjective: self.rng.pick(&ADJECTIVES),
                noun: self.rng.pick(&NOUNS),
            };
            if self.things.iter().all(|(known, _)| *known != thing) {
                return thing;
            }
        }
    }

    fn someone_else(&mut self, person: Person) -> Person {
        loop {
            let other = self.rng.pick(&self.cast);
            if other != person {
                return other;
            }
        }
    }
}
