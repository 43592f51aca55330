//! A run at one of its checkpoints: `RUN@best`, `RUN@last`, `RUN@1000`.

use crate::checkpoint::Checkpoint;
use crate::{RunDir, TrainError};

impl RunDir {
    /// The same run, whose model is that of a checkpoint: `best` (of the lowest validation loss), `last`, or a step.
    ///
    /// # Errors
    /// If there is no such checkpoint; names those that there are.
    pub fn at(mut self, which: &str) -> Result<Self, TrainError> {
        let all = Checkpoint::newest_first(&self)?;
        let states = all.iter().map(|checkpoint| checkpoint.state().ok());
        let known: Vec<_> = (all.iter().zip(states))
            .filter_map(|(checkpoint, state)| Some((checkpoint, state?)))
            .collect();
        let found = match which {
            "last" => known.first(),
            "best" => (known.iter())
                .filter(|(_, state)| state.val_loss.is_some())
                .min_by(|(_, a), (_, b)| {
                    let loss = |state: &crate::State| state.val_loss.unwrap_or(f64::INFINITY);
                    loss(a).total_cmp(&loss(b))
                }),
            step => (known.iter()).find(|(_, state)| step.parse() == Ok(state.step)),
        };
        let Some((checkpoint, _)) = found else {
            let evaluated = |state: &crate::State| match state.val_loss {
                Some(loss) => format!("{} (validation loss {loss:.4})", state.step),
                None => state.step.to_string(),
            };
            let steps: Vec<String> = known.iter().map(|(_, state)| evaluated(state)).collect();
            return Err(TrainError::NoSuchCheckpoint {
                run: self.path().to_owned(),
                which: which.to_owned(),
                steps: steps.join(", "),
            });
        };
        self.at = Some(checkpoint.path().to_owned());
        Ok(self)
    }
}
