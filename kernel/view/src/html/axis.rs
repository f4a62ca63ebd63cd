//! The axes of charts: from where to where they go, and which values are written beside them.

use tunebook_commands::Lang;
use tunebook_commands::lang::localized;

/// What an axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Optimizer steps, which are whole numbers.
    Step,
    /// Learning rates on a logarithmic scale.
    LearningRate,
    /// Values such as losses.
    Value,
}

impl Axis {
    /// Where a value lies on the axis.
    pub(super) fn place(self, value: f64) -> f64 {
        if self == Self::LearningRate { value.log10() } else { value }
    }

    pub(super) fn title(self, lang: Lang) -> &'static str {
        let title = match self {
            Self::Step => localized("step", "步"),
            Self::LearningRate => localized("learning rate", "学习率"),
            Self::Value => localized("", ""),
        };
        title.in_lang(lang)
    }

    /// From the lowest to the highest of the places, which are finite; a single one is in the middle.
    pub(super) fn scale(self, places: &[f64]) -> Scale {
        let (low, high) = places.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let (low, high) = match low.partial_cmp(&high) {
            Some(std::cmp::Ordering::Less) => (low, high),
            Some(std::cmp::Ordering::Equal) => (low - 0.5 * low.abs().max(1e-6), low + 0.5 * low.abs().max(1e-6)),
            _ => (0.0, 1.0),
        };
        Scale { axis: self, low, high }
    }
}

/// An axis from a lowest to a highest place.
pub(super) struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
}

impl Scale {
    /// How far along the axis a place is, from 0 to 1.
    pub(super) fn part(&self, place: f64) -> f64 {
        (place - self.low) / (self.high - self.low)
    }

    /// The places that have a mark, and what is written there: four to ten round values, fewer where they must be whole and
    /// there are not so many.
    pub(super) fn marks(&self) -> Vec<(f64, String)> {
        let power = 10f64.powf((self.high - self.low).log10().floor());
        let marks = |step: f64| -> Vec<f64> {
            let first = (self.low / step).ceil();
            (0..20).map(|i| (first + f64::from(i)) * step).take_while(|mark| *mark <= self.high).collect()
        };
        let is_whole = self.axis == Axis::Step;
        let steps =
            [1.0, 0.5, 0.2, 0.1].map(|part| part * power).map(|step| if is_whole { step.max(1.0) } else { step });
        let found = steps.into_iter().map(marks).find(|marks| marks.len() >= 4);
        let found = found.unwrap_or_else(|| marks(steps[3]));
        found.into_iter().map(|mark| (mark, self.text(mark))).collect()
    }

    fn text(&self, mark: f64) -> String {
        match self.axis {
            Axis::LearningRate => format!("{:.1e}", 10f64.powf(mark)),
            _ if mark != 0.0 && mark.abs() < 1e-3 => format!("{mark:.1e}"),
            // As many digits as the mark has; rounding takes away what its sum has too many.
            _ => format!("{}", (mark * 1e6).round() / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: Axis, low: f64, high: f64) -> Vec<String> {
        axis.scale(&[low, high]).marks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn an_axis_has_four_to_ten_marks() {
        for (low, high) in
            [(0.005, 8.3), (4.4, 6.9), (0.0, 1.0), (0.9999, 1.0001), (1e-5, 9.9e-5), (-3.0, 17.0), (99.0, 119.9)]
        {
            let marks = Axis::Value.scale(&[low, high]).marks();
            assert!((4..=10).contains(&marks.len()), "{low} to {high}: {marks:?}");
            assert!(marks.iter().all(|(mark, _)| (low..=high).contains(mark)), "{low} to {high}: {marks:?}");
        }
    }

    #[test]
    fn steps_are_whole() {
        assert_eq!(marks(Axis::Step, 1.0, 3.0), ["1", "2", "3"]);
        assert_eq!(marks(Axis::Step, 1.0, 60.0), ["10", "20", "30", "40", "50", "60"]);
    }

    #[test]
    fn learning_rates_are_written_as_they_are() {
        let found = marks(Axis::LearningRate, -6.0, -2.0);
        assert_eq!(found, ["1.0e-6", "1.0e-5", "1.0e-4", "1.0e-3", "1.0e-2"]);
    }
}
