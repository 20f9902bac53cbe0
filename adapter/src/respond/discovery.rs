//! The links of `/.well-known/core` in link-format (RFC 6690; spec: coap-adapter §1).

use crate::route::{PathStyle, Resource};

/// The links that pass a filter (RFC 6690 §4.1). `href` is the only attribute a link has, so that a
/// filter by any other, such as `rt` or `if`, finds nothing.
pub(super) fn links(filter: Option<&str>) -> String {
    let passes = |path: &String| match filter.map(|filter| filter.split_once('=')) {
        None => true,
        Some(Some(("href", wanted))) => match wanted.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == wanted,
        },
        Some(_) => false,
    };
    let mut paths: Vec<_> = Resource::UPLOADS
        .into_iter()
        .flat_map(|resource| [PathStyle::Long, PathStyle::Short].map(|it| resource.segment(it)))
        .map(|segment| format!("/{segment}"))
        .filter(passes)
        .collect();
    // The order of Hono (spec: coap-adapter §1).
    paths.sort_unstable();
    let links: Vec<_> = paths.iter().map(|path| format!("<{path}>")).collect();
    links.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filter was ignored: a device that looked for a resource directory took the first link.
    #[test]
    fn discovery_lists_the_links_that_pass_the_filter() {
        let all = links(None);
        let expected = "</command_response>,</cr>,</e>,</event>,</t>,</telemetry>";
        assert_eq!(all, expected);
        let rows = [
            ("href=/event", "</event>"),
            ("href=/t*", "</t>,</telemetry>"),
            ("href=/c*", "</command_response>,</cr>"),
            ("href=*", all.as_str()),
            ("href=", ""),
            ("href=/x", ""),
            ("href=event", ""),
            ("href", ""),
            ("rt=core.rd", ""),
            ("rt=*", ""),
            ("if=sensor", ""),
            ("rt", ""),
            ("", ""),
            ("HREF=/t", ""),
        ];
        for (filter, expected) in rows {
            assert_eq!(links(Some(filter)), expected, "{filter}");
        }
    }
}
