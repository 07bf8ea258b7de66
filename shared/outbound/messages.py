"""What comes back: a response read whole, or a stream of it."""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message

from urllib3.exceptions import DecodeError, HTTPError
from urllib3.response import BaseHTTPResponse

from shared.outbound.errors import OutboundError, OutboundRefused

_CHUNK = 64 * 1024
# Python has codecs that are no charsets, and some that take very long for hostile input; these are what the web uses.
_CHARSET = re.compile(
    r"ascii|utf-(?:16|32)(?:-[bl]e)?|iso8859-\d+|cp\d+|koi8-[rut]|mac-[a-z]+|big5|gb2312|gbk|gb18030|shift_jis|euc_\w+"
    r"|iso2022_jp"
)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer. ``headers`` by name as received, values in order; ``url`` is the last one after redirects."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes
    url: str
    elapsed_ms: int

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return first_header(self.headers, name)

    def text(self) -> str | None:
        """The body in the charset the answer names, else in UTF-8; None when it is no text in that."""
        try:
            return self.body.decode(text_codec(self.header("content-type")))
        except UnicodeError:
            return None


class HttpStream:
    """An answer as it arrives. Every read raises OutboundError when the time or the size is exceeded."""

    def __init__(self, raw: BaseHTTPResponse, url: str, label: str, max_bytes: int) -> None:
        self._raw = raw
        self._label = label
        self._left = self._max_bytes = max_bytes
        self.status = raw.status
        self.headers: dict[str, list[str]] = {name: raw.headers.getlist(name) for name in raw.headers}
        self.url = url

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return first_header(self.headers, name)

    def chunks(self) -> Iterator[bytes]:
        """Decoded content as it arrives."""
        if (getattr(self._raw, "length_remaining", 0) or 0) > self._left:
            raise self._too_large()
        while chunk := self._read():
            self._left -= len(chunk)
            if self._left < 0:
                raise self._too_large()
            yield chunk

    def read(self) -> bytes:
        """The rest of the body."""
        return b"".join(self.chunks())

    def lines(self) -> Iterator[str]:
        """Lines of text without their ends (CR, LF or both), each as soon as it is complete."""
        charset = codecs.getincrementaldecoder(text_codec(self.header("content-type")))("replace")
        decoder = io.IncrementalNewlineDecoder(charset, translate=True)
        parts: list[str] = []
        for chunk in itertools.chain(self.chunks(), (b"",)):
            begun, *others = decoder.decode(chunk, final=not chunk).split("\n")
            parts.append(begun)
            for other in others:
                yield "".join(parts)
                parts = [other]
        if last := "".join(parts):
            yield last

    def _read(self) -> bytes:
        try:
            return self._raw.read1(_CHUNK, decode_content=True)
        except DecodeError:
            raise OutboundError(f"the answer of {self._label} is not compressed as its header says") from None
        except TimeoutError:
            raise OutboundError(f"{self._label} did not answer completely in time") from None
        except (HTTPError, OSError) as error:
            if timed_out(error):
                raise OutboundError(f"{self._label} did not answer completely in time") from None
            raise OutboundError(f"the connection to {self._label} broke off before the answer was complete") from None

    def _too_large(self) -> OutboundRefused:
        return OutboundRefused(f"the answer of {self._label} is larger than {self._max_bytes} bytes")

    def close(self) -> None:
        """Give the connection back if everything was read, else close it."""
        self._raw.close()


def first_header(headers: Mapping[str, list[str]], name: str) -> str | None:
    """The first value of a header, whatever the case of its name."""
    wanted = name.lower()
    return next((values[0] for found, values in headers.items() if found.lower() == wanted and values), None)


def text_codec(content_type: str | None) -> str:
    """Python's codec for the charset a Content-Type names, else UTF-8, with or without its mark."""
    message = Message()
    message["content-type"] = content_type or ""
    try:
        name = codecs.lookup(message.get_content_charset() or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8-sig"
    return name if name != "utf-8" and _CHARSET.fullmatch(name) else "utf-8-sig"


def timed_out(error: BaseException | None) -> bool:
    """Whether a time-out is at the bottom of an error."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False
