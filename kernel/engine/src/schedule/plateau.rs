//! A learning rate that falls where the loss on held-out samples does not.

use super::Kwargs;

/// The learning rate after evaluations that found `losses`, as torch's `ReduceLROnPlateau` has it: it is multiplied by
/// `factor=0.1` when more than `patience=10` evaluations in a row were no better than the best by `threshold=1e-4` (of it,
/// or with `threshold_mode=abs` as a difference; with `mode=max` higher is better), and no less than `min_lr=0`. For
/// `cooldown=0` evaluations after that none counts. A change of less than `eps=1e-8` is not made.
pub(super) fn learning_rate(highest: f64, kwargs: Kwargs, losses: &[f64]) -> f64 {
    let [patience, cooldown] = [kwargs.whole("patience", 10), kwargs.whole("cooldown", 0)];
    let threshold = kwargs.number("threshold", 1e-4);
    let is_max = kwargs.word("mode") == Some("max");
    let is_abs = kwargs.word("threshold_mode") == Some("abs");
    let is_better = |loss: f64, best: f64| match (is_max, is_abs) {
        (false, false) => loss < best * (1.0 - threshold),
        (false, true) => loss < best - threshold,
        (true, false) => loss > best * (1.0 + threshold),
        (true, true) => loss > best + threshold,
    };
    let (mut rate, mut best) = (highest, if is_max { f64::NEG_INFINITY } else { f64::INFINITY });
    let (mut bad, mut cooling) = (0, 0);
    for &loss in losses {
        if is_better(loss, best) {
            (best, bad) = (loss, 0);
        } else {
            bad += 1;
        }
        if cooling > 0 {
            (cooling, bad) = (cooling - 1, 0);
        }
        if bad > patience {
            let lower = (rate * kwargs.number("factor", 0.1)).max(kwargs.number("min_lr", 0.0));
            if rate - lower > kwargs.number("eps", 1e-8) {
                rate = lower;
            }
            (cooling, bad) = (cooldown, 0);
        }
    }
    rate
}
