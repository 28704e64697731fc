//! PyTorch's side, where a Python that has it is found: `NABLA_BENCH_PYTHON`, or `python3`.

use std::path::Path;
use std::process::Command;

pub struct Torch {
    python: String,
    pub version: String,
    threads: usize,
}

impl Torch {
    pub fn find(threads: usize) -> Option<Self> {
        let python = std::env::var("NABLA_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_string());
        let output = Command::new(&python).args(["-c", "import torch; print(torch.__version__)"]).output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_string();
        output.status.success().then_some(Self { python, version, threads })
    }

    /// The median of five runs, in seconds a step, or an epoch of those works that are measured so.
    pub fn median(&self, work: &str) -> f64 {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/works/torch_works.py");
        let threads = self.threads.to_string();
        let output =
            Command::new(&self.python).arg(script).args([work, "--threads", &threads, "--runs", "5"]).output().expect("python runs");
        assert!(output.status.success(), "{work}: {}", String::from_utf8_lossy(&output.stderr));
        let seconds =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON")["seconds"].as_f64().expect("seconds");
        let mut runs: Vec<f64> = String::from_utf8_lossy(&output.stdout).lines().map(seconds).collect();
        runs.sort_by(f64::total_cmp);
        runs[runs.len() / 2]
    }
}
