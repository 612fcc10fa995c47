"""The incident report: one HTML file that needs nothing else. It opens from disk, without network and without script.

Its size is bounded by construction: every list and every text in it is, and what is cut says so, with the command that
shows all. Secrets are taken out once more, whatever the log has already lost of them.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec

from omni import __version__
from omni.domain.visible import clean, usd
from omni.notify.texts import Language
from omni.redact import Redactor
from omni.replay.costs import Line, ranked
from omni.replay.history import Count, History, nothing
from omni.replay.incident import Incident, Moment, incident
from omni.replay.verify import Report
from omni.replay.words import sentence
from omni.web.charts import Chart, Day, bars, lanes
from omni.web.lanes import zoomed
from omni.web.render import Words, page

BODY_CHARS = 2_000  # of a raw event
REASON_CHARS = 300
DIGEST_CHARS = 16
TASKS_UNFOLDED = 12
EVIDENCE_SHOWN = 12
CLOSE_UPS = 4
CLOSE_UP_BARS = 60  # in one lane
MOST_MODELS = 60
MOST_DAYS = 366
REJECTED_SHOWN = 12
CLOSE_UP_BELOW = 4  # an outage that fills less than this part of the picture gets its own
CLOSE_UP_MARGIN_MS = 5_000
_STYLE = "static/omni.css"
_TOUCH_KINDS = (
    "suspended", "interrupted", "paused", "attempt_failed", "failed", "held", "cancelled", "again", "late",
    "call_refused", "restored",
)  # fmt: skip


def report_html(
    history: History,
    after: int,
    until: int | None,
    language: Language = "en",
    count: Count = nothing,
    *,
    redactor: Redactor | None = None,
    zone: tzinfo | None = None,
) -> str:
    """The report of `after < position <= until` (None: to the end) as one HTML document, to be written as UTF-8.

    `redactor` knows the secrets of the configuration; what looks like one is masked in any case. Raises EventLogError
    where the log cannot be read.
    """
    told = redacted(incident(history, after, until, count), redactor or Redactor())
    return page("report.html", language, zone, **view(told, Words(language, zone)))


def redacted(told: Incident, redactor: Redactor) -> Incident:
    """The same without secrets: every text in it, before any is escaped or cut."""
    return msgspec.convert(redactor.value(msgspec.to_builtins(told)), Incident)


def view(told: Incident, words: Words) -> dict[str, Any]:
    """Everything that the template shows."""
    style, digest = _style()
    return {
        "told": told,
        "style": style,
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        "sections": _SECTIONS if told.events else (),
        "offset": _offset(told, words),
        "sentences": list(_sentences(told, words)),
        "first": told.after + 1,
        "span_ms": (told.until_ms or 0) - (told.from_ms or 0),
        "lanes": lanes("lanes", told.picture, words) if told.events else None,
        "close_ups": _close_ups(told, words),
        "moments": [_moment(each, told, words) for each in told.moments],
        "touched": [(kind, told.affected_by[kind]) for kind in _TOUCH_KINDS if told.affected_by.get(kind)],
        "bill": [(name, told.costs_by_model[name].view()) for name in ranked(told.costs_by_model)[:MOST_MODELS]],
        "more_models": max(0, len(told.costs_by_model) - MOST_MODELS),
        "more_days": max(0, len(told.costs_by_day) - MOST_DAYS),
        "rejected_shown": REJECTED_SHOWN,
        "total": told.costs.view(),
        "days": _days(told, words),
        "remarks": list(_remarks(told.costs, words)),
        "noticed_ms": max((each.noticed_ms for each in told.changes if each.noticed_ms is not None), default=None),
        "raw": [_raw(each) for each in told.raw],
        "raw_more": told.events - len(told.raw),
        "crashes": sum(gap.crashed for gap in told.picture.gaps),
        "undecided": sum(told.verdict.redecided.undecided.values()) if told.verdict else 0,
        "soundness": soundness(told.verdict) if told.verdict else "",
        "divergence": _divergence(told),
        "command": f"omni replay --from {told.after + 1} --to {told.until}",
        "reason_chars": REASON_CHARS,
        "evidence_shown": EVIDENCE_SHOWN,
        "unfolded": TASKS_UNFOLDED,
        "version": __version__,
    }


_SECTIONS = (
    "summary", "picture", "story", "changes", "affected", "choices", "costs", "verdict", "raw", "further",
)  # fmt: skip


def _sentences(told: Incident, words: Words) -> list[str]:
    """The summary in a few sentences, the most important first."""
    t, counts = words.t, told.counts
    said = [t("told.drill", n=counts["drills"])] if counts.get("drills") else []
    said.append(
        t(
            "told.tasks", n=counts.get("created", 0), completed=counts.get("completed", 0),
            failed=counts.get("failed", 0), cancelled=counts.get("cancelled", 0), open=told.tasks_open,
        )
    )  # fmt: skip
    said += [t("told.before", n=told.open_before)] if told.open_before else []
    said.append(_modes(told, words))
    crashes = sum(gap.crashed for gap in told.picture.gaps)
    said += [t("told.crashed", n=crashes)] if crashes else []
    said += [t("told.down", span=words.duration(told.down_ms))] if told.down_ms else []
    if told.affected_tasks or told.counts.get("created"):
        said.append(t("told.affected", n=told.affected_tasks) if told.affected_tasks else t("told.unaffected"))
    if told.verdict is not None:
        said.append(t(f"told.{soundness(told.verdict)}"))
    return said


def soundness(verdict: Report) -> str:
    """In one word: sound, otherwise (whole and lawful, but the rules of today decide otherwise), or unsound."""
    if verdict.ok:
        return "sound"
    return "unsound" if verdict.damage or verdict.violations else "otherwise"


def _modes(told: Incident, words: Words) -> str:
    changes = len(told.changes) + told.changes_more
    if not changes:
        mode = next(iter(told.mode_ms), "NORMAL")
        return words.t("told.normal") if mode == "NORMAL" else words.t("told.one_mode", mode=mode)
    spent = [words.t("told.time_in", mode=mode, span=words.duration(ms)) for mode, ms in told.mode_ms.items()]
    return words.t("told.modes", n=changes, modes=words.t("join.list").join(spent))


def _close_ups(told: Incident, words: Words) -> dict[int, Chart]:
    """Outages that are a sliver in the whole picture, drawn by themselves: by the position of the change that began it.

    An outage ends with the change that brings NORMAL back.
    """
    drawn, began = told.picture, None
    found: dict[int, Chart] = {}
    for change in (*told.changes, None):
        if began is not None and (change is None or change.after == "NORMAL"):
            end = drawn.until_ms if change is None else change.at_ms
            margin = max(CLOSE_UP_MARGIN_MS, (end - began.at_ms) // 2)
            window = max(drawn.from_ms, began.at_ms - margin), min(drawn.until_ms, end + margin)
            if len(found) < CLOSE_UPS and CLOSE_UP_BELOW * (window[1] - window[0]) < drawn.until_ms - drawn.from_ms:
                found[began.position] = lanes(f"outage-{began.position}", zoomed(drawn, *window), words, CLOSE_UP_BARS)
            began = None
        elif began is None and change is not None and change.after != "NORMAL":
            began = change
    return found


def _moment(moment: Moment, told: Incident, words: Words) -> dict[str, Any]:
    body = moment.body
    if "digest" in body:
        body = {**body, "digest": body["digest"][:DIGEST_CHARS]}
    mode = body["after"] if moment.type == "health.mode_changed" else ""
    return {
        "at_ms": moment.at_ms,
        "after_ms": moment.at_ms - (told.from_ms or moment.at_ms),
        "type": moment.type,
        "text": str(body["reason"]) if mode else sentence(moment.type, body, words.language, words.local),
        "mode": mode,
    }


def _raw(moment: Moment) -> dict[str, Any]:
    body = msgspec.json.encode(moment.body).decode()
    return {
        "position": moment.position,
        "at_ms": moment.at_ms,
        "type": moment.type,
        "task_id": moment.task_id,
        "body": clean(body[:BODY_CHARS]),
        "cut": max(0, len(body) - BODY_CHARS),
    }


def _remarks(total: Line, words: Words) -> list[str]:
    """What the sums do not say."""
    t = words.t
    says = (
        (total.unknown, t("cost.unknown", n=total.unknown)),
        (total.kept_usd, t("cost.kept", amount=usd(total.kept_usd))),
        (total.open, t("cost.open", n=total.open, amount=usd(total.reserved_usd))),
        (total.imputed_usd, t("cost.imputed")),
        (total.reported_usd, t("cost.reported")),
    )
    return [text for applies, text in says if applies]


def _days(told: Incident, words: Words) -> Chart | None:
    """What was billed by day and model, or else what free calls were worth; nothing where one table says it all."""
    if len(told.costs_by_day) < 2:
        return None
    kind = "imputed_usd" if told.costs.billed_usd is None else "billed_usd"
    days = [
        Day(
            day,
            {model: getattr(line, kind) or 0.0 for model, line in models.items()},
            sum(line.unknown for line in models.values()),
        )
        for day, models in sorted(told.costs_by_day.items())[-MOST_DAYS:]
    ]
    return bars("days", days, words)


def _divergence(told: Incident) -> dict[str, Any] | None:
    """The first divergence, both sides as JSON."""
    first = told.verdict.redecided.first if told.verdict else None
    if first is None:
        return None
    sides = {side: msgspec.json.encode(getattr(first, side)).decode() for side in ("recorded", "decided")}
    return {"position": first.position, "stream": first.stream, **sides}


def _offset(told: Incident, words: Words) -> str:
    """The local clock's offset from UTC, as +08:00."""
    moment = datetime.fromtimestamp((told.from_ms or 0) // 1000, UTC).astimezone(words.zone)
    offset = moment.strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


@lru_cache(maxsize=1)
def _style() -> tuple[str, str]:
    """The style sheet, and its hash for the policy: the text of the element, byte for byte."""
    style = files("omni.web").joinpath(_STYLE).read_text("utf-8")
    return style, base64.b64encode(sha256(style.encode()).digest()).decode()
