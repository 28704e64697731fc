//! Curves in braille: each letter has two columns of four dots.

/// The dots of a letter's columns, from the bottom up.
const DOTS: [[u32; 4]; 2] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
const EMPTY: u32 = 0x2800;

/// A curve of so many letters in one line: columns of one to four dots, from the least number to the greatest. Numbers that are not finite
/// have no dots.
pub(super) fn sparkline(numbers: &[f64], letters: usize) -> String {
    let finite = || numbers.iter().copied().filter(|x| x.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let columns = (2 * letters).min(numbers.len());
    let column = |number: usize| {
        let x = numbers[number * numbers.len() / columns];
        let height = if high > low { (x - low) / (high - low) * 3.0 } else { 0.0 };
        if x.is_finite() { height.round() as usize + 1 } else { 0 }
    };
    let heights: Vec<usize> = (0..columns).map(column).collect();
    let letter = |pair: &[usize]| {
        let dots = pair.iter().zip(DOTS).flat_map(|(height, dots)| dots.into_iter().take(*height)).sum::<u32>();
        char::from_u32(EMPTY + dots).unwrap_or(' ')
    };
    heights.chunks(2).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_curve_falls_from_four_dots_to_one() {
        assert_eq!(sparkline(&[3.0, 2.0, 1.0, 0.0], 2), "⣷⣄");
        assert_eq!(sparkline(&[1.0, 1.0], 4), "⣀");
        assert_eq!(sparkline(&[f64::NAN, 0.0, 1.0], 4), "⢀⡇");
        assert_eq!(sparkline(&[], 4), "");
    }
}
