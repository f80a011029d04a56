//! Which columns of a table stand beside each other, and how wide they are. Pure.

/// Between two columns.
pub(super) const GAP: usize = 2;
/// Columns that go on below the first ones are set in by so much.
const INDENT: usize = 4;

/// How wide a column would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// With everything on one line.
    pub(super) whole: usize,
    /// At least.
    pub(super) least: usize,
}

/// Columns that stand beside each other. A row has one line for each of them, or several where words are wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Band {
    /// The first of its columns.
    pub(super) first: usize,
    /// How far it is set in.
    pub(super) indent: usize,
    /// The widths of its columns.
    pub(super) widths: Vec<usize>,
}

/// Places all columns: beside each other where that fits, if need be with words cut or wrapped; else those at the end
/// below the others, so that none is missing.
pub(super) fn fit(wishes: &[Wish], columns: Option<usize>) -> Vec<Band> {
    let whole = || wishes.iter().map(|wish| wish.whole).collect();
    let Some(columns) = columns else { return vec![Band { first: 0, indent: 0, widths: whole() }] };
    let mut bands: Vec<Band> = Vec::new();
    let (mut first, mut indent) = (0, 0);
    while first < wishes.len() {
        let room = columns.saturating_sub(indent);
        let count = beside(&wishes[first..], room);
        bands.push(Band { first, indent, widths: share(&wishes[first..first + count], room) });
        (first, indent) = (first + count, INDENT);
    }
    bands
}

/// How many of the first columns fit beside each other; at least one.
fn beside(wishes: &[Wish], room: usize) -> usize {
    let mut taken = 0;
    for (index, wish) in wishes.iter().enumerate() {
        taken += wish.least + if index > 0 { GAP } else { 0 };
        if taken > room {
            return index.max(1);
        }
    }
    wishes.len()
}

/// Gives each column what it must have, and the rest in equal parts to those that want more.
fn share(wishes: &[Wish], room: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = wishes.iter().map(|wish| wish.least.min(room)).collect();
    let taken = widths.iter().sum::<usize>() + GAP * wishes.len().saturating_sub(1);
    let mut left = room.saturating_sub(taken);
    loop {
        let wanting: Vec<usize> =
            (0..wishes.len()).filter(|index| widths[*index] < wishes[*index].whole.min(room)).collect();
        if left == 0 || wanting.is_empty() {
            return widths;
        }
        let part = (left / wanting.len()).max(1);
        for index in wanting {
            let more = part.min(left).min(wishes[index].whole.min(room) - widths[index]);
            widths[index] += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn fixed(width: usize) -> Wish {
        Wish { whole: width, least: width }
    }

    const fn words(whole: usize, least: usize) -> Wish {
        Wish { whole, least }
    }

    #[test]
    fn columns_stand_beside_each_other_where_they_fit() {
        let band = |first, indent, widths: &[usize]| Band { first, indent, widths: widths.to_vec() };
        let wishes = [fixed(10), words(50, 16), fixed(6)];
        assert_eq!(fit(&wishes, None), [band(0, 0, &[10, 50, 6])]);
        assert_eq!(fit(&wishes, Some(70)), [band(0, 0, &[10, 50, 6])]);
        assert_eq!(fit(&wishes, Some(60)), [band(0, 0, &[10, 40, 6])]);
        assert_eq!(fit(&wishes, Some(30)), [band(0, 0, &[10, 18]), band(2, 4, &[6])]);
        assert_eq!(fit(&[fixed(90), fixed(6)], Some(80)), [band(0, 0, &[80]), band(1, 4, &[6])]);
        assert_eq!(fit(&[words(40, 16), words(20, 16)], Some(52)), [band(0, 0, &[30, 20])]);
        assert_eq!(fit(&[], Some(80)), []);
    }

    #[test]
    fn every_band_fits_and_every_column_is_in_one() {
        for columns in 40..140 {
            for seed in 0..200_usize {
                let wish = |index: usize| {
                    let whole = (seed * 37 + index * 53) % 130;
                    if (seed + index).is_multiple_of(3) { words(whole, whole.min(16)) } else { fixed(whole) }
                };
                let wishes: Vec<Wish> = (0..seed % 11).map(wish).collect();
                let bands = fit(&wishes, Some(columns));
                assert_eq!(bands.iter().map(|band| band.widths.len()).sum::<usize>(), wishes.len());
                for band in bands {
                    let gaps = GAP * (band.widths.len() - 1);
                    let taken = band.indent + band.widths.iter().sum::<usize>() + gaps;
                    assert!(taken <= columns, "{columns} {wishes:?}: {band:?}");
                }
            }
        }
    }
}
