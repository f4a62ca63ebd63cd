//! Line charts as SVG pictures of their own, which know nothing of the page around them: they have a background, light or
//! dark as the reader's system is, and colours that are told from it.

use std::fmt::Write;

use tunebook_commands::Lang;
use tunebook_commands::localized;
use unicode_width::UnicodeWidthStr;

use super::axis::Axis;
use super::drawing::drawing;
use super::escape::escape;

/// Width in pixels, where the page has room for it.
pub(super) const WIDTH: f64 = 720.0;
/// Height of the part below the legend.
const HEIGHT: f64 = 280.0;
/// Room for the values on the left and the steps below, with their titles.
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 44.0;
const RIGHT: f64 = 18.0;
/// Between the legend and the highest value.
const TOP: f64 = 10.0;
/// Height of a line of the legend, and the mean width of a column of its text.
const LEGEND_LINE: f64 = 17.0;
const COLUMN: f64 = 7.0;
/// Maximum number of points of a line; more could not be told apart.
const MOST_POINTS: usize = 500;

/// Background, text and lines of a light and a dark chart; the lines are those of matplotlib, as dark or light as it takes to
/// be told from the background.
struct Theme {
    background: &'static str,
    text: &'static str,
    lines: [&'static str; 10],
}

const LIGHT: Theme = Theme {
    background: "#ffffff",
    text: "#4a4f55",
    lines: [
        "#1f77b4", "#bf5309", "#27862a", "#d62728", "#7f55b0", "#8c564b", "#c2459f", "#6b6b6b", "#77780f", "#0d7f8c",
    ],
};
const DARK: Theme = Theme {
    background: "#1c1e21",
    text: "#c3c8ce",
    lines: [
        "#5aa9e6", "#ff9f4a", "#5fce5f", "#ff7b7b", "#b99be0", "#c99a8f", "#f09ad6", "#b0b0b0", "#d5d64a", "#4fd3e0",
    ],
};

/// A line of a chart.
pub(super) struct Line {
    pub label: String,
    /// Which of the ten colours, from the first again after the last.
    pub colour: usize,
    /// Whether another line, which is to be seen better, is drawn on top.
    pub is_faint: bool,
    /// Whether each point is a dot, too.
    pub has_dots: bool,
    /// By ascending x; those that are no numbers are left out.
    pub points: Vec<(f64, f64)>,
}

/// A line chart, with its name over the values and the name of x below.
pub(super) struct Chart<'a> {
    pub name: &'a str,
    pub x: Axis,
    pub lang: Lang,
    pub lines: Vec<Line>,
    /// A point that has a ring, with its words in the legend.
    pub best: Option<((f64, f64), String)>,
}

