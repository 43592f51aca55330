//! Questions to a trained model whose answers can be scored by exact match.

use super::PROBE_STREAM;
use super::arithmetic::Equation;
use super::plot::Story;
use crate::rng::Rng;

/// What a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// The result of a sum or a difference. There are 462, and a long corpus shows all of them: this is recall.
    Arithmetic,
    /// The answer to the question at the end of a story that the corpus does not contain: this is reading.
    Story,
}

/// A prompt, and the one continuation that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What the probe asks for.
    pub kind: ProbeKind,
    /// Starts with a newline, since every item of the corpus follows one: without it "7 + 5 =" could be the end of
    /// "17 + 5 =". A prompt longer than the context is to be cut on the left.
    pub prompt: String,
    /// Starts with a space and ends with a full stop, so that a longer name or number is not taken for a shorter one.
    pub answer: String,
}

impl Probe {
    /// Whether a continuation of the prompt begins with the answer.
    pub fn is_answered_by(&self, continuation: &str) -> bool {
        continuation.starts_with(&self.answer)
    }
}

/// `n` probes that depend on `seed` only: stories and equations in turn.
///
/// With the seed of the corpus or any other, the stories are drawn afresh from the same grammar, and among so many are
/// as good as never in the corpus. Unlike some in the corpus, they never close with a recap ("Now Tom has the red
/// key."). To judge a score: the person named last is the answer of fewer than half of the story probes.
pub fn probes(seed: u64, n: usize) -> Vec<Probe> {
    let mut rng = Rng::new(seed, PROBE_STREAM);
    (0..n)
        .map(|index| match index % 2 {
            0 => story(&mut rng),
            _ => equation(&mut rng),
        })
        .collect()
}

fn story(rng: &mut Rng) -> Probe {
    loop {
        let story = Story::tell(rng, None);
        if !story.recap {
            let (prompt, answer) = (
                format!("\n{}", story.prompt()),
                format!(" {}", story.answer),
            );
            return Probe {
                kind: ProbeKind::Story,
                prompt,
                answer,
            };
        }
    }
}

fn equation(rng: &mut Rng) -> Probe {
    let Equation { left, result } = Equation::draw(rng);
    Probe {
        kind: ProbeKind::Arithmetic,
        prompt: format!("\n{left}"),
        answer: format!(" {result}."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stories::generate;
    use crate::stories::words::PEOPLE;

    #[test]
    fn probes_repeat_for_a_seed_and_alternate() {
        let first = probes(4, 10);
        assert_eq!(first[..], probes(4, 12)[..10]);
        assert_ne!(first, probes(5, 10));
        assert!(
            first
                .iter()
                .step_by(2)
                .all(|probe| probe.kind == ProbeKind::Story && probe.prompt.ends_with('?'))
        );
        assert!(
            first
                .iter()
                .skip(1)
                .step_by(2)
                .all(|probe| probe.kind == ProbeKind::Arithmetic)
        );
    }

    #[test]
    fn story_probes_are_not_in_the_corpus() {
        let text = generate(0, 1_000_000);
        let told: HashSet<&str> = text
            .lines()
            .filter_map(|line| line.split_inclusive('?').next())
            .collect();
        for probe in probes(0, 400).iter().step_by(2) {
            assert!(
                !told.contains(probe.prompt.trim_start()),
                "{}",
                probe.prompt
            );
        }
    }

    #[test]
    fn guessing_the_last_name_answers_fewer_than_half_of_the_stories() {
        let stories: Vec<Probe> = probes(0, 4000).into_iter().step_by(2).collect();
        let last_name = |prompt: &str| {
            PEOPLE
                .iter()
                .map(|person| person.name)
                .max_by_key(|name| prompt.rfind(name))
        };
        let guess = |probe: &&Probe| {
            last_name(&probe.prompt).is_some_and(|name| probe.answer == format!(" {name}."))
        };
        let right = stories.iter().filter(guess).count();
        assert!((600..1000).contains(&right), "{right} of {}", stories.len());
    }

    #[test]
    fn an_answer_counts_only_in_full() {
        let probe = Probe {
            kind: ProbeKind::Arithmetic,
            prompt: "\n1 + 1 =".into(),
            answer: " 2.".into(),
        };
        assert!(probe.is_answered_by(" 2.\n3"));
        assert!(!probe.is_answered_by(" 20."));
        assert!(!probe.is_answered_by(" 2"));
    }
}
