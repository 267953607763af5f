//! Bars, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::{Record, Spread};

const WIDTH: i32 = 960;
const ROW: i32 = 20;
const HEAD: i32 = 40;
const FOOT: i32 = 30;
/// Where names end and bars begin, and where bars end and numbers begin.
const NAMES: i32 = 400;
const BARS: i32 = 840;
const FONT: &str = "sans-serif";

const GREY: RGBColor = RGBColor(150, 150, 150);
const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(230, 126, 20);
const GREEN: RGBColor = RGBColor(60, 150, 80);

/// What a plot shows.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) show: fn(f64) -> String,
}

/// Draws one figure of all records that have it, on a logarithmic scale: a bar to the median, and a
/// line from the least to the most.
///
/// # Errors
/// Says why the file cannot be written.
pub(crate) fn draw(plot: &Plot, records: &[&Record], path: &Path) -> Result<(), Box<dyn Error>> {
    let rows: Vec<(&Record, Spread)> = records
        .iter()
        .filter_map(|record| Some((*record, *record.figures.get(plot.figure)?)))
        .filter(|(_, spread)| spread.min > 0.0)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut group = "";
    let mut lines = 0;
    for (record, _) in &rows {
        lines += 1 + i32::from(record.group != group);
        group = &record.group;
    }
    let height = HEAD + lines * ROW + FOOT;
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let black = (FONT, 16).into_font().color(&BLACK);
    area.draw(&Text::new(plot.title, (10, 10), black))?;

    let least = rows.iter().fold(f64::MAX, |least, (_, spread)| least.min(spread.min));
    let most = rows.iter().fold(0.0, |most: f64, (_, spread)| most.max(spread.max));
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let x = |value: f64| {
        let part = ((value.log10() - low) / (high - low)).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "within the width")]
        let pixels = (part * f64::from(BARS - NAMES)).round() as i32;
        NAMES + pixels
    };
    let mut decade = low;
    while decade <= high {
        let value = 10_f64.powf(decade);
        let line = vec![(x(value), HEAD - 6), (x(value), height - FOOT)];
        area.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
        let small = (FONT, 11).into_font().color(&BLACK);
        let small = small.pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new((plot.show)(value), (x(value), height - FOOT + 6), small))?;
        decade += 1.0;
    }

    let mut top = HEAD;
    let mut group = "";
    for (record, spread) in rows {
        if record.group != group {
            group = &record.group;
            let bold = (FONT, 12, FontStyle::Bold).into_font().color(&BLACK);
            area.draw(&Text::new(group.to_owned(), (10, top + 5), bold))?;
            top += ROW;
        }
        let middle = top + ROW / 2;
        let plain = (FONT, 12).into_font().color(&BLACK);
        let name = plain.pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(record.name.clone(), (NAMES - 8, middle), name))?;
        let bar = [(NAMES, top + 3), (x(spread.median), top + ROW - 3)];
        area.draw(&Rectangle::new(bar, colour(&record.name).filled()))?;
        let whisker = vec![(x(spread.min), middle), (x(spread.max), middle)];
        area.draw(&PathElement::new(whisker, BLACK.mix(0.7)))?;
        let number = plain.pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new((plot.show)(spread.median), (BARS + 8, middle), number))?;
        top += ROW;
    }
    area.present()?;
    Ok(())
}

fn colour(name: &str) -> RGBColor {
    if name.starts_with("bare") {
        GREY
    } else if name.contains("process") || name.contains("ours") {
        BLUE
    } else if name.contains("call") {
        ORANGE
    } else {
        GREEN
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::measure::Figures;
    use crate::table::grouped;

    #[test]
    fn a_plot_has_every_row_and_its_number() {
        let row = |name, rate| {
            let rounds = [Figures::from([("rate".to_owned(), rate)])];
            Record::new("throughput", "tcp 4x64", name, &rounds)
        };
        let records = [row("bare", 9_000_000.0), row("process", 4_000_000.0)];
        let path = std::env::temp_dir().join(format!("chargehand-plot.{}.svg", std::process::id()));
        let plot = Plot { title: "Tasks a second", figure: "rate", show: grouped };
        draw(&plot, &records.each_ref(), &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for part in ["<svg", "tcp 4x64", "bare", "process", "9,000,000", "4,000,000"] {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text.matches("#1F77B4").count(), 1, "{text}");
    }
}
