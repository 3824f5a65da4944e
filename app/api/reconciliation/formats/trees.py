"""Elements as they close, from XML by expat or from OFX's SGML by a scanner of our own.

Nothing is kept but the elements that are open and what they have so far: whoever takes an element
as it closes takes it out of the tree. A document type is refused where it begins, and with it every
entity that a document could define or fetch; depth, texts and elements at once are bounded.

The SGML of OFX 1 is a small part of SGML: an element with a text needs no end. ofxtools reads it by
a regular expression that passes in silence over what it does not match, an amount for instance
whose tag is misspelled; so it is not used here.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from xml.parsers import expat

from app.api.reconciliation.formats.reading import malformed, refuse_archive

LEAVES = {"MEMO", "NAME", "CHECKNUM", "REFNUM", "EXTDNAME", "PAYEEID", "SIC"}
"""Elements of OFX that banks leave empty, and without an end, though they should leave them out."""

MAX_DEPTH = 64
MAX_TEXT_CHARACTERS = 65_536
MAX_ELEMENTS = 50_000
MAX_TOKEN_BYTES = 262_144

NONE: Mapping[str, str] = {}

Place = tuple[int, int]


@dataclass(slots=True)
class Element:
    """An element by its local name, with its text and where it begins.

    `is_parent`: it has or had elements in it, though they may have been taken out.
    """

    name: str
    place: Place
    text: str = ""
    is_parent: bool = False
    children: list["Element"] = field(default_factory=list)

    def find(self, *path: str) -> "Element | None":
        """The first element on a path of names."""
        found: Element | None = self
        for name in path:
            if found is None:
                return None
            found = next((child for child in found.children if child.name == name), None)
        return found

    def all(self, *path: str) -> Iterator["Element"]:
        """All elements on a path of names."""
        if not path:
            yield self
            return
        for child in self.children:
            if child.name == path[0]:
                yield from child.all(*path[1:])

    def text_at(self, *path: str) -> str | None:
        """The text of the first element on a path; None where there is none or it is empty."""
        found = self.find(*path)
        return None if found is None else found.text.strip() or None

    def within(self, name: str) -> "Element | None":
        """The first element of that name, however deep."""
        for child in self.children:
            if child.name == name:
                return child
            found = child.within(name)
            if found is not None:
                return found
        return None


class Tree:
    """Builds elements; `take` is called with each that closes and the names of its parents.

    If it gives True, the element is done with and does not become a part of its parent. `begin` is
    called when one opens.
    """

    def __init__(
        self,
        begin: Callable[[Element, list[str]], None],
        take: Callable[[Element, list[str]], bool],
    ) -> None:
        self.open: list[Element] = []
        self._begin, self._take = begin, take
        self._names: list[str] = []
        self._elements = 0
        self.seen_root = False

    def start(self, name: str, place: Place, attributes: Mapping[str, str] = NONE) -> None:
        if len(self.open) >= MAX_DEPTH:
            malformed(f"Elements are nested {MAX_DEPTH} levels deep at most.", *place)
        self._elements += 1 + len(attributes)
        if self._elements > MAX_ELEMENTS:
            malformed(f"An entry has up to {MAX_ELEMENTS} elements.", *place)
        self.seen_root = True
        element = Element(name, place)
        element.children += [Element(f"@{key}", place, value) for key, value in attributes.items()]
        if self.open:
            self.open[-1].is_parent = True
        self._begin(element, self._names)
        self.open.append(element)
        self._names.append(name)

    def text(self, text: str, place: Place) -> None:
        if not self.open or self.open[-1].is_parent:  # between elements it is layout
            return
        element = self.open[-1]
        element.text += text
        if len(element.text) > MAX_TEXT_CHARACTERS:
            malformed(f"A text has up to {MAX_TEXT_CHARACTERS} characters.", *place)

    def end(self) -> None:
        element = self.open.pop()
        self._names.pop()
        if self._take(element, self._names):
            self._elements -= _count(element)
        elif self.open:
            self.open[-1].children.append(element)


def _count(element: Element) -> int:
    return 1 + sum(map(_count, element.children))


class XmlSource:
    """Feeds a tree from XML. Attributes become children, as the text that they hold."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._fed = 0
        parser = self._parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.EntityDeclHandler = self._refuse_doctype

    def feed(self, data: bytes, *, final: bool = False) -> None:
        if not self._fed and data:
            refuse_archive(data)
        self._fed += len(data)
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as fault:
            malformed(
                f"This is not XML: {expat.ErrorString(fault.code)}.", fault.lineno, fault.offset + 1
            )
        except (ValueError, LookupError):
            malformed("The encoding that the XML names is not known here.", 1, 1)
        if not final and self._fed - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES:
            malformed("A tag or a comment is too long.", *self._place())

    def _place(self) -> Place:
        return self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        told = {_local(key): value for key, value in attributes.items()} if attributes else NONE
        self._tree.start(_local(name), self._place(), told)

    def _end(self, _: str) -> None:
        self._tree.end()

    def _text(self, text: str) -> None:
        self._tree.text(text, self._place())

    def _refuse_doctype(self, *_: object) -> None:
        malformed("A document type, and what it could define, is refused.", *self._place())


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


