//! What the README says of the relaxations is what their records say.

use nabladb::relaxation::RELAXATIONS;
use std::path::Path;

const BEGIN: &str = "<!-- the table of src/relaxation/laws.rs; `UPDATE_README=1 cargo test --release readme` writes it -->\n";
const END: &str = "<!-- end of the table -->\n";

#[test]
fn the_table_of_relaxations_is_that_of_the_records() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the table's first line");
    let (table, after) = rest.split_once(END).expect("the README has the table's last line");
    let line = |r: &nabladb::relaxation::Relaxation| format!("| {} | {} |\n", escaped(r.name), escaped(r.meaning));
    let expected = format!("\n| SQL | relaxed meaning |\n|---|---|\n{}\n", RELAXATIONS.iter().map(line).collect::<String>());
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, expected, "run UPDATE_README=1 cargo test --release readme");
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