impl Chart<'_> {
    /// The chart as an element of a page, as wide as that.
    pub(super) fn drawn(&self) -> String {
        drawing(&self.svg(), &self.alt(), "width:100%")
    }

    /// The chart as SVG text.
    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| self.shown(line));
        let (xs, ys): (Vec<_>, Vec<_>) = points().unzip();
        let (x, y) = (self.x.scale(&xs), Axis::Value.scale(&ys));
        let (legend, top) = self.legend();
        let height = top + HEIGHT;
        let bottom = height - BOTTOM;
        let place = |(at, value): (f64, f64)| {
            (LEFT + x.part(at) * (WIDTH - LEFT - RIGHT), bottom - y.part(value) * (bottom - top - TOP))
        };
        let name = escape(self.name);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tunebook-chart\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\" \
             aria-label=\"{}\"><style>{}</style><rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\
             {legend}",
            self.alt(),
            style(),
        );
        for (mark, text) in y.marks() {
            let (_, y) = place((0.0, mark));
            let (right, text_x, text_y) = (WIDTH - RIGHT, LEFT - 8.0, y + 4.0);
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right:.1}\"/>\
                 <text x=\"{text_x:.1}\" y=\"{text_y:.1}\" text-anchor=\"end\">{text}</text>"
            );
        }
        for (mark, text) in x.marks() {
            let (x, _) = place((mark, 0.0));
            let (end, text_y) = (bottom + 5.0, bottom + 19.0);
            let _ = write!(
                svg,
                "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}V{end:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{text_y:.1}\" text-anchor=\"middle\">{text}</text>"
            );
        }
        let (middle, centre) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, (top + TOP + bottom) / 2.0);
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {bottom:.1}H{:.1}\"/>\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">{name}</text>",
            WIDTH - RIGHT,
            height - 8.0,
            self.x.title(self.lang),
        );
        for line in &self.lines {
            let places: Vec<_> = self.shown(line).map(place).collect();
            let kept: Vec<_> = thinned(&places).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let (colour, faint) = (line.colour % LIGHT.lines.len(), if line.is_faint { " faint" } else { "" });
            let _ = write!(svg, "<polyline class=\"c{colour}{faint}\" points=\"{}\"/>", kept.join(" "));
            // A line through one point cannot be seen.
            let dots = if line.has_dots || places.len() == 1 { &places[..] } else { &[] };
            for (x, y) in dots {
                let _ = write!(svg, "<circle class=\"d{colour}{faint}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
            }
        }
        if let Some((point, _)) = &self.best {
            let (x, y) = place(*point);
            let _ = write!(svg, "<circle class=\"ring\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>");
        }
        svg + "</svg>"
    }

    /// The chart in words: what is drawn over what, and how each line begins and ends.
    fn alt(&self) -> String {
        let mut words = localized!(
            self.lang,
            "{name} over {x}",
            "{name}（横轴：{x}）",
            name = self.name,
            x = self.x.title(self.lang)
        );
        for line in self.lines.iter().filter(|line| !line.is_faint) {
            let finite: Vec<_> = line.points.iter().filter(|(_, y)| y.is_finite()).collect();
            if let (Some((_, first)), Some((_, last))) = (finite.first(), finite.last()) {
                let label = &line.label;
                words += &localized!(
                    self.lang,
                    "; {label}: {first:.4} to {last:.4}",
                    "；{label}：从 {first:.4} 到 {last:.4}"
                );
            }
        }
        escape(&words)
    }

    /// The points that can be drawn, where they lie on the axes.
    fn shown<'a>(&'a self, line: &'a Line) -> impl Iterator<Item = (f64, f64)> + 'a {
        line.points.iter().map(|(x, y)| (self.x.place(*x), *y)).filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// The names of the lines one after another, and how high they are.
    fn legend(&self) -> (String, f64) {
        let (mut svg, mut x, mut y) = (String::new(), LEFT, LEGEND_LINE);
        let lines = self.lines.iter().map(|line| {
            let (colour, faint) = (line.colour % LIGHT.lines.len(), if line.is_faint { " faint" } else { "" });
            (format!("<path class=\"c{colour}{faint}\" stroke-width=\"3\" d=\"M0 -4h16\"/>"), &line.label)
        });
        let ring = || "<circle class=\"ring\" cx=\"9\" cy=\"-4\" r=\"5\"/>".to_string();
        let best = self.best.iter().map(|(_, label)| (ring(), label));
        for (mark, label) in lines.chain(best) {
            let width = 22.0 + COLUMN * label.width() as f64;
            if x + width > WIDTH - RIGHT && x > LEFT {
                (x, y) = (LEFT, y + LEGEND_LINE);
            }
            let label = escape(label);
            let _ = write!(svg, "<g transform=\"translate({x:.1} {y})\">{mark}<text x=\"22\">{label}</text></g>");
            x += width + 16.0;
        }
        (svg, y + 4.0)
    }
}

/// At most [`MOST_POINTS`], counted from the end, so that the newest point is always there.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = &(f64, f64)> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    points
        .iter()
        .enumerate()
        .filter(move |(at, _)| (points.len() - 1 - at).is_multiple_of(every))
        .map(|(_, point)| point)
}

