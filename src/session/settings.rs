//! The clauses of TRAIN as settings: known options, in their ranges. All that is wrong is said at once.

use super::create::place;
use crate::error::{Error, Result};
use crate::grammar::{Call, Direction, Kind, Length, NamedOption, OptionValue, Relaxed, Statement, Train, nearest};
use crate::program::Lanes;
use crate::relaxation::{Logic, Softness};
use crate::scalar::Unary;
use crate::training::{Optimizer, Temperature};

/// What the clauses say; how many steps an epoch has is only known with the rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clauses {
    pub maximize: bool,
    pub optimizer: Optimizer,
    pub length: Length,
    pub batch: Option<usize>,
    pub seed: u64,
    pub temperature: Temperature,
    pub softness: Softness,
    pub estimator: Estimator,
}

/// Where gradients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Estimator {
    /// The relaxed query.
    Relaxed,
    /// So many pairs of runs of the exact query at perturbed parameters.
    Perturbed { pairs: usize },
}

const OPTIMIZERS: [&str; 2] = ["sgd", "adam"];
const LATER: [&str; 5] = ["momentum", "adamw", "adagrad", "rmsprop", "lbfgs"];

/// How long a run is where it does not say so.
const LENGTH: Length = Length::Epochs(100);

/// How long the run of a TRAIN is; `None` for any other sentence.
pub fn length(statement: &Statement) -> Option<Length> {
    if let Kind::Train(train) = &statement.kind { Some(train.length.unwrap_or(LENGTH)) } else { None }
}

/// The names of the options of RELAX, and of the optimizers with theirs.
pub fn option_names() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut relax = Options::new(&[]);
    temperature(&mut relax);
    relax.positive("final_temperature", 1.0);
    softness(&mut relax);
    estimator(&mut relax, false);
    let of_optimizer = |name: &'static str| {
        let mut options = Options::new(&[]);
        known_optimizer(name, &mut options);
        (name, options.known)
    };
    std::iter::once(("relax", relax.known)).chain(OPTIMIZERS.map(of_optimizer)).collect()
}

/// Without USING: Adam with a learning rate of 0.01; without FOR: 100 epochs; without SEED: 0.
pub(super) fn clauses(train: &Train) -> Result<Clauses> {
    let mut refusals = train.objective.refusals.clone();
    let optimizer = train.optimizer.as_ref().map_or(adam(&mut Options::new(&[])), |call| optimizer(call, &mut refusals));
    let mut options = Options::new(&train.objective.options);
    let first = temperature(&mut options);
    let last = options.positive("final_temperature", first.min(0.02));
    let softness = softness(&mut options);
    let estimator = estimator(&mut options, train.batch.is_some());
    refusals.extend(options.finish("RELAX"));
    match Error::all(refusals) {
        Some(error) => Err(error),
        None => Ok(Clauses {
            maximize: train.direction == Direction::Maximize,
            optimizer,
            length: train.length.unwrap_or(LENGTH),
            batch: train.batch.map(|b| usize::try_from(b).unwrap_or(usize::MAX)),
            seed: train.seed.unwrap_or(0),
            temperature: Temperature { first, last },
            softness,
            estimator,
        }),
    }
}

/// Whether values are to be exact, so that only gradients are relaxed.
pub(super) fn is_exact_forward(query: &Relaxed) -> bool {
    query.options.iter().any(|o| o.name == "forward" && o.value == OptionValue::Text("exact".into()))
}

/// The clauses of RELAX and GRADIENT OF: how soft, and at which temperature.
pub(super) fn relaxed(query: &Relaxed) -> Result<(Softness, f64)> {
    let mut options = Options::new(&query.options);
    let (temperature, softness) = (temperature(&mut options), softness(&mut options));
    if options.find("estimator").is_some() {
        let what = "an estimator is how TRAIN comes to a gradient: this is the relaxed query";
        options.refuse("estimator", what.into(), "TRAIN ... RELAX (estimator => 'perturbed')");
    }
    let refusals = query.refusals.iter().cloned().chain(options.finish("RELAX"));
    Error::all(refusals).map_or(Ok(()), Err)?;
    resolution::<f64>(temperature)?;
    Ok((softness, temperature))
}

/// A temperature must be larger than the rounding of the numbers that it divides.
pub(super) fn resolution<R: Lanes>(lowest: f64) -> Result<()> {
    let finest = 16.0 * if size_of::<R>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    if lowest < finest {
        let kind = if size_of::<R>() == 4 { "REAL" } else { "DOUBLE" };
        return Err(Error::new(format!("the temperature {lowest:e} is below the resolution of {kind} columns"))
            .hint(format!("use at least {finest:.1e}")));
    }
    Ok(())
}

/// `estimator => 'perturbed', samples => m`: m exact runs a step, in pairs.
fn estimator(options: &mut Options, batch: bool) -> Estimator {
    let perturbed = options.one_of("estimator", &["relaxed", "perturbed"]) == "perturbed";
    let samples = options.number("samples", 16.0, "an even number of at least 2", |x| x >= 2.0 && x % 2.0 == 0.0 && x <= 1e6);
    if !perturbed {
        options.refuse("samples", "samples are of the perturbed estimator".into(), "estimator => 'perturbed', samples => 16");
        return Estimator::Relaxed;
    }
    options.refuse("candidates", "the perturbed estimator runs the whole query: it has no candidates".into(), "leave candidates out");
    if batch {
        options.refuse("estimator", "the perturbed estimator runs the whole query: it has no BATCH".into(), "leave BATCH out");
    }
    Estimator::Perturbed { pairs: (samples / 2.0) as usize }
}

fn temperature(options: &mut Options) -> f64 {
    options.positive("temperature", 0.5)
}

