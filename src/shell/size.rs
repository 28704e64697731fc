//! Amounts of memory as users write them.

/// A number of bytes, KB, MB, GB or TB, each 1,024 of the one before.
pub fn bytes(text: &str) -> Result<usize, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().map_err(|_| "write a number and a unit, such as 512MB".to_string())?;
    let power = match unit.trim().to_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        _ => return Err(format!("the unit '{unit}' is none of B, KB, MB, GB, TB")),
    };
    Ok((number * 1024f64.powi(power)) as usize)
}
