//! Conversations to learn from: as the model's template writes them, with its answers marked.
//!
//! What the model is asked to continue when it is used, a prompt that ends where the assistant is to speak, is what stands
//! before each answer here, cut into the same tokens. An answer is what the template makes of it, its end included; what
//! follows its end is read, not learned.

use bitnet_data::{DataError, Dialogue, Source};
use serde::Deserialize;

use crate::{ChatTemplate, Message, Render, TextError, TextModel, model::Rendered};

/// A line of a file: messages, alone or by the name that data sets give them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Named {
        #[serde(alias = "conversation", alias = "conversations")]
        messages: Vec<Message>,
    },
    Bare(Vec<Message>),
}

/// Whose messages are learned.
const ASSISTANT: &str = "assistant";

impl TextModel {
    /// Reads conversations, one a line: `{"messages": [{"role": "user", "content": "…"}, …]}`.
    ///
    /// # Errors
    /// If the model has no chat template, or names the line that is none, has no answer, or is refused by the template.
    pub fn read_dialogues(&self, source: &Source) -> Result<Vec<Dialogue>, TextError> {
        let name = source.path.display().to_string();
        let Some(template) = self.chat_template()? else {
            return Err(TextError::NoTemplate);
        };
        let text = source.text().map_err(run)?;
        let mut all = Vec::new();
        let lines = text.lines().enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let fault = |problem: String| {
                run(DataError::Line {
                    file: name.clone(),
                    line: index + 1,
                    problem,
                })
            };
            let messages = match serde_json::from_str(line) {
                Ok(Line::Named { messages } | Line::Bare(messages)) => messages,
                Err(_) => {
                    return Err(fault(
                        "expected a conversation in JSON: {\"messages\": [{\"role\": \"user\", \"content\": \"…\"}, …]}"
                            .into(),
                    ));
                }
            };
            let dialogues = self.dialogues(&template, &messages);
            all.extend(dialogues.map_err(|error| fault(error.to_string()))?);
        }
        Ok(all)
    }

    /// A conversation with its answers marked. Where the template writes earlier answers otherwise once others follow (as
    /// those do that leave out what a model thought), each answer is a conversation of its own.
    ///
    /// # Errors
    /// If there is no answer, or the template refuses the messages.
    pub fn dialogues(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
    ) -> Result<Vec<Dialogue>, TextError> {
        let is_answer = |index: &usize| messages[*index].role == ASSISTANT;
        let answers: Vec<usize> = (0..messages.len()).filter(is_answer).collect();
        if answers.is_empty() {
            return Err(TextError::NoAnswer);
        }
        let turns: Vec<Turn> = answers
            .iter()
            .map(|index| self.turn(template, messages, *index))
            .collect::<Result<_, _>>()?;
        let whole = &turns[turns.len() - 1].answered;
        let within = |turn: &Turn| {
            turn.answered.mark == whole.mark && whole.text.starts_with(&turn.answered.text)
        };
        if turns.iter().all(within) {
            return Ok(vec![self.marked(whole, &turns)?]);
        }
        let alone = turns.iter().map(|turn| {
            let turns = std::slice::from_ref(turn);
            self.marked(&turn.answered, turns)
        });
        alone.collect()
    }

    /// The answer at `index`: the conversation up to its end, and where it begins.
    fn turn(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        index: usize,
    ) -> Result<Turn, TextError> {
        let prompt = Render {
            add_generation_prompt: true,
            ..Render::default()
        };
        // Broken up alike: a mark is chosen for all messages that are given.
        let asked = self.render(template, &messages[..index], "", &prompt)?;
        let answered = self.render(template, &messages[..=index], "", &Render::default())?;
        let plain = |rendered: &Rendered| match rendered.mark {
            Some(mark) => rendered.text.replace(mark, ""),
            None => rendered.text.clone(),
        };
        let begin = if answered.text.starts_with(&asked.text) {
            asked.text.len()
        } else if plain(&answered).starts_with(&plain(&asked)) {
            // The answer has what looks like a mark, the prompt has not.
            place(&answered, plain(&asked).len())
        } else {
            return Err(TextError::Unfinished);
        };
        Ok(Turn { answered, begin })
    }

    /// The ids of a rendered conversation, cut where its answers begin and end.
    fn marked(&self, whole: &Rendered, turns: &[Turn]) -> Result<Dialogue, TextError> {
        let mut dialogue = Dialogue {
            ids: self.tokenizer.prefix().to_vec(),
            answers: vec![false; self.tokenizer.prefix().len()],
        };
        let mut at = 0;
        for turn in turns {
            let (begin, end) = (turn.begin, turn.answered.text.len());
            let asked = self.encode_between(whole, at..begin)?;
            let both = self.encode_between(whole, at..end)?;
            // A tokenizer that puts a space before every text would put one before the answer, cut alone. One that joins
            // the prompt's end with the answer's begin cuts neither as the model will see it.
            let answer = match both.strip_prefix(&asked[..]) {
                Some(answer) => answer.to_vec(),
                None => self.encode_between(whole, begin..end)?,
            };
            // A template may write the start itself.
            let asked = match at {
                0 => asked
                    .strip_prefix(self.tokenizer.prefix())
                    .unwrap_or(&asked),
                _ => &asked[..],
            };
            dialogue.ids.extend_from_slice(asked);
            dialogue.answers.resize(dialogue.ids.len(), false);
            let ended = answer.iter().position(|id| self.eos.contains(id));
            let learned = ended.map_or(answer.len(), |end| end + 1);
            dialogue.ids.extend_from_slice(&answer);
            let own = dialogue.answers.len() + learned;
            dialogue.answers.resize(own, true);
            dialogue.answers.resize(dialogue.ids.len(), false);
            at = end;
        }
        Ok(dialogue)
    }
}

