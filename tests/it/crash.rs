//! The promise that a run's commit is all or nothing, tried with kill -9 at twenty moments of the real command.

use crate::{rows, run};
use nabladb::Session;
use nabladb::session::Options;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const STEPS: usize = 2_000;
const KILLS: usize = 20;

/// Two tables that learn; the best slope lies beyond its bound.
const TABLES: &str = "
    CREATE TABLE samples AS
        SELECT value % 3000 AS k, value * 0.37 % 1.0 AS x, 3.0 * (value * 0.37 % 1.0) + (value % 3000) * 1e-4 AS y FROM range(6000);
    CREATE TABLE line (slope DOUBLE LEARNABLE DEFAULT 0.5 CHECK (slope BETWEEN 0 AND 1.5));
    CREATE TABLE shifts (k BIGINT PRIMARY KEY, t DOUBLE LEARNABLE DEFAULT init_normal(0, 0.1) CHECK (t BETWEEN -1 AND 1));
    INSERT INTO line DEFAULT VALUES;
    INSERT INTO shifts (k) SELECT value FROM range(3000);";

fn train(steps: usize) -> String {
    format!(
        "TRAIN line, shifts MINIMIZE (
             SELECT AVG(power(l.slope * s.x + h.t - s.y, 2)) FROM samples s JOIN shifts h ON h.k = s.k, line l)
         USING adam (learning_rate => 0.01) FOR {steps} STEPS SEED 7;"
    )
}

/// The command while it trains. It waits for more statements afterwards, so that every kill hits a living process.
struct Run {
    child: Child,
    stdin: ChildStdin,
    started: Instant,
    news: Receiver<(News, Instant)>,
}

#[derive(Debug, PartialEq)]
enum News {
    LastStep,
    Committed,
}

impl Run {
    fn start(database: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nabla"));
        let command = command.arg(database).args(["--format", "csv"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{}", train(STEPS)).unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let (sender, news) = channel();
        std::thread::spawn(move || {
            let last = log.lines().map_while(Result::ok).filter(|line| line.split(',').nth(1) == Some(&STEPS.to_string()));
            for (_, news) in last.zip([News::LastStep, News::Committed]) {
                let _ = sender.send((news, Instant::now()));
            }
        });
        Self { child, stdin, started, news }
    }

    fn wait_for(&self, expected: News) -> Instant {
        let (news, at) = self.news.recv_timeout(Duration::from_secs(300)).expect("the run goes on");
        assert_eq!(news, expected);
        at
    }

    /// SIGKILL; gives whether the run had said by then that it was committed.
    fn kill(mut self) -> bool {
        assert_eq!(self.child.try_wait().unwrap(), None, "the process lives until it is killed");
        let committed = self.news.try_iter().any(|(news, _)| news == News::Committed);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        committed
    }
}

async fn open(database: &Path) -> Session {
    Session::open(Options { path: Some(database.to_path_buf()), read_only: false, ..Default::default() })
        .await
        .unwrap_or_else(|e| panic!("{e}"))
}

/// The learned values of both tables.
async fn values(session: &Session) -> [String; 2] {
    [rows(session, "SELECT slope FROM line").await, rows(session, "SELECT k, t FROM shifts ORDER BY k").await]
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(&from, &to).map(drop).unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_leaves_all_old_or_all_new_values() {
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("before");
    let old = {
        let session = open(&before).await;
        run(&session, TABLES).await;
        values(&session).await
    };

    // One run that is left alone tells the new values, when the training ends and how long the commit takes.
    let whole = folder.path().join("whole");
    copy(&before, &whole);
    let mut undisturbed = Run::start(&whole);
    let last_step = undisturbed.wait_for(News::LastStep);
    let training = last_step - undisturbed.started;
    let committing = undisturbed.wait_for(News::Committed) - last_step;
    drop(undisturbed.stdin);
    assert!(undisturbed.child.wait().unwrap().success());
    let new = values(&open(&whole).await).await;
    assert!(old[0] != new[0] && old[1] != new[1], "the run changes both tables");
    assert_eq!(new[0], "1.5", "the slope ends at its bound");

    let mut random = ChaCha8Rng::seed_from_u64(20);
    let (mut olds, mut news) = (0, 0);
    for kill in 0..KILLS {
        let database = folder.path().join(format!("killed-{kill}"));
        copy(&before, &database);
        // Half of the moments lie anywhere in the run, half around its commit, each in its own part of that time.
        let within = f64::from(random.next_u32()) / f64::from(u32::MAX);
        let at = ((kill % (KILLS / 2)) as f64 + within) / (KILLS / 2) as f64;
        let run = Run::start(&database);
        if kill < KILLS / 2 {
            std::thread::sleep(training.mul_f64(at));
        } else {
            run.wait_for(News::LastStep);
            if kill + 1 < KILLS {
                std::thread::sleep(committing.mul_f64(1.3 * at));
            } else {
                run.wait_for(News::Committed);
            }
        }
        let told = run.kill() || kill + 1 == KILLS;
        let moment = format!("kill {kill}, at {at:.3} of a training of {training:?} and a commit of {committing:?}");

        let session = open(&database).await;
        let (_, snapshot) = session.context().await.unwrap();
        snapshot.check().await.unwrap_or_else(|e| panic!("{moment}: {e}"));
        let now = values(&session).await;
        let committed = now == new;
        assert!(committed || now == old, "{moment}: the values are neither all old nor all new");
        assert!(committed || !told, "{moment}: the log said that the run was committed");
        let run_and_steps = rows(&session, "SELECT run_id, steps, version FROM nabla.runs").await;
        let expected = if committed { format!("1|{STEPS}|{}", snapshot.version()) } else { String::new() };
        assert_eq!(run_and_steps, expected, "{moment}");
        let steps = if committed { STEPS } else { 0 };
        assert_eq!(rows(&session, "SELECT COUNT(*) FROM nabla.steps").await, steps.to_string(), "{moment}");
        let broken = "SELECT COUNT(*) FROM line WHERE NOT slope BETWEEN 0 AND 1.5";
        assert_eq!(rows(&session, broken).await, "0", "{moment}");
        let broken =
            "SELECT COUNT(*) FILTER (WHERE NOT t BETWEEN -1 AND 1) AS outside, COUNT(DISTINCT k) AS keys, COUNT(*) AS n FROM shifts";
        assert_eq!(rows(&session, broken).await, "0|3000|3000", "{moment}");

        run_again(&session, &now, if committed { 2 } else { 1 }).await;
        olds += usize::from(!committed);
        news += usize::from(committed);
        drop(session);
        std::fs::remove_dir_all(&database).unwrap();
    }
    eprintln!("{KILLS} kills: {olds} left the old values, {news} the new ones");
    assert!(olds > 0 && news > 0, "{olds} kills left the old values and {news} the new ones");
}

/// A further run learns from where the database stands.
async fn run_again(session: &Session, before: &[String; 2], runs: usize) {
    run(session, &train(3)).await;
    assert_ne!(values(session).await[1], before[1]);
    assert_eq!(rows(session, "SELECT COUNT(*) FROM nabla.runs").await, runs.to_string());
}
