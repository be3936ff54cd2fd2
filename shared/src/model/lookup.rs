//! How `demo/scripted-lookup` answers: with the sentence of its instructions that has most of the question's rare words. What is in no sentence
//! it cannot know, and of sentences alike it may take the wrong one: so it is right or wrong by what an agent's system prompt says.

use std::collections::{BTreeMap, BTreeSet};

/// A sentence answers when it has at least one of so many parts of what the question's words weigh together.
const PART: u32 = 3;

/// The sentence that answers the question, the first of equals; `None` when there is none.
///
/// A word of the question weighs log2((sentences + 1) ÷ those that have it), rounded down: nothing when nearly all have it, and most when one
/// has it or none. A sentence weighs what the words weigh that both have, and answers when that is a third of what the whole question weighs.
/// Words are runs of letters and digits, in upper or lower case; sentences end with their line, or with `.`, `!` or `?` before white space.
pub(super) fn answer<'a>(instructions: &'a str, question: &str) -> Option<&'a str> {
    let asked: BTreeSet<String> = words(question).collect();
    let sentences: Vec<(&str, BTreeSet<String>)> = sentences(instructions)
        .map(|sentence| (sentence, words(sentence).filter(|word| asked.contains(word)).collect()))
        .collect();
    let weights = weights(&asked, &sentences);
    let weight = |words: &BTreeSet<String>| {
        words
            .iter()
            .filter_map(|word| weights.get(word.as_str()))
            .fold(0_u32, |sum, weight| sum.saturating_add(*weight))
    };
    let weighed = sentences.iter().map(|(sentence, shared)| (*sentence, weight(shared)));
    // Of equals, `max_by_key` takes the last.
    let (sentence, most) = weighed.rev().max_by_key(|(_, weight)| *weight)?;
    (most > 0 && most.saturating_mul(PART) >= weight(&asked)).then_some(sentence)
}

/// What each word of the question weighs.
fn weights<'a>(asked: &'a BTreeSet<String>, sentences: &[(&str, BTreeSet<String>)]) -> BTreeMap<&'a str, u32> {
    let mut having: BTreeMap<&str, usize> = BTreeMap::new();
    for word in sentences.iter().flat_map(|(_, shared)| shared) {
        let count = having.entry(word).or_default();
        *count = count.saturating_add(1);
    }
    let all = sentences.len().saturating_add(1);
    let weight = |word: &str| {
        let share = all.checked_div(having.get(word).copied().unwrap_or(1));
        share.and_then(usize::checked_ilog2).unwrap_or(0)
    };
    asked.iter().map(|word| (word.as_str(), weight(word))).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(sentences_of_line).map(str::trim).filter(|sentence| !sentence.is_empty())
}

/// The sentences of a line, each with its end.
fn sentences_of_line(line: &str) -> impl Iterator<Item = &str> {
    let mut ended = false;
    // A split at white space behind an end: `ended` says whether the character before was one.
    line.split_inclusive(move |c: char| {
        let splits = ended && c.is_whitespace();
        ended = matches!(c, '.' | '!' | '?');
        splits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTES: &str = "These are notes. The capital of Canada is Ottawa, and its largest city is Toronto.\n\n\
        The capital of Norway is Oslo! Absolute zero is -273.15 degrees.\nThe largest planet is Jupiter.\n\
        THE LARGEST OCEAN is the Pacific.";

    #[test]
    fn it_takes_the_sentence_with_most_of_the_rare_words() {
        for (question, expected) in [
            ("What is the capital of Norway?", Some("The capital of Norway is Oslo!")),
            (
                "what is the CAPITAL of canada",
                Some("The capital of Canada is Ottawa, and its largest city is Toronto."),
            ),
            ("Which is the largest planet?", Some("The largest planet is Jupiter.")),
            ("Which is the largest ocean?", Some("THE LARGEST OCEAN is the Pacific.")),
            ("How many degrees is absolute zero?", Some("Absolute zero is -273.15 degrees.")),
            // It knows of no such capital, and takes the first of two that look alike.
            ("What is the capital of Chad?", Some("The capital of Canada is Ottawa, and its largest city is Toronto.")),
            ("Who wrote the play Hamlet, and in which year?", None),
            ("?", None),
            ("", None),
        ] {
            assert_eq!(answer(NOTES, question), expected, "{question}");
        }
        assert_eq!(answer("", "What is the capital of Norway?"), None);
    }

    #[test]
    fn what_nearly_every_sentence_has_says_nothing() {
        let notes = "Ann is the cook.\nBob is the smith.\nEve is the judge.";
        assert_eq!(answer(notes, "the is the is"), None);
        assert_eq!(answer(notes, "Is Bob the smith?"), Some("Bob is the smith."));
        assert_eq!(answer("Oslo is a city.", "What is Oslo?"), Some("Oslo is a city."), "one sentence is enough");
    }

    #[test]
    fn a_sentence_ends_with_its_line_or_before_white_space() {
        let found: Vec<&str> = sentences(" One.  Two?\tThree 3.14 e.g. x\r\n\nFour!!! Five").collect();
        assert_eq!(found, ["One.", "Two?", "Three 3.14 e.g.", "x", "Four!!!", "Five"]);
    }
}
