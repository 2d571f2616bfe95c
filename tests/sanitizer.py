"""What survives in a notebook that is not trusted."""

from html.parser import HTMLParser

from livn_ipp.view.html import MAX_BYTES

# What JupyterLab leaves of a notebook that is not trusted; a value with var() or
# currentColor loses its property.
TAGS = {
    "b", "br", "details", "div", "img", "pre", "progress", "span", "strong", "summary",
    "table", "tbody", "td", "th", "thead", "tr",
}  # fmt: skip
ATTRIBUTES = {
    "*": {"style", "title"},
    "img": {"src", "alt", "width", "height"},
    "progress": {"value", "max"},
}
STYLES = {
    "background", "border", "border-bottom", "border-collapse", "border-radius",
    "color", "cursor", "display", "font-size", "font-weight", "height",
    "line-height", "margin", "max-height", "opacity", "overflow", "padding",
    "text-align", "vertical-align",
    "white-space", "width",
}  # fmt: skip


class Sanitizer(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.open, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        if tag not in {"br", "img"}:
            self.open.append(tag)
        for name, value in attrs:
            assert name in ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set())
            if name == "style":
                for each in value.split(";"):
                    assert each.split(":")[0] in STYLES
                    assert "var(" not in each
                    assert "currentColor" not in each
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def sanitized(html):
    assert len(html.encode()) < MAX_BYTES
    parser = Sanitizer()
    parser.feed(html)
    assert not parser.open
    return parser
