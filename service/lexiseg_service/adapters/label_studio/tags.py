"""The tags of a configuration, read where they cannot fill the memory or hold everybody else up."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, XMLParser

from lexiseg_service.errors import InvalidValue

MOST_CHARACTERS, MOST_TAGS = 2**18, 2**13  # thousands of labels with their words
AT_ONCE = 2**12  # of them for the parser, which holds Python's lock to their end


def root_of(text: str, field: str) -> Element:
    """The outermost tag of a text that came in a field.

    Raises:
        InvalidValue: no XML, too much of it, or more than tags.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidValue.of(field, f"{len(text):,} characters", f"at most {MOST_CHARACTERS:,}")
    if (n_tags := text.count("<")) > MOST_TAGS:
        raise InvalidValue.of(field, f"{n_tags:,} tags", f"at most {MOST_TAGS:,}")
    if "<!" in text.replace("<!--", ""):
        raise InvalidValue.of(field, "a document type or an entity", "tags alone")
    parser = XMLParser()
    try:
        for start in range(0, len(text), AT_ONCE):
            parser.feed(text[start : start + AT_ONCE])
        root: Element = parser.close()
    except (ParseError, UnicodeEncodeError) as error:  # half a character is none in XML
        raise InvalidValue.of(field, f"{len(text):,} characters", f"XML ({error})") from None
    return root