/// The rules of both themes, for charts alone: a page that takes the SVG into itself has others.
fn style() -> String {
    let rules = |rules: &[(String, String)]| -> String {
        rules.iter().map(|(what, how)| format!(".tunebook-chart {what}{{{how}}}")).collect()
    };
    let rule = |what: &str, how: String| (what.to_string(), how);
    let theme = |Theme { background, text, lines }: &Theme| {
        let page = [
            rule(".page", format!("fill:{background}")),
            rule("text", format!("fill:{text}")),
            rule(".axis", format!("stroke:{text}")),
            rule(".grid", format!("stroke:{text};stroke-opacity:.2")),
            rule(".ring", format!("fill:none;stroke:{text};stroke-width:1.6")),
        ];
        let coloured = lines.iter().enumerate().flat_map(|(index, colour)| {
            [
                rule(&format!(".c{index}"), format!("stroke:{colour}")),
                rule(&format!(".d{index}"), format!("fill:{colour}")),
            ]
        });
        rules(&page.into_iter().chain(coloured).collect::<Vec<_>>())
    };
    let shapes = [
        rule("polyline", "fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round".to_string()),
        rule(".faint", "stroke-opacity:.75;stroke-width:1".to_string()),
    ];
    format!("{}{}@media(prefers-color-scheme:dark){{{}}}", rules(&shapes), theme(&LIGHT), theme(&DARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart<'static> {
        let line = Line { label: "a<b".to_string(), colour: 0, is_faint: false, has_dots: false, points };
        Chart { name: "loss", x: Axis::Step, lang: Lang::En, lines: vec![line], best: None }
    }

    #[test]
    fn lines_span_the_drawing() {
        let svg = chart(vec![(1.0, 3.0), (2.0, 2.5), (3.0, 1.0)]).svg();
        assert!(svg.contains("points=\"70.0,31.0 386.0,87.5 702.0,257.0\""), "{svg}");
        assert!(
            svg.contains(">step</text>") && svg.contains(">loss</text>") && svg.contains(">a&lt;b</text>"),
            "{svg}"
        );
        assert!(svg.contains("loss over step; a&lt;b: 3.0000 to 1.0000"), "{svg}");
    }

    #[test]
    fn strange_values_are_drawn_too() {
        for values in [vec![], vec![2.0], vec![f64::NAN, 1.0], vec![0.0, 0.0], vec![f64::INFINITY]] {
            let points = (1..=values.len()).map(|step| step as f64).zip(values).collect();
            let svg = chart(points).svg();
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_long_line_is_thinned_to_its_newest_point() {
        let svg = chart((0..10_001).map(f64::from).map(|x| (x, x)).collect()).svg();
        assert!(svg.len() < 12_000 && svg.contains(" 702.0,31.0\""), "{}", svg.len());
    }

    #[test]
    fn a_best_point_has_a_ring_and_words() {
        let svg = Chart { best: Some(((3.0, 1.0), "best".to_string())), ..chart(vec![(1.0, 3.0), (3.0, 1.0)]) }.svg();
        assert!(svg.contains("class=\"ring\" cx=\"702.0\" cy=\"257.0\"") && svg.contains(">best</text>"), "{svg}");
    }

    #[test]
    fn its_rules_are_for_charts_alone() {
        let style = style().replace("@media(prefers-color-scheme:dark){", "").replace("}}", "}");
        assert!(
            style.split('}').filter(|rule| !rule.is_empty()).all(|rule| rule.starts_with(".tunebook-chart ")),
            "{style}"
        );
    }

    /// WCAG 2.2's contrast of two colours: `(L + 0.05) / (l + 0.05)` of their relative luminances.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |colour: &str| {
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// `colour` over `background` with an opacity.
    fn mixed(colour: &str, background: &str, opacity: f64) -> String {
        let channel = |text: &str, at: usize| f64::from(u8::from_str_radix(&text[at..at + 2], 16).unwrap());
        let mix = |at| (opacity * channel(colour, at) + (1.0 - opacity) * channel(background, at)).round() as u8;
        format!("#{:02x}{:02x}{:02x}", mix(1), mix(3), mix(5))
    }

    #[test]
    fn text_and_lines_are_told_from_the_background() {
        for Theme { background, text, lines } in [&LIGHT, &DARK] {
            assert!(contrast(text, background) >= 7.0, "{text} on {background}");
            for colour in lines {
                let found = contrast(colour, background);
                assert!(found >= 4.5, "{colour} on {background}: {found}");
            }
            let faint = mixed(lines[0], background, 0.75);
            assert!(contrast(&faint, background) >= 3.0, "{faint} on {background}");
        }
    }
}
