//! The chat page's files, and the policy under which a browser runs them.

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Path in a URL.
    pub path: &'static str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// What it holds.
    pub body: &'static str,
}

/// `Content-Security-Policy` of the page: its own files and this server, nothing else, and no inline script or style.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($kind:ident $url:literal $name:literal)*) => {
        [$(File {
            path: $url,
            content_type: $kind,
            body: include_str!(concat!("../page/", $name)),
        }),*]
    };
}

/// All of them.
pub static FILES: [File; 25] = files! {
    HTML "/" "index.html"
    CSS "/style.css" "style.css"
    SVG "/icon.svg" "icon.svg"
    SCRIPT "/theme.js" "theme.js"
    SCRIPT "/app.js" "app.js"
    SCRIPT "/api.js" "api.js"
    SCRIPT "/sse.js" "sse.js"
    SCRIPT "/answer.js" "answer.js"
    SCRIPT "/answer-view.js" "answer-view.js"
    SCRIPT "/errors.js" "errors.js"
    SCRIPT "/markdown.js" "markdown.js"
    SCRIPT "/inline.js" "inline.js"
    SCRIPT "/render.js" "render.js"
    SCRIPT "/tokens.js" "tokens.js"
    SCRIPT "/card.js" "card.js"
    SCRIPT "/chat.js" "chat.js"
    SCRIPT "/pad.js" "pad.js"
    SCRIPT "/marks.js" "marks.js"
    SCRIPT "/sidebar.js" "sidebar.js"
    SCRIPT "/drawer.js" "drawer.js"
    SCRIPT "/store.js" "store.js"
    SCRIPT "/welcome.js" "welcome.js"
    SCRIPT "/exchange.js" "exchange.js"
    SCRIPT "/format.js" "format.js"
    SCRIPT "/dom.js" "dom.js"
};

/// The file at a path of a URL.
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}
