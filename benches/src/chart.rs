//! Charts: groups of bars with their values above them, as SVG.

use std::error::Error as StdError;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::Result;

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 560;
const HEAD: u32 = 104;
const FONT: &str = "Helvetica, Arial, sans-serif";

/// Colours that a reader who cannot tell red from green tells apart, too.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(0, 158, 115), RGBColor(150, 150, 150)];
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(221, 221, 221);
const TARGET: RGBColor = RGBColor(190, 30, 45);

/// One bar.
#[derive(Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) value: f64,
    /// A line across the bar: what it should not exceed.
    pub(crate) target: Option<f64>,
}

/// Bars in groups, a colour for each series.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// What the bars measure, with the unit.
    pub(crate) axis: String,
    pub(crate) series: Vec<String>,
    /// A label (lines apart by `\n`) and one bar for each series.
    pub(crate) groups: Vec<(String, Vec<Bar>)>,
    /// A line across the whole chart, with its name.
    pub(crate) reference: Option<(f64, String)>,
    /// Digits after the point of the values above the bars.
    pub(crate) digits: usize,
}

impl Chart {
    pub(crate) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        self.draw(&root).map_err(|error| error.to_string())?;
        root.present()?;
        drop(root);
        Ok(svg + "\n")
    }

    fn draw(&self, root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn StdError>> {
        root.fill(&WHITE)?;
        let (head, body) = root.split_vertically(HEAD);
        head.draw(&Text::new(self.title.as_str(), (24, 18), ink(22.0)))?;
        head.draw(&Text::new(self.subtitle.as_str(), (24, 48), ink(14.0)))?;
        self.legend(&head)?;

        let top = self.top();
        let groups = self.groups.len() as f64;
        let mut chart = ChartBuilder::on(&body)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..groups, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .y_labels(10)
            .y_label_formatter(&|value| trimmed(*value))
            .y_desc(self.axis.as_str())
            .axis_desc_style(ink(15.0))
            .label_style(ink(13.0))
            .draw()?;

        let share = 0.8 / self.bars_per_group();
        for (number, (label, bars)) in (0_u32..).zip(&self.groups) {
            let left = f64::from(number) + 0.1;
            for (place, bar) in (0_u32..).zip(bars) {
                let x0 = share.mul_add(f64::from(place), left) + share * 0.06;
                let x1 = x0 + share * 0.88;
                let colour = COLOURS[place as usize % COLOURS.len()];
                chart
                    .draw_series([Rectangle::new([(x0, 0.0), (x1, bar.value)], colour.filled())])?;
                if let Some(target) = bar.target {
                    let line = [(x0 - share * 0.05, target), (x1 + share * 0.05, target)];
                    chart.draw_series([PathElement::new(line, TARGET.stroke_width(3))])?;
                }
                let above = Pos::new(HPos::Center, VPos::Bottom);
                let value = format!("{:.*}", self.digits, bar.value);
                let at = (f64::midpoint(x0, x1), self.label_height(bar));
                let text = Text::new(value, (0, -3), ink(12.0).pos(above));
                chart.draw_series([EmptyElement::at(at) + text])?;
            }
            for (line, text) in (0_i32..).zip(label.split('\n')) {
                let below = Pos::new(HPos::Center, VPos::Top);
                let style = ink(13.0).pos(below);
                let at = (f64::from(number) + 0.5, 0.0);
                let text = Text::new(text.to_owned(), (0, 8 + 17 * line), style);
                chart.plotting_area().draw(&(EmptyElement::at(at) + text))?;
            }
        }
        if let Some((value, _)) = &self.reference {
            let line = [(0.0, *value), (groups, *value)];
            chart.draw_series([PathElement::new(line, INK.stroke_width(1))])?;
        }
        Ok(())
    }

    /// Swatches with names in one line below the title.
    fn legend(&self, head: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn StdError>> {
        let style = ink(14.0).pos(Pos::new(HPos::Left, VPos::Center));
        let mut x = 24;
        let y = 86;
        let mut entry =
            |name: &str, colour: RGBColor, thick: i32| -> Result<(), Box<dyn StdError>> {
                let swatch = [(x, y - thick), (x + 18, y + thick)];
                head.draw(&Rectangle::new(swatch, colour.filled()))?;
                head.draw(&Text::new(name.to_owned(), (x + 25, y), style.clone()))?;
                x += 25 + width(name) + 26;
                Ok(())
            };
        for (place, name) in self.series.iter().enumerate() {
            entry(name, COLOURS[place % COLOURS.len()], 7)?;
        }
        if self.bars().any(|bar| bar.target.is_some()) {
            entry("target: at most", TARGET, 2)?;
        }
        if let Some((_, name)) = &self.reference {
            entry(name, INK, 1)?;
        }
        Ok(())
    }

    /// Where a bar's value stands: above the bar, and above a line that would run through it.
    fn label_height(&self, bar: &Bar) -> f64 {
        let room = self.top() * 0.05;
        let reference = self.reference.as_ref().map(|(value, _)| *value);
        [reference, bar.target]
            .into_iter()
            .flatten()
            .filter(|line| (bar.value..bar.value + room).contains(line))
            .fold(bar.value, f64::max)
    }

    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.groups.iter().flat_map(|(_, bars)| bars)
    }

    fn bars_per_group(&self) -> f64 {
        self.series.len().max(1) as f64
    }

    /// Room for the highest bar and the value above it.
    fn top(&self) -> f64 {
        let highest = self
            .bars()
            .flat_map(|bar| [Some(bar.value), bar.target])
            .chain([self.reference.as_ref().map(|(value, _)| *value)])
            .flatten()
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        if highest > 0.0 { highest * 1.12 } else { 1.0 }
    }
}

