//! The laws of size of an experiment: what is fitted, and what is predicted.

use bitnet_results::frontier::Curve;
use bitnet_results::scaling::Fit;
use bitnet_results::statistics::{Spread, gap};
use bitnet_results::{Experiment, Linear, Variant};

use crate::charts;

/// The laws of an experiment.
pub(crate) struct Laws<'a> {
    /// In the order of their first variants.
    pub curves: Vec<Fitted<'a>>,
    /// Parameters of models that are predicted and not trained.
    pub predict: Vec<u64>,
    /// What is measured.
    pub metric: &'a str,
}

/// Models of one kind.
pub(crate) struct Fitted<'a> {
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    /// Smallest first.
    pub sizes: Vec<Size<'a>>,
    /// `None` where fewer than three sizes have all of their scores.
    pub fit: Option<Fit>,
}

/// Models of one size.
pub(crate) struct Size<'a> {
    pub parameters: f64,
    pub variant: &'a Variant,
    pub score: Option<Spread>,
    /// Whether the law knows it.
    pub fitted: bool,
}

/// The gap between two kinds at a size that both have.
pub(crate) struct Gap {
    pub size: f64,
    /// Seed by seed.
    pub measured: Option<Spread>,
    /// Of the two laws, with its interval.
    pub fitted: Option<(f64, Option<(f64, f64)>)>,
    /// The loss of the first kind by its law.
    pub base: Option<f64>,
}

impl<'a> Laws<'a> {
    /// `None` where no law was asked for. A score of which more is better has none.
    pub fn of(experiment: &'a Experiment) -> Option<Self> {
        let asked = experiment.scaling.as_ref()?;
        if experiment.metric.higher_is_better {
            return None;
        }
        let curves = Curve::all(experiment);
        let colours = charts::curve_colours(&curves);
        let curve = |(curve, colour): (Curve<'a>, usize)| {
            let mut variants = curve.variants.clone();
            variants.sort_by_key(|variant| variant.params);
            let size = |variant: &'a Variant| Size {
                parameters: variant.params as f64,
                variant,
                score: variant.score(),
                fitted: asked.fit_until.is_none_or(|most| variant.params <= most)
                    && variant.score().is_some_and(|score| score.missing == 0),
            };
            let sizes: Vec<Size> = variants.into_iter().map(size).collect();
            let known = sizes.iter().filter(|size| size.fitted).map(|size| {
                let losses = size.variant.runs.iter().map(|run| run.score);
                (size.parameters, losses.collect())
            });
            let fit = Fit::of(&known.collect::<Vec<_>>());
            Fitted {
                name: curve.name,
                colour,
                sizes,
                fit,
            }
        };
        Some(Self {
            curves: curves.into_iter().zip(colours).map(curve).collect(),
            predict: asked.predict.clone(),
            metric: experiment.metric.words(),
        })
    }

    /// The first float and the first ternary curve, where both have a law.
    pub fn pair(&self) -> Option<(&Fitted<'a>, &Fitted<'a>)> {
        let first = |kind: Linear| {
            let of_kind = |size: &Size| size.variant.linear == kind;
            let mut fitted = self.curves.iter().filter(|curve| curve.fit.is_some());
            fitted.find(|curve| curve.sizes.first().is_some_and(of_kind))
        };
        Some((first(Linear::Float)?, first(Linear::Ternary)?))
    }

    /// The gaps at the sizes that both have, and at those that are predicted.
    pub fn gaps(&self, base: &Fitted, other: &Fitted) -> Vec<Gap> {
        let fitted = |size: f64| Some(base.fit.as_ref()?.gap(other.fit.as_ref()?, size));
        let law = |size: f64| base.fit.as_ref().map(|fit| fit.law.at(size));
        let mut gaps: Vec<Gap> = (base.sizes.iter())
            .filter_map(|own| {
                // Twins differ by the few scales that are learned, if any.
                let near = |size: &&Size| (size.parameters / own.parameters - 1.0).abs() < 0.01;
                let twin = other.sizes.iter().find(near)?;
                Some(Gap {
                    size: own.parameters,
                    measured: gap(twin.variant, own.variant),
                    fitted: fitted(own.parameters),
                    base: law(own.parameters),
                })
            })
            .collect();
        gaps.extend(self.predict.iter().map(|size| Gap {
            size: *size as f64,
            measured: None,
            fitted: fitted(*size as f64),
            base: law(*size as f64),
        }));
        gaps
    }
}
