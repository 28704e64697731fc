//! The shipped programs, through the real command, with the results that they promise.

use std::path::Path;
use std::process::Command;

/// Runs a script of SQL from the root of the repository, over a fresh database, and gives its results as CSV.
fn results(script: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabla"));
    let command = command.arg(folder.path().join("db")).args(["--format", "csv", "-f"]).arg(script);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The fields of the first line that begins with these.
fn fields<'a>(results: &'a str, beginning: &str) -> Vec<&'a str> {
    let line = results.lines().find(|line| line.starts_with(beginning));
    line.unwrap_or_else(|| panic!("no line begins with {beginning}:\n{results}")).split(',').collect()
}

/// The exact F1 on one half of the restaurants, counted anew from what was found and correct.
fn f1(results: &str, time: &str, half: &str) -> f64 {
    let fields = fields(results, &format!("{time},{half},"));
    let number = |i: usize| fields[i].parse::<f64>().unwrap();
    let (actual, found, correct) = (number(2), number(3), number(4));
    let f1 = 2.0 * correct / (found + actual);
    assert!((f1 - number(5)).abs() < 1e-12, "{fields:?}");
    f1
}

const SCRIPT: &str = "sql/database.sql";
const SPLIT: &str = "1 * 104729";

#[test]
fn the_learned_query_finds_the_same_restaurants_of_two_guides_on_every_split() {
    let shipped = results(Path::new(SCRIPT));
    let (_, line) = shipped.trim_end().rsplit_once("verdict,f1_before,f1_after\n").expect("the verdict comes last");
    let verdict: Vec<&str> = line.split(',').collect();
    assert_eq!(verdict[0], "PASS", "{line}");
    assert_eq!(verdict[1], "0.5974", "by hand: name similarity > 0.6");
    let learned = f1(&shipped, "after", "test");
    assert!((verdict[2].parse::<f64>().unwrap() - learned).abs() <= 0.5e-4, "{line}, but counted {learned}");
    assert!((verdict[1].parse::<f64>().unwrap() - f1(&shipped, "before", "test")).abs() <= 0.5e-4);
    assert!(learned >= 0.95, "{learned}");

    let script = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT)).unwrap();
    assert_eq!(script.matches(SPLIT).count(), 1);
    let folder = tempfile::tempdir().unwrap();
    let mut scores = vec![learned];
    for split in 2..=5 {
        let path = folder.path().join(format!("{split}.sql"));
        std::fs::write(&path, script.replace(SPLIT, &format!("{split} * 104729"))).unwrap();
        scores.push(f1(&results(&path), "after", "test"));
    }
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    eprintln!("F1 on the other half, five splits: {scores:.4?}, mean {mean:.4}");
    assert!(mean >= 0.96, "{scores:?} have the mean {mean}");
}

#[test]
fn the_ranker_learns_its_weights_from_pairs() {
    let results = results(Path::new("sql/ranker.sql"));
    let (_, line) = results.trim_end().rsplit_once("verdict,ndcg_before,ndcg_after\n").expect("the verdict comes last");
    let verdict: Vec<&str> = line.split(',').collect();
    let (before, after): (f64, f64) = (verdict[1].parse().unwrap(), verdict[2].parse().unwrap());
    assert!(verdict[0] == "PASS" && before < 0.9 && after > 0.98, "{line}");
}