fn run(error: DataError) -> TextError {
    TextError::Run(Box::new(error))
}

/// An answer in its conversation.
struct Turn {
    /// Up to the answer's end.
    answered: Rendered,
    /// Byte of the answer's begin.
    begin: usize,
}

/// The byte of a text with marks that is byte `plain` of the text without.
fn place(rendered: &Rendered, plain: usize) -> usize {
    let (mut seen, mut last) = (0, 0);
    for (at, c) in rendered.text.char_indices() {
        if seen >= plain {
            return at;
        }
        if Some(c) != rendered.mark {
            seen += c.len_utf8();
        }
        last = at + c.len_utf8();
    }
    last
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Bytes are tokens.
    const TEMPLATE: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }};\n{% endfor %}\
                            {% if add_generation_prompt %}[assistant]{% endif %}";

    fn text() -> (TextModel, ChatTemplate) {
        let mut text = TextModel::from_run(bitnet_data::Tokenizer::Byte);
        text.eos = vec![u32::from(b';')];
        let template = ChatTemplate::new(TEMPLATE, BTreeMap::new()).unwrap();
        (text, template)
    }

    fn learned(text: &TextModel, dialogue: &Dialogue) -> String {
        let own = dialogue.ids.iter().zip(&dialogue.answers);
        let own: Vec<u32> = own.filter(|(_, own)| **own).map(|(id, _)| *id).collect();
        text.tokenizer.decode(&own)
    }

    #[test]
    fn answers_with_their_ends_are_learned_and_nothing_else() {
        let (text, template) = text();
        let messages = [
            Message::new("system", "be brief"),
            Message::new("user", "2+2?"),
            Message::new("assistant", "4"),
            Message::new("user", "sure?"),
            Message::new("assistant", "yes"),
        ];
        let dialogues = text.dialogues(&template, &messages).unwrap();
        assert_eq!(dialogues.len(), 1);
        let dialogue = &dialogues[0];
        assert_eq!(learned(&text, dialogue), "4;yes;");
        let whole = template.render(&messages, &Render::default()).unwrap();
        assert_eq!(text.tokenizer.decode(&dialogue.ids), whole);
        // What follows the last answer's end is read by nobody.
        let prompt = text.encode_chat(
            &template,
            &messages[..2],
            &Render {
                add_generation_prompt: true,
                ..Render::default()
            },
        );
        let prompt = prompt.unwrap();
        assert!(dialogue.ids.starts_with(&prompt));
        assert!(dialogue.answers[prompt.len()] && !dialogue.answers[prompt.len() - 1]);
    }

    #[test]
    fn where_a_template_rewrites_answers_each_is_a_conversation() {
        let (text, _) = text();
        // Only the last answer keeps what was thought.
        let source = "{% for m in messages %}[{{ m.role }}]\
                      {% if m.role == 'assistant' and not loop.last %}{{ m.content.split('|')[-1] }}\
                      {% else %}{{ m.content }}{% endif %};{% endfor %}\
                      {% if add_generation_prompt %}[assistant]{% endif %}";
        let template = ChatTemplate::new(source, BTreeMap::new()).unwrap();
        let messages = [
            Message::new("user", "a"),
            Message::new("assistant", "hm|b"),
            Message::new("user", "c"),
            Message::new("assistant", "so|d"),
        ];
        let dialogues = text.dialogues(&template, &messages).unwrap();
        let learned: Vec<String> = dialogues.iter().map(|d| learned(&text, d)).collect();
        assert_eq!(learned, ["hm|b;", "so|d;"]);
        assert_eq!(
            text.tokenizer.decode(&dialogues[1].ids),
            "[user]a;[assistant]b;[user]c;[assistant]so|d;"
        );
    }

    #[test]
    fn what_is_no_conversation_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.jsonl");
        let (text, _) = text();
        let text = text.with_template(Some(TEMPLATE.into()));
        let ask = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
        let source = || {
            bitnet_data::sources(std::slice::from_ref(&path), None)
                .unwrap()
                .remove(0)
        };
        let read = |second: &str| {
            std::fs::write(&path, format!("{ask}\n\n{second}\n")).unwrap();
            text.read_dialogues(&source())
        };
        let bare = r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#;
        let two = read(bare).unwrap();
        assert_eq!((two.len(), &two[0]), (2, &two[1]));
        for (line, says) in [
            ("{", "line 3: expected a conversation in JSON"),
            (
                r#"{"text": "a"}"#,
                "line 3: expected a conversation in JSON",
            ),
            (
                r#"{"messages": [{"role": "user", "content": "a"}]}"#,
                "line 3: it has no message of the assistant",
            ),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        let error = text
            .with_template(None)
            .read_dialogues(&source())
            .unwrap_err();
        assert!(error.to_string().contains("chat template"), "{error}");
    }
}
