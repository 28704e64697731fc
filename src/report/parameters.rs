//! What a run changed: small columns number by number, large ones by norms and a histogram.

use super::page::{Page, escaped};
use super::{SMALL, draw};
use crate::error::{Error, Result};
use crate::plot::{Figure, Histogram, label};
use crate::session::{Parameter, Session};
use arrow::util::display::array_value_to_string;

/// Columns of no more numbers are told number by number.
const FEW: usize = 32;
/// Intervals of a histogram.
const BINS: usize = 40;

const LEARNABLE: &str = "SELECT table_name || '.' || column_name FROM nabla.learnable_columns";

/// Tells every learnable column that was there before and after and changed, and names the others.
pub(super) async fn tell(page: &mut Page, before: &Session, after: &Session) -> Result<()> {
    let (mut few, mut many, mut unchanged, mut unread) = (vec![], vec![], vec![], vec![]);
    for batch in after.run(LEARNABLE).await?.collect().await? {
        for row in 0..batch.num_rows() {
            let name = array_value_to_string(batch.column(0), row)?;
            match both(before, after, &name).await {
                Err(error) => unread.push(format!("{name}: {}", reasons(&error))),
                Ok(change) if change.before == change.after => unchanged.push(name),
                Ok(change) if change.before.len() <= FEW => few.extend(change.rows(&name)),
                Ok(change) => many.push((name, change)),
            }
        }
    }
    if few.is_empty() && many.is_empty() {
        page.note("No learnable column changed.");
    }
    if !few.is_empty() {
        page.table(&["parameter", "before", "after", "change"], &few);
    }
    for (name, change) in many {
        page.heading(&format!("{name}, {}", change.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")));
        page.facts(&change.summary());
        let series = [("before", change.before.as_slice()), ("after", change.after.as_slice())];
        draw(page, Histogram::of(&series, BINS).map(Figure::Histogram), SMALL);
    }
    if !unchanged.is_empty() {
        page.note(&format!("Not changed: {}.", unchanged.join(", ")));
    }
    unread.iter().for_each(|why| page.note(why));
    Ok(())
}

fn reasons(error: &Error) -> String {
    error.refusals().iter().map(|refusal| refusal.what.as_str()).collect::<Vec<_>>().join("; ")
}

/// A column before and after a run.
struct Change {
    /// Rows, and the dimensions of a row.
    shape: Vec<usize>,
    is_single: bool,
    before: Vec<f64>,
    after: Vec<f64>,
}

async fn both(before: &Session, after: &Session, name: &str) -> Result<Change> {
    let (old, new) = (before.parameter(name).await?, after.parameter(name).await?);
    if old.shape() != new.shape() {
        return Err(Error::new(format!("its shape was {:?} and became {:?}", old.shape(), new.shape())));
    }
    Ok(Change { shape: new.shape().to_vec(), is_single: new.is_single(), before: numbers(&old), after: numbers(&new) })
}

fn numbers(parameter: &Parameter) -> Vec<f64> {
    let single = parameter.f32().map(|numbers| numbers.iter().map(|x| f64::from(*x)).collect());
    single.or_else(|| parameter.f64().map(|numbers| numbers.iter().copied().collect())).unwrap_or_default()
}

impl Change {
    /// A row of the table for each number.
    fn rows(&self, name: &str) -> Vec<(String, Vec<String>)> {
        let told = |x: f64| if self.is_single { (x as f32).to_string() } else { x.to_string() };
        let row = |(place, (before, after)): (usize, (&f64, &f64))| {
            let cells = vec![escaped(&self.place(name, place)), told(*before), told(*after), format!("{:+.4e}", after - before)];
            ("number".to_string(), cells)
        };
        self.before.iter().zip(&self.after).enumerate().map(row).collect()
    }

    /// The name of a number: its element counted from 1, as in SQL, and its row where there are several.
    fn place(&self, name: &str, place: usize) -> String {
        let (mut rest, mut element) = (place, String::new());
        for length in self.shape[1..].iter().rev() {
            element = format!("[{}]{element}", rest % length + 1);
            rest /= length;
        }
        if self.shape[0] > 1 { format!("{name}{element}, row {}", rest + 1) } else { format!("{name}{element}") }
    }

    fn summary(&self) -> Vec<(String, String)> {
        let norm = |numbers: &[f64]| numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
        let change: Vec<f64> = self.before.iter().zip(&self.after).map(|(before, after)| after - before).collect();
        let count = change.len() as f64;
        let largest = change.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let facts = [
            ("norm before", norm(&self.before)),
            ("norm after", norm(&self.after)),
            ("norm of the change", norm(&change)),
            ("mean change", change.iter().sum::<f64>() / count),
            ("mean size of a change", change.iter().map(|x| x.abs()).sum::<f64>() / count),
            ("largest size of a change", largest),
        ];
        facts.map(|(name, x)| (name.to_string(), label(x))).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_named_by_its_row_and_its_element() {
        let change = |shape: &[usize]| Change { shape: shape.to_vec(), is_single: true, before: vec![0.1f32.into()], after: vec![0.25] };
        assert_eq!(change(&[1]).place("m.a", 0), "m.a");
        assert_eq!(change(&[3]).place("m.a", 2), "m.a, row 3");
        assert_eq!(change(&[2, 3, 4]).place("m.a", 12 + 4 + 1), "m.a[2][2], row 2");
        assert_eq!(change(&[1]).rows("m.<a>")[0].1, ["m.&lt;a&gt;", "0.1", "0.25", "+1.5000e-1"]);
    }

    #[test]
    fn a_large_column_is_told_by_norms_and_means() {
        let change = Change { shape: vec![2], is_single: false, before: vec![3.0, 4.0], after: vec![0.0, 5.0] };
        let told: Vec<String> = change.summary().into_iter().map(|(_, x)| x).collect();
        assert_eq!(told, ["5", "5", "3.162", "-1", "2", "3"]);
    }
}
