"""Errors of the Hub, their remedies, and whether to try again.

The Hub library sleeps where the Hub asks for a pause, up to minutes and deaf to a cancel, so its client is given a hook
that raises such answers instead; `downloads.fetch` waits for them itself. Sources: `utils/_http.py` and `errors.py` of
huggingface_hub 2.4, and the Hub's documentation of rate limits.
"""

import errno
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import httpx2  # the HTTP library of huggingface_hub
import huggingface_hub
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined] # it is documented

from pipelines.engine.weights.hub_internals import default_client_factory
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

_PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
_ASKING_S = 30.0
"""Nobody is waited for any longer, where the library sets no limit."""


class HubAnswer(StrEnum):
    """Why a file can't be had."""

    UNREACHABLE = "unreachable"
    PROXY = "proxy"
    OFFLINE = "offline"
    MISSING = "missing"
    NO_REVISION = "no_revision"
    NO_FILE = "no_file"
    GATED = "gated"
    BAD_TOKEN = "bad_token"
    FORBIDDEN = "forbidden"
    DISABLED = "disabled"
    WITHHELD = "withheld"
    TOO_MANY = "too_many"
    TROUBLE = "trouble"
    NO_ANSWER = "no_answer"
    BROKEN_OFF = "broken_off"
    REFUSED = "refused"
    NO_ROOM = "no_room"
    NOT_WRITTEN = "not_written"
    OTHER_SIZE = "other_size"
    OTHER_FILE = "other_file"


PASSING = (HubAnswer.TOO_MANY, HubAnswer.TROUBLE, HubAnswer.NO_ANSWER, HubAnswer.BROKEN_OFF)
"""What is worth another try by itself."""


class _Words(NamedTuple):
    rule: str
    seen: str
    fix: str


_HAD, _OPEN = "be downloadable", "be open to all on the Hub"
_WORDS = {
    HubAnswer.UNREACHABLE: _Words(_HAD, ": the Hub can't be reached", "{instead:s}, or connect to the internet"),
    HubAnswer.PROXY: _Words(
        _HAD, ": the proxy on the way to the Hub refuses, or can't be asked", "{instead:s}, or set HTTPS_PROXY right"
    ),
    HubAnswer.OFFLINE: _Words(
        _HAD, ": HF_HUB_OFFLINE forbids downloads here", "{instead:s}, or leave HF_HUB_OFFLINE out"
    ),
    HubAnswer.MISSING: _Words(
        _OPEN,
        ": there is no such repository, or it is a private one",
        "Choose another model, or set HF_TOKEN to a token of whoever may read it",
    ),
    HubAnswer.NO_REVISION: _Words("be a revision on the Hub", ", which has none of this name", "Choose another model"),
    HubAnswer.NO_FILE: _Words("be a file on the Hub", "", "Choose another model"),
    HubAnswer.GATED: _Words(
        _OPEN,
        ": its publisher asks readers to accept terms",
        "Choose another model, or accept them on its page at huggingface.co and set HF_TOKEN to a token of that "
        "account",
    ),
    HubAnswer.BAD_TOKEN: _Words(
        _HAD,
        ": the Hub does not know the token in HF_TOKEN, or it has run out",
        "Set HF_TOKEN to a new one, or leave it out",
    ),
    HubAnswer.FORBIDDEN: _Words(
        _OPEN,
        ": the Hub forbids access to it",
        "Choose another model, or set HF_TOKEN to a token of whoever may read it",
    ),
    HubAnswer.DISABLED: _Words(_OPEN, ": the Hub has disabled it", "Choose another model"),
    HubAnswer.WITHHELD: _Words(_OPEN, ": the Hub withholds it for legal reasons", "Choose another model"),
    HubAnswer.TOO_MANY: _Words(
        _HAD,
        ": the Hub has had too many questions from here",
        "Try again in a few minutes; with a token in HF_TOKEN it answers more",
    ),
    HubAnswer.TROUBLE: _Words(
        _HAD, ": the Hub has trouble of its own", "Try again in a few minutes. {instead:s} meanwhile"
    ),
    HubAnswer.NO_ANSWER: _Words(
        _HAD,
        ": the Hub was reached and did not answer in time",
        "Try again in a few minutes. {instead:s} meanwhile",
    ),
    HubAnswer.BROKEN_OFF: _Words(
        _HAD,
        ": the connection broke off again and again",
        "Try again, and it goes on from there. {instead:s} meanwhile",
    ),
    HubAnswer.REFUSED: _Words(_HAD, ": the Hub refuses the question (status {status})", "{instead:s}"),
    HubAnswer.NO_ROOM: _Words(
        _HAD, ": there is no room on the disk", "Make some, or set HF_HOME to a folder on another disk"
    ),
    HubAnswer.NOT_WRITTEN: _Words(
        _HAD, ": the Hub's folder on this disk can't be written to ({reason:s})", "Set HF_HOME to another"
    ),
    HubAnswer.OTHER_FILE: _Words(
        "be the file that the catalog knows", ", of which the Hub has another now", "Choose another model"
    ),
    HubAnswer.OTHER_SIZE: _Words(_HAD, ": it did not arrive whole", "Try again. {instead:s} meanwhile"),
}
_TOO_MANY_FOR_NOW = _WORDS[HubAnswer.TOO_MANY]._replace(
    fix="Try again in {wait_s:.0f} s; with a token in HF_TOKEN it answers more"
)


class HubError(WeightsError):
    """A file can't be had from the Hub.

    Args:
        fault: Why, and what to do.
        answer: The same as a value.
        wait_s: For how long the Hub asks to wait, seconds; None where it does not.
    """

    def __init__(self, fault: Fault, answer: HubAnswer, wait_s: float | None = None) -> None:
        super().__init__(fault)
        self.answer, self.wait_s = answer, wait_s


