//! Stand-in.
#![allow(missing_docs, reason = "the batch of bitnet-generate takes its place")]
use bitnet_engine::{Engine, Session};
use bitnet_generate::{Event, Finish, Request, RequestId, Sampler, Token, TokenLogprobs, Usage};
use std::collections::VecDeque;

pub struct Batch {
    engine: Engine,
    queue: VecDeque<(RequestId, Request)>,
    running: Vec<Run>,
    next: u64,
}
struct Run {
    id: RequestId,
    request: Request,
    session: Session,
    tokens: Vec<u32>,
    sampler: Sampler,
    written: usize,
}

impl Batch {
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            queue: VecDeque::new(),
            running: Vec::new(),
            next: 0,
        }
    }
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }
    pub fn context(&self) -> usize {
        self.engine.shape().max_position_embeddings
    }
    pub fn submit(&mut self, request: Request) -> Result<RequestId, String> {
        Sampler::new(request.sampling).map_err(|e| e.to_string())?;
        self.next += 1;
        self.queue.push_back((RequestId(self.next), request));
        Ok(RequestId(self.next))
    }
    pub fn cancel(&mut self, id: RequestId) {
        self.queue.retain(|q| q.0 != id);
        self.running.retain(|r| r.id != id);
    }
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
    pub fn running(&self) -> usize {
        self.running.len()
    }
    pub fn kv_bytes_used(&self) -> usize {
        self.running.iter().map(|r| r.session.bytes()).sum()
    }
    pub fn step(&mut self, tell: &mut dyn FnMut(RequestId, Event)) -> bool {
        while self.running.len() < 8 {
            let Some((id, request)) = self.queue.pop_front() else {
                break;
            };
            let capacity = (request.prompt.len() + request.max_tokens).min(self.context());
            let session = self.engine.session(capacity).unwrap();
            let sampler = Sampler::new(request.sampling).unwrap();
            self.running.push(Run {
                id,
                tokens: request.prompt.clone(),
                request,
                session,
                sampler,
                written: 0,
            });
        }
        let mut done = Vec::new();
        for run in &mut self.running {
            let usage = |run: &Run| Usage {
                prompt: run.request.prompt.len(),
                completion: run.written,
                ..Default::default()
            };
            let prompt = run.request.prompt.len();
            let vocab = run.request.vocabulary.unwrap_or(usize::MAX);
            if run.session.is_empty() && run.request.prompt_logprobs {
                let mut all: Vec<Vec<f32>> = Vec::new();
                self.engine
                    .score(&mut run.session, &run.request.prompt, |_, l| {
                        all.push(l.to_vec())
                    })
                    .unwrap();
                let told = (1..prompt)
                    .map(|i| {
                        logprobs(
                            &all[i - 1],
                            run.request.prompt[i],
                            run.request.logprobs.unwrap_or(0),
                        )
                    })
                    .collect();
                tell(run.id, Event::PromptLogprobs(told));
                run.session.truncate(0);
            }
            let from = run.session.len();
            if run.request.max_tokens == run.written {
                if from < prompt {
                    self.engine
                        .forward(&mut run.session, &run.tokens[from..])
                        .unwrap();
                    tell(
                        run.id,
                        Event::Prompt {
                            read: prompt,
                            cached: 0,
                            of: prompt,
                        },
                    );
                }
                tell(
                    run.id,
                    Event::Finished {
                        finish: Finish::Length,
                        usage: usage(run),
                    },
                );
                done.push(run.id);
                continue;
            }
            if run.tokens.len() > run.session.capacity() {
                tell(
                    run.id,
                    Event::Finished {
                        finish: Finish::ContextFull,
                        usage: usage(run),
                    },
                );
                done.push(run.id);
                continue;
            }
            let logits = self
                .engine
                .forward(&mut run.session, &run.tokens[from..])
                .unwrap();
            let mut logits = logits[..vocab.min(logits.len())].to_vec();
            if from < prompt {
                tell(
                    run.id,
                    Event::Prompt {
                        read: prompt,
                        cached: 0,
                        of: prompt,
                    },
                );
            }
            let raw = logits.clone();
            if let Some(c) = &mut run.request.constraint
                && let Err(e) = c.mask(&mut logits)
            {
                tell(run.id, Event::Failed(e));
                done.push(run.id);
                continue;
            }
            let token = run.sampler.sample(&logits, &run.tokens, prompt);
            if run.request.end_tokens.contains(&token) {
                tell(
                    run.id,
                    Event::Finished {
                        finish: Finish::EndToken,
                        usage: usage(run),
                    },
                );
                done.push(run.id);
                continue;
            }
            run.tokens.push(token);
            run.written += 1;
            let lp = run.request.logprobs.map(|k| logprobs(&raw, token, k));
            tell(
                run.id,
                Event::Token(Token {
                    id: token,
                    logprobs: lp,
                }),
            );
            if let Some(c) = &mut run.request.constraint {
                match c.accept(token) {
                    Ok(true) => {
                        tell(
                            run.id,
                            Event::Finished {
                                finish: Finish::Complete,
                                usage: usage(run),
                            },
                        );
                        done.push(run.id);
                    }
                    Ok(false) => {}
                    Err(e) => {
                        tell(run.id, Event::Failed(e));
                        done.push(run.id);
                    }
                }
            }
        }
        self.running.retain(|r| !done.contains(&r.id));
        !self.running.is_empty() || !self.queue.is_empty()
    }
}
fn logprobs(logits: &[f32], id: u32, k: usize) -> TokenLogprobs {
    let top = logits.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let sum: f32 = logits.iter().map(|l| (l - top).exp()).sum();
    let lp = |i: u32| logits[i as usize] - top - sum.ln();
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    ids.sort_by(|a, b| {
        logits[*b as usize]
            .total_cmp(&logits[*a as usize])
            .then(a.cmp(b))
    });
    TokenLogprobs {
        id,
        logprob: lp(id),
        top: ids.into_iter().take(k).map(|i| (i, lp(i))).collect(),
    }
}