fn softness(options: &mut Options) -> Softness {
    let scale = options.one_of("scale", &["auto", "none"]);
    let sigmoid = options.one_of("sigmoid", &["logistic", "laplace", "cauchy", "linear"]);
    let smooth_max = options.boolean("smooth_max");
    let logic = options.one_of("logic", &["product", "godel", "lukasiewicz"]);
    let straight_through = options.one_of("forward", &["relaxed", "exact"]) == "exact";
    let candidates = options.count("candidates");
    Softness {
        sigmoid: match sigmoid {
            "laplace" => Unary::LaplaceCdf,
            "cauchy" => Unary::CauchyCdf,
            "linear" => Unary::LinearCdf,
            _ => Unary::Sigmoid,
        },
        logic: match logic {
            "godel" => Logic::Godel,
            "lukasiewicz" => Logic::Lukasiewicz,
            _ => Logic::Product,
        },
        auto_scale: scale == "auto",
        smooth_max,
        straight_through,
        candidates,
    }
}

fn optimizer(call: &Call, refusals: &mut Vec<Error>) -> Optimizer {
    let mut options = Options::new(&call.options);
    let optimizer = match known_optimizer(&call.name, &mut options) {
        Some(optimizer) => optimizer,
        None => {
            let name = call.name.as_str();
            let error = if LATER.contains(&name) {
                Error::new(format!("the optimizer {name} is not supported yet")).hint("USING sgd or USING adam")
            } else {
                let error = Error::new(format!("unknown optimizer '{name}'"));
                match nearest(name, OPTIMIZERS) {
                    Some(meant) => error.hint(format!("did you mean {meant}?")),
                    None => error.hint("the optimizers are sgd and adam"),
                }
            };
            refusals.push(error.at(place(call.position)));
            return adam(&mut Options::new(&[]));
        }
    };
    refusals.extend(options.finish(&call.name));
    optimizer
}

fn known_optimizer(name: &str, options: &mut Options) -> Option<Optimizer> {
    match name {
        "sgd" => Some(Optimizer::Sgd { learning_rate: options.positive("learning_rate", 0.01) }),
        "adam" => Some(adam(options)),
        _ => None,
    }
}

fn adam(options: &mut Options) -> Optimizer {
    Optimizer::Adam {
        learning_rate: options.positive("learning_rate", 0.01),
        beta1: options.fraction("beta1", 0.9),
        beta2: options.fraction("beta2", 0.999),
        epsilon: options.positive("epsilon", 1e-8),
    }
}

/// Options as they are asked for; what was never asked for is unknown.
struct Options<'a> {
    given: &'a [NamedOption],
    known: Vec<&'static str>,
    refusals: Vec<Error>,
}

impl<'a> Options<'a> {
    fn new(given: &'a [NamedOption]) -> Self {
        Self { given, known: vec![], refusals: vec![] }
    }

    fn find(&mut self, name: &'static str) -> Option<&'a NamedOption> {
        self.known.push(name);
        self.given.iter().find(|o| o.name == name)
    }

    fn refuse(&mut self, name: &'static str, what: String, hint: &str) {
        if let Some(option) = self.given.iter().find(|o| o.name == name) {
            self.refusals.push(Error::new(what).at(place(option.position)).hint(hint));
        }
    }

    fn number(&mut self, name: &'static str, default: f64, range: &str, holds: fn(f64) -> bool) -> f64 {
        match self.find(name).map(|o| &o.value) {
            None => default,
            Some(OptionValue::Number(x)) if holds(*x) => *x,
            Some(value) => {
                self.refuse(name, format!("{name} must be {range}, not {value}"), &format!("such as {name} => {default}"));
                default
            }
        }
    }

    /// A whole number of at least 1, where it is given.
    fn count(&mut self, name: &'static str) -> Option<usize> {
        let is_given = self.given.iter().any(|o| o.name == name);
        let number = self.number(name, 100.0, "a whole number of at least 1", |x| x >= 1.0 && x.fract() == 0.0 && x <= f64::from(u32::MAX));
        is_given.then_some(number as usize)
    }

    fn positive(&mut self, name: &'static str, default: f64) -> f64 {
        self.number(name, default, "a positive number", |x| x > 0.0 && x.is_finite())
    }

    fn fraction(&mut self, name: &'static str, default: f64) -> f64 {
        self.number(name, default, "a number of at least 0 and less than 1", |x| (0.0..1.0).contains(&x))
    }

    /// False where it is not given.
    fn boolean(&mut self, name: &'static str) -> bool {
        match self.find(name).map(|o| &o.value) {
            None => false,
            Some(OptionValue::Boolean(x)) => *x,
            Some(value) => {
                self.refuse(name, format!("{name} cannot be {value}"), "it is true or false");
                false
            }
        }
    }

    /// One of a few words; the first is the default.
    fn one_of(&mut self, name: &'static str, words: &[&'static str]) -> &'static str {
        match self.find(name).map(|o| &o.value) {
            None => words[0],
            Some(OptionValue::Text(word)) if words.contains(&word.as_str()) => {
                words.iter().find(|w| **w == word.as_str()).copied().unwrap_or(words[0])
            }
            Some(value) => {
                self.refuse(name, format!("{name} cannot be {value}"), &format!("it is one of '{}'", words.join("', '")));
                words[0]
            }
        }
    }

    fn finish(self, of: &str) -> Vec<Error> {
        let unknown = self.given.iter().filter(|o| !self.known.contains(&o.name.as_str())).map(|o| {
            let error = Error::new(format!("unknown option '{}' of {of}", o.name)).at(place(o.position));
            match nearest(&o.name, self.known.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean '{meant}'?")),
                None => error.hint(format!("the options are {}", self.known.join(", "))),
            }
        });
        unknown.chain(self.refusals).collect()
    }
}
