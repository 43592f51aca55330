//! What a classifier has to beat: the commonest class, and the words of a text without their order.

use std::collections::HashMap;

/// The class that most labels are; the first of several.
///
/// # Panics
/// If a label is not below `classes`.
pub fn majority(labels: &[usize], classes: usize) -> usize {
    let mut counts = vec![0usize; classes];
    for label in labels {
        counts[*label] += 1;
    }
    let mut most = 0;
    for (class, count) in counts.iter().enumerate() {
        if *count > counts[most] {
            most = class;
        }
    }
    most
}

/// Multinomial naive Bayes over a bag of words, with add-one (Laplace) smoothing:
///
/// ```text
/// class(text) = argmax_c  ln P(c) + Σ_w n_w · ln P(w | c)
/// P(c)     = texts of class c / texts
/// P(w | c) = (N_cw + 1) / (N_c + V)
/// ```
///
/// `n_w` is how often the word `w` stands in the text, `N_cw` how often in all training texts of class `c`, `N_c = Σ_w
/// N_cw`, and `V` the number of different words in training; a word that training has not is left out. Words are the
/// longest runs of letters and digits (Unicode), in lower case.
///
/// ```
/// use bitnet_data::NaiveBayes;
///
/// let texts = ["good, very good", "so bad", "a good day"];
/// let model = NaiveBayes::fit(texts.iter().copied().zip([0, 1, 0]), 2);
/// assert_eq!(model.class("Good!"), 0);
/// assert_eq!(model.class("bad, bad, good?"), 1);
/// ```
#[derive(Clone, Debug)]
pub struct NaiveBayes {
    /// `ln P(c)`.
    priors: Vec<f64>,
    /// `ln P(w | c)` of a word, by class.
    words: HashMap<String, Vec<f64>>,
}

impl NaiveBayes {
    /// Counts the words of texts and their classes.
    ///
    /// # Panics
    /// If a class is not below `classes`.
    pub fn fit<'a>(examples: impl Iterator<Item = (&'a str, usize)>, classes: usize) -> Self {
        let (mut texts, mut totals) = (vec![0u64; classes], vec![0u64; classes]);
        let mut counts: HashMap<String, Vec<u64>> = HashMap::new();
        for (text, class) in examples {
            texts[class] += 1;
            for word in words(text) {
                totals[class] += 1;
                counts.entry(word).or_insert_with(|| vec![0; classes])[class] += 1;
            }
        }
        let (all, different) = (texts.iter().sum::<u64>(), counts.len() as u64);
        let smoothed = |counts: Vec<u64>| {
            let shares = counts.iter().zip(&totals);
            shares
                .map(|(count, total)| ((count + 1) as f64 / (total + different) as f64).ln())
                .collect()
        };
        Self {
            priors: (texts.iter())
                .map(|count| (*count as f64 / all.max(1) as f64).ln())
                .collect(),
            words: (counts.into_iter())
                .map(|(word, counts)| (word, smoothed(counts)))
                .collect(),
        }
    }

    /// The likeliest class of a text; the first of several.
    pub fn class(&self, text: &str) -> usize {
        let mut scores = self.priors.clone();
        for shares in words(text).filter_map(|word| self.words.get(&word)) {
            for (score, share) in scores.iter_mut().zip(shares) {
                *score += share;
            }
        }
        let mut best = 0;
        for (class, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = class;
            }
        }
        best
    }
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_is_the_first_of_the_commonest() {
        assert_eq!(majority(&[2, 1, 2, 1, 0], 3), 1);
        assert_eq!(majority(&[], 3), 0);
    }

    /// "Introduction to Information Retrieval" (Manning, Raghavan, Schütze), example 13.1: P(c) = 3/4, P(Chinese | c) = 3/7,
    /// P(Tokyo | c) = P(Japan | c) = 1/14; of the other class 1/4, 2/9, 2/9; the scores are 0.0003 and 0.0001.
    #[test]
    fn the_probabilities_are_those_of_the_textbook() {
        let texts = [
            ("Chinese Beijing Chinese", 0),
            ("Chinese Chinese Shanghai", 0),
            ("Chinese Macao", 0),
            ("Tokyo Japan Chinese", 1),
        ];
        let model = NaiveBayes::fit(texts.into_iter(), 2);
        let near = |a: f64, b: f64| assert!((a.exp() - b).abs() < 1e-12, "{} {b}", a.exp());
        near(model.priors[0], 0.75);
        for (word, shares) in [
            ("chinese", [3.0 / 7.0, 2.0 / 9.0]),
            ("tokyo", [1.0 / 14.0, 2.0 / 9.0]),
            ("japan", [1.0 / 14.0, 2.0 / 9.0]),
        ] {
            near(model.words[word][0], shares[0]);
            near(model.words[word][1], shares[1]);
        }
        assert_eq!(model.class("Chinese Chinese Chinese Tokyo Japan"), 0);
        assert_eq!(model.class("Tokyo, Japan: never heard of"), 1);
        assert_eq!(model.class("nothing known"), 0);
    }
}
