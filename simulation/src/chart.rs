//! One chart: what each strategy costs against how late it is. Written as SVG by hand.

use std::fmt::Write as _;

use crate::compare::{Comparison, StrategyResult};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
const TICKS: u32 = 5;

const COLOURS: [&str; 8] =
    ["#0b6e99", "#c4562a", "#3d8b40", "#7a4fa3", "#8a6d1d", "#b0336b", "#4d5d6c", "#1f9e94"];

struct Scale {
    late: f64,
    money: f64,
}

impl Scale {
    fn x(&self, late: f64) -> f64 {
        LEFT + late / self.late * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, money: f64) -> f64 {
        HEIGHT - BOTTOM - money / self.money * (HEIGHT - TOP - BOTTOM)
    }
}

/// The chart of a comparison: a large dot for each strategy's mean, a small one for each of its seeds, a dashed line
/// for the bound.
#[must_use]
pub fn svg(comparison: &Comparison) -> String {
    let all = || comparison.strategies.iter().flat_map(points);
    let scale = Scale {
        late: rounded_up(all().map(|(late, _)| late).fold(1.0, f64::max)),
        money: rounded_up(all().map(|(_, money)| money).fold(0.01, f64::max)),
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
    );
    let title = format!("{}: cost against lateness", comparison.workload);
    label(&mut text, LEFT, 28.0, "start", &title);
    axes(&mut text, &scale);
    if let Some(bound) = comparison.bound_usd {
        let y = scale.y(bound.mean.min(scale.money));
        let right = WIDTH - RIGHT;
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#333333\" \
             stroke-dasharray=\"5 4\"/>"
        );
        label(&mut text, WIDTH - RIGHT + 6.0, y - 4.0, "start", "bound of hindsight");
    }
    for (nth, strategy) in comparison.strategies.iter().enumerate() {
        let colour = COLOURS[nth % COLOURS.len()];
        for (late, money) in points(strategy) {
            dot(&mut text, &scale, (late, money), 2.5, colour, 0.45);
        }
        let at = (strategy.late_percent.mean, strategy.money_usd.mean);
        dot(&mut text, &scale, at, 6.0, colour, 1.0);
        #[expect(clippy::cast_precision_loss, reason = "a handful of strategies")]
        let y = TOP + 18.0 * nth as f64;
        let x = WIDTH - RIGHT + 20.0;
        let (cx, cy) = (x - 8.0, y - 4.0);
        let _ = writeln!(text, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"5\" fill=\"{colour}\"/>");
        label(&mut text, x, y, "start", strategy.strategy);
    }
    text.push_str("</svg>\n");
    text
}

fn axes(text: &mut String, scale: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let _ = writeln!(text, "<path d=\"M{LEFT} {TOP} V{bottom} H{right}\" fill=\"none\" stroke=\"#333333\"/>");
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let (late, money) = (scale.late * share, scale.money * share);
        label(text, scale.x(late), bottom + 18.0, "middle", &short(late));
        label(text, LEFT - 8.0, scale.y(money) + 4.0, "end", &short(money));
    }
    label(text, f64::midpoint(LEFT, right), HEIGHT - 16.0, "middle", "late, % of jobs");
    label(text, 8.0, TOP - 12.0, "start", "cost, $");
}

#[expect(clippy::cast_precision_loss, reason = "money is far below 2^53")]
fn points(strategy: &StrategyResult) -> impl Iterator<Item = (f64, f64)> {
    strategy.seeds.iter().map(|seed| (seed.figures.late_share() * 100.0, seed.figures.money.0 as f64 / 1e6))
}

fn dot(text: &mut String, scale: &Scale, at: (f64, f64), radius: f64, colour: &str, opacity: f64) {
    let (x, y) = (scale.x(at.0), scale.y(at.1));
    let _ = writeln!(
        text,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
    );
}

fn label(text: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// The next of 1, 2, 5 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.012, 1.0, 3.7, 20.1, 60.0].map(rounded_up), [0.02, 1.0, 5.0, 50.0, 100.0]);
        assert_eq!([0.0, 0.5, 2.0].map(short), ["0", "0.5", "2"]);
    }
}