/// Curves over a common axis: a name and points each. `axes` are what runs to the right and what runs up.
pub(crate) fn lines(
    title: &str,
    subtitle: &str,
    axes: [&str; 2],
    curves: &[(String, Vec<(f64, f64)>)],
) -> Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
    draw_lines(&root, [title, subtitle], axes, curves).map_err(|error| error.to_string())?;
    root.present()?;
    drop(root);
    Ok(svg + "\n")
}

fn draw_lines(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    titles: [&str; 2],
    axes: [&str; 2],
    curves: &[(String, Vec<(f64, f64)>)],
) -> Result<(), Box<dyn StdError>> {
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD);
    head.draw(&Text::new(titles[0].to_owned(), (24, 18), ink(22.0)))?;
    head.draw(&Text::new(titles[1].to_owned(), (24, 48), ink(14.0)))?;
    let most = |value: fn(&(f64, f64)) -> f64| {
        let values = curves.iter().flat_map(|(_, points)| points).map(value);
        values.filter(|value| value.is_finite()).fold(f64::MIN_POSITIVE, f64::max)
    };
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.12);
    let mut chart = ChartBuilder::on(&body)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(52)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_desc(axes[0])
        .y_desc(axes[1])
        .x_label_formatter(&|value| trimmed(*value))
        .y_label_formatter(&|value| trimmed(*value))
        .axis_desc_style(ink(15.0))
        .label_style(ink(13.0))
        .draw()?;
    let mut x = 24;
    for (place, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        head.draw(&Rectangle::new([(x, 79), (x + 18, 93)], colour.filled()))?;
        let style = ink(14.0).pos(Pos::new(HPos::Left, VPos::Center));
        head.draw(&Text::new(name.clone(), (x + 25, 86), style))?;
        x += 25 + width(name) + 26;
    }
    Ok(())
}

/// Text of a height in pixels: the SVG backend takes a size for 1.24 times what it writes.
fn ink(pixels: f64) -> TextStyle<'static> {
    (FONT, pixels * 1.24).into_font().color(&INK)
}

/// About how wide a name in the legend is, in pixels: nothing here can measure text.
fn width(name: &str) -> i32 {
    name.chars().map(|letter| if letter.is_uppercase() { 11 } else { 7 }).sum()
}

/// A number on the axis without noise: `0.2`, `40`, `1500`.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Bar, Chart, lines, trimmed};

    #[test]
    fn curves_are_svg_with_their_words() {
        let curve = ("used".to_owned(), vec![(0.0, 1.0), (1.0, 2.0)]);
        let svg = lines("Title", "Sub", ["minutes", "MiB"], &[curve]).expect("a chart");
        for word in ["<svg", "Title", "Sub", "minutes", "MiB", "used", "polyline"] {
            assert!(svg.contains(word), "{word}");
        }
    }

    #[test]
    fn a_chart_is_svg_with_its_words_and_values() {
        let bar = |value| Bar { value, target: Some(2.0) };
        let chart = Chart {
            title: "Title".into(),
            subtitle: "Sub".into(),
            axis: "milliseconds".into(),
            series: vec!["MISO".into(), "Redis".into()],
            groups: vec![("one\ntwo".into(), vec![bar(1.25), bar(2.5)])],
            reference: Some((1.0, "par".into())),
            digits: 2,
        };
        let svg = chart.svg().expect("a chart that can be drawn");
        for word in ["<svg", "Title", "milliseconds", "MISO", "Redis", "one", "two", "1.25", "par"]
        {
            assert!(svg.contains(word), "{word}");
        }
    }

    #[test]
    fn numbers_on_the_axis_are_short() {
        assert_eq!(trimmed(0.2), "0.2");
        assert_eq!(trimmed(40.0), "40");
    }
}
