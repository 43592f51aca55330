//! The stories read back: an independent reader of the sentences that checks every answer.
//!
//! It knows the words and the three rules for short forms, and nothing of how stories are made.

use std::collections::HashMap;

use super::words::{GIVING, HIDING, LEADS, LOSING, PEOPLE, PLACES, TIMES};
use super::{ProbeKind, generate, probes};

/// What a reader remembers; people, things and places are their words, as in "Mia", "red key" and "by the river".
#[derive(Default)]
struct Reader {
    last_named: HashMap<&'static str, String>,
    last_thing: String,
    last_place: String,
    holder: HashMap<String, String>,
    lies: HashMap<String, String>,
    /// "gave the red key to Tom" to everyone who did so.
    doers: HashMap<String, Vec<String>>,
}

impl Reader {
    /// The person meant by a name or a pronoun.
    fn person(&mut self, word: &str) -> String {
        let lower = word.to_lowercase();
        if lower == "he" || lower == "she" {
            return self.last_named[lower.as_str()].clone();
        }
        let person = PEOPLE
            .iter()
            .find(|person| person.name == word)
            .unwrap_or_else(|| panic!("no name: {word}"));
        self.last_named.insert(person.pronoun, word.to_owned());
        word.to_owned()
    }

    /// Takes a thing off the front of the words.
    fn thing(&mut self, words: &mut &[&str]) -> String {
        match **words {
            ["it", ..] => *words = &words[1..],
            ["a" | "the", adjective, noun, ..] => {
                *words = &words[3..];
                self.last_thing = format!("{adjective} {noun}");
            }
            _ => panic!("no thing: {words:?}"),
        }
        self.last_thing.clone()
    }

    fn place(&mut self, words: &[&str]) -> String {
        if words != ["there"] {
            self.last_place = words.join(" ");
            assert!(
                PLACES
                    .iter()
                    .any(|place| format!("{} the {}", place.at, place.noun) == self.last_place)
            );
        }
        self.last_place.clone()
    }

    fn walk(&mut self, noun: &str) {
        let place = PLACES.iter().find(|place| place.noun == noun).unwrap();
        self.last_place = format!("{} the {noun}", place.at);
    }

    fn read(&mut self, sentence: &str) {
        let start = TIMES
            .iter()
            .chain(&LEADS)
            .find_map(|lead| sentence.strip_prefix(&format!("{lead} ")));
        let words: Vec<&str> = start.unwrap_or(sentence).split(' ').collect();
        if words[0] == "Now" {
            return self.check_recap(&words[1..]);
        }
        let who = self.person(words[0]);
        let mut rest = &words[1..];
        if let [_, "to", "the", noun, "and", ..] = *rest {
            self.walk(noun);
            rest = &rest[5..];
        }
        let verb = rest[0];
        let mut rest = &rest[1..];
        if verb == "had" {
            let thing = self.thing(&mut rest);
            self.holder.insert(thing, who);
        } else if verb == "found" {
            let thing = self.thing(&mut rest);
            let place = self.place(rest);
            if let Some(lay) = self.lies.remove(&thing) {
                assert_eq!(lay, place, "found where it lay");
            }
            assert!(
                !self.holder.contains_key(&thing),
                "found, though someone has it"
            );
            self.did(&who, format!("found the {thing}"));
            self.holder.insert(thing, who);
        } else if GIVING.contains(&verb) {
            let thing = self.thing(&mut rest);
            assert_eq!(self.holder[&thing], who, "only the holder can give");
            let receiver = self.person(rest[1]);
            assert_ne!(receiver, who);
            self.did(&who, format!("{verb} the {thing} to {receiver}"));
            self.holder.insert(thing, receiver);
        } else if LOSING.contains(&verb) || HIDING.contains(&verb) {
            let thing = self.thing(&mut rest);
            assert_eq!(
                self.holder.remove(&thing).as_ref(),
                Some(&who),
                "only the holder can put down"
            );
            let place = self.place(rest);
            self.did(&who, format!("{verb} the {thing}"));
            self.lies.insert(thing, place);
        } else if let ["to", "the", noun] = *rest {
            self.walk(noun);
        } else {
            let moods = super::words::JOY.iter().chain(&super::words::GRIEF);
            assert!(
                moods.clone().any(|mood| *mood == words[1..].join(" ")),
                "{sentence}"
            );
        }
    }

    fn did(&mut self, who: &str, what: String) {
        self.doers.entry(what).or_default().push(who.to_owned());
    }

    fn check_recap(&mut self, words: &[&str]) {
        match *words {
            [name, "has", "the", adjective, noun] => {
                assert_eq!(self.holder[&format!("{adjective} {noun}")], name)
            }
            ["the", adjective, noun, "is", ..] => {
                assert_eq!(
                    self.lies[&format!("{adjective} {noun}")],
                    words[4..].join(" ")
                );
            }
            _ => panic!("no recap: {words:?}"),
        }
    }

    fn answer(&self, question: &str) -> String {
        if let Some(thing) = question.strip_prefix("Who has the ") {
            return self.holder[thing].clone();
        }
        if let Some(thing) = question.strip_prefix("Where is the ") {
            let place = &self.lies[thing];
            return place[..1].to_uppercase() + &place[1..];
        }
        let doers = &self.doers[question.strip_prefix("Who ").unwrap()];
        assert!(
            doers.iter().all(|doer| *doer == doers[0]),
            "more than one answer: {question}"
        );
        doers[0].clone()
    }
}

fn check(prompt: &str, answer: &str) {
    let mut reader = Reader::default();
    let (body, question) = prompt.strip_suffix('?').unwrap().rsplit_once(". ").unwrap();
    for sentence in body.split(". ") {
        reader.read(sentence);
    }
    assert_eq!(reader.answer(question), answer, "{prompt}");
}

#[test]
fn every_story_is_consistent_and_its_answer_follows() {
    let text = generate(11, 400_000);
    let stories = text
        .lines()
        .filter_map(|line| line.strip_suffix('.')?.split_once("? "));
    let mut count = 0;
    for (prompt, answer) in stories {
        check(&format!("{prompt}?"), answer);
        count += 1;
    }
    assert!(count > 1500, "{count}");
}

#[test]
fn every_story_probe_has_the_right_answer() {
    for probe in probes(12, 1000)
        .iter()
        .filter(|probe| probe.kind == ProbeKind::Story)
    {
        let answer = probe
            .answer
            .strip_prefix(' ')
            .and_then(|answer| answer.strip_suffix('.'))
            .unwrap();
        check(probe.prompt.strip_prefix('\n').unwrap(), answer);
    }
}

#[test]
fn neighbouring_stories_have_different_heroes() {
    let text = generate(2, 200_000);
    let hero = |line: &str| {
        PEOPLE
            .iter()
            .map(|person| person.name)
            .min_by_key(|name| line.find(name).unwrap_or(usize::MAX))
    };
    let heroes: Vec<_> = text
        .lines()
        .filter(|line| line.contains('?'))
        .map(hero)
        .collect();
    assert!(heroes.windows(2).all(|pair| pair[0] != pair[1]));
}
