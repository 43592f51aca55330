//! A run at one of its checkpoints: `RUN@best`, `RUN@last`, `RUN@1000`.

use bitnet_results::Curves;

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
        // A checkpoint that is written before it is evaluated, as the last one is, has its loss in the curve alone.
        let curve = Curves::read_growing(&self.metrics_path()).unwrap_or_default();
        let loss = |state: &crate::State| {
            let mut points = curve.val.iter();
            let point = points.rfind(|point| point.step == state.step as u64);
            let loss = state.val_loss.or(point.map(|point| point.loss));
            loss.filter(|loss| loss.is_finite())
        };
        let found = match which {
            "last" => known.first(),
            "best" => (known.iter())
                .filter_map(|one| Some((loss(&one.1)?, one)))
                .min_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, one)| one),
            step => (known.iter()).find(|(_, state)| step.parse() == Ok(state.step)),
        };
        let Some((checkpoint, _)) = found else {
            let evaluated = |state: &crate::State| match loss(state) {
                Some(loss) => format!("{} (validation loss {loss:.4})", state.step),
                None => state.step.to_string(),
            };
            let steps: Vec<String> = known.iter().map(|(_, state)| evaluated(state)).collect();
            return Err(TrainError::NoSuchCheckpoint {
                run: self.path().to_owned(),
                which: which.to_owned(),
                best: if which == "best" { "" } else { "@best, " },
                steps: steps.join(", "),
            });
        };
        self.at = Some(checkpoint.path().to_owned());
        Ok(self)
    }
}
