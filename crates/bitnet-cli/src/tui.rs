//! A run on a whole terminal: losses and rate as curves, speed, time, memory, the ternary layers, what the model writes.
//!
//! It is drawn on stderr, on the terminal's other screen; what has to stay is printed when it ends. `q` and Ctrl-C save and
//! end, as Ctrl-C does without it.

mod view;

use std::io::{Stderr, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitnet_results::{Curves, Evaluation, NamedLayer, SamplePoint};
use bitnet_train::Progress;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Whether the terminal is ours at this moment.
static OWNED: AtomicBool = AtomicBool::new(false);

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// What is shown.
#[derive(Default)]
pub(crate) struct Shown {
    label: String,
    folder: String,
    progress: Option<Progress>,
    train: Vec<(f64, f64)>,
    val: Vec<(f64, f64)>,
    rate: Vec<(f64, f64)>,
    layers: Vec<NamedLayer>,
    sample: Option<SamplePoint>,
    messages: Vec<String>,
}

/// The picture, and who looks after keys.
pub struct Tui {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    shown: Shown,
    drawn: Instant,
    /// What is printed when the picture is gone.
    kept: Vec<String>,
}

impl Tui {
    /// Takes the terminal; none if it cannot be drawn on.
    pub fn open(label: &str, folder: String) -> Option<Self> {
        if std::env::var_os("TERM").is_some_and(|kind| kind == "dumb") {
            return None;
        }
        enable_raw_mode().ok()?;
        OWNED.store(true, Ordering::SeqCst);
        let _ = execute!(stderr(), EnterAlternateScreen);
        let Ok(terminal) = Terminal::new(CrosstermBackend::new(stderr())) else {
            give_back();
            return None;
        };
        give_back_before_panics();
        thread::spawn(keys);
        let mut tui = Self {
            terminal,
            shown: Shown {
                label: label.to_owned(),
                folder,
                ..Shown::default()
            },
            drawn: Instant::now(),
            kept: Vec::new(),
        };
        tui.draw(true);
        Some(tui)
    }

    /// The curves of a run that goes on, as they were before this step.
    pub fn earlier(&mut self, curves: &Curves, step: usize) {
        let before = || (curves.train.iter()).filter(|point| point.step < step as u64);
        let shown = &mut self.shown;
        shown.train = before()
            .map(|point| (point.step as f64, point.loss))
            .collect();
        shown.rate = before()
            .filter_map(|point| Some((point.step as f64, point.lr?)))
            .collect();
        let validation = (curves.val.iter()).filter(|point| point.step < step as u64);
        shown.val = validation
            .map(|point| (point.step as f64, point.loss))
            .collect();
    }

    /// A logged step.
    pub fn step(&mut self, progress: &Progress) {
        let at = progress.step as f64;
        self.shown.train.push((at, progress.loss));
        self.shown.rate.push((at, progress.learning_rate));
        self.shown.progress = Some(*progress);
        self.draw(progress.step == progress.steps);
    }

    /// An evaluation, and what is said of it.
    pub fn evaluation(&mut self, step: usize, evaluation: &Evaluation, part: bool, text: String) {
        // The whole split's, at the end, is no other point of a curve of parts.
        let last = self.shown.val.last().map(|point| point.0);
        if part || last.is_none_or(|last| last < step as f64) {
            self.shown.val.push((step as f64, evaluation.loss));
        }
        self.message(text, !part);
    }

    /// The ternary layers.
    pub fn layers(&mut self, layers: &[NamedLayer]) {
        self.shown.layers = layers.to_vec();
        self.draw(false);
    }

    /// What the model writes.
    pub fn sample(&mut self, sample: &SamplePoint) {
        self.shown.sample = Some(sample.clone());
        self.draw(true);
    }

    /// A line of text; `keep` prints it when the picture is gone.
    pub fn message(&mut self, text: String, keep: bool) {
        if keep {
            self.kept.push(text.clone());
        }
        self.shown.messages.push(text);
        self.draw(true);
    }

    fn draw(&mut self, now: bool) {
        if !OWNED.load(Ordering::SeqCst) || (!now && self.drawn.elapsed() < FRAME) {
            return;
        }
        self.drawn = Instant::now();
        let shown = &self.shown;
        // A terminal that is gone is no reason to stop.
        let _ = self.terminal.draw(|frame| view::draw(frame, shown));
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        give_back();
        self.kept.drain(..).for_each(crate::output::say);
    }
}

/// Whether nobody else should write to the terminal.
pub fn owns_the_terminal() -> bool {
    OWNED.load(Ordering::SeqCst)
}

/// Leaves the other screen, if we are on it.
pub fn give_back() {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    if OWNED.swap(false, Ordering::SeqCst) {
        let _ = execute!(stderr(), LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// What a panic says is to be read.
fn give_back_before_panics() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        say(panic);
    }));
}

/// Turns keys into the signal that they are without us.
fn keys() {
    while OWNED.load(Ordering::SeqCst) {
        if !event::poll(FRAME).unwrap_or(false) {
            continue;
        }
        let Ok(Event::Key(key)) = event::read() else {
            continue;
        };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let ends = key.code == KeyCode::Char('q') || (control && key.code == KeyCode::Char('c'));
        if ends && key.kind == KeyEventKind::Press {
            interrupt();
        }
    }
}

fn interrupt() {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT);
    #[cfg(not(unix))]
    crate::interrupt::request();
}
