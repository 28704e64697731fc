//! A function of the application that learns: where should a warehouse be, so that the way to its customers is short? The distance on a
//! sphere comes with its slope, and is called in SQL like any other function.
//!
//! ```sh
//! cargo run --release --example function
//! ```

use nabladb::blocking::Database;
use nabladb::{Arguments, Cotangents, DifferentiableFunction, FunctionType, Result};

/// The distance on the Earth in km, of two places in degrees.
struct Haversine;

const RADIUS: f64 = 6371.0;

/// Of latitude and longitude of both places, the square of the sine of half the angle between them, and its slopes.
fn square([a, b, c, d]: [f64; 4]) -> (f64, [f64; 4]) {
    let (up, across) = (c - a, ((d - b) / 2.0).sin().powi(2));
    let turn = a.cos() * c.cos() * (d - b).sin() / 2.0;
    let slopes = [-up.sin() / 2.0 - a.sin() * c.cos() * across, -turn, up.sin() / 2.0 - a.cos() * c.sin() * across, turn];
    ((up / 2.0).sin().powi(2) + a.cos() * c.cos() * across, slopes)
}

impl DifferentiableFunction for Haversine {
    fn name(&self) -> &str {
        "haversine"
    }

    fn arguments(&self) -> Vec<FunctionType> {
        vec![FunctionType::Double; 4]
    }

    fn result(&self) -> FunctionType {
        FunctionType::Double
    }

    fn value(&self, arguments: Arguments, out: &mut [f64]) {
        for row in 0..arguments.rows() {
            let (h, _) = square([0, 1, 2, 3].map(|i| arguments[i][row].to_radians()));
            out[row] = 2.0 * RADIUS * h.sqrt().asin();
        }
    }

    fn vector_jacobian_product(&self, arguments: Arguments, cotangent: &[f64], mut out: Cotangents) {
        for row in 0..arguments.rows() {
            let (h, slopes) = square([0, 1, 2, 3].map(|i| arguments[i][row].to_radians()));
            // At the same place it has a kink, and its slope is taken as 0.
            let outer = if h == 0.0 { 0.0 } else { (RADIUS / (h * (1.0 - h)).sqrt()).to_radians() };
            for (i, slope) in slopes.into_iter().enumerate() {
                out[i][row] = cotangent[row] * outer * slope;
            }
        }
    }
}

fn main() -> Result<()> {
    let database = Database::in_memory()?;
    database.register_function(Haversine)?;
    let session = database.session()?;
    session.run("CREATE TABLE customers (city TEXT, lat DOUBLE, lon DOUBLE, orders BIGINT)")?;
    session.run(
        "INSERT INTO customers VALUES ('Berlin', 52.52, 13.40, 370), ('Hamburg', 53.55, 9.99, 190), ('Munich', 48.14, 11.58, 150),
         ('Cologne', 50.94, 6.96, 110), ('Frankfurt', 50.11, 8.68, 80), ('Leipzig', 51.34, 12.37, 60)",
    )?;
    session.run("CREATE TABLE warehouse (lat DOUBLE LEARNABLE DEFAULT 48.0, lon DOUBLE LEARNABLE DEFAULT 8.0)")?;
    session.run("INSERT INTO warehouse DEFAULT VALUES")?;
    let way = "SELECT SUM(c.orders * haversine(w.lat, w.lon, c.lat, c.lon)) / SUM(c.orders) FROM customers c, warehouse w";
    println!("km to a customer, from where it is: {}", session.run(way)?.value()?);
    let training = session.train(&format!("TRAIN MINIMIZE ({way}) USING adam (learning_rate => 0.05) FOR 300 STEPS"), &[])?;
    println!("relaxation gap {:?}", training.finish()?.relaxation_gap());
    println!("km to a customer, from where it should be: {}", session.run(way)?.value()?);
    for column in ["warehouse.lat", "warehouse.lon"] {
        println!("{column} = {:.2}", session.parameter(column)?.f64().expect("it is DOUBLE")[[0]]);
    }
    Ok(())
}