class SgmlSource:
    """Feeds a tree from OFX 1: `<NAME>text`, closed or not, and `<NAME>` … `</NAME>`."""

    def __init__(self, tree: Tree, encoding: str) -> None:
        self._tree = tree
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._encoding = encoding
        self._rest = ""
        self.line = 1
        self._column = 1
        self._leaf: str | None = None  # the last element with a text, whose end may follow

    def feed(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._rest += self._decoder.decode(data, final)
        except UnicodeDecodeError as fault:
            before = fault.object[: fault.start].decode(self._encoding, "ignore")
            self._pass(self._rest + before)
            malformed(f"This is not text in {self._encoding}.", self.line, self._column)
        end = 0
        while (start := self._rest.find("<", end)) >= 0:
            close = self._rest.find(">", start)
            following = self._rest.find("<", close) if close >= 0 else -1
            if close < 0 or (following < 0 and not final):
                break
            if following < 0:
                following = len(self._rest)
            self._between(self._rest[end:start])
            self._tag(self._rest[start + 1 : close], self._rest[close + 1 : following])
            self._pass(self._rest[start:following])
            end = following
        self._rest = self._rest[end:]
        if len(self._rest) > MAX_TEXT_CHARACTERS:
            malformed(
                f"A text has up to {MAX_TEXT_CHARACTERS} characters.", self.line, self._column
            )
        if final:
            self._between(self._rest)

    def _between(self, text: str) -> None:
        if text.strip():
            malformed("Text stands where a tag should.", self.line, self._column)
        self._pass(text)

    def _tag(self, name: str, text: str) -> None:
        place = (self.line, self._column)
        if _NAME.fullmatch(name) is None:
            malformed("This is no tag of OFX.", *place)
        if name.startswith("/"):
            if text.strip():
                malformed("Text stands behind the end of an element.", *place)
            self._close(name[1:], place)
            return
        self._leaf = None
        self._tree.start(name, place)
        if text.strip() or name in LEAVES:
            self._tree.text(unescape(text), place)
            self._tree.end()
            self._leaf = name

    def _close(self, name: str, place: Place) -> None:
        leaf, self._leaf = self._leaf, None
        if name == leaf:
            return
        if not any(element.name == name for element in self._tree.open):
            malformed(f"</{name}> ends what did not begin.", *place)
        while self._tree.open[-1].name != name:  # an empty element is not ended
            if self._tree.open[-1].is_parent:
                open_name = self._tree.open[-1].name
                malformed(f"</{name}> comes before </{open_name}>.", *place)
            self._tree.end()
        self._tree.end()

    def _pass(self, text: str) -> None:
        lines = text.count("\n")
        self.line += lines
        self._column = len(text) - text.rfind("\n") if lines else self._column + len(text)


_NAME = re.compile(r"/?[A-Z0-9][A-Z0-9._]{0,63}", re.ASCII)