class BusyError(Exception):
    """The Hub answers with a status that passes.

    Args:
        status: It.
        wait_s: For how long it asks to wait, seconds, if it says so.
    """

    def __init__(self, status: int, wait_s: float | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.wait_s = status, wait_s


class BrokenOffError(Exception):
    """A transfer ended before its end, and is worth taking up."""


class OtherSizeError(Exception):
    """More or fewer bytes came than the Hub has."""


class OtherFileError(Exception):
    """The Hub has another file than the catalog knows."""


def use_own_client() -> None:
    """Make the Hub's client raise `BusyError` instead of sleeping."""
    huggingface_hub.set_client_factory(_client)


def _client() -> httpx2.Client:
    try:
        client = default_client_factory()
    except (httpx2.InvalidURL, ImportError, ValueError):  # they may name the proxy, whose address may hold a password
        raise httpx2.ProxyError("the proxy's address can't be used") from None
    client.timeout = httpx2.Timeout(_ASKING_S)
    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], _raise_busy]}
    return client


def _raise_busy(response: httpx2.Response) -> None:
    if response.status_code in _PASSING_STATUSES:
        raise BusyError(response.status_code, _parse_wait(response.headers))


def _parse_wait(headers: Mapping[str, str]) -> float | None:
    """Parse the seconds until the Hub will answer again, if given.

    Example:
        >>> answers = {"retry-after": "12"}, {"ratelimit": '"api";r=0;t=55'}, {"retry-after": "soon"}
        >>> [_parse_wait(headers) for headers in answers]
        [12.0, 55.0, None]
    """
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("retry-after", "").strip()
    return float(value) if value.isdecimal() else None


def classify_error(err: BaseException) -> HubAnswer:
    """Classify an exception of the Hub library by its first telling cause."""
    while isinstance(err, LocalEntryNotFoundError) and isinstance(err.__cause__, Exception):
        err = err.__cause__  # "not in the cache", because of something
    by_kind: tuple[tuple[type[BaseException], HubAnswer], ...] = (
        (OtherSizeError, HubAnswer.OTHER_SIZE),
        (OtherFileError, HubAnswer.OTHER_FILE),
        (HFValidationError, HubAnswer.MISSING),
        (BrokenOffError, HubAnswer.BROKEN_OFF),
        (OfflineModeIsEnabled, HubAnswer.OFFLINE),
        (GatedRepoError, HubAnswer.GATED),
        (DisabledRepoError, HubAnswer.DISABLED),
        (RepositoryNotFoundError, HubAnswer.MISSING),
        (RevisionNotFoundError, HubAnswer.NO_REVISION),
        (LocalEntryNotFoundError, HubAnswer.UNREACHABLE),
        (EntryNotFoundError, HubAnswer.NO_FILE),
        (httpx2.TimeoutException, HubAnswer.NO_ANSWER),
        (httpx2.ProxyError, HubAnswer.PROXY),
        (UnicodeEncodeError, HubAnswer.BAD_TOKEN),  # of the question's header, where a token has other letters
    )
    for kind, answer in by_kind:
        if isinstance(err, kind):
            return answer
    if isinstance(err, BusyError):
        return HubAnswer.TOO_MANY if err.status == httpx2.codes.TOO_MANY_REQUESTS else HubAnswer.TROUBLE
    if isinstance(err, HfHubHTTPError):
        return _answer_of_status(err.response)
    if isinstance(err, httpx2.HTTPError):
        return HubAnswer.UNREACHABLE
    full = isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT)
    return HubAnswer.NO_ROOM if full else HubAnswer.NOT_WRITTEN


def _answer_of_status(response: httpx2.Response) -> HubAnswer:
    if response.status_code == httpx2.codes.UNAUTHORIZED:  # also what a repository that is not there answers
        is_token = "credentials" in response.headers.get("X-Error-Message", "")
        return HubAnswer.BAD_TOKEN if is_token else HubAnswer.MISSING
    answers: dict[int, HubAnswer] = {
        httpx2.codes.FORBIDDEN: HubAnswer.FORBIDDEN,
        httpx2.codes.NOT_FOUND: HubAnswer.MISSING,
        httpx2.codes.GONE: HubAnswer.MISSING,
        httpx2.codes.UNAVAILABLE_FOR_LEGAL_REASONS: HubAnswer.WITHHELD,
    }
    return answers.get(response.status_code, HubAnswer.REFUSED)


def refusal(err: BaseException, *, field: str, name: str, instead: str) -> HubError:
    """Build the error for a file that can't be had.

    Args:
        err: What the Hub library or a transfer has raised.
        field: The request's field the file was chosen by.
        name: What to call the file or repository.
        instead: What to choose where there is no Hub, as the beginning of a sentence.
    """
    answer, wait_s = classify_error(err), getattr(err, "wait_s", None)
    code, words = f"hub.{answer}", _WORDS[answer]
    if answer is HubAnswer.TOO_MANY and wait_s:
        code, words = "hub.too_many_for_now", _TOO_MANY_FOR_NOW
    fault = Fault(
        code=code,
        field=field,
        rule=words.rule,
        got=name,
        seen=f"'{{got:s}}'{words.seen}",
        fix=words.fix,
        values={
            "instead": instead,
            "wait_s": wait_s,
            "status": err.response.status_code if isinstance(err, HfHubHTTPError) else "unknown",
            "reason": (isinstance(err, OSError) and err.strerror) or "for an unknown reason",
        },
    )
    return HubError(fault, answer, wait_s)
