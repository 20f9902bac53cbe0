//! The YAML file, flattened: `hono: { coap: { port: 5684 } }` and `hono.coap.port: 5684` say the same.
//!
//! Scalars are kept as written. The parser's events are read directly: they tell of every line and of keys that stand twice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{Origin, Problem, source::Written};

/// Reads the text of the file `path`; the flag says whether it could be read to its end.
pub(super) fn read(path: &Path, text: &str) -> (Vec<Written>, Vec<Problem>, bool) {
    let mut reader = Reader {
        path: path.to_owned(),
        events: Parser::new_from_str(text),
        written: Vec::new(),
        lines: BTreeMap::new(),
        problems: Vec::new(),
    };
    let mut is_whole = true;
    if let Err(Broken(line, text)) = reader.stream() {
        reader.tell(line, text);
        is_whole = false;
    }
    (reader.written, reader.problems, is_whole)
}

/// Nothing behind this place can be read.
struct Broken(usize, String);

impl From<ScanError> for Broken {
    fn from(error: ScanError) -> Self {
        Self(
            error.marker().line(),
            format!("this is not YAML: {}", error.info()),
        )
    }
}

struct Reader<'t> {
    path: PathBuf,
    events: Parser<'t, StrInput<'t>>,
    written: Vec<Written>,
    lines: BTreeMap<String, usize>,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn stream(&mut self) -> Result<(), Broken> {
        let mut documents = 0;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::DocumentStart(_) => documents += 1,
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
                _ if documents > 1 => {
                    return Err(Broken(
                        span.start.line(),
                        "a second document; one file holds one".to_owned(),
                    ));
                }
                Event::MappingStart(..) => self.mapping("", 0)?,
                Event::Scalar(text, style, ..) if is_null(&text, style) => {}
                _ => {
                    return Err(Broken(
                        span.start.line(),
                        "the file should be a mapping that starts with `hono:`".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    fn mapping(&mut self, prefix: &str, depth: usize) -> Result<(), Broken> {
        while let Some((event, span)) = self.next()? {
            let line = span.start.line();
            match event {
                Event::MappingEnd => break,
                Event::Scalar(key, ..) => {
                    let name = if prefix.is_empty() {
                        key.into_owned()
                    } else {
                        format!("{prefix}.{key}")
                    };
                    self.value(name, line, depth)?;
                }
                _ => return Err(Broken(line, "a name should be a plain word".to_owned())),
            }
        }
        Ok(())
    }

    fn value(&mut self, name: String, line: usize, depth: usize) -> Result<(), Broken> {
        let Some((event, span)) = self.next()? else {
            return Ok(());
        };
        match event {
            Event::Scalar(text, style, ..) if is_null(&text, style) => {}
            Event::Scalar(text, ..) => self.write(name, text.into_owned(), line),
            Event::SequenceStart(..) => {
                let items = self.items()?;
                self.write(name, items.join(","), line);
            }
            Event::MappingStart(..) if depth < MAX_DEPTH => self.mapping(&name, depth + 1)?,
            Event::MappingStart(..) => return Err(Broken(line, "too many levels".to_owned())),
            _ => {
                return Err(Broken(
                    span.start.line(),
                    format!("`{name}` refers to an anchor; write the value itself"),
                ));
            }
        }
        Ok(())
    }

    fn items(&mut self) -> Result<Vec<String>, Broken> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::SequenceEnd => break,
                Event::Scalar(text, ..) => items.push(text.into_owned()),
                _ => {
                    return Err(Broken(
                        span.start.line(),
                        "a list should hold plain words only".to_owned(),
                    ));
                }
            }
        }
        Ok(items)
    }

    fn write(&mut self, name: String, text: String, line: usize) {
        if let Some(first) = self.lines.insert(name.clone(), line) {
            self.tell(
                line,
                format!("`{name}` stands in line {first} already; keep one of them"),
            );
        }
        let origin = self.at(line);
        self.written.push(Written { name, text, origin });
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Broken> {
        Ok(self.events.next_event().transpose()?)
    }

    fn tell(&mut self, line: usize, text: String) {
        self.problems.push(Problem::new(self.at(line), text));
    }

    fn at(&self, line: usize) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line,
        }
    }
}

fn is_null(text: &str, style: ScalarStyle) -> bool {
    style == ScalarStyle::Plain && matches!(text, "" | "~" | "null")
}

const MAX_DEPTH: usize = 16;
