//! HTML: a page with its style in it, which asks nobody for anything. Whatever is told is text, never markup.

/// A page that grows.
pub(super) struct Page {
    html: String,
}

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #ddd; } h3 { font-size: 1rem; }
pre, td, th { font: 13px/1.45 ui-monospace, monospace; }
pre { background: #f6f6f6; padding: 0.8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 0.6rem 0; } th, td { text-align: left; padding: 0.15rem 0.8rem 0.15rem 0; vertical-align: top; }
th { border-bottom: 1px solid #ccc; } td { white-space: pre-wrap; overflow-wrap: anywhere; }
tr.number td:not(:first-child) { text-align: right; } tr.exact { color: #888; } tr.live { color: #176b3a; } tr.learned { color: #8a6100; }
svg { max-width: 100%; height: auto; display: block; margin: 0.6rem 0; } p { color: #555; }
";

impl Page {
    pub fn new(title: &str) -> Self {
        let title = escaped(title);
        let safe = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";
        let head = format!("<meta charset=\"utf-8\">\n{safe}\n<title>{title}</title>\n<style>{STYLE}</style>");
        Self { html: format!("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n{head}\n</head>\n<body>\n<h1>{title}</h1>\n") }
    }

    pub fn section(&mut self, title: &str) {
        self.html += &format!("<h2>{}</h2>\n", escaped(title));
    }

    pub fn heading(&mut self, title: &str) {
        self.html += &format!("<h3>{}</h3>\n", escaped(title));
    }

    pub fn note(&mut self, text: &str) {
        self.html += &format!("<p>{}</p>\n", escaped(text));
    }

    pub fn code(&mut self, text: &str) {
        self.html += &format!("<pre>{}</pre>\n", escaped(text));
    }

    /// Names and what there is to say of each.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        let row = |(name, told): &(String, String)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(name), escaped(told));
        self.html += &format!("<table>\n{}</table>\n", facts.iter().map(row).collect::<String>());
    }

    /// Rows of a class each, whose cells are HTML.
    pub fn table(&mut self, head: &[&str], rows: &[(String, Vec<String>)]) {
        let head: String = head.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
        let row = |(class, cells): &(String, Vec<String>)| {
            let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            format!("<tr class=\"{class}\">{cells}</tr>\n")
        };
        self.html += &format!("<table>\n<tr>{head}</tr>\n{}</table>\n", rows.iter().map(row).collect::<String>());
    }

    /// A figure as SVG, which is markup.
    pub fn figure(&mut self, svg: &str) {
        self.html += svg;
    }

    pub fn end(self) -> String {
        self.html + "</body>\n</html>\n"
    }
}

/// Text as HTML shows it.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut page = Page::new("<i>");
        page.section("<i>");
        page.heading("<i>");
        page.note("<i>");
        page.code("<i> & \"'");
        page.facts(&[("<i>".into(), "<i>".into())]);
        page.table(&["<i>"], &[("exact".into(), vec![escaped("<i>")])]);
        let html = page.end();
        assert!(!html.contains("<i>") && html.matches("&lt;i&gt;").count() == 10, "{html}");
        assert!(html.contains("<pre>&lt;i&gt; &amp; &quot;&#39;</pre>"), "{html}");
    }
}
